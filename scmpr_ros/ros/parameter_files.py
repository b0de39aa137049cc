"""The ROS parameter files of `config/`, written from the dataclasses they must agree with.

    python -m scmpr_ros.ros.parameter_files config

Run it after a change of a node's parameters; a test fails while the files differ.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from scmpr_ros.config import descriptions, flatten
from scmpr_ros.ros.localizer_config import LocalizerNodeConfig
from scmpr_ros.ros.map_loader_node import MapLoaderConfig

NODES: dict[str, type] = {"map_loader": MapLoaderConfig, "localizer": LocalizerNodeConfig}


def parameter_file(node: str) -> str:
    """YAML with every parameter of a node, its default and what it means."""
    cls = NODES[node]
    texts = descriptions(cls)
    lines = [
        f"# Every parameter of the node {node} with its default. Written by",
        "#   python -m scmpr_ros.ros.parameter_files config",
        f"{node}:",
        "  ros__parameters:",
    ]
    parents: list[str] = []
    for key, value in flatten(cls()).items():
        *groups, name = key.split(".")
        for depth, group in enumerate(groups):
            if parents[: depth + 1] != groups[: depth + 1]:
                lines.append(f"{_indent(depth)}{group}:")
        parents = groups
        if texts[key]:
            lines.append(f"{_indent(len(groups))}# {texts[key]}")
        lines.append(f"{_indent(len(groups))}{name}: {_scalar(value)}")
    return "\n".join(lines) + "\n"


def _indent(depth: int) -> str:
    return "  " * (depth + 2)


def _scalar(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def main(arguments: Sequence[str]) -> int:
    """Write the files into the folder that is named."""
    (folder,) = arguments
    for node in NODES:
        (Path(folder) / f"{node}.yaml").write_text(parameter_file(node))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
