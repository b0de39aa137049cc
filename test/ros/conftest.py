"""Real nodes, in processes or in threads of this one, and a node to talk to them."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scmpr_ros.datasets.bags.writer import BagWriterConfig, write_drive_bag
from scmpr_ros.geometry import R_BODY_OPTICAL, make_transform
from scmpr_ros.lidar.cloud_files import write_cloud
from scmpr_ros.lidar.places import PlacesConfig
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.methods.checkpoint import load_checkpoint, save_checkpoint
from scmpr_ros.methods.scmpr.network import ScmprConfig, ScmprNetwork
from scmpr_ros.pipeline.map_builder import MapBuilderConfig, build_map
from scmpr_ros.records import CameraModel, PointCloud
from scmpr_ros.semantics import class_id

rclpy = pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from geometry_msgs.msg import TransformStamped  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from rcl_interfaces.msg import Log  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.task import Future  # noqa: E402
from rclpy.time import Time  # noqa: E402
from sensor_msgs.msg import CameraInfo  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from scmpr_ros.ros.conversions import pose_message  # noqa: E402
from scmpr_ros.ros.executor import NodeExecutor  # noqa: E402
from scmpr_ros.ros.qos import latched  # noqa: E402
from scmpr_ros.ros.transforms import TransformError, TransformReader  # noqa: E402

_stamps_s = itertools.count(1)
REPOSITORY = Path(__file__).resolve().parents[2]


class NodeProcess:
    """A node's command as a process."""

    def __init__(self, command: str, arguments: list[str], log: Path) -> None:
        self.log = log
        environment = dict(os.environ)
        environment["PYTHONPATH"] = f"{REPOSITORY}:{environment.get('PYTHONPATH', '')}"
        with log.open("w") as file:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", f"scmpr_ros.ros.commands.{command}", "--ros-args",
                 *arguments],
                stdout=file, stderr=subprocess.STDOUT, env=environment, cwd=log.parent,
            )  # fmt: skip

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait(self, timeout_s: float = 60.0) -> int:
        """Wait for the end of the process and return the exit code."""
        return self.popen.wait(timeout_s)

    def stop(self, *signals: int) -> int:
        """Send signals (SIGINT by default) and return the exit code."""
        for number in signals or (signal.SIGINT,):
            self.popen.send_signal(number)
        return self.wait()

    def wait_for(self, text: str, timeout_s: float = 60.0) -> None:
        """Wait until the process has written `text`."""
        give_up = time.monotonic() + timeout_s
        while text not in self.output:
            assert self.popen.poll() is None, f"ended without {text!r}:\n{self.output}"
            assert time.monotonic() < give_up, f"no {text!r} in:\n{self.output}"
            time.sleep(0.02)


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[Callable[..., NodeProcess]]:
    """Start nodes by command and ROS arguments; they are killed at the end."""
    started: list[NodeProcess] = []

    def start(command: str, *arguments: str) -> NodeProcess:
        log = tmp_path / f"{command}.{len(started)}.log"
        process = NodeProcess(command, list(arguments), log)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.popen.poll() is None:
            process.popen.kill()
            process.wait()


