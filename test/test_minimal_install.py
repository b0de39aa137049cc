"""What runs, and what is said, where the packages of the extras are not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from scmpr_ros.cli.console_scripts import COMMANDS, EXTRAS, NODES, ConsoleScript
from scmpr_ros.lidar.cloud_files import write_cloud
from scmpr_ros.methods.checkpoint import save_checkpoint
from scmpr_ros.methods.scmpr.network import ScmprConfig, ScmprNetwork
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import class_id

_LAZY = {"threadpoolctl", "openvino", "pytorch_lightning", "rerun"}
OF_EXTRAS = sorted(_LAZY.union(*EXTRAS.values()))
BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
"""
IMPORT_ALL = """
import importlib, pkgutil
for room in ("ros", "pipeline", "methods", "retrieval", "networks", "lidar", "datasets"):
    package = importlib.import_module(f"scmpr_ros.{room}")
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
"""


def run_without(blocked: list[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process in which some packages cannot be imported."""
    script = BLOCKER.format(blocked=blocked) + code
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


def test_nodes_and_library_import_without_extras() -> None:
    pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")
    without_ros = [name for name in OF_EXTRAS if name != "rclpy"]
    result = run_without(without_ros, IMPORT_ALL)
    assert result.returncode == 0, result.stderr


def test_build_map_runs_without_extras(tmp_path: Path) -> None:
    write_cloud(tmp_path / "yard.ply", walled_yard())
    torch.manual_seed(0)
    save_checkpoint(ScmprNetwork(ScmprConfig()), tmp_path / "network.safetensors")
    arguments = [str(tmp_path / name) for name in ("yard.ply", "map")]
    arguments += ["--checkpoint", str(tmp_path / "network.safetensors")]
    arguments += ["--settings.builder.places.spacing_m", "6"]
    code = f"sys.argv[1:] = {arguments}\n"
    code += "from scmpr_ros.cli.console_scripts import build_map\nsys.exit(build_map())"
    result = run_without(OF_EXTRAS, code)
    assert result.returncode == 0, result.stderr
    assert "places in 1 tiles written to" in result.stdout
    assert (tmp_path / "map").is_dir()


def walled_yard() -> PointCloud:
    """A square of road between four walls, so that every direction has something to see."""
    x, y = (grid.ravel() for grid in np.meshgrid(*[np.arange(-6, 6, 0.3)] * 2))
    height, wall = y + 6, np.full(x.size, 6.0)
    sides = [(x, wall, height), (x, -wall, height), (wall, x, height), (-wall, x, height)]
    points = np.concatenate([np.stack(side, 1) for side in [(x, y, 0 * x), *sides]])
    names = ["road", *["building"] * 4]
    labels = np.repeat([class_id(name) for name in names], x.size).astype(np.uint8)
    return PointCloud(points.astype(np.float32), labels)


def test_scripts_say_which_extra_to_install() -> None:
    names = [*NODES, *(name for name, extra in COMMANDS.items() if extra)]
    code = "from scmpr_ros.cli import console_scripts\n"
    code += f"print([getattr(console_scripts, name)() for name in {names}])"
    result = run_without(OF_EXTRAS, code)
    assert result.stdout == f"{[1] * len(names)}\n", result.stderr
    lines = result.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines] == names
    assert (
        "train: jsonargparse, matplotlib, rich, lightning, tensorboard are not installed: "
        'pip install "scmpr_ros[training]"'
    ) in lines
    assert (
        'localizer: rclpy is not installed: source ROS 2, or pip install "scmpr_ros[ros]"' in lines
    )


@pytest.mark.parametrize("module", ["lightning", "tensorboard"])
def test_one_missing_package_is_named(module: str) -> None:
    code = "from scmpr_ros.cli.console_scripts import train\nsys.exit(train())"
    result = run_without([module], code)
    assert result.returncode == 1
    message = f'train: {module} is not installed: pip install "scmpr_ros[training]"\n'
    assert result.stderr == message


@pytest.fixture
def script_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / f"script_{tmp_path.name}.py"


def test_a_missing_base_package_is_named(
    script_module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where it is imported while the script runs."""
    script_module.write_text("def main():\n    import no_such_package.part")
    assert ConsoleScript("tool", script_module.stem, "")() == 1
    expected = 'tool: no_such_package is not installed: pip install "scmpr_ros"\n'
    assert capsys.readouterr().err == expected


def test_a_module_missing_from_the_package_is_a_bug(script_module: Path) -> None:
    script_module.write_text("import scmpr_ros.no_such_module")
    with pytest.raises(ModuleNotFoundError):
        ConsoleScript("tool", script_module.stem, "")()


def test_ctrl_c_during_the_imports_is_one_line(
    script_module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script_module.write_text("raise KeyboardInterrupt")
    assert ConsoleScript("tool", script_module.stem, "")() == 130
    assert capsys.readouterr().err == "\ntool: stopped\n"
