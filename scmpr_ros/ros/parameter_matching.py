"""Check which nodes a ROS parameter file addresses.

ROS ignores, without a word, a parameter file none of whose keys matches the node that reads it: a
file that says `localizer:` has no effect on `/robot1/localizer`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from scmpr_ros.errors import ConfigError


def unmatched_warning(path: Path, node: str) -> str | None:
    """Return a warning if no key of the file addresses the node, else None.

    node: fully qualified name, such as `/robot1/localizer`.
    Raises ConfigError if the file cannot be read or is not a ROS parameter file.
    """
    patterns = node_patterns(path)
    if any(matches(pattern, node) for pattern in patterns):
        return None
    return (
        f"{path} sets no parameter of {node}: it addresses {', '.join(patterns)}. "
        f"Use the key /** or {node}"
    )


def node_patterns(path: Path) -> list[str]:
    """Return the node names, with wildcards, that a parameter file addresses.

    Raises ConfigError if the file cannot be read or is not a ROS parameter file.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the parameter file: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    patterns = list(_patterns(content, "")) if isinstance(content, Mapping) else []
    if not patterns:
        raise ConfigError(
            f"{path}: not a ROS parameter file: it needs a node name or /** and below it "
            "ros__parameters"
        )
    return patterns


def matches(pattern: str, node: str) -> bool:
    """Apply ROS's wildcards: `*` is one part of a name, `**` any number of them."""
    expression = ""
    for part in pattern.strip("/").split("/"):
        expression += {"**": r"(/\w+)*", "*": r"/\w+"}.get(part, "/" + re.escape(part))
    return re.fullmatch(expression, node) is not None


def _patterns(content: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """Join nested keys above `ros__parameters`: namespaces, then the node's name."""
    for key, value in content.items():
        if key == "ros__parameters":
            yield prefix
        elif isinstance(value, Mapping):
            yield from _patterns(value, f"{prefix}/{str(key).strip('/')}")
