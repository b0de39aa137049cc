"""Read transforms from a bag: how sensors are mounted, and poses over time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import Reader

from scmpr_ros.datasets.ros_headers import stamp_ns
from scmpr_ros.datasets.ros_poses import pose_matrix
from scmpr_ros.datasets.rosbag2.topics import POSES, TRANSFORMS, has_topic, read_messages
from scmpr_ros.errors import CalibrationError
from scmpr_ros.geometry import invert


class StaticTransforms:
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
        """T_a_b (4, 4); CalibrationError if the frames are not connected."""
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
                f"{self._path}: {self._topic} does not connect {a!r} with {b!r} (it connects "
                f"{', '.join(reached)}); set T_lidar_camera, or pose_frame if that is one of them"
            )
        return reached[b]


def read_poses(reader: Reader, topic: str) -> tuple[NDArray[np.int64], NDArray[np.float64], str]:
    """Read stamps (N,) in ns, in order, poses (N, 4, 4), and the name of the posed frame, or ''."""
    by_stamp: dict[int, NDArray[np.float64]] = {}
    posed_frame = ""
    for content in read_messages(reader, topic, POSES):
        posed_frame = getattr(content, "child_frame_id", "")
        pose = content.pose.pose if hasattr(content.pose, "pose") else content.pose
        by_stamp[stamp_ns(content.header)] = pose_matrix(pose)
    order = sorted(by_stamp)
    return np.array(order, np.int64), np.stack([by_stamp[s] for s in order]), posed_frame
