"""The house keeps its shape: who may import whom, and what no room may contain.

    ros | cli
    town
    training
    evaluation
    pipeline
    methods
    networks | lidar | retrieval | datasets
    bin_rows, cancellation, compilation, config, geometry, semantics, label_sets, output_classes,
    records, resources, ply, text_rows, onnx_model, atomic_files, process_pool, errors, stages

Imports go down only; names between bars never import each other. The town is a wing of its own:
only `cli` imports it, and it sees only `datasets` and the ground floor. Everything here is read
from the sources, nothing is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = "scmpr_ros"
ROOT = Path(__file__).resolve().parents[1] / PACKAGE
SOURCES = sorted(ROOT.rglob("*.py"))

GROUND = {
    "bin_rows",
    "cancellation",
    "compilation",
    "config",
    "geometry",
    "semantics",
    "label_sets",
    "records",
    "resources",
    "ply",
    "onnx_model",
    "output_classes",
    "atomic_files",
    "process_pool",
    "errors",
    "stages",
    "text_rows",
}
FLOOR = dict.fromkeys(GROUND, 0)
FLOOR |= {"networks": 1, "lidar": 1, "retrieval": 1, "datasets": 1}
FLOOR |= {"methods": 2, "pipeline": 3, "evaluation": 4, "training": 5, "ros": 7, "cli": 7}
FLOOR["town"] = 6

ROS_MODULES = {
    "rclpy", "builtin_interfaces", "rcl_interfaces", "diagnostic_msgs", "geometry_msgs",
    "lifecycle_msgs", "nav_msgs", "rosgraph_msgs", "sensor_msgs", "std_msgs", "std_srvs",
    "visualization_msgs", "tf2_msgs", "tf2_ros", "tf_transformations", "cv_bridge",
    "sensor_msgs_py", "ament_index_python", "launch", "launch_ros", "rosbag2_py",
}  # fmt: skip

MAX_FUNCTION_LINES = 80
MAX_FILE_LINES = 400


def room_of(path: Path) -> str:
    """First name below the package: `networks` for scmpr_ros/networks/saff.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0]


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(parse(path)))


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every module that a file imports, wherever in the file."""
    package_parts = (PACKAGE, *path.relative_to(ROOT).parent.parts)
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package_parts[: len(package_parts) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else ())))
            yield node.lineno, module
            if module == PACKAGE:  # from scmpr_ros import geometry
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def rooms_imported(path: Path) -> Iterator[tuple[int, str]]:
    for line, module in imported_modules(path):
        parts = module.split(".")
        if parts[0] == PACKAGE and len(parts) > 1 and not parts[1].startswith("__"):
            yield line, parts[1]


def calls(path: Path) -> Iterator[tuple[ast.Call, str]]:
    """Every call in a file with its dotted name, such as `torch.load`."""
    for node in nodes(path):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def source_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def every_source(check: Callable[[Path], None]) -> Callable[[], None]:
    """A test that checks all sources and names each that fails."""

    def test() -> None:
        problems = []
        for path in SOURCES:
            try:
                check(path)
            except AssertionError as error:
                problems.append(f"{source_id(path)}: {error}")
        assert not problems, "\n".join(problems)

    test.__name__, test.__doc__ = check.__name__, check.__doc__
    return test


@every_source
def test_imports_go_down(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        assert not list(rooms_imported(path)), "importing the package must not load its rooms"
        return
    assert room in FLOOR, f"{room} has no floor: give it one in DESIGN and in this test"
    wrong = [
        f"line {line} imports {other}"
        for line, other in rooms_imported(path)
        if other != room and not may_import(room, other)
    ]
    assert not wrong, f"{room} stands on floor {FLOOR[room]}: " + "; ".join(wrong)


def may_import(room: str, other: str) -> bool:
    if room in GROUND and other in GROUND:
        return True
    if other == "town":
        return room == "cli"
    if room == "town":
        return other in GROUND or other == "datasets"
    return other in FLOOR and FLOOR[other] < FLOOR[room]


def test_the_ground_floor_has_no_cycle() -> None:
    below: dict[str, set[str]] = {
        name: {other for _, other in rooms_imported(ROOT / f"{name}.py")} & GROUND
        for name in GROUND
    }
    while below:
        free = {name for name, others in below.items() if not others & below.keys()}
        assert free, f"these import each other: {sorted(below)}"
        below = {name: others for name, others in below.items() if name not in free}


def test_no_file_imports_itself_in_a_circle() -> None:
    """Whatever the rooms: a circle of files cannot be read from the bottom up."""
    modules = {".".join((PACKAGE, *path.relative_to(ROOT).with_suffix("").parts)): path
               for path in SOURCES}  # fmt: skip
    below = {
        name: {other for _, other in imported_modules(path) if other in modules} - {name}
        for name, path in modules.items()
    }
    while below:
        free = {name for name, others in below.items() if not others & below.keys()}
        assert free, f"among these, some import each other: {sorted(below)}"
        below = {name: others for name, others in below.items() if name not in free}


def test_no_room_is_most_of_the_house() -> None:
    """Besides the town, which is a world of its own, no room holds a third of the code."""
    lines: dict[str, int] = {}
    for path in SOURCES:
        count = len(path.read_text(encoding="utf-8").splitlines())
        lines[room_of(path)] = lines.get(room_of(path), 0) + count
    del lines["town"]
    total = sum(lines.values())
    large = {room: count for room, count in lines.items() if count > total / 3}
    assert not large, f"of {total} lines: {large}"


@every_source
def test_methods_are_found_by_the_registry(path: Path) -> None:
    """Nothing outside `methods` knows a method by name; the benchmark times SCM-PR's parts."""
    names = {folder.name for folder in (ROOT / "methods").iterdir() if folder.is_dir()}
    names -= {"__pycache__"}
    assert {"scmpr", "lip_loc"} <= names
    relative = path.relative_to(ROOT).parts
    if relative[0] == "methods" or relative[:2] == ("evaluation", "benchmark"):
        return
    wrong = [
        f"line {line} imports {module}"
        for line, module in imported_modules(path)
        if module.startswith(f"{PACKAGE}.methods.") and module.split(".")[2] in names
    ]
    assert not wrong, wrong


