"""Reads the documents, and checks the commands, options and settings that they name."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import yaml

from scmpr_ros.config import flatten, from_dict, unflatten
from scmpr_ros.methods.registry import method_names
from scmpr_ros.ros.commands.check import options_as_parameters

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "models/*.md")
    for path in REPOSITORY.glob(pattern)
)
OTHER_TOOLS = {
    "apt-get", "cd", "colcon", "docker", "export", "fastdds", "git", "mkdir", "mv", "rerun",
    "rm", "rosdep", "source", "sudo", "tensorboard",
}  # fmt: skip
"""Commands of others, whose arguments are not checked."""
OTHER_NODES = ("lifecycle_manager", "ekf_filter_node_map")
"""Nodes of others, whose parameters are not checked."""
OTHER_OPTIONS = {
    "--clock", "--nproc-per-node", "--ros-args", "--show-args", "--system-site-packages",
    "--web-viewer",
}  # fmt: skip

OTHER_NAMES = {
    "PIP_BREAK_SYSTEM_PACKAGES", "foxglove_bridge", "image_proc", "robot_localization",
}  # fmt: skip


class Fence(NamedTuple):
    """A code block of a document."""

    document: str
    language: str
    body: str


def fences(*languages: str) -> Iterator[Fence]:
    """Code blocks of all documents in some languages."""
    for name in DOCUMENTS:
        text = (REPOSITORY / name).read_text()
        for indent, language, body in re.findall(
            r"^( *)```(\w+)\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE
        ):
            if language in languages:
                yield Fence(name, language, re.sub(rf"^{indent}", "", body, flags=re.MULTILINE))


def prose(name: str) -> str:
    """A document without its code blocks."""
    text = (REPOSITORY / name).read_text()
    return re.sub(r"^ *```.*?```$", "", text, flags=re.DOTALL | re.MULTILINE)


def inline_code(name: str) -> set[str]:
    """What stands in single backticks in a document."""
    return set(re.findall(r"`([^`\n]+)`", prose(name)))


@cache
def generator() -> ModuleType:
    """docs/generate.py."""
    path = REPOSITORY / "docs" / "generate.py"
    spec = importlib.util.spec_from_file_location("docs_generate", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def slug(heading: str) -> str:
    """The anchor of a heading."""
    text = re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading)
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def anchors(text: str) -> set[str]:
    """Anchors of a document's headings."""
    return {slug(line.lstrip("#")) for line in text.splitlines() if re.match(r"#+ ", line)}


def pages_in_site() -> set[str]:
    """Pages that the navigation of the site names."""
    text = (REPOSITORY / "mkdocs.yml").read_text()
    return set(re.findall(r"[\w/-]+\.md", text[text.index("\nnav:") :]))


@cache
def identifiers() -> set[str]:
    """Words of the repository's sources."""
    paths = [*REPOSITORY.rglob("*.py"), *REPOSITORY.glob("Makefile"), *REPOSITORY.glob("*/*.yaml")]
    inside = (path for path in paths if ".venv" not in path.parts)
    return {word for path in inside for word in re.findall(r"\w+", path.read_text())}


