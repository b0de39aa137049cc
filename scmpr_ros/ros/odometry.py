"""Where the base is in its odometry frame at an image's stamp, from nav_msgs/Odometry or TF.

Only the motion between two images counts, so any odometry frame that does not jump will do. What
is not plausible is treated as missing: no motion is better than a wrong one.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

import numpy as np
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.node import Node
from scipy.spatial.transform import Rotation

from scmpr_ros.datasets.pose_interpolation import interpolate_poses
from scmpr_ros.errors import ScmprError, ShapeError
from scmpr_ros.geometry import invert
from scmpr_ros.ros.conversions import pose_matrix, stamp_ns
from scmpr_ros.ros.localizer_config import LocalizerNodeConfig
from scmpr_ros.ros.qos import image_qos
from scmpr_ros.ros.throttled_log import ThrottledLog
from scmpr_ros.ros.transforms import TransformReader

_NS = 1_000_000_000
_LENGTH = 1000  # five seconds at 200 Hz
_RESTART_NS = _NS  # stamps may be this far out of order; more is a new recording
_SLACK_M, _SLACK_RAD = 0.5, 0.2  # what noise may add to a motion, however short
_MAX_TURN_RADPS = 2 * np.pi


class OdometryPose(NamedTuple):
    """T_odom_base: (4, 4). epoch: poses of different epochs are in unrelated frames."""

    T_odom_base: NDArray[np.float64]
    epoch: tuple[str, int]


class JumpCheck:
    """Finds steps of a trajectory that no vehicle makes."""

    def __init__(self, max_speed_m_s: float) -> None:
        self._max_speed_m_s = max_speed_m_s
        self._last: tuple[int, NDArray[np.float64]] | None = None

    def step(self, stamp: int, T: NDArray[np.float64]) -> str:
        """Take the pose (4, 4) at a stamp in nanoseconds; describe the jump to it, if it is one."""
        last, self._last = self._last, (stamp, T)
        if last is None:
            return ""
        elapsed_s, motion = abs(stamp - last[0]) / _NS, invert(last[1]) @ T
        distance_m = float(np.linalg.norm(motion[:3, 3]))
        angle_rad = float(Rotation.from_matrix(motion[:3, :3]).magnitude())
        if (
            distance_m <= self._max_speed_m_s * elapsed_s + _SLACK_M
            and angle_rad <= _MAX_TURN_RADPS * elapsed_s + _SLACK_RAD
        ):
            return ""
        return (
            f"jumped by {distance_m:.1f} m and {np.degrees(angle_rad):.0f} deg in {elapsed_s:.2f} s"
        )

    def forget(self) -> None:
        """Compare nothing with the poses so far."""
        self._last = None


class OdometryBuffer:
    """The latest poses of an odometry, in between which it interpolates."""

    def __init__(self, max_gap_s: float, max_speed_m_s: float) -> None:
        """max_gap_s: longest time to interpolate over. max_speed_m_s: faster motion is a jump."""
        self._max_gap_s = max_gap_s
        self._jump = JumpCheck(max_speed_m_s)
        self._stamps: deque[int] = deque(maxlen=_LENGTH)
        self._poses: deque[NDArray[np.float64]] = deque(maxlen=_LENGTH)
        self.epoch = 0
        """Counts how often the odometry started anew."""

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest pose; None without one."""
        return self._stamps[-1] if self._stamps else None

    def add(self, stamp: int, T_odom_base: NDArray[np.float64]) -> str:
        """Take a pose (4, 4) at a stamp in nanoseconds; return what is wrong with it, if anything.

        A pose that is not finite or out of order is refused. After a jump, or far back in time,
        the odometry starts anew.
        """
        if not np.isfinite(T_odom_base).all():
            return "has numbers that are not finite"
        newest = self.newest_ns
        if newest is not None and newest - _RESTART_NS <= stamp <= newest:
            return "" if stamp == newest else "is out of order"
        problem = ""
        if newest is not None and stamp < newest:
            problem = f"went back in time by {(newest - stamp) / _NS:.1f} s"
        jump = self._jump.step(stamp, T_odom_base)
        if problem or jump:
            self.clear()
            self._jump.step(stamp, T_odom_base)
        self._stamps.append(stamp)
        self._poses.append(T_odom_base)
        return problem or jump

    def pose_at(self, stamp: int) -> NDArray[np.float64] | None:
        """Return the pose (4, 4) at a stamp; None outside the buffer and in gaps."""
        after = int(np.searchsorted(np.array(self._stamps, np.int64), stamp))
        around = slice(max(0, after - 1), after + 1)
        stamps = np.array(self._stamps, np.int64)[around]
        if len(stamps) == 0:
            return None
        poses = np.stack(list(self._poses)[around])
        wanted = np.array([stamp], np.int64)
        return interpolate_poses(stamps, poses, wanted, self._max_gap_s, _NS).get(0)

    def clear(self) -> None:
        """Start anew."""
        self._stamps.clear()
        self._poses.clear()
        self._jump.forget()
        self.epoch += 1


