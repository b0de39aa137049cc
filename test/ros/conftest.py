"""Real nodes as processes of their own, and a node in this process to talk to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scmpr_ros.datasets.rosbag2.writer import BagWriterConfig, write_drive_bag
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
from rclpy.parameter import Parameter  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2]


class NodeProcess:
    """One of the package's nodes, started as its console script would start it."""

    def __init__(self, module: str, arguments: list[str], log: Path) -> None:
        self.log = log
        environment = dict(os.environ)
        environment["PYTHONPATH"] = f"{REPOSITORY}:{environment.get('PYTHONPATH', '')}"
        with log.open("w") as file:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", f"scmpr_ros.ros.{module}", "--ros-args", *arguments],
                stdout=file, stderr=subprocess.STDOUT, env=environment, cwd=log.parent,
            )  # fmt: skip

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait(self, timeout_s: float = 60.0) -> int:
        """Exit code, once the process has ended by itself."""
        return self.popen.wait(timeout_s)

    def stop(self, *signals: int) -> int:
        """Send signals (SIGINT by default) and return the exit code."""
        for number in signals or (signal.SIGINT,):
            self.popen.send_signal(number)
        return self.wait()

    def wait_for(self, text: str, timeout_s: float = 60.0) -> None:
        """Wait until the node has logged `text`."""
        give_up = time.monotonic() + timeout_s
        while text not in self.output:
            assert self.popen.poll() is None, f"ended without {text!r}:\n{self.output}"
            assert time.monotonic() < give_up, f"no {text!r} in:\n{self.output}"
            time.sleep(0.02)


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[Callable[..., NodeProcess]]:
    """Start nodes by module name and ROS arguments; what still runs at the end is killed."""
    started: list[NodeProcess] = []

    def start(module: str, *arguments: str) -> NodeProcess:
        process = NodeProcess(module, list(arguments), tmp_path / f"{module}.{len(started)}.log")
        started.append(process)
        return process

    yield start
    for process in started:
        if process.popen.poll() is None:
            process.popen.kill()
            process.wait()


class Graph:
    """A node of the test's own process, spun while a condition is waited for."""

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

    def call(self, kind: type, name: str, timeout_s: float = 60.0) -> Any:
        client = self.node.create_client(kind, name)
        self.until(client.service_is_ready, f"service {name}")
        future = client.call_async(kind.Request())
        self.until(future.done, f"answer of {name}", timeout_s)
        return future.result()


@pytest.fixture(scope="session")
def ros_context() -> Iterator[None]:
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def graph(ros_context: None, request: pytest.FixtureRequest) -> Iterator[Graph]:
    node = rclpy.create_node(f"test_{abs(hash(request.node.name)) % 10**8}")
    yield Graph(node)
    node.destroy_node()


class StreetDrive:
    """A straight drive through `street_cloud`: images of noise, for whoever only needs answers."""

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
    """Road, 40 m long, between two walls, with poles; every point labelled."""
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
    """Files of a small world: a cloud, a bag of 12 images, and two untrained networks."""

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
    """A place map of the street, made with `street.checkpoint`."""
    directory = tmp_path_factory.mktemp("maps") / "street"
    config = MapBuilderConfig(PlacesConfig(spacing_m=5.0))
    network = load_checkpoint(street.checkpoint)
    build_map(PointCloudMap.of(street_cloud()), network, config, progress=False).save(directory)
    return directory


@pytest.fixture
def make_node(ros_context: None) -> Iterator[Callable[..., Any]]:
    """Make nodes in this process, by class and parameters; they are closed at the end."""
    made: list[Any] = []

    def make(cls: type, **parameters: Any) -> Any:
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        made.append(cls(parameter_overrides=overrides))
        return made[-1]

    yield make
    for node in made:
        node.close()
        node.destroy_node()
