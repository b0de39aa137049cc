"""Stamps of ROS messages, decoded or serialized.

Messages are duck-typed: those of rclpy and those read by `rosbags` have the same attributes. So
the nodes and the bag reader share this code, which imports neither ROS nor a message package.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def stamp_ns(header: Any) -> int:
    """Stamp of a std_msgs/Header in nanoseconds."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def stamp_of_cdr(raw: bytes | memoryview) -> int:
    """Header stamp, in nanoseconds, at the start of a serialized message.

    CDR starts with four bytes of encapsulation; the second is odd for little endian.
    """
    sec, nanosec = np.frombuffer(raw[4:12], "<u4" if raw[1] & 1 else ">u4")
    return int(sec) * 1_000_000_000 + int(nanosec)
