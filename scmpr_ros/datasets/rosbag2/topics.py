"""Open rosbag2 directories (mcap or sqlite3) and decode their messages, without ROS."""

from __future__ import annotations

import os
import sqlite3
import struct
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.errors import ReaderError
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore

from scmpr_ros.datasets.ros_headers import stamp_of_cdr
from scmpr_ros.errors import DatasetError

TYPES = get_typestore(Stores.ROS2_KILTED)
"""Message types of the `rosbags` library; those used here are the same since Humble."""

RAW_IMAGES = ("sensor_msgs/msg/Image",)
IMAGES = (*RAW_IMAGES, "sensor_msgs/msg/CompressedImage")
CAMERA_INFOS = ("sensor_msgs/msg/CameraInfo",)
POINT_CLOUDS = ("sensor_msgs/msg/PointCloud2",)
POSES = (
    "nav_msgs/msg/Odometry", "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
)  # fmt: skip
TRANSFORMS = ("tf2_msgs/msg/TFMessage",)


@contextmanager
def open_bag(path: Path) -> Iterator[Reader]:
    """Open a rosbag2 directory; DatasetError if it, or a message read from it, is damaged."""
    with BagHandle(Path(path)).reader() as reader:
        yield reader


class BagHandle:
    """A bag that stays open between reads, since opening takes 0.1 s.

    It is reopened after a fork, since processes would share the file position. Not thread-safe.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._process = path, 0

    def __reduce__(self) -> tuple[type[BagHandle], tuple[Path]]:
        return BagHandle, (self.path,)

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Give the open bag; DatasetError if it, or a message read from it, is damaged."""
        if not (self.path / "metadata.yaml").is_file():
            raise DatasetError(
                f"{self.path}: no metadata.yaml, so this is not a rosbag2 directory; give the "
                "folder that holds it, or run `ros2 bag reindex` if the recorder crashed"
            )
        try:
            if self._process != os.getpid():
                self._open()
            yield self._reader
        except (ReaderError, SerdeError, sqlite3.DatabaseError, struct.error, OverflowError) as e:
            raise DatasetError(
                f"{self.path}: the bag is damaged or unsupported: {e} Copy it again, or run "
                "`ros2 bag reindex`"
            ) from e

    def _open(self) -> None:
        self._reader = Reader(self.path)
        try:
            self._reader.open()
        except (OSError, ReaderError):
            raise
        except Exception as error:  # the library raises errors of any type for damaged bytes
            raise ReaderError(f"{type(error).__name__}: {error}.") from error
        self._process = os.getpid()
        weakref.finalize(self, self._reader.close)


def find_connection(reader: Reader, topic: str, kinds: tuple[str, ...] = ()) -> Connection:
    """Find the connection of a topic; DatasetError, with the bag's topics, if it is missing.

    kinds: allowed message types; empty: any.
    """
    found = [c for c in reader.connections if c.topic == topic and c.msgcount > 0]
    if not found:
        topics = ", ".join(sorted(f"{c.topic} ({c.msgtype})" for c in reader.connections))
        raise DatasetError(
            f"{reader.path}: no messages of topic {topic}; it has {topics or 'no topics'}"
        )
    if kinds and found[0].msgtype not in kinds:
        raise DatasetError(
            f"{reader.path}: topic {topic} holds {found[0].msgtype}, expected {' or '.join(kinds)}"
        )
    return found[0]


def has_topic(reader: Reader, topic: str) -> bool:
    """Whether the bag has messages of a topic."""
    return any(c.topic == topic and c.msgcount > 0 for c in reader.connections)


def has_kind(reader: Reader, kinds: tuple[str, ...], besides: str = "") -> bool:
    """Whether the bag has messages of the given types on any topic other than `besides`."""
    connections = [c for c in reader.connections if c.msgcount > 0 and c.topic != besides]
    return any(c.msgtype in kinds for c in connections)


def read_messages(
    reader: Reader,
    topic: str,
    kinds: tuple[str, ...] = (),
    start: int | None = None,
    stop: int | None = None,
) -> Iterator[Any]:
    """Decode the messages of a topic with start <= log time < stop (ns), in order of log time.

    Raises DatasetError if there are none.
    """
    connection, found = find_connection(reader, topic, kinds), False
    for _, _, raw in reader.messages([connection], start=start, stop=stop):
        found = True
        yield TYPES.deserialize_cdr(raw, connection.msgtype)
    if not found:
        raise DatasetError(f"{reader.path}: messages of {topic} are missing: the bag is damaged")


def read_stamps(reader: Reader, topic: str, kinds: tuple[str, ...]) -> dict[int, int]:
    """Log time by header stamp of a topic, both in ns, without decoding the messages."""
    connection = find_connection(reader, topic, kinds)
    return {stamp_of_cdr(raw): log for _, log, raw in reader.messages([connection])}
