"""Findings about the odometry topic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scmpr_ros.datasets.ros_poses import pose_matrix
from scmpr_ros.errors import ShapeError
from scmpr_ros.ros.bringup.findings import Finding, Report
from scmpr_ros.ros.bringup.streams import Stream, names

ODOMETRY = "nav_msgs/msg/Odometry"
_LOW_RATE_HZ = 10.0
_MAX_SPEED_MPS = 70.0


def check_odometry(
    odometry: Stream,
    odom_frame: str,
    base_frame: str,
    is_needed: bool,
    topics: Mapping[str, Sequence[str]],
) -> list[Finding]:
    """Check messages of nav_msgs/Odometry.

    is_needed: whether the localizer is told to use them.
    topics: types of every topic of the system, to suggest others.
    """
    report = Report("odometry")
    if not odometry.arrivals:
        _report_silence(report, odometry, is_needed, topics)
        return report.findings
    frames = {(m.header.frame_id, m.child_frame_id) for m in odometry.messages}
    text = f"{odometry.rate_hz:.0f} Hz on {odometry.topic} from {names(odometry.of_kind)}"
    if not all(_is_finite(message) for message in odometry.messages):
        report.error(f"{text}: poses have NaN or a zero quaternion: the localizer ignores such "
                     "messages; look at the wheel encoders or the filter")  # fmt: skip
        return report.findings
    if odometry.rate_hz < _LOW_RATE_HZ:
        report.warn(f"{text}: slower than {_LOW_RATE_HZ:g} Hz, so poses are interpolated far")
    else:
        report.ok(text)
    for parent, child in sorted(frames - {(odom_frame, base_frame)}):
        report.warn(f"{odometry.topic} is {parent!r} -> {child!r}, expected {odom_frame!r} -> "
                    f"{base_frame!r}: set odom_frame and base_frame")  # fmt: skip
    speed = _greatest_speed_mps(odometry)
    if speed > _MAX_SPEED_MPS:
        report.warn(f"{odometry.topic} jumps: {speed:.0f} m/s between two messages; odometry must "
                    "be continuous (REP-105), so give it no absolute fixes")  # fmt: skip
    return report.findings


def _report_silence(
    report: Report, odometry: Stream, is_needed: bool, topics: Mapping[str, Sequence[str]]
) -> None:
    others = sorted(name for name, kinds in topics.items() if ODOMETRY in kinds)
    if odometry.of_kind:
        text = f"{odometry.topic} is published by {names(odometry.of_kind)}, but nothing came"
    else:
        there = f" to one of {', '.join(others)}" if others else ""
        text = f"nobody publishes {odometry.topic}: remap odom{there}"
    if is_needed:
        report.error(f"{text}, or set another source of odometry")
    else:
        report.ok(f"{text}, if odometry is to come from a topic and not from TF")


def _is_finite(message: Any) -> bool:
    try:
        return bool(np.isfinite(pose_matrix(message.pose.pose)).all())
    except ShapeError:
        return False


def _greatest_speed_mps(odometry: Stream) -> float:
    positions = np.array([pose_matrix(m.pose.pose)[:3, 3] for m in odometry.messages])
    gaps_s = np.diff(odometry.stamps_ns) / 1e9
    valid = gaps_s > 0
    if not valid.any():
        return 0.0
    steps_m = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    return float((steps_m[valid] / gaps_s[valid]).max())
