"""Findings about the nodes: alive, active, and keeping up with the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus

from scmpr_ros.ros.bringup.findings import Finding, Report
from scmpr_ros.ros.bringup.streams import Stream

_DROPPED_SHARE = 0.5
_OTHER_CLOCK_S = 3600.0


@dataclass(frozen=True)
class NodeState:
    """A lifecycle node.

    name: fully qualified. count: how many nodes have it. state: label of the lifecycle state;
    empty if the node does not answer.
    """

    name: str
    count: int
    state: str


def check_node(node: NodeState, subject: str, start: str, other_nodes: int) -> list[Finding]:
    """Check that a node is there once and active.

    start: how to start it. other_nodes: number of nodes of the whole system.
    """
    report = Report(subject)
    if node.count == 0:
        alone = "" if other_nodes else ", nor any other node: compare ROS_DOMAIN_ID"
        report.error(f"there is no node {node.name}{alone}; start it: {start}, or name its "
                     "namespace with -r __ns:=/robot1")  # fmt: skip
        return report.findings
    if node.count > 1:
        report.error(f"{node.count} nodes are named {node.name}: stop all but one, or give each a "
                     "namespace")  # fmt: skip
    if node.state == "active":
        report.ok(f"{node.name} is active")
    elif not node.state:
        report.error(f"{node.name} does not answer: it is stuck or has ended; restart it")
    elif node.state == "unconfigured":
        report.error(f"{node.name} is unconfigured: its log says why it could not be configured; "
                     f"then ros2 lifecycle set {node.name} configure, and activate")  # fmt: skip
    else:
        report.error(f"{node.name} is {node.state}: ros2 lifecycle set {node.name} activate")
    return report.findings


def check_diagnostics(statuses: Sequence[DiagnosticStatus]) -> list[Finding]:
    """Check what the localizer says of itself.

    statuses: its diagnostics, oldest first.
    """
    report = Report("diagnostics")
    if not statuses:
        report.error("no diagnostics of the localizer came on /diagnostics: it is not active")
        return report.findings
    newest = statuses[-1]
    if newest.level == DiagnosticStatus.ERROR:
        report.error(f"the localizer reports: {newest.message}")
    elif newest.level != DiagnosticStatus.OK:
        report.warn(f"the localizer reports: {newest.message}")
    else:
        report.ok(f"the localizer reports: {newest.message}")
    first, last = _counts(statuses[0]), _counts(newest)
    received, dropped, failed = (
        last.get(name, 0) - first.get(name, 0) for name in ("received", "dropped", "failed")
    )
    if failed > 0:
        report.error(f"{failed} of {received} images could not be localised while listening; see "
                     "the localizer's log")  # fmt: skip
    if received > 0 and dropped > _DROPPED_SHARE * received:
        report.warn(f"{dropped} of {received} images were dropped while listening: the newest is "
                    "always used, so lower the camera's rate to save work")  # fmt: skip
    return report.findings


def check_poses(poses: Stream, images: Stream, published_from: str) -> list[Finding]:
    """Check how many poses come for the images.

    published_from: the localizer's parameter `publish_pose_from`.
    """
    report = Report("pose")
    if not images.arrivals:
        return report.findings
    if poses.arrivals:
        latency_s = [(arrival.now_ns - arrival.stamp_ns) / 1e9 for arrival in poses.arrivals]
        median_s = sorted(latency_s)[len(latency_s) // 2]
        text = f"{poses.rate_hz:.1f} Hz on {poses.topic} for {images.rate_hz:.1f} Hz of images"
        is_one_clock = abs(median_s) < _OTHER_CLOCK_S
        report.ok(f"{text}, {median_s:.2f} s after the image's stamp" if is_one_clock else text)
    elif published_from == "lost":
        report.error(f"images come, but no pose on {poses.topic}: see the findings above and the "
                     "localizer's log")  # fmt: skip
    else:
        report.warn(f"images come, but no pose on {poses.topic}: publish_pose_from is "
                    f"{published_from}, and the localizer may not be that sure yet")  # fmt: skip
    return report.findings


def _counts(status: Any) -> dict[str, int]:
    prefix = "images "
    return {
        pair.key.removeprefix(prefix): int(pair.value)
        for pair in status.values
        if pair.key.startswith(prefix) and pair.value.isdigit()
    }