def expand_braces(text: str) -> list[str]:
    """a/{b,c}.py as a/b.py and a/c.py."""
    parts = re.split(r"\{([^}]*)\}", text)
    choices = [part.split(",") if i % 2 else [part] for i, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


# --- commands ------------------------------------------------------------------------------------


def shell_commands() -> Iterator[tuple[str, list[str]]]:
    """Document and words of every command in a `sh` block; lines may go on, quotes too."""
    for fence in fences("sh"):
        pending = ""
        for line in fence.body.splitlines():
            pending += line.removesuffix("\\") + "\n"
            try:
                words = shlex.split(pending, comments=True)
            except ValueError:  # a quotation that the next line closes
                continue
            if line.endswith("\\"):
                continue
            pending = ""
            if words:
                yield fence.document, words
        assert not pending, f"{fence.document}: no end of {pending!r}"


def check_command(words: list[str]) -> None:
    """Raise unless a command exists and takes these arguments."""
    words = list(itertools.dropwhile(lambda word: re.match(r"[A-Z_]+=", word), words))
    name, arguments = words[0].rpartition("/")[2], words[1:]
    if name == "torchrun":
        script = next(i for i, word in enumerate(arguments) if not re.match(r"-|\d", word))
        check_command(arguments[script:])
    elif name == "ros2":
        check_ros2(arguments)
    elif name == "make":
        check_make(arguments)
    elif name == "pip":
        check_extras(arguments)
    elif name == "python":
        if arguments[0] == "-m":
            assert importlib.util.find_spec(arguments[1])
        else:
            assert (REPOSITORY / arguments[0]).is_file(), f"no script {arguments[0]}"
    elif name in generator().commands():
        generator().parse(name, arguments)
    elif name in generator().NODES:
        check_node(name, arguments)
    else:
        in_repository = (REPOSITORY / words[0]).is_file() and not words[0].startswith(".venv/")
        assert name in OTHER_TOOLS or in_repository, f"unknown command {name}"


def check_ros2(words: list[str]) -> None:
    """`ros2 run`, `launch`, `param`, and names of topics and services."""
    verb, arguments = words[0], words[1:]
    if verb == "run" and arguments[0] == "scmpr_ros":
        check_command(arguments[1:])
    elif verb == "launch" and arguments[0] == "scmpr_ros":
        declared = launch_arguments(arguments[1])
        given = {a.split(":=")[0] for a in arguments[2:] if a != "--show-args"}
        assert given <= declared, f"no launch arguments {sorted(given - declared)}"
    elif verb == "param":
        node = arguments[1].rpartition("/")[2]
        assert arguments[2] in flatten(generator().node_config(node)())
    elif verb in ("topic", "service"):
        for word in arguments[1:]:
            if re.match(r"/\w*/?(localizer|map_loader)/", word):
                assert "~/" + word.rpartition("/")[2] in private_names(), f"no {word}"


def check_node(name: str, arguments: list[str]) -> None:
    """Parameters and remappings after `--ros-args`."""
    if arguments == ["--help"]:
        return
    if name == "check":
        arguments = options_as_parameters(arguments)
    if not arguments:
        return
    assert arguments[0] == "--ros-args", arguments
    given: dict[str, Any] = {}
    for flag, word in zip(arguments[1::2], arguments[2::2], strict=True):
        key, assign, value = word.partition(":=")
        assert (assign and flag in ("-p", "-r")) or flag == "--params-file", (flag, word)
        if flag == "-p":
            given[key] = yaml.safe_load(value)
    given.pop("use_sim_time", None)  # every node has it
    from_dict(generator().node_config(name), unflatten(given))


def check_make(words: list[str]) -> None:
    """Targets and variables of the Makefile."""
    text = (REPOSITORY / "Makefile").read_text()
    for word in words:
        variable, assign, _ = word.partition("=")
        used = rf"\$\({variable}\)|^{variable} \?=" if assign else rf"^{word}:.*## "
        assert re.search(used, text, re.MULTILINE), f"the Makefile has no {word}"


def check_extras(words: list[str]) -> None:
    """`pip install ".[a,b]"`."""
    setup = (REPOSITORY / "setup.py").read_text()
    extras = re.match(r"\.\[([\w,]+)\]$", words[-1])
    if words == ["install", "."]:
        return
    assert extras, words
    for extra in extras[1].split(","):
        assert re.search(rf'"{extra}": ', setup), f"setup.py has no extra {extra}"


@cache
def launch_arguments(file: str) -> set[str]:
    """Names that a launch file declares."""
    calls = ast.walk(ast.parse((REPOSITORY / "launch" / file).read_text()))
    return {
        ast.literal_eval(call.args[0])
        for call in calls
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "DeclareLaunchArgument"
    }


@cache
def private_names() -> set[str]:
    """Topics and services `~/name` of the nodes."""
    sources = (path.read_text() for path in (REPOSITORY / "scmpr_ros" / "ros").glob("*.py"))
    return {name for source in sources for name in re.findall(r'"(~/\w+)"', source)}


# --- settings ------------------------------------------------------------------------------------


@cache
def settings() -> tuple[set[str], set[str]]:
    """Dotted names of all ROS parameters and settings, and all options of commands."""
    keys = {key for node in generator().NODES for key in flatten(generator().node_config(node)())}
    options: set[str] = set()
    methods = [["train", "--method", method] for method in method_names()]
    for command, *arguments in [*([name] for name in generator().commands()), *methods]:
        parsers = [generator().parse(command, arguments, check=False)]
        for parser in parsers:
            for action in parser._actions:
                keys.add(action.dest)
                options |= set(action.option_strings)
                parsers += action.choices.values() if isinstance(action.choices, dict) else []
    return keys, options


def is_setting(name: str) -> bool:
    """Whether a dotted name is a setting, or a part of the names of some."""
    return any(f".{name}." in f".{key}." for key in settings()[0])


def is_file_or_module(name: str) -> bool:
    """Whether a dotted name is `package.xml`, `world.stream` or `scmpr_ros.config`."""
    stem, _, last = name.rpartition(".")
    if name.startswith("scmpr_ros."):
        return importlib.util.find_spec(name) is not None
    suffixes = "py md yaml xml json ply npy npz safetensors png txt ckpt onnx html cff cpp cfg toml"
    modules = {path.stem: path for path in (REPOSITORY / "scmpr_ros").rglob("*.py")}
    defined = stem in modules and f"def {last}(" in modules[stem].read_text()
    return last in [*suffixes.split(), "launch", "bin", "lock"] or defined


def accepts(node: str, parameters: dict[str, Any]) -> bool:
    """Whether a node takes these parameters."""
    try:
        from_dict(generator().node_config(node), parameters)
    except Exception:
        return False
    return True
