"""Pages generated while MkDocs builds the site (the setting `hooks` names this file).

Commands come from the parsers of `scmpr_ros.cli`, ROS parameters from the nodes' dataclasses, and
the Python API from docstrings. Model cards, changelog and contributing guide are included from the
repository. None of these pages is committed.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
from argparse import SUPPRESS, Action, ArgumentParser
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jsonargparse

from scmpr_ros.cli.console_scripts import COMMANDS
from scmpr_ros.config import descriptions, flatten
from scmpr_ros.methods.registry import method_names

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "scmpr_ros"

NODES = {
    "check": ("bringup.check_node", "CheckConfig"),
    "localizer": ("localizer_config", "LocalizerNodeConfig"),
    "map_loader": ("map_loader_node", "MapLoaderConfig"),
    "play_bag": ("bag_player_node", "BagPlayerConfig"),
    "record_answers": ("answer_recorder_node", "AnswerRecorderConfig"),
    "soak_localizer": ("soak_node", "SoakNodeConfig"),
}
"""Module below `scmpr_ros.ros` and dataclass that hold the parameters of each node."""

API = {
    "pipeline": "The two data flows, map and query, from top to bottom.",
    "methods": "Place recognition methods and their registry.",
    "retrieval": "The place map on disk, the index, matching (eq. 10), clustering.",
    "networks": "The parts of equations 1 to 9, backbones, checkpoints.",
    "lidar": "Point clouds, ghosts, ground, segmentation, places, panoramas.",
    "datasets": "Recordings: KITTI, KITTI-360, bags; trajectories.",
    "evaluation": "Metrics, protocols, predictions, tables, suites.",
    "training": "Preparation, pairs, losses, the training loop.",
    "": "Records, geometry, classes, configuration, errors.",
}
"""Folders of the package with a page in the API reference; the empty name is the ground floor."""

INTERNAL = (
    "scmpr_ros.evaluation.benchmark.", "scmpr_ros.evaluation.statistics.",
    "scmpr_ros.networks.selective_scan.", "scmpr_ros.networks.readers.",
)  # fmt: skip
"""Prefixes of modules that the API reference leaves out."""

INHERITED = {"ablate": {"train": "train", "evaluation": "evaluate"}}
"""Groups of options that another command documents."""

DEFAULT_METHOD = "scmpr"
METHOD_SETTINGS = ("module.network.", "module.loss.")


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages; called by MkDocs once it has found the pages on disk."""
    from mkdocs.structure.files import File  # the tests use the rest without MkDocs

    for path, content in pages().items():
        files.append(File.generated(config, path, content=content))
    return files


def pages() -> dict[str, str]:
    """Markdown of every generated page, by its path in the site."""
    return {
        **{f"reference/commands/{name}.md": command_page(name) for name in commands()},
        "reference/parameters.md": parameter_page(),
        **{f"reference/api/{n or 'ground_floor'}.md": api_page(n) for n in API if _modules(n)},
        **{f"models/{path.name}": included(path) for path in REPOSITORY.glob("models/*.md")},
        "changelog.md": included(REPOSITORY / "CHANGELOG.md"),
        "contributing.md": included(REPOSITORY / "CONTRIBUTING.md"),
    }


def included(path: Path) -> str:
    """A document of the repository, with its links into docs/ as they are in the site."""
    return re.sub(r"\]\((\.\./)?docs/", r"](\1", path.read_text())


# --- commands ------------------------------------------------------------------------------------


class CommandStoppedError(Exception):
    """Ends a command's `main` after it has parsed its arguments; carries the parser."""


def commands() -> list[str]:
    """Console scripts that are no nodes."""
    return sorted(COMMANDS)


def parse(command: str, arguments: Sequence[str], check: bool = True) -> ArgumentParser:
    """Let a command parse arguments, and stop it there; returns its parser.

    check: False returns the parser before it parses. Raises SystemExit for arguments that it
    refuses.
    """

    def stop(parser: ArgumentParser, *args: Any, **options: Any) -> None:
        if check:
            originals[type(parser)](parser, *args, **options)
        raise CommandStoppedError(parser)

    kinds = (ArgumentParser, jsonargparse.ArgumentParser)
    originals = {kind: kind.parse_args for kind in kinds}
    module = importlib.import_module(f"scmpr_ros.cli.{command}")
    with ExitStack() as stack:
        for kind in kinds:
            stack.enter_context(patch.object(kind, "parse_args", stop))
        try:
            raise SystemExit(module.main(list(arguments)))  # an error before it parses
        except CommandStoppedError as stopped:
            parser: ArgumentParser = stopped.args[0]
            return parser


