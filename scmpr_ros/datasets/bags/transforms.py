"""The transforms of a bag: how sensors are mounted, and where they are over time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.bags.pose_track import PoseTrack, TrackChain
from scmpr_ros.datasets.bags.storage import Bag
from scmpr_ros.datasets.bags.topics import TRANSFORMS
from scmpr_ros.datasets.ros_headers import stamp_ns
from scmpr_ros.datasets.ros_poses import pose_matrix
from scmpr_ros.errors import CalibrationError, DatasetError, ShapeError
from scmpr_ros.geometry import invert

_Link = NDArray[np.float64] | PoseTrack
_STILL = 1e-9
_FARTHEST_M = 1e8
_ROUNDING = 1e-3


class TransformTree:
    """The frames of a bag and the transforms between them.

    Transforms on the static topic are fixed. So are those on the other topic that are sent again
    and again without a change, as ROS 1 does for want of a static topic. It is read when needed.
    """

    def __init__(self, bag: Bag, static_topic: str, topic: str) -> None:
        self._bag, self._static_topic, self._topic = bag, static_topic, topic
        self._links: dict[str, dict[str, _Link]] = {}
        self._parents: dict[str, set[str]] = {}
        self._is_complete = bag.topics.get(topic) is None  # or: nothing is left to be read
        if static_topic in bag.topics:
            for parent, child, _, T in _edges(bag, static_topic):
                if T is not None:
                    self._add(parent, child, T)

    def mounting(self, a: str, b: str) -> NDArray[np.float64]:
        """T_a_b (4, 4); CalibrationError if no fixed transforms connect the frames."""
        path = self._path(a, b, fixed=True)
        if path is None and not self._is_complete:
            self._read_moving()
            path = self._path(a, b, fixed=True)
        if path is None:
            reached = ", ".join(self._reached(a.lstrip("/"), fixed=True))
            raise CalibrationError(
                f"{self._bag.path}: {self._static_topic} does not connect {a!r} with {b!r} (it "
                f"connects {reached}){self._other_topics()}; set bag.T_lidar_camera or "
                "bag.T_pose_lidar, or bag.pose_frame if that is one of them"
            )
        T = np.eye(4)
        for link in path:
            assert not isinstance(link, PoseTrack)
            T = T @ link
        return T

    def track(self, world: str, frame: str) -> TrackChain:
        """Poses of a frame in the world over time.

        world: empty: the root of the tree. Raises DatasetError if they are not connected by
        transforms that move.
        """
        self._read_moving()
        world = world or self.root(frame)
        path = self._path(world, frame, fixed=False)
        if path is None:
            raise DatasetError(
                f"{self._bag.path}: {self._topic} does not connect {world!r} with {frame!r}, only "
                f"with {', '.join(self._reached(world, fixed=False))}: set bag.world_frame or "
                "bag.pose_frame"
            )
        if not any(isinstance(link, PoseTrack) for link in path):
            raise DatasetError(
                f"{self._bag.path}: {frame!r} does not move in {world!r} by {self._topic}: set "
                "bag.world_frame, or name a topic of poses with bag.topics.pose"
            )
        return TrackChain(path)

    def root(self, frame: str) -> str:
        """The frame that has no parent, above a frame; DatasetError if there are several."""
        self._read_moving()
        above, waiting = set[str](), [frame.lstrip("/")]
        while waiting:
            here = waiting.pop()
            if here not in above:
                above.add(here)
                waiting += self._parents.get(here, ())
        roots = sorted(name for name in above if not self._parents.get(name))
        if len(roots) != 1:
            raise DatasetError(
                f"{self._bag.path}: {frame!r} has {len(roots)} roots on {self._topic} "
                f"({', '.join(roots)}): name the world with bag.world_frame"
            )
        return roots[0]

    def _other_topics(self) -> str:
        """For messages: topics of transforms that are not read."""
        read = (self._static_topic, self._topic)
        others = [topic.name for topic in self._bag.of_kind(*TRANSFORMS) if topic.name not in read]
        return f"; name {' or '.join(others)} with bag.topics.tf_static or tf" if others else ""

    def _read_moving(self) -> None:
        if self._is_complete:
            return
        self._is_complete = True
        sent: dict[tuple[str, str], dict[int, NDArray[np.float64] | None]] = {}
        for parent, child, stamp, T in _edges(self._bag, self._topic):
            sent.setdefault((parent, child), {})[stamp] = T
        for (parent, child), by_stamp in sent.items():
            name = f"{self._topic} ({parent} to {child})"
            track = make_track(name, by_stamp)
            if track is not None and child not in self._links.get(parent, {}):
                still = len(track.stamps) > 1 and np.ptp(track.poses, axis=0).max() < _STILL
                self._add(parent, child, track.poses[0] if still else track)

    def _add(self, parent: str, child: str, link: _Link) -> None:
        inverse = link.inverse() if isinstance(link, PoseTrack) else invert(link)
        self._links.setdefault(parent, {})[child] = link
        self._links.setdefault(child, {})[parent] = inverse
        self._parents.setdefault(child, set()).add(parent)

    def _reached(self, a: str, fixed: bool) -> dict[str, list[_Link]]:
        """Links from a frame to each that is connected with it."""
        reached: dict[str, list[_Link]] = {a: []}
        waiting = [a]
        while waiting:
            here = waiting.pop(0)
            for there, link in self._links.get(here, {}).items():
                if there not in reached and not (fixed and isinstance(link, PoseTrack)):
                    reached[there] = [*reached[here], link]
                    waiting.append(there)
        return reached

    def _path(self, a: str, b: str, fixed: bool) -> list[_Link] | None:
        return self._reached(a.lstrip("/"), fixed).get(b.lstrip("/"))


def make_track(name: str, by_stamp: dict[int, NDArray[np.float64] | None]) -> PoseTrack | None:
    """A track of poses (4, 4) by stamp in ns; None stands for a pose without numbers.

    None if no pose is left.
    """
    order = sorted(stamp for stamp, T in by_stamp.items() if T is not None)
    unusable = sorted(stamp for stamp, T in by_stamp.items() if T is None)
    if not order:
        return None
    poses = np.stack([T for stamp in order if (T := by_stamp[stamp]) is not None])
    return PoseTrack(name, np.array(order, np.int64), poses, np.array(unusable, np.int64))


def usable_pose(pose: object) -> NDArray[np.float64] | None:
    """Matrix (4, 4) of a message's pose or transform.

    None if it is not finite, no pose, or farther away than the size of the Earth.
    """
    try:
        T = pose_matrix(pose)
    except ShapeError:
        return None
    is_rotation = abs(np.linalg.det(T[:3, :3]) - 1) < _ROUNDING  # not of a quaternion of 1e200
    return T if is_rotation and np.abs(T).max() < _FARTHEST_M else None


def _edges(bag: Bag, topic: str) -> Iterator[tuple[str, str, int, NDArray[np.float64] | None]]:
    """Parent, child, stamp in ns and T_parent_child of the transforms of a topic."""
    for message in bag.messages(topic, TRANSFORMS):
        for edge in message.transforms:
            parent, child = edge.header.frame_id.lstrip("/"), edge.child_frame_id.lstrip("/")
            yield parent, child, stamp_ns(edge.header), usable_pose(edge.transform)
