"""Open bags as people have them and decode their messages, without ROS.

A bag is a rosbag2 directory, a lone .mcap or .db3 file, a ROS 1 .bag, or the parts of one that was
split. Files may be compressed by zstd. Messages of ROS 1 are converted: all that is given out is
CDR of ROS 2's types.
"""

from __future__ import annotations

import heapq
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection, ConnectionExtRosbag2, QosDurability
from rosbags.rosbag1 import Reader as Reader1
from rosbags.rosbag2 import Reader as Reader2
from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.reader import zstd  # type: ignore[attr-defined]  # as Python has it
from rosbags.typesys import Stores, get_typestore

from scmpr_ros.datasets.bags.files import COMPRESSED, METADATA, find_bags
from scmpr_ros.datasets.ros_headers import stamp_of_cdr
from scmpr_ros.errors import DatasetError

TYPES = get_typestore(Stores.ROS2_KILTED)
"""Message types of the `rosbags` library; those used here are the same since Humble."""

_ROS1_NAMES = {"tf/msg/tfMessage": "tf2_msgs/msg/TFMessage"}
_SAME_IN_ROS1 = frozenset(
    f"{package}/msg/{name}"
    for package, names in {
        "geometry_msgs": "PoseStamped PoseWithCovarianceStamped TransformStamped TwistStamped",
        "nav_msgs": "Odometry Path",
        "sensor_msgs": "CameraInfo CompressedImage Image Imu NavSatFix PointCloud2",
        "tf2_msgs": "TFMessage",
    }.items()
    for name in names.split()
)
"""Types with equal fields in ROS 1 and ROS 2, but for the header's `seq`, which is dropped."""

_LONGEST_REASON = 300
_FOREIGN = "Profile is not ros2"  # as the library says it
_AGAIN = "copy it again, or run `ros2 bag reindex` (`mcap recover`, for ROS 1 `rosbag reindex`)"


@dataclass(frozen=True)
class Topic:
    """A topic of a bag. kind: message type, such as nav_msgs/msg/Odometry. count: of messages."""

    name: str
    kind: str
    count: int
    latched: bool
    """Whether its publisher offered the last message to late subscribers."""

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})"