class Graph:
    """A node of the test, spun while it waits."""

    def __init__(self, node: Any) -> None:
        self.node = node

    def until(self, condition: Callable[[], Any], what: str = "", timeout_s: float = 20.0) -> None:
        give_up = time.monotonic() + timeout_s
        while not condition():
            rclpy.spin_once(self.node, timeout_sec=0.02)
            assert time.monotonic() < give_up, f"waited {timeout_s:g} s for {what or condition}"

    def collect(self, kind: type, topic: str, qos: Any = 50, raw: bool = False) -> list[Any]:
        """Subscribe; the list grows while the graph is spun."""
        received: list[Any] = []
        self.node.create_subscription(kind, topic, received.append, qos, raw=raw)
        return received

    def publisher(self, kind: type, topic: str, qos: Any = 50) -> Any:
        return self.node.create_publisher(kind, topic, qos)

    def publish_until(
        self, publisher: Any, message: Any, condition: Callable[[], Any], what: str = ""
    ) -> None:
        """Publish a message again and again until it has its effect.

        A subscriber may discover a publisher later than it is discovered by it; what is published
        in between never arrives.
        """
        self.repeat_until(lambda: publisher.publish(message), condition, what)

    def repeat_until(
        self, act: Callable[[], Any], condition: Callable[[], Any], what: str = "",
        timeout_s: float = 20.0,
    ) -> None:  # fmt: skip
        """Do something every 0.2 s until it has its effect."""
        acted_s = -1.0

        def act_and_check() -> Any:
            nonlocal acted_s
            if time.monotonic() - acted_s > 0.2:
                act()
                acted_s = time.monotonic()
            return condition()

        self.until(act_and_check, what, timeout_s)

    def request(self, kind: type, name: str, **values: Any) -> Any:
        """Call a service and return the future of its answer."""
        client = self.node.create_client(kind, name)
        self.until(client.service_is_ready, f"service {name}")
        return client.call_async(kind.Request(**values))

    def call(self, kind: type, name: str, timeout_s: float = 60.0, **values: Any) -> Any:
        future = self.request(kind, name, **values)
        self.until(future.done, f"answer of {name}", timeout_s)
        return future.result()

    def state_of(self, node: str) -> str:
        """Label of a lifecycle node's state.

        Asked again after a while: a server that has just been discovered may answer before its
        answers have a way back, and DDS drops them.
        """
        answers: list[Any] = []
        asked_s = 0.0

        def ask() -> bool:
            nonlocal asked_s
            if time.monotonic() - asked_s > 5.0:
                answers.append(self.request(GetState, f"{node}/get_state"))
                asked_s = time.monotonic()
            return any(answer.done() for answer in answers)

        self.until(ask, f"state of {node}", 60.0)
        (state, *_) = (answer.result() for answer in answers if answer.done())
        return str(state.current_state.label)

    def change_state(self, node: str, transition: int) -> bool:
        """Ask a node for a lifecycle transition, as `ros2 lifecycle set` does."""
        request = ChangeState.Request()
        request.transition.id = transition
        return self.call(ChangeState, f"{node}/change_state", transition=request.transition).success

    def logs(self, node: str) -> Callable[[], str]:
        """Collect what a node logs from now on; returns a function that gives it as one text.

        /rosout is latched, so that nothing is lost while the subscription is discovered.
        """
        began = self.node.get_clock().now()
        received: list[Log] = self.collect(Log, "/rosout", latched(1000))

        def text() -> str:
            new = [log for log in received if Time.from_msg(log.stamp) > began]
            return "\n".join(log.msg for log in new if log.name == node)

        return text

    def diagnostics(self, node: str) -> Callable[[], DiagnosticStatus | None]:
        """Collect a node's diagnostics; returns a function that gives the latest status."""
        received: list[DiagnosticArray] = self.collect(DiagnosticArray, "/diagnostics")

        def latest() -> DiagnosticStatus | None:
            found = [s for a in received for s in a.status if s.name == f"{node}: localization"]
            return found[-1] if found else None

        return latest


@pytest.fixture(scope="module")
def ros_context() -> Iterator[None]:
    """The middleware's threads and shared memory; they end before other tests of this process."""
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def graph(ros_context: None, request: pytest.FixtureRequest) -> Iterator[Graph]:
    node = rclpy.create_node(f"test_{abs(hash(request.node.name)) % 10**8}")
    yield Graph(node)
    node.destroy_node()


