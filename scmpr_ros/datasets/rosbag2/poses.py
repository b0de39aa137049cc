"""Where things are in a bag: how sensors are mounted, and where they have been."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import Reader
from scipy.spatial.transform import Rotation, Slerp

from scmpr_ros.datasets.ros_messages import pose_matrix, stamp_ns
from scmpr_ros.datasets.rosbag2.topics import POSES, TRANSFORMS, has_topic, read_messages
from scmpr_ros.errors import CalibrationError
from scmpr_ros.geometry import invert, make_transform


class Mounting:
    """The static transforms of a bag, composed along their tree."""

    def __init__(self, reader: Reader, topic: str) -> None:
        self._path, self._topic = reader.path, topic
        self._neighbours: dict[str, dict[str, NDArray[np.float64]]] = {}
        if not has_topic(reader, topic):
            return
        for content in read_messages(reader, topic, TRANSFORMS):
            for edge in content.transforms:
                parent, child = edge.header.frame_id.lstrip("/"), edge.child_frame_id.lstrip("/")
                T_parent_child = pose_matrix(edge.transform)
                self._neighbours.setdefault(parent, {})[child] = T_parent_child
                self._neighbours.setdefault(child, {})[parent] = invert(T_parent_child)

    def between(self, a: str, b: str) -> NDArray[np.float64]:
        """T_a_b; CalibrationError where nothing connects the frames."""
        a, b = a.lstrip("/"), b.lstrip("/")
        reached = {a: np.eye(4)}
        frontier = [a]
        while frontier:
            here = frontier.pop()
            for there, T_here_there in self._neighbours.get(here, {}).items():
                if there not in reached:
                    reached[there] = reached[here] @ T_here_there
                    frontier.append(there)
        if b not in reached:
            raise CalibrationError(
                f"{self._path}: {self._topic} does not connect {a!r} with {b!r} (it reaches "
                f"{', '.join(reached)}); give T_lidar_camera, or pose_frame where that is the other"
            )
        return reached[b]


def read_poses(reader: Reader, topic: str) -> tuple[NDArray[np.int64], NDArray[np.float64], str]:
    """Stamps (N,) in ns and poses (N, 4, 4) in order of time, and the frame they are of, or ''."""
    by_stamp: dict[int, NDArray[np.float64]] = {}
    posed_frame = ""
    for content in read_messages(reader, topic, POSES):
        posed_frame = getattr(content, "child_frame_id", "")
        pose = content.pose.pose if hasattr(content.pose, "pose") else content.pose
        by_stamp[stamp_ns(content.header)] = pose_matrix(pose)
    order = sorted(by_stamp)
    return np.array(order, np.int64), np.stack([by_stamp[s] for s in order]), posed_frame


def interpolate(
    stamps: NDArray[np.int64], poses: NDArray[np.float64], at: NDArray[np.int64], max_gap_s: float
) -> dict[int, NDArray[np.float64]]:
    """Poses at other stamps, `{index into at: (4, 4)}`: linear in position, slerp in rotation.

    A stamp is left out where there is no pose on one of its sides, or the two are too far apart.
    """
    after = np.searchsorted(stamps, at, side="left")
    exact = stamps[np.minimum(after, len(stamps) - 1)] == at
    inside = (after > 0) & (after < len(stamps))
    gap_s = np.diff(stamps, prepend=stamps[0])[np.minimum(after, len(stamps) - 1)] / 1e9
    posed = np.flatnonzero(exact | (inside & (gap_s <= max_gap_s)))
    if len(stamps) == 1:
        return {int(i): poses[0] for i in posed}
    seconds, wanted = (stamps - stamps[0]) / 1e9, (at[posed] - stamps[0]) / 1e9
    rotations = Slerp(seconds, Rotation.from_matrix(poses[:, :3, :3]))(wanted).as_matrix()
    positions = [np.interp(wanted, seconds, poses[:, axis, 3]) for axis in range(3)]
    return {
        int(i): make_transform(R, np.array(t))
        for i, R, t in zip(posed, rotations, np.stack(positions, axis=1), strict=True)
    }
