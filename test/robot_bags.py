"""Write small bags of a robot that drives along x past a wall, in every kind of file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_typestore

from scmpr_ros.datasets.bags.messages import (
    camera_info,
    header,
    image,
    message,
    odometry,
    point_cloud,
    transforms,
)
from scmpr_ros.datasets.bags.storage import TYPES
from scmpr_ros.geometry import R_BODY_OPTICAL, make_transform
from scmpr_ros.records import CameraModel

CAMERA = CameraModel(4, 3, 2.0, 2.0, 1.5, 1.0)
T_BASE_LIDAR = make_transform(np.eye(3), np.array([0.5, 0.0, 1.5]))
T_LIDAR_CAMERA = make_transform(R_BODY_OPTICAL, np.array([0.2, 0.0, -0.1]))
START_NS = 1_700_000_000_000_000_000
_TYPES1 = get_typestore(Stores.ROS1_NOETIC)


class Sent(NamedTuple):
    """A message on a topic, at a time in seconds since the start."""

    topic: str
    content: Any
    seconds: float


def stamp(seconds: float) -> int:
    return START_NS + round(seconds * 1e9)


def pose_at(seconds: float) -> np.ndarray:
    """T_map_base: 10 m/s along x."""
    return make_transform(np.eye(3), np.array([10.0 * seconds, 0.0, 0.0]))


def points(**fields: np.ndarray) -> np.ndarray:
    """A wall of 20 points, with further fields of the same length."""
    kinds = [(axis, "<f4") for axis in "xyz"] + [(n, v.dtype.str) for n, v in fields.items()]
    cloud = np.zeros(20, kinds)
    cloud["x"], cloud["y"] = np.arange(20), 3.0
    for name, values in fields.items():
        cloud[name] = values
    return cloud


def lidar(times: Iterable[float], topic: str = "/lidar/points") -> Iterator[Sent]:
    for seconds in times:
        yield Sent(topic, point_cloud(header(stamp(seconds), "lidar"), points()), seconds)


def camera(times: Iterable[float], name: str = "/cam") -> Iterator[Sent]:
    for seconds in times:
        head = header(stamp(seconds), "optical")
        yield Sent(f"{name}/camera_info", camera_info(head, CAMERA), seconds)
        yield Sent(f"{name}/image_rect", image(head, np.full((3, 4, 3), 7, np.uint8)), seconds)


def odom(times: Iterable[float], topic: str = "/odom", world: str = "map") -> Iterator[Sent]:
    for seconds in times:
        head = header(stamp(seconds), world)
        yield Sent(topic, odometry(head, "base", pose_at(seconds), np.zeros(6)), seconds)


def mounting(with_camera: bool = True, topic: str = "/tf_static") -> Iterator[Sent]:
    head = header(stamp(0), "base")
    edges = [(head, "lidar", T_BASE_LIDAR)]
    edges += [(header(stamp(0), "lidar"), "optical", T_LIDAR_CAMERA)] if with_camera else []
    yield Sent(topic, transforms(edges), 0.0)


def moving(times: Iterable[float], parent: str, child: str, at: Callable) -> Iterator[Sent]:
    for seconds in times:
        edge = (header(stamp(seconds), parent), child, at(seconds))
        yield Sent("/tf", transforms([edge]), seconds)


def pose(T: np.ndarray) -> Any:
    return odometry(header(0, ""), "", T, np.zeros(6)).pose.pose


def stamped(seconds: float, T: np.ndarray) -> Any:
    return message(
        "geometry_msgs/msg/PoseStamped", header=header(stamp(seconds), "map"), pose=pose(T)
    )


def write(path: Path, *streams: Iterable[Sent], storage: str = "mcap", zstd: str = "") -> Path:
    """Write a rosbag2 directory; zstd: empty, `file` or `message`."""
    writer = Writer2(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
    if zstd:
        writer.set_compression(CompressionMode[zstd.upper()], CompressionFormat.ZSTD)
    with writer:
        _write(writer, streams, lambda data, _: bytes(data), TYPES)
    return path


def write_ros1(path: Path, *streams: Iterable[Sent]) -> Path:
    """Write a .bag of ROS 1."""
    with Writer1(path) as writer:
        _write(writer, streams, lambda data, kind: bytes(TYPES.cdr_to_ros1(data, kind)), _TYPES1)
    return path


def _write(writer: Any, streams: Any, convert: Callable, types: Any) -> None:
    connections: dict[str, Connection] = {}
    sent = sorted((s for stream in streams for s in stream), key=lambda s: s.seconds)
    for topic, content, seconds in sent:
        kind = content.__msgtype__
        if topic not in connections:
            connections[topic] = _connect(writer, topic, kind, types)
        data = convert(TYPES.serialize_cdr(content, kind), kind)
        writer.write(connections[topic], stamp(seconds), data)


def _connect(writer: Any, topic: str, kind: str, types: Any) -> Connection:
    if kind in types.fielddefs:
        return writer.add_connection(topic, kind, typestore=types)
    definition, md5 = TYPES.generate_msgdef(kind, ros_version=1)  # tf2_msgs
    return writer.add_connection(topic, kind, msgdef=definition, md5sum=md5)