class StreetDrive:
    """A straight drive through `street_cloud` with images of noise."""

    label_set = "joint"

    def __init__(self, count: int) -> None:
        self.name = "street"
        self.camera = CameraModel(160, 96, 90.0, 90.0, 79.5, 47.5)
        self.T_lidar_camera = make_transform(R_BODY_OPTICAL, np.array([0.2, 0.0, -0.1]))
        self.frames = self.image_frames = tuple(range(count))
        self.scan_frames = (0,)

    def stamp_s(self, frame: int) -> float:
        return 0.1 * frame

    def T_world_lidar(self, frame: int) -> np.ndarray:
        return make_transform(np.eye(3), np.array([frame - 10.0, 0.0, 1.7]))

    def T_world_camera(self, frame: int) -> np.ndarray:
        return self.T_world_lidar(frame) @ self.T_lidar_camera

    def image(self, frame: int) -> np.ndarray:
        return np.random.default_rng(frame).integers(0, 256, (96, 160, 3), dtype=np.uint8)

    def scan(self, frame: int) -> PointCloud:
        return PointCloud(np.ones((4, 3), np.float32))

    def point_labels(self, frame: int) -> None:
        return None

    def mask(self, frame: int, sparse: bool = True) -> None:
        return None


def street_cloud() -> PointCloud:
    """Make a labelled road of 40 m between two walls, with poles."""
    x, y = np.meshgrid(np.arange(-20, 20, 0.2), np.arange(-8, 8, 0.2))
    road = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    x, z = np.meshgrid(np.arange(-20, 20, 0.2), np.arange(0, 6, 0.2))
    walls = [np.stack([x.ravel(), np.full(x.size, side), z.ravel()], axis=1) for side in (-8, 8)]
    poles = [np.array([[at, 5.0, z] for z in np.arange(0, 4, 0.1)]) for at in (-15, -4, 11)]
    parts = [(road, "road"), *((w, "building") for w in walls), *((p, "pole") for p in poles)]
    label = np.concatenate([np.full(len(p), class_id(name), np.uint8) for p, name in parts])
    return PointCloud(np.concatenate([p for p, _ in parts]).astype(np.float32), label)


@dataclass(frozen=True)
class Street:
    """A small world on disk: a cloud, bags of 12 images, and two untrained networks."""

    cloud: Path
    bag: Path
    compressed_bag: Path
    checkpoint: Path
    other_checkpoint: Path
    num_images: int = 12


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory) -> Street:
    folder = tmp_path_factory.mktemp("street")
    files = Street(folder / "street.ply", folder / "drive", folder / "drive_png",
                   folder / "network.safetensors", folder / "other.safetensors")  # fmt: skip
    write_cloud(files.cloud, street_cloud())
    drive = StreetDrive(files.num_images)
    write_drive_bag(drive, files.bag)
    write_drive_bag(drive, files.compressed_bag, BagWriterConfig(image_format="png", scans=False))
    for seed, path in enumerate((files.checkpoint, files.other_checkpoint)):
        torch.manual_seed(seed)
        save_checkpoint(ScmprNetwork(ScmprConfig()), path)
    return files


