"""Launch files: their arguments and, where `launch` is installed, real launches."""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

FILES = ("localize", "build_map", "replay", "demo")
# In a clone, Python takes the folder launch/ for a package of that name, so look for launch_ros.
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
        ("build_map", {"directory"}),
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


def test_fastdds_profile_uses_the_transports_it_defines(repository: Path) -> None:
    space = {"d": "http://www.eprosima.com"}
    root = ElementTree.parse(repository / "config" / "fastdds.xml").getroot()
    defined = {t.text for t in root.iterfind(".//d:transport_descriptor/d:transport_id", space)}
    used = {t.text for t in root.iterfind(".//d:userTransports/d:transport_id", space)}
    assert used == defined == {"large_shared_memory", "udp"}


class Launch:
    """A running `ros2 launch`, in a process group of its own."""

    def __init__(self, file: Path, arguments: dict[str, Any], log: Path) -> None:
        self.log = log
        command = ["ros2", "launch", str(file), *(f"{k}:={v}" for k, v in arguments.items())]
        with log.open("w") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, "ROS_LOG_DIR": str(log.parent)},
            )  # fmt: skip

    def wait_for(self, text: str) -> None:
        give_up_s = time.monotonic() + 60.0
        while text not in self.log.read_text():
            assert self.process.poll() is None, f"ended without {text!r}:\n{self.log.read_text()}"
            assert time.monotonic() < give_up_s, f"no {text!r} in:\n{self.log.read_text()}"
            time.sleep(0.05)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60.0)

    def processes(self) -> list[str]:
        """Command lines of the processes of this launch that still run."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if os.getpgid(int(folder.name)) == self.process.pid:
                    found.append((folder / "cmdline").read_text().replace("\0", " "))
            except OSError:  # ended meanwhile
                continue
        return [command for command in found if command]


@pytest.fixture
def launch(repository: Path, tmp_path: Path) -> Iterator[Callable[..., Launch]]:
    """Launch a file of the package, or of a path; skipped without ROS's launch."""
    ament_index = pytest.importorskip("ament_index_python.packages", reason="no ROS 2")
    if shutil.which("ros2") is None or not HAS_LAUNCH:
        pytest.skip("the command `ros2 launch` is not installed")
    try:
        ament_index.get_package_prefix("scmpr_ros")
    except ament_index.PackageNotFoundError:
        pytest.skip("scmpr_ros is not in the ament index: build it with colcon and source it")
    started: list[Launch] = []

    def start(file: str | Path, **arguments: Any) -> Launch:
        path = repository / "launch" / f"{file}.launch.py" if isinstance(file, str) else file
        started.append(Launch(path, arguments, tmp_path / f"launch{len(started)}.log"))
        return started[-1]

    yield start
    for running in started:
        if running.processes():
            os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait()


def test_parameters_reach_a_node_in_a_pushed_namespace(
    repository: Path, launch: Callable[..., Launch], tmp_path: Path
) -> None:
    """The parameter file, and the arguments that override it."""
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump({
        "/**": {"ros__parameters": {"queue_size": 7, "map": "/maps/other"}},
        "/fleet/robot1/localizer": {"ros__parameters": {"map_frame": "world"}},
    }))  # fmt: skip
    parent = tmp_path / "parent.launch.py"
    parent.write_text(f"""
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription
from launch_ros.actions import PushRosNamespace

def generate_launch_description():
    return LaunchDescription([GroupAction([
        PushRosNamespace("fleet"),
        IncludeLaunchDescription({str(repository / "launch/localize.launch.py")!r}),
    ])])
""")
    running = launch(
        parent, namespace="robot1", params_file=params, map="/maps/town", autostart="false",
        mount_xyz="0.3 0 1.2", mount_rpy="0,0.1,0", broadcast_tf="true",
    )  # fmt: skip
    names = ["queue_size", "map_frame", "map", "mount.xyz", "mount.rpy", "broadcast_tf"]
    assert parameters_of("/fleet/robot1/localizer", names) == [
        7, "world", "/maps/town", [0.3, 0.0, 1.2], [0.0, 0.1, 0.0], True
    ]  # fmt: skip
    assert running.stop() == 0
    assert "sets no parameter" not in running.log.read_text()