def command_page(name: str) -> str:
    """Description and options of a command."""
    parser = parse(name, [], check=False)
    module = importlib.import_module(f"scmpr_ros.cli.{name}")
    meanings = _meanings(module)
    lines = [f"# {name}", "", _prose(parser.description), ""]
    subcommands = next((a for a in parser._actions if isinstance(a.choices, dict)), None)
    if subcommands is None:
        lines += _options(name, parser, meanings)
    else:
        for subcommand, inner in subcommands.choices.items():
            lines += [f"## {name} {subcommand}", "", _prose(inner.description), ""]
            lines += _options(name, inner, meanings)
    for method in method_names() if name == "train" else ():
        if method != DEFAULT_METHOD:
            inner = parse(name, ["--method", method], check=False)
            lines += [f"## train --method {method}", ""]
            lines += _options(name, inner, _meanings(module, method), METHOD_SETTINGS)
    if parser.epilog:
        lines += ["## Examples", "", "```text", parser.epilog.strip(), "```", ""]
    return "\n".join(lines)


def _options(
    command: str, parser: ArgumentParser, meanings: dict[str, str], only: tuple[str, ...] = ("",)
) -> list[str]:
    """A table for each group of options. only: prefixes of their names."""
    tables: dict[str, list[str]] = {}
    for action in parser._actions:
        if action.dest in ("help", "print_config") or action.nargs == "A...":
            continue
        if type(action).__name__ == "_ActionConfigLoad" or not action.dest.startswith(only):
            continue  # a whole group as a file, or not wanted
        group = action.dest.rpartition(".")[0]
        if group.split(".")[0] not in INHERITED.get(command, {}):
            tables.setdefault(group, []).append(_row(action, meanings))
    lines = []
    for group, rows in tables.items():
        lines += [f"**`{group}`**", ""] if group else []
        lines += ["| option | default | meaning |", "|---|---|---|", *rows, ""]
    for group, other in INHERITED.get(command, {}).items():
        lines += [f"Options `--{group}.…` are those of [`{other}`]({other}.md).", ""]
    return lines


def _row(action: Action, meanings: dict[str, str]) -> str:
    option = action.option_strings[0] if action.option_strings else f"<{action.dest}>"
    key = action.dest.removeprefix("settings.")
    text = action.help or meanings.get(key, "")
    if isinstance(action.choices, (list, tuple)):
        text += f"; one of {', '.join(map(str, action.choices))}"
    return f"| `{option}` | {_value(action.default)} | {_cell(text)} |"


def _meanings(module: Any, method: str = DEFAULT_METHOD) -> dict[str, str]:
    """What each setting means, by its dotted name, of all dataclasses that a module uses."""
    found: dict[str, str] = {}
    for name, value in vars(module).items():
        value = value(method) if name.endswith("_config_class") else value
        if isinstance(value, type) and dataclasses.is_dataclass(value):
            found |= {key: text for key, text in descriptions(value).items() if text}
    return found


# --- ROS parameters ------------------------------------------------------------------------------


def node_config(name: str) -> type:
    """The dataclass that holds a node's parameters."""
    module, cls = NODES[name]
    config: type = getattr(importlib.import_module(f"scmpr_ros.ros.{module}"), cls)
    return config


def parameter_page() -> str:
    """Every parameter of every node."""
    lines = ["# ROS parameters", ""]
    for name in NODES:
        cls = node_config(name)
        texts = descriptions(cls)
        lines += [f"## {name}", "", "| parameter | default | meaning |", "|---|---|---|"]
        for key, default in flatten(cls()).items():
            lines.append(f"| `{key}` | {_value(default)} | {_cell(texts[key])} |")
        lines.append("")
    return "\n".join(lines)


# --- Python API ----------------------------------------------------------------------------------


def api_page(folder: str) -> str:
    """Public names of the modules of one folder of the package."""
    title = f"scmpr_ros.{folder}" if folder else "scmpr_ros: the ground floor"
    modules = [f"## {name}\n\n::: {name}\n" for name in _modules(folder)]
    return "\n".join([f"# {title}", "", API[folder], "", *modules])


def _modules(folder: str) -> list[str]:
    """Dotted names of the modules in a folder and below it; the ground floor has no folders."""
    root = PACKAGE / folder
    paths = root.rglob("*.py") if folder else root.glob("*.py")
    dotted = (".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in paths)
    names = (name.removesuffix(".__init__") for name in dotted)
    return sorted(n for n in names if _has_public_names(n) and not n.startswith(INTERNAL))


def _has_public_names(module: str) -> bool:
    path = REPOSITORY.joinpath(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    definitions = (ast.ClassDef, ast.FunctionDef)
    body = ast.parse(source.read_text()).body
    return any(isinstance(n, definitions) and not n.name.startswith("_") for n in body)


# --- text ----------------------------------------------------------------------------------------


def _prose(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str) -> str:
    text = _prose(text)
    return (text[:1].upper() + text[1:]).replace("|", "\\|").replace("<", "&lt;")


def _value(value: Any) -> str:
    if value in (None, SUPPRESS, ""):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, (list, tuple)):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`"