@pytest.fixture(scope="session")
def street_map(street: Street, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Place map of the street, built with `street.checkpoint`."""
    directory = tmp_path_factory.mktemp("maps") / "street"
    config = MapBuilderConfig(PlacesConfig(spacing_m=5.0))
    network = load_checkpoint(street.checkpoint)
    build_map(PointCloudMap.of(street_cloud()), network, config, progress=False).save(directory)
    return directory


@pytest.fixture
def street_image() -> Callable[[], tuple[np.ndarray, Header]]:
    """Return pixels and header of an image of noise, with a new stamp at each call."""
    pixels = np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8)

    def image() -> tuple[np.ndarray, Header]:
        header = Header(frame_id="camera")
        header.stamp.sec = next(_stamps_s)
        return pixels, header

    return image


@pytest.fixture
def street_info() -> CameraInfo:
    """The camera_info of `street_image`."""
    return CameraInfo(width=160, height=96, p=[90.0, 0, 79.5, 0, 0, 90.0, 47.5, 0, 0, 0, 1, 0])


@pytest.fixture
def make_node(ros_context: None) -> Iterator[Callable[..., Any]]:
    """Create nodes in this process, by class and parameters; they are closed at the end.

    node: further arguments of the class.
    """
    made: list[Any] = []

    def make(cls: type, node: dict[str, Any] | None = None, **parameters: Any) -> Any:
        made.append(_create(cls, parameters, **(node or {})))
        return made[-1]

    yield make
    for node in made:
        node.close()
        node.destroy_node()


def _create(cls: type, parameters: dict[str, Any], **arguments: Any) -> Any:
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    return cls(parameter_overrides=overrides, **arguments)


class SpinThread:
    """Spins a node as `run_managed` does, but in a thread of its own.

    `shutdown` is called when `spin` has ended: it takes away what it wakes `spin` by, which may be
    about to wait for that and would wait forever.
    """

    def __init__(self, node: Any) -> None:
        self._executor = NodeExecutor(num_threads=2)
        self._executor.add_node(node)
        self._end: Future[None] = Future()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin_until_future_complete(self._end)
        except BaseException as error:
            self._failure = error

    def stop(self) -> None:
        """End; raises an exception that left `spin`, which would end a process."""
        self._end.set_result(None)
        self._thread.join()
        self._executor.shutdown()
        if self._failure is not None:
            raise self._failure


@pytest.fixture
def spin_thread() -> type[SpinThread]:
    """Spin a node until `stop`."""
    return SpinThread


class RunningNode:
    """A managed node, started and spun."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.started = node.start()
        self._spinning = SpinThread(node)

    def close(self) -> None:
        """Stop the node."""
        assert self.node.close(), "a job outlasted the node"
        self._spinning.stop()
        self.node.destroy_node()


@pytest.fixture(scope="module")
def run_node(ros_context: None) -> Iterator[Callable[..., Any]]:
    """Start nodes that are spun until the module ends, by class, node arguments and parameters."""
    running: list[RunningNode] = []

    def run(cls: type, namespace: str = "", **parameters: Any) -> Any:
        running.append(RunningNode(_create(cls, parameters, namespace=namespace)))
        return running[-1].node

    yield run
    for node in running:
        node.close()


class RobotTf:
    """Publishes transforms, and reads them with the package's reader. Needs tf2_ros."""

    def __init__(self, graph: Graph) -> None:
        from tf2_msgs.msg import TFMessage

        self._graph, self._message_type = graph, TFMessage
        self.reader = TransformReader(graph.node, "the test")
        self._moving = graph.publisher(TFMessage, "/tf")
        self._static = graph.publisher(TFMessage, "/tf_static", latched(1))
        for publisher in (self._moving, self._static):
            graph.until(publisher.get_subscription_count, "the listener")

    def publish(self, parent: str, child: str, T: np.ndarray, stamp_ns: int) -> None:
        """Publish a moving transform (4, 4) and wait until the reader has it."""
        self._publish(self._moving, parent, child, T, stamp_ns)

    def publish_static(self, parent: str, child: str, T: np.ndarray) -> None:
        self._publish(self._static, parent, child, T, 0)

    def _publish(
        self, publisher: Any, parent: str, child: str, T: np.ndarray, stamp_ns: int
    ) -> None:
        pose = pose_message(T)
        transform = TransformStamped(child_frame_id=child)
        transform.header.frame_id = parent
        transform.header.stamp = Time(nanoseconds=stamp_ns).to_msg()
        for axis in "xyz":
            setattr(transform.transform.translation, axis, getattr(pose.position, axis))
        transform.transform.rotation = pose.orientation
        message = self._message_type(transforms=[transform])

        def arrived() -> bool:
            try:
                found = self.reader.lookup(parent, child, stamp_ns)
            except TransformError:
                return False
            return np.allclose(found, T)

        self._graph.publish_until(publisher, message, arrived, f"{parent} -> {child}")


@pytest.fixture
def robot_tf(graph: Graph) -> Iterator[RobotTf]:
    pytest.importorskip("tf2_ros", reason="tf2_ros is not installed")
    robot = RobotTf(graph)
    yield robot
    robot.reader.destroy()
