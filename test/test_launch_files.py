"""Launch files: read by the real `launch` where it is installed, by eye of Python everywhere."""

from __future__ import annotations

import ast
import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

FILES = ("localize", "build_map", "replay", "demo")
# The folder launch/ of a clone looks like a package of that name; the real one has a module more.
HAS_LAUNCH = importlib.util.find_spec("launch_ros") is not None
needs_launch = pytest.mark.skipif(not HAS_LAUNCH, reason="launch and launch_ros are not installed")


@pytest.mark.parametrize("name", FILES)
def test_every_argument_is_described(repository: Path, name: str) -> None:
    tree = ast.parse((repository / "launch" / f"{name}.launch.py").read_text())
    assert (ast.get_docstring(tree) or "").count(f"ros2 launch scmpr_ros {name}.launch.py") == 1
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    declared = [c for c in calls if getattr(c.func, "id", "") == "DeclareLaunchArgument"]
    assert declared
    for call in declared:
        assert "description" in {k.arg for k in call.keywords}, ast.unparse(call)


@needs_launch
@pytest.mark.parametrize(
    ("name", "required"),
    [
        ("localize", set()),
        ("build_map", {"source", "directory"}),
        ("replay", {"bag"}),
        ("demo", {"source", "directory", "bag"}),
    ],
)
def test_arguments_without_default(repository: Path, name: str, required: set[str]) -> None:
    found = {
        a.name
        for a in _description(repository, name).get_launch_arguments()
        if a.default_value is None
    }
    assert found == required


@pytest.mark.parametrize("name", FILES)
def test_ros2_launch_shows_the_arguments(name: str) -> None:
    ros2 = shutil.which("ros2")
    if ros2 is None:
        pytest.skip("the command ros2 is not installed")
    result = subprocess.run([ros2, "launch", "scmpr_ros", f"{name}.launch.py", "--show-args"],
                            capture_output=True, text=True, check=False)  # fmt: skip
    if result.returncode:
        pytest.skip(f"ros2 launch does not find the package: {result.stderr.strip()[-200:]}")
    assert "'checkpoint':" in result.stdout


def test_fastdds_profile(repository: Path) -> None:
    space = {"d": "http://www.eprosima.com"}
    root = ElementTree.parse(repository / "config" / "fastdds.xml").getroot()
    transports = {
        t.findtext("d:transport_id", "", space): t
        for t in root.iterfind(".//d:transport_descriptor", space)
    }
    used = [e.text for e in root.iterfind(".//d:userTransports/d:transport_id", space)]
    assert set(used) == set(transports)
    shared_memory = transports["large_shared_memory"]
    assert shared_memory.findtext("d:segment_size", "", space) == str(128 * 2**20)
    assert shared_memory.findtext("d:maxMessageSize", "", space) == str(32 * 2**20)


def test_viewer_layouts_name_topics_that_exist(repository: Path) -> None:
    rviz = yaml.safe_load((repository / "config" / "scmpr.rviz").read_text())
    displays = rviz["Visualization Manager"]["Displays"]
    topics = {d["Topic"]["Value"] for d in displays if "Topic" in d}
    layout = json.loads((repository / "config" / "foxglove.json").read_text())
    topics |= set(layout["configById"]["3D!map"]["topics"])
    ours = {
        "map_loader": {"points", "viewpoints"},
        "localizer": {"markers", "pose", "candidates", "semantic_mask"},
    }
    for topic in topics:
        _, node, *rest = topic.split("/")
        assert node == "kitti" or rest[0] in ours[node], topic


def _description(repository: Path, name: str) -> Any:
    path = repository / "launch" / f"{name}.launch.py"
    spec = importlib.util.spec_from_file_location(f"launch_file_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()
