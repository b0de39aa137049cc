"""What pip and colcon need, and that the several descriptions of the package agree."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest

import scmpr_ros

NODES = {"map_loader", "localizer", "play_bag", "record_answers"}
TOOLS = {
    "ablate", "benchmark", "build_map", "compare_drives", "convert", "demo", "diagnose",
    "evaluate", "export_onnx", "make_town", "train", "train_segmenter",
}  # fmt: skip


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


def test_package_xml(manifest: ElementTree.Element) -> None:
    assert manifest.get("format") == "3"
    assert manifest.findtext("name") == "scmpr_ros"
    assert manifest.findtext("version") == scmpr_ros.__version__
    assert manifest.findtext("export/build_type") == "ament_python"
    needed = {element.text for element in manifest.iter("exec_depend")}
    assert needed >= {"rclpy", "cv_bridge", "sensor_msgs_py", "tf_transformations", "tf2_ros"}
    assert needed >= {"python3-pytorch-pip", "python3-timm-pip", "python3-faiss"}


def test_every_import_is_a_dependency(repository: Path, manifest: ElementTree.Element) -> None:
    """ROS packages in package.xml, everything else in setup.py; the rest Python brings along.

    What only an extra brings may be imported inside functions only.
    """
    on_pypi = {"cv2": "opencv-python-headless", "faiss": "faiss-cpu", "PIL": "pillow"}
    on_pypi["yaml"] = "pyyaml"
    ros = {element.text for element in manifest.iter("exec_depend")}
    required = importlib.metadata.requires("scmpr_ros") or []
    pip = {normalised(r) for r in required if "extra ==" not in r}
    extras = {normalised(r) for r in required if re.search(r"extra == .(gpu|export|openvino)", r)}
    of_torch = {"triton"}  # the one it was built with, where it was
    known = {"scmpr_ros", *sys.stdlib_module_names, *ros, *of_torch}
    for path in (repository / "scmpr_ros").rglob("*.py"):
        for module, lazily in imported_packages(path).items():
            name = normalised(on_pypi.get(module, module))
            allowed = module in known or name in pip or (lazily and name in extras)
            assert allowed, f"{path} imports {module}"


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


def test_colcon_finds_scripts_where_ros2_run_looks(repository: Path) -> None:
    setup = configparser.ConfigParser()
    setup.read(repository / "setup.cfg")
    assert setup["install"]["install_scripts"] == "$base/lib/scmpr_ros"
    assert setup["develop"]["script_dir"] == "$base/lib/scmpr_ros"


def test_wheel_holds_share_folder(wheel: zipfile.ZipFile, repository: Path) -> None:
    names = {re.sub(r"^[^/]+\.data/data/", "", name) for name in wheel.namelist()}
    assert "share/ament_index/resource_index/packages/scmpr_ros" in names
    assert "share/scmpr_ros/package.xml" in names
    assert "scmpr_ros/py.typed" in names
    assert "scmpr_ros/lidar/segmentation.safetensors" in names
    for folder in ("launch", "config", "models"):
        for path in (repository / folder).glob("*.*"):
            assert f"share/scmpr_ros/{folder}/{path.name}" in names


def test_console_scripts(wheel: zipfile.ZipFile) -> None:
    (path,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    scripts = configparser.ConfigParser()
    scripts.read_string(wheel.read(path).decode())
    assert set(scripts["console_scripts"]) == NODES | TOOLS
    for target in scripts["console_scripts"].values():
        module, _, function = target.partition(":")
        assert importlib.util.find_spec(module), f"{target} does not exist"
        assert function == "main"


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="not in a virtual environment")
@pytest.mark.parametrize("script", sorted(NODES | TOOLS))
def test_scripts_are_in_the_virtual_environment(script: str) -> None:
    path = Path(sys.prefix, "bin", script)
    assert os.access(path, os.X_OK), f"{path} is missing: run make again"


def test_every_requirement_is_pinned(repository: Path) -> None:
    lines = (repository / "constraints.txt").read_text().splitlines()
    pins = {normalised(line.split("==")[0]) for line in lines if "==" in line}
    required = importlib.metadata.requires("scmpr_ros") or []
    named = {normalised(r) for r in required if not re.search(r"extra == .gpu", r)}
    assert named <= pins, f"run `make constraints`: {sorted(named - pins)}"


def normalised(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()
