"""Descriptions of the package for pip, colcon and rosdep: complete, and in agreement."""

from __future__ import annotations

import ast
import configparser
import email.parser
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ElementTree
import zipfile
from collections import Counter
from pathlib import Path

import pytest

import scmpr_ros
from scmpr_ros.cli import console_scripts

SCRIPTS = {*console_scripts.NODES, *console_scripts.COMMANDS}
ON_PYPI = {"cv2": "opencv-python-headless", "faiss": "faiss-cpu", "PIL": "pillow", "yaml": "pyyaml"}
ON_PYPI |= {"rclpy": "ros-kilted-rclpy", "rerun": "rerun-sdk"}
ROOM_EXTRAS = {
    "evaluation": {"evaluation"},
    "training": {"training"},
    "town": {"town"},
    "cli": {"evaluation", "training", "town", "export"},
}
"""Extras whose packages a room may import at module level. All other rooms run on a robot."""


@pytest.fixture(scope="module")
def manifest(repository: Path) -> ElementTree.Element:
    return ElementTree.parse(repository / "package.xml").getroot()


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The package as pip would install it, built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns(".*", "build", "install", "log", "out", "data", "*.egg-info")
    shutil.copytree(repository, folder / "source", ignore=ignore)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", folder, folder / "source"], check=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def requirements(wheel: zipfile.ZipFile) -> dict[str, set[str]]:
    """Names of the packages that each extra requires; "" is the base."""
    (path,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = email.parser.Parser().parsestr(wheel.read(path).decode())
    found: dict[str, set[str]] = {"": set()}
    found |= {extra: set() for extra in metadata.get_all("Provides-Extra", [])}
    for requirement in metadata.get_all("Requires-Dist", []):
        extra = re.search(r"extra == ['\"](\w+)['\"]", requirement)
        found[extra[1] if extra else ""].add(normalised(requirement))
    return found


def test_package_xml(manifest: ElementTree.Element) -> None:
    assert manifest.get("format") == "3"
    assert manifest.findtext("name") == "scmpr_ros"
    assert manifest.findtext("version") == scmpr_ros.__version__
    assert manifest.findtext("export/build_type") == "ament_python"
    needed = {element.text for element in manifest.iter("exec_depend")}
    assert needed >= {"rclpy", "cv_bridge", "sensor_msgs_py", "tf_transformations", "tf2_ros"}
    assert needed >= {"python3-pytorch-pip", "python3-timm-pip", "python3-faiss"}


def test_a_robot_installs_neither_training_nor_the_town(
    requirements: dict[str, set[str]], manifest: ElementTree.Element
) -> None:
    extras = requirements["training"] | requirements["evaluation"] | requirements["town"]
    assert extras >= {"numba", "lightning", "jsonargparse", "matplotlib", "tensorboard"}
    assert not extras & requirements[""]
    keys = {str(element.text) for element in manifest.iter("exec_depend")}
    packages = {key.removeprefix("python3-").removesuffix("-pip") for key in keys}
    assert not extras & packages


def test_every_import_is_a_dependency(
    repository: Path, manifest: ElementTree.Element, requirements: dict[str, set[str]]
) -> None:
    """ROS packages in package.xml, everything else in setup.py.

    Packages of an extra are imported at module level only by rooms that need the extra.
    """
    ros = {element.text for element in manifest.iter("exec_depend")}
    of_torch = {"triton"}  # comes with torch, where there is one
    known = {"scmpr_ros", *sys.stdlib_module_names, *ros, *of_torch}
    lazy_packages = set().union(*requirements.values())
    root = repository / "scmpr_ros"
    for path in root.rglob("*.py"):
        extras = ROOM_EXTRAS.get(path.relative_to(root).parts[0], set())
        allowed = requirements[""].union(*(requirements[extra] for extra in extras))
        for module, lazily in imported_packages(path).items():
            name = normalised(ON_PYPI.get(module, module))
            packages = allowed | lazy_packages if lazily else allowed
            assert module in known or name in packages, f"{path} imports {module}"


def imported_packages(path: Path) -> dict[str, bool]:
    """Packages that a file imports, and whether it does so inside functions only."""
    names: dict[str, bool] = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module]
        else:
            continue
        for module in modules:
            package = module.split(".")[0]
            names[package] = names.get(package, True) and node.col_offset > 0
    return names


def test_versions_agree(repository: Path) -> None:
    version = importlib.metadata.version("scmpr_ros")
    assert version == scmpr_ros.__version__
    assert f"version: {version}" in (repository / "CITATION.cff").read_text()
    assert f"## [{version}]" in (repository / "CHANGELOG.md").read_text()


def test_colcon_installs_scripts_where_ros2_run_looks(repository: Path) -> None:
    setup = configparser.ConfigParser()
    setup.read(repository / "setup.cfg")
    assert setup["install"]["install_scripts"] == "$base/lib/scmpr_ros"
    assert setup["develop"]["script_dir"] == "$base/lib/scmpr_ros"


def test_wheel_contains_the_share_folder(wheel: zipfile.ZipFile, repository: Path) -> None:
    names = {re.sub(r"^[^/]+\.data/data/", "", name) for name in wheel.namelist()}
    assert "share/ament_index/resource_index/packages/scmpr_ros" in names
    assert "share/scmpr_ros/package.xml" in names
    assert "scmpr_ros/py.typed" in names
    assert "scmpr_ros/lidar/segmentation.safetensors" in names
    for folder in ("launch", "config", "config/readers", "config/range_view", "models"):
        for path in (repository / folder).glob("*.*"):
            assert f"share/scmpr_ros/{folder}/{path.name}" in names


def test_console_scripts(wheel: zipfile.ZipFile) -> None:
    (path,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    entry_points = configparser.ConfigParser()
    entry_points.read_string(wheel.read(path).decode())
    assert dict(entry_points["console_scripts"]) == {
        name: f"scmpr_ros.cli.console_scripts:{name}" for name in SCRIPTS
    }
    for name in SCRIPTS:
        script = getattr(console_scripts, name)
        assert importlib.util.find_spec(script.module), f"{script.module} does not exist"


def test_console_scripts_look_for_what_their_extra_brings(
    requirements: dict[str, set[str]],
) -> None:
    for extra, modules in console_scripts.EXTRAS.items():
        packages = {normalised(ON_PYPI.get(module, module)) for module in modules}
        assert packages <= requirements[extra], extra


def test_console_scripts_are_installed() -> None:
    """In the virtual environment, or where colcon installs them for `ros2 run`."""
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    folders = [sysconfig.get_path("scripts"), *(f"{p}/lib/scmpr_ros" for p in prefixes)]
    missing = {s for s in SCRIPTS if not any(os.access(Path(f, s), os.X_OK) for f in folders)}
    assert not missing, f"run make, or colcon build, again; searched {folders}"


def test_every_requirement_is_pinned(repository: Path, requirements: dict[str, set[str]]) -> None:
    lines = (repository / "constraints.txt").read_text().splitlines()
    pins = {normalised(line.split("==")[0]) for line in lines if "==" in line}
    named = set().union(*(names for extra, names in requirements.items() if extra != "gpu"))
    assert named <= pins, f"run `make constraints`: {sorted(named - pins)}"


def test_test_files_have_unique_names(repository: Path) -> None:
    """Where launch_testing is installed, its plugin imports test files by their bare name."""
    counts = Counter(path.name for path in (repository / "test").rglob("test_*.py"))
    assert not [name for name, count in counts.items() if count > 1]


def normalised(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()