def test_several_robots_with_one_map_loader(
    repository: Path, launch: Callable[..., Launch], tmp_path: Path
) -> None:
    parent = tmp_path / "robots.launch.py"
    parent.write_text(f"""
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription

def localizer(robot, camera):
    arguments = {{"namespace": robot, "node_name": camera, "image": camera + "/image_rect",
                 "place_map": "/map_loader/place_map"}}
    return GroupAction([IncludeLaunchDescription(
        {str(repository / "launch/localize.launch.py")!r}, launch_arguments=arguments.items(),
    )])

def generate_launch_description():
    return LaunchDescription([localizer("robot1", "front"), localizer("robot2", "rear")])
""")
    running = launch(parent)
    for name in ("robot1.front", "robot2.rear"):
        running.wait_for(f"[{name}]: waiting for a map on /map_loader/place_map")
    assert running.stop() == 0
    assert "Traceback" not in running.log.read_text()


def test_a_parameter_file_for_another_node_is_warned_of(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump({"localizer": {"ros__parameters": {"queue_size": 7}}}))
    running = launch("localize", namespace="robot1", params_file=params, autostart="false")
    running.wait_for(f"{params} sets no parameter of /robot1/localizer")
    assert running.stop() == 0


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("mount_xyz", "1 2", "mount_xyz:='1 2' must be three numbers"),
        ("params_file", "/no/such.yaml", "/no/such.yaml: cannot read the parameter file"),
        ("broadcast_tf", "maybe", "broadcast_tf"),
    ],
)
def test_a_wrong_argument_ends_the_launch_and_leaves_no_process(
    launch: Callable[..., Launch], tmp_path: Path, argument: str, value: str, message: str
) -> None:
    running = launch("demo", source=tmp_path, directory=tmp_path, bag=tmp_path, **{argument: value})
    assert running.process.wait(60.0) == 1
    assert message in running.log.read_text()
    assert not running.processes()


def test_demo_continues_without_rviz(launch: Callable[..., Launch], tmp_path: Path) -> None:
    if shutil.which("rviz2") is not None:
        pytest.skip("rviz2 is installed")
    running = launch("demo", source=tmp_path, directory=tmp_path, bag=tmp_path, rviz="true")
    running.wait_for("rviz2 is not installed; continuing without a viewer")
    running.wait_for("[map_loader-")
    running.stop()
    assert not running.processes()


def test_all_nodes_of_the_demo_take_the_time_of_the_recording(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    running = launch("demo", source=tmp_path, directory=tmp_path, bag=tmp_path, autostart="false")
    for node in ("/map_loader", "/localizer"):
        assert parameters_of(node, ["use_sim_time"]) == [True]
    running.stop()


def parameters_of(node: str, names: list[str]) -> list[Any]:
    """Ask a running node for its parameters."""
    import rclpy
    from rcl_interfaces.srv import GetParameters
    from rclpy.parameter import parameter_value_to_python

    context = rclpy.Context()
    rclpy.init(context=context)
    asking = rclpy.create_node("test_launch_files", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(asking)
    try:
        client = asking.create_client(GetParameters, f"{node}/get_parameters")
        assert client.wait_for_service(60.0), f"{node} is not there"
        future = client.call_async(GetParameters.Request(names=names))
        executor.spin_until_future_complete(future, timeout_sec=30.0)
        values = [parameter_value_to_python(value) for value in future.result().values]
    finally:
        asking.destroy_node()
        rclpy.try_shutdown(context=context)
    return [v if isinstance(v, (bool, int, float, str)) else list(v) for v in values]


def _description(repository: Path, name: str) -> Any:
    path = repository / "launch" / f"{name}.launch.py"
    spec = importlib.util.spec_from_file_location(f"launch_file_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()
