"""The nodes' commands: help, Ctrl-C at any time, and too little shared memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from std_srvs.srv import Trigger

from scmpr_ros.ros.shared_memory import shared_memory_problem

pytestmark = pytest.mark.end_to_end
REPOSITORY = Path(__file__).resolve().parents[2]


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          cwd=REPOSITORY, timeout=120, check=False)  # fmt: skip


def test_help_lists_the_parameters_and_starts_nothing() -> None:
    result = run_python("""
import sys, importlib, rclpy
for command in (
    "check", "localizer", "map_loader", "play_bag", "record_answers", "soak_localizer"
):
    sys.argv = [command, "--help", "--ros-args", "-p", "unknown:=1"]
    assert importlib.import_module(f"scmpr_ros.ros.commands.{command}").main() == 0
assert not rclpy.ok()
""")
    assert result.returncode == 0 and not result.stderr, result.stderr
    assert "  seconds (float, default 5.0)\n      How long to listen." in result.stdout
    localizer = result.stdout.split("usage: ")[2]
    assert localizer.startswith("localizer [-h] [--ros-args")
    assert "  tracking.state.max_age_s (float, default 5.0)\n      LOST when no image" in localizer
    for parameter in ("builder.places.spacing_m", "wait_topic", "idle_timeout_s"):
        assert f"  {parameter} (" in result.stdout


def test_ctrl_c_during_the_imports_is_quiet() -> None:
    """SIGINT arrives when torch is being imported, which takes seconds."""
    result = run_python("""
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
sys.argv = ["localizer"]
from scmpr_ros.ros.commands.localizer import main
main()
""")
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_build_that_a_service_waits_for(
    start_node, graph, street, tmp_path: Path, number: int
) -> None:
    node = start_node(
        "map_loader", "-p", f"source:={street.cloud}", "-p", f"directory:={tmp_path / 'map'}",
        "-p", f"checkpoint:={street.checkpoint}", "-p", "builder.places.spacing_m:=0.3",
    )  # fmt: skip
    node.wait_for("building a map", timeout_s=150)
    graph.request(Trigger, "/map_loader/build")
    assert node.stop(number, number) == 0, node.output
    assert "Traceback" not in node.output and "never retrieved" not in node.output
    assert not (tmp_path / "map").exists()


def test_shared_memory_that_is_too_small(tmp_path: Path) -> None:
    def profile(segment_bytes: str) -> dict[str, str]:
        path = tmp_path / f"{segment_bytes}.xml"
        text = (REPOSITORY / "config" / "fastdds.xml").read_text()
        before, _, rest = text.partition("<segment_size>")
        path.write_text(f"{before}<segment_size>{segment_bytes}{rest[rest.index('<') :]}")
        return {"FASTDDS_DEFAULT_PROFILES_FILE": str(path)}

    space = os.statvfs("/dev/shm")
    total = space.f_blocks * space.f_frsize
    problem = shared_memory_problem(profile(str(2 * total)))
    assert problem and "/dev/shm has" in problem and f"{2 * total / 1e6:.0f} MB" in problem
    assert shared_memory_problem(profile("1000")) is None
    assert shared_memory_problem(profile("many")) is None
    assert shared_memory_problem({}) is None
    assert shared_memory_problem({"FASTDDS_DEFAULT_PROFILES_FILE": "/none.xml"}) is None
    other = profile(str(2 * total)) | {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}
    assert shared_memory_problem(other) is None