class Bag:
    """A bag that stays open between reads, since opening takes 0.1 s.

    It is reopened after a fork, since processes would share the file position. Not thread-safe.
    All errors of the library become a DatasetError that names the bag.
    """

    def __init__(self, path: Path, files: Sequence[Path] = ()) -> None:
        """Name a bag; it is opened when first read.

        files: its parts, if `path` is a folder with several bags.
        """
        self.path, self._files, self._process = Path(path), tuple(files), 0
        self._readers: list[Reader1 | Reader2] = []

    def __reduce__(self) -> tuple[type[Bag], tuple[Path, tuple[Path, ...]]]:
        return Bag, (self.path, self._files)

    @property
    def topics(self) -> Mapping[str, Topic]:
        """Topics that have messages, by name."""
        self._open()
        return self._topics

    @property
    def start_ns(self) -> int:
        """Log time of the first message."""
        with self._errors():
            return min(int(reader.start_time) for reader in self._open())

    @property
    def custom_data(self) -> Mapping[str, str]:
        """Custom data of a rosbag2 directory's metadata."""
        (first, *_) = self._open()
        storage = first.storage if isinstance(first, Reader2) else None
        custom = None if storage is None else storage.metadata.custom
        if not isinstance(custom, Mapping):
            return {}
        return {key: text for key, text in custom.items() if isinstance(text, str)}

    def topic(self, name: str, kinds: Collection[str] = ()) -> Topic:
        """The topic of a name; DatasetError, with the bag's topics, if it has no messages.

        kinds: allowed message types; empty: any.
        """
        found = self.topics.get(name)
        if found is None:
            raise DatasetError(f"{self.path}: no messages of topic {name}; it has {self.listing()}")
        if kinds and found.kind not in kinds:
            raise DatasetError(
                f"{self.path}: topic {name} holds {found.kind}, expected {' or '.join(kinds)}"
            )
        return found

    def listing(self) -> str:
        """The topics and their types, for error messages."""
        return ", ".join(map(str, sorted(self.topics.values(), key=str))) or "no topics"

    def of_kind(self, *kinds: str) -> list[Topic]:
        """Topics of the given message types."""
        return [topic for topic in self.topics.values() if topic.kind in kinds]

    def raw(
        self, names: Collection[str], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[str, int, bytes]]:
        """Topic, log time in ns and CDR of the messages with start <= log time < stop, in order."""
        streams = (self._part(reader, names, start, stop) for reader in self._open())
        for connection, log_ns, data in heapq.merge(*streams, key=lambda message: message[1]):
            yield connection.topic, log_ns, data

    def messages(
        self,
        name: str,
        kinds: Collection[str] = (),
        start: int | None = None,
        stop: int | None = None,
    ) -> Iterator[Any]:
        """Decode the messages of a topic with start <= log time < stop (ns), in order of log time.

        Raises DatasetError if there are none.
        """
        return (message for _, message in self.timed_messages(name, kinds, start, stop))

    def timed_messages(
        self,
        name: str,
        kinds: Collection[str] = (),
        start: int | None = None,
        stop: int | None = None,
    ) -> Iterator[tuple[int, Any]]:
        """The same with their log times in ns."""
        kind, found = self.topic(name, kinds).kind, False
        for _, log_ns, data in self.raw([name], start, stop):
            found = True
            with self._errors(f"a message of {name}"):
                message = TYPES.deserialize_cdr(data, kind)
            yield log_ns, message
        if not found:
            raise DatasetError(f"{self.path}: messages of {name} are missing: the bag is damaged")

    def stamps(self, name: str, kinds: Collection[str]) -> dict[int, int]:
        """Log time by header stamp of a topic, both in ns, without decoding the messages."""
        self.topic(name, kinds)
        stamps: dict[int, int] = {}
        for _, log_ns, data in self.raw([name]):
            with self._errors(f"a message of {name}"):
                stamps[stamp_of_cdr(data)] = log_ns
        return stamps

    def _part(
        self,
        reader: Reader1 | Reader2,
        names: Collection[str],
        start: int | None,
        stop: int | None,
    ) -> Iterator[tuple[Connection, int, bytes]]:
        wanted = [
            connection
            for connection in reader.connections
            if connection.topic in names and _kind(connection) == self.topics[connection.topic].kind
        ]
        if not wanted:
            return
        messages = iter(reader.messages(wanted, start=start, stop=stop))
        while True:
            with self._errors():
                try:
                    connection, log_ns, data = next(messages)
                except StopIteration:
                    return
                if not (isinstance(log_ns, int) and isinstance(data, bytes | memoryview)):
                    raise ReaderError(f"a message of {connection.topic} has no time or no bytes")
                if isinstance(reader, Reader1):
                    data = self._from_ros1(data, connection)
            yield connection, log_ns, data

    def _from_ros1(self, data: bytes, connection: Connection) -> bytes:
        kind = _kind(connection)
        if kind not in _SAME_IN_ROS1:
            raise DatasetError(
                f"{self.path}: messages of {connection.topic} ({kind}) of ROS 1 cannot be read; "
                f"those of {', '.join(sorted(_SAME_IN_ROS1))} can"
            )
        return bytes(TYPES.ros1_to_cdr(data, kind))

    def _open(self) -> list[Reader1 | Reader2]:
        if self._process == os.getpid():
            return self._readers
        self._readers = []
        for path in self._parts():
            with self._errors():
                self._readers.append(_open_file(path, lambda close: weakref.finalize(self, close)))
        with self._errors():
            self._topics = _topics_of(self._readers)
        self._process = os.getpid()
        return self._readers

    def _parts(self) -> Sequence[Path]:
        """What the library opens: a directory with metadata, or files."""
        if self._files:
            return self._files
        if not self.path.exists():
            raise DatasetError(f"no bag {self.path}: it does not exist")
        if not self.path.is_dir() or (self.path / METADATA).is_file():
            return (self.path,)
        bags = find_bags(self.path)
        if len(bags) != 1:
            names = f"{len(bags)} bags ({', '.join(bags)}): name one" if bags else "no bag files"
            raise DatasetError(
                f"{self.path}: no {METADATA}, so this is no rosbag2 directory, and it has {names}"
            )
        return next(iter(bags.values()))

    @contextmanager
    def _errors(self, where: str = "the bag") -> Iterator[None]:
        try:
            yield
        except (DatasetError, FileNotFoundError, PermissionError):
            raise
        except Exception as error:  # the library raises errors of any type for damaged bytes
            reason = " ".join(str(error).split())[:_LONGEST_REASON].rstrip(".") or "no reason"
            if reason == _FOREIGN:
                raise DatasetError(
                    f"{self.path}: this .mcap holds no messages of ROS 2: convert it to a rosbag2; "
                    "a .bag of ROS 1 is read as it is"
                ) from error
            name = "" if type(error).__name__ == "ReaderError" else f"{type(error).__name__}: "
            raise DatasetError(
                f"{self.path}: {where} is damaged or unsupported ({name}{reason}): {_AGAIN}"
            ) from error