class TopicOdometry:
    """Odometry from the topic `odom`."""

    def __init__(self, node: Node, config: LocalizerNodeConfig) -> None:
        """Subscribe."""
        self._node, self._base_frame = node, config.base_frame
        self._timeout_s = config.odometry.timeout_s
        self._buffer = OdometryBuffer(config.odometry.max_gap_s, config.tracking.max_speed_m_s)
        self._repeated = ThrottledLog()
        self._changed = threading.Condition()
        self._frame_checked = False
        qos = image_qos(queue_size=100, reliable=False)  # matches every publisher
        self._subscription = node.create_subscription(Odometry, "odom", self._on_odometry, qos)
        self.description = f"topic {self._subscription.topic_name}"

    def pose_at(self, stamp: int) -> OdometryPose | None:
        """Return the pose at a stamp in nanoseconds; waits for it if odometry is on its way."""
        with self._changed:
            newest = self._buffer.newest_ns
            if newest is not None and newest < stamp < newest + _NS:
                self._changed.wait_for(lambda: self._has_reached(stamp), self._timeout_s)
            T = self._buffer.pose_at(stamp)
            return None if T is None else OdometryPose(T, ("topic", self._buffer.epoch))

    def covers(self, stamp: int) -> bool:
        """Whether odometry comes at about that time."""
        with self._changed:
            newest = self._buffer.newest_ns
            return newest is not None and newest > stamp - _NS

    def clear(self) -> None:
        """Forget the poses so far: time has gone back."""
        with self._changed:
            self._buffer.clear()

    def destroy(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)

    def _has_reached(self, stamp: int) -> bool:
        newest = self._buffer.newest_ns
        return newest is not None and newest >= stamp

    def _on_odometry(self, message: Odometry) -> None:
        try:
            T = pose_matrix(message.pose.pose)
        except ShapeError:
            problem = "has an orientation that is no rotation"
        else:
            with self._changed:
                problem = self._buffer.add(stamp_ns(message.header), T)
                self._changed.notify_all()
        if problem:
            text = f"odometry on {self._subscription.topic_name} {problem}: treated as missing"
            if self._repeated.is_due(text):
                self._node.get_logger().warning(text)
        self._check_frame(message.child_frame_id)

    def _check_frame(self, frame: str) -> None:
        if not self._frame_checked and frame and frame != self._base_frame:
            self._node.get_logger().warning(
                f"odometry on {self._subscription.topic_name} is that of {frame}, taken for that "
                f"of {self._base_frame}: set base_frame if they differ by more than a height"
            )
        self._frame_checked = True


class TfOdometry:
    """Odometry from TF: odom_frame -> base_frame."""

    def __init__(
        self, node: Node, config: LocalizerNodeConfig, transforms: TransformReader
    ) -> None:
        self._node, self._frames = node, (config.odom_frame, config.base_frame)
        self._timeout_s, self._transforms = config.odometry.timeout_s, transforms
        self._jump, self._epoch = JumpCheck(config.tracking.max_speed_m_s), 0
        self._repeated = ThrottledLog()
        self.description = f"TF {config.odom_frame} -> {config.base_frame}"

    def pose_at(self, stamp: int) -> OdometryPose | None:
        """Return the pose at a stamp in nanoseconds; waits for it if the transform is late."""
        try:
            T = self._transforms.lookup(*self._frames, stamp, self._timeout_s)
        except ScmprError:
            return None
        problem = self._jump.step(stamp, T)
        if problem:
            self._epoch += 1
            text = f"odometry in {self.description} {problem}: treated as missing"
            if self._repeated.is_due(text):
                self._node.get_logger().warning(text)
        return OdometryPose(T, ("tf", self._epoch))

    def clear(self) -> None:
        """Compare nothing with the poses so far."""
        self._jump.forget()
        self._epoch += 1


class OdometryInput:
    """The odometry that the parameters ask for. `pose_at` may block: call it from the worker."""

    def __init__(
        self, node: Node, config: LocalizerNodeConfig, transforms: TransformReader | None
    ) -> None:
        """Subscribe. transforms: None without tf2_ros."""
        source = config.odometry.source
        self._node, self._source = node, source
        self._topic = TopicOdometry(node, config) if source in ("auto", "topic") else None
        self._tf: TfOdometry | None = None
        if source in ("auto", "tf") and transforms is not None:
            self._tf = TfOdometry(node, config, transforms)
        self._epoch: tuple[str, int] | None = None
        self._repeated = ThrottledLog()
        self.description = "none yet" if source != "none" else "none: switched off"
        """Where the odometry of the last image came from."""

    def pose_at(self, stamp: int) -> NDArray[np.float64] | None:
        """Return `T_odom_base` (4, 4) at a stamp in nanoseconds; None where it is missing.

        It is missing once, too, when the odometry jumped, restarted or came from elsewhere: its
        poses before and after have no motion between them.
        """
        found = self._read(stamp)
        if found is None:
            return None
        continues = self._epoch in (None, found.epoch)
        self._epoch = found.epoch
        return found.T_odom_base if continues else None

    def clear(self) -> None:
        """Forget the poses so far: time has gone back."""
        for source in (self._topic, self._tf):
            if source is not None:
                source.clear()

    def destroy(self) -> None:
        """Unsubscribe."""
        if self._topic is not None:
            self._topic.destroy()

    def _read(self, stamp: int) -> OdometryPose | None:
        if self._topic is not None and (self._source == "topic" or self._topic.covers(stamp)):
            found = self._topic.pose_at(stamp)
            self._describe(self._topic.description, found is not None)
            return found
        if self._tf is not None:
            found = self._tf.pose_at(stamp)
            self._describe(self._tf.description, found is not None)
            return found
        self._describe("", False)
        return None

    def _describe(self, source: str, found: bool) -> None:
        """Note where odometry comes from, and log it when it changes."""
        if self._source == "none":
            return
        text = (
            source if found else f"none: motion is guessed{source and f', nothing from {source}'}"
        )
        if text != self.description:
            self.description = text
            if self._repeated.is_due(text):
                self._node.get_logger().info(f"odometry: {text}")
