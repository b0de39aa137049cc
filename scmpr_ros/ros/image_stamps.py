"""Check the stamps of images: repeated, out of order, back in time, zero, or of another clock."""

from __future__ import annotations

from collections import deque
from enum import Enum

from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header

from scmpr_ros.ros.conversions import stamp_ns

BACK_IN_TIME_S = 1.0
"""Images that are less old than this came out of order; older ones are from a new recording."""

_FAR_S = 5.0
_NS = 1_000_000_000


class Order(Enum):
    """Where an image belongs among those before it."""

    NEXT = "next"
    REPEATED = "repeated"
    LATE = "late"
    RESTARTED = "restarted"


class ImageStamps:
    """The stamps of one camera's images."""

    def __init__(self, node: Node, topic: str) -> None:
        """topic: of the images, for messages."""
        self._node, self._topic = node, topic
        self._recent_ns: deque[int] = deque(maxlen=64)
        self._warned: set[str] = set()

    def classify(self, header: Header) -> tuple[Order, float]:
        """Return where an image belongs, and how many seconds it is behind the newest one.

        A zero stamp is replaced by the present time: nothing could be done with such a pose. What
        is wrong with a stamp is warned of once.
        """
        now_ns = self._node.get_clock().now().nanoseconds
        stamp = stamp_ns(header)
        self._compare_with_clock(stamp, now_ns)
        if stamp == 0:
            header.stamp = Time(nanoseconds=now_ns).to_msg()
            stamp = now_ns
        if stamp == 0 or not self._recent_ns:
            self._recent_ns.append(stamp)
            return Order.NEXT, 0.0
        behind_s = (max(self._recent_ns) - stamp) / _NS
        if behind_s > BACK_IN_TIME_S:
            self.clear()
            self._recent_ns.append(stamp)
            return Order.RESTARTED, behind_s
        if stamp in self._recent_ns:
            return Order.REPEATED, behind_s
        if behind_s > 0:
            return Order.LATE, behind_s
        self._recent_ns.append(stamp)
        return Order.NEXT, behind_s

    def clear(self) -> None:
        """Forget the images so far."""
        self._recent_ns.clear()

    def _compare_with_clock(self, stamp: int, now_ns: int) -> None:
        """Warn once of a stamp with which no transform will be found."""
        offset_s = (stamp - now_ns) / _NS
        if now_ns == 0:
            self._warn("no clock", "use_sim_time is set, but nothing is published on /clock")
        elif stamp == 0:
            self._warn(
                "zero", f"images on {self._topic} have no stamp: the time of their arrival is taken"
            )
        elif abs(offset_s) > _FAR_S:
            way = "ahead of" if offset_s > 0 else "behind"
            self._warn(
                "far", f"images on {self._topic} are stamped {abs(offset_s):.0f} s {way} this "
                "node's clock: set use_sim_time if they come from a bag or a simulator, else "
                "synchronise the clocks",
            )  # fmt: skip

    def _warn(self, kind: str, text: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            self._node.get_logger().warning(text)