def _open_file(path: Path, at_end: Callable[[Callable[[], Any]], Any]) -> Reader1 | Reader2:
    """Open a rosbag2 directory or a bag file.

    at_end: takes functions to call when the bag is no longer used.
    """
    if path.suffix in COMPRESSED:
        folder = Path(tempfile.mkdtemp(prefix="scmpr_ros_bag_"))
        at_end(partial(_remove, folder, os.getpid()))
        path = _decompress(path, folder / path.stem)
    _check_complete(path)
    reader = Reader1(path) if path.suffix == ".bag" else Reader2(path)
    reader.open()
    at_end(lambda: _close(reader))
    return reader


def _check_complete(path: Path) -> None:
    """Raise DatasetError for databases without their last messages, which the library accepts."""
    for database in path.glob("*.db3") if path.is_dir() else [path]:
        log = Path(f"{database}-wal")
        if log.is_file() and log.stat().st_size > 0:
            raise DatasetError(
                f"{database}: the recorder was stopped too early: {log.name} holds the last "
                f"messages: run `sqlite3 {database.name} 'PRAGMA wal_checkpoint'`"
            )
        with database.open("rb") as file:
            header = file.read(32)
        pages = int.from_bytes(header[28:32], "big")
        page_bytes = int.from_bytes(header[16:18], "big")
        page_bytes = 65536 if page_bytes == 1 else page_bytes  # two bytes cannot say it
        size = database.stat().st_size
        if header.startswith(b"SQLite format 3\0") and size < pages * page_bytes:
            raise ReaderError(f"{database.name} has {size} of {pages * page_bytes} bytes")


def _close(reader: Reader1 | Reader2) -> None:
    with suppress(Exception):  # at exit, files may be closed already
        reader.close()


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked process drops its copy of the bag while others read it
        shutil.rmtree(folder, ignore_errors=True)


def _decompress(path: Path, target: Path) -> Path:
    with path.open("rb") as packed, zstd.open(packed, "rb") as source, target.open("wb") as out:
        shutil.copyfileobj(source, out)
    return target


def _topics_of(readers: Sequence[Reader1 | Reader2]) -> dict[str, Topic]:
    """Topics with messages; of a name with several types, the first type."""
    topics: dict[str, Topic] = {}
    for connection in (c for reader in readers for c in reader.connections):
        if not (isinstance(connection.topic, str) and isinstance(connection.msgtype, str)):
            raise ReaderError("the name or type of a topic is no text")  # SQLite has dynamic types
        kind, known = _kind(connection), topics.get(connection.topic)
        if connection.msgcount > 0 and (known is None or known.kind == kind):
            count, latched = (known.count, known.latched) if known else (0, False)
            topics[connection.topic] = Topic(
                connection.topic, kind, count + connection.msgcount,
                latched or _is_latched(connection),
            )  # fmt: skip
    return topics


def _kind(connection: Connection) -> str:
    """Message type, with the part `msg` that old recorders leave out."""
    parts = connection.msgtype.split("/")
    kind = "/".join((parts[0], "msg", parts[1])) if len(parts) == 2 else connection.msgtype
    return _ROS1_NAMES.get(kind, kind)


def _is_latched(connection: Connection) -> bool:
    if isinstance(connection.ext, ConnectionExtRosbag2):
        offered = (qos.durability for qos in connection.ext.offered_qos_profiles)
        return QosDurability.TRANSIENT_LOCAL in offered
    return bool(connection.ext.latching)