@every_source
def test_only_ros_and_commands_name_nodes(path: Path) -> None:
    """A module of `ros` named in a string is an import that goes up unseen."""
    if room_of(path) in {"ros", "cli"}:
        return
    named = [
        node.lineno
        for node in nodes(path)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and f"{PACKAGE}.ros" in node.value.replace(f"{PACKAGE}.ros_", "")
    ]
    assert not named, f"lines {named} name modules of {PACKAGE}.ros"


@every_source
def test_only_ros_knows_ros(path: Path) -> None:
    if room_of(path) == "ros":
        return
    wrong = [
        f"line {line}: {module}"
        for line, module in imported_modules(path)
        if module.split(".")[0] in ROS_MODULES
    ]
    assert not wrong, wrong


@every_source
def test_nothing_is_unpickled(path: Path) -> None:
    modules = {module.split(".")[0] for _, module in imported_modules(path)}
    assert not modules & {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for call, name in calls(path):
        arguments = {k.arg: ast.unparse(k.value) for k in call.keywords}
        if name == "torch.load":
            assert arguments.get("weights_only") == "True", f"line {call.lineno}: weights_only"
        if name in {"np.load", "numpy.load"}:
            assert arguments.get("allow_pickle") == "False", f"line {call.lineno}: allow_pickle"
        if name == "yaml.load":
            loader = arguments.get("Loader", "yaml.Loader")
            assert not loader.startswith("yaml.") or "Safe" in loader, f"line {call.lineno}"
        assert name not in {"eval", "exec"}, f"line {call.lineno}: {name}"


@every_source
def test_the_library_logs_and_does_not_print(path: Path) -> None:
    """Programs speak to people: console scripts freely, nodes in `main` and with last words."""
    allowed: set[int] = set()
    if room_of(path) == "ros":
        allowed = {
            call.lineno
            for function in nodes(path)
            if isinstance(function, ast.FunctionDef) and function.name == "main"
            for call in ast.walk(function)
            if isinstance(call, ast.Call)
        }
    for call, name in calls(path):
        if name == "print" and room_of(path) != "cli" and call.lineno not in allowed:
            last_words = room_of(path) == "ros" and "file=sys.stderr" in ast.unparse(call)
            assert last_words, f"line {call.lineno} prints: use logging"


@every_source
def test_sizes(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_FILE_LINES, f"{lines} lines: this room wants to be two"
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{node.name} has {length} lines"


@every_source
def test_names(path: Path) -> None:
    for word in ("util", "helper", "manager", "misc"):
        assert word not in path.stem, f"{path.name} says nothing of what it does"


def test_the_rules_bite(tmp_path: Path) -> None:
    """The readers above see what they must, in every spelling."""
    assert not may_import("networks", "lidar")
    assert may_import("training", "config")
    assert not may_import("evaluation", "town")
    assert not may_import("town", "lidar")
    assert may_import("cli", "town")
    assert not may_import("evaluation", "training")
    assert may_import("cli", "training")
    assert may_import("retrieval", "geometry")
    assert ROOT.joinpath("ros").is_dir()
    assert {room for path in SOURCES for room in [room_of(path)]} >= GROUND
