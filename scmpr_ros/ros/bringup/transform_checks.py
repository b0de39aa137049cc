"""Findings about TF: the camera's mount, odometry, and who owns map -> odom."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from scmpr_ros.errors import ShapeError
from scmpr_ros.geometry import invert
from scmpr_ros.ros.bringup.findings import Finding, Report
from scmpr_ros.ros.conversions import body_from_optical, pose_matrix

_MAX_OFFSET_M, _MAX_TURN_DEG = 0.05, 2.0
_MAX_TILT_DEG = 45.0
_STALE_S = 0.5


@dataclass(frozen=True)
class Edge:
    """The newest transform of a child frame from one publisher.

    stamp_ns: of the transform. now_ns: ROS time when it came. count: how many came.
    """

    parent: str
    child: str
    T_parent_child: NDArray[np.float64]
    publisher: str
    is_static: bool
    stamp_ns: int
    now_ns: int
    count: int = 1


@dataclass(frozen=True)
class TransformExpectation:
    """What the localizer needs of TF.

    T_base_camera_body: mount of the parameters. uses_parameters: whether TF is not to be asked.
    localizer: fully qualified name of the node.
    """

    map_frame: str
    odom_frame: str
    base_frame: str
    camera_frame: str
    T_base_camera_body: NDArray[np.float64]
    localizer: str
    uses_parameters: bool = False
    broadcasts: bool = False
    needs_odometry: bool = False


@dataclass
class TransformTree:
    """Transforms heard, by parent, child and publisher; `problems` are those with impossible
    numbers."""

    edges: dict[tuple[str, str, str], Edge] = field(default_factory=dict)
    problems: set[str] = field(default_factory=set)

    def add(self, message: Any, publisher: str, is_static: bool, now_ns: int) -> None:
        """Take a geometry_msgs/TransformStamped."""
        parent = message.header.frame_id.lstrip("/")
        child = message.child_frame_id.lstrip("/")
        try:
            T = pose_matrix(message.transform)
        except ShapeError:
            T = np.full((4, 4), np.nan)
        if not np.isfinite(T).all():
            self.problems.add(f"{parent} -> {child}")
            return
        stamp_ns = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        key = parent, child, publisher
        count = self.edges[key].count + 1 if key in self.edges else 1
        self.edges[key] = Edge(parent, child, T, publisher, is_static, stamp_ns, now_ns, count)

    def of_child(self, child: str) -> list[Edge]:
        """All transforms of a frame to its parents."""
        return [edge for edge in self.edges.values() if edge.child == child]

    @property
    def frames(self) -> set[str]:
        """All frames, of parents and children."""
        return {frame for edge in self.edges.values() for frame in (edge.parent, edge.child)}

    def chain(self, target: str, source: str) -> tuple[NDArray[np.float64], list[Edge]] | None:
        """T_target_source and the transforms on the way; None if the two are not connected."""
        up_target, up_source = self._ancestors(target), self._ancestors(source)
        common = next((frame for frame in up_source if frame in up_target), None)
        if common is None:
            return None
        T_common_source, down = up_source[common]
        T_common_target, up = up_target[common]
        return invert(T_common_target) @ T_common_source, [*up, *down]

    def _ancestors(self, frame: str) -> dict[str, tuple[NDArray[np.float64], list[Edge]]]:
        """T_ancestor_frame and the transforms on the way, nearest first."""
        found: dict[str, tuple[NDArray[np.float64], list[Edge]]] = {frame: (np.eye(4), [])}
        while edges := self.of_child(frame):
            T, path = found[frame]
            if edges[0].parent in found:
                break  # a circle, reported elsewhere
            found[edges[0].parent] = edges[0].T_parent_child @ T, [edges[0], *path]
            frame = edges[0].parent
        return found


def check_transforms(tree: TransformTree | None, expected: TransformExpectation) -> list[Finding]:
    """Check what was heard on /tf and /tf_static; None if it cannot be read here."""
    report = Report("tf")
    if tree is None:
        report.warn("TF not checked: tf2_msgs is not installed; a full ROS 2 has it, and the "
                    "localizer's TF options need tf2_ros")  # fmt: skip
        return report.findings
    for name in sorted(tree.problems):
        report.error(f"{name} has numbers that are no rotation or not finite")
    _check_parents(report, tree)
    _check_mount(report, tree, expected)
    _check_odometry(report, tree, expected)
    _check_map(report, tree, expected)
    return report.findings


def _check_parents(report: Report, tree: TransformTree) -> None:
    for child in sorted({edge.child for edge in tree.edges.values()}):
        edges = tree.of_child(child)
        parents = sorted({edge.parent for edge in edges})
        if len(parents) > 1:
            senders = ", ".join(f"{edge.parent} by {edge.publisher}" for edge in edges)
            report.error(f"{child} has {len(parents)} parents ({senders}): TF is a tree; stop all "
                         "but one")  # fmt: skip


def _check_mount(report: Report, tree: TransformTree, expected: TransformExpectation) -> None:
    base, camera = expected.base_frame, expected.camera_frame.lstrip("/")
    if not camera:
        report.warn(
            "images have no frame_id, so the mount cannot come from TF: mount.xyz and "
            f"mount.rpy are used ({_mount_text(expected.T_base_camera_body)})"
        )
        return
    found = tree.chain(base, camera)
    if found is None:
        _report_missing(report, tree, base, camera, expected)
        return
    T_base_camera, path = found
    if not all(edge.is_static for edge in path):
        report.warn(f"{base} -> {camera} moves ({_moving(path)}): a camera on a gimbal is not "
                    "supported")  # fmt: skip
    up = T_base_camera[2, :3]  # height of each axis of the camera over its length
    if abs(up[2]) > np.sin(np.radians(_MAX_TILT_DEG)):
        looks = "up" if up[2] > 0 else "down"
        is_body = np.allclose(T_base_camera[:3, :3], np.eye(3), atol=0.5)
        advice = (
            f"{camera} looks like a body frame, x forward: images must carry the optical frame"
            if is_body
            else "correct the mount in the URDF"
        )
        report.error(f"by TF the optical axis (z) of {camera} points {looks}: {advice}")
        return
    T_body = body_from_optical(T_base_camera)
    report.ok(f"{base} -> {camera}: {_mount_text(T_body)}")
    given = expected.T_base_camera_body
    if expected.uses_parameters or not np.allclose(given, np.eye(4)):
        _compare_mounts(report, given, T_body, expected)


def _report_missing(
    report: Report, tree: TransformTree, base: str, camera: str, expected: TransformExpectation
) -> None:
    missing = [frame for frame in (base, camera) if frame not in tree.frames]
    what = (
        f"TF has no frame {' and no frame '.join(missing)}"
        if missing
        else f"{base} and {camera} are not connected"
    )
    text = (f"{what}, so the mount is that of mount.xyz and mount.rpy "
            f"({_mount_text(expected.T_base_camera_body)})")  # fmt: skip
    if expected.uses_parameters or not np.allclose(expected.T_base_camera_body, np.eye(4)):
        report.ok(text)
    else:
        report.warn(
            f"{text}: start robot_state_publisher with a URDF that has the camera's "
            "optical frame, or set the mount; else the pose is that of the camera"
        )


def _compare_mounts(
    report: Report,
    given: NDArray[np.float64],
    T_body: NDArray[np.float64],
    expected: TransformExpectation,
) -> None:
    offset_m = float(np.linalg.norm(given[:3, 3] - T_body[:3, 3]))
    turn = Rotation.from_matrix(given[:3, :3].T @ T_body[:3, :3])
    turn_deg = float(np.degrees(turn.magnitude()))
    if offset_m > _MAX_OFFSET_M or turn_deg > _MAX_TURN_DEG:
        used = "the parameters are used" if expected.uses_parameters else "TF is used"
        report.warn(f"mount.xyz and mount.rpy ({_mount_text(given)}) differ from TF by "
                    f"{offset_m:.2f} m and {turn_deg:.1f} deg; {used}: correct one")  # fmt: skip


def _check_odometry(report: Report, tree: TransformTree, expected: TransformExpectation) -> None:
    odom, base = expected.odom_frame, expected.base_frame
    found = tree.chain(odom, base)
    if found is None:
        text = f"no {odom} -> {base}: start the robot's odometry, or correct the frame names"
        if expected.needs_odometry or expected.broadcasts:
            report.error(f"{text}; map -> odom cannot be computed without it")
        else:
            report.warn(f"{text}; without it the tracker guesses the motion")
        return
    moving = [edge for edge in found[1] if not edge.is_static]
    age_s = max(((edge.now_ns - edge.stamp_ns) / 1e9 for edge in moving), default=0.0)
    text = f"{odom} -> {base} from {', '.join(sorted({e.publisher for e in found[1]}))}"
    if age_s > _STALE_S:
        report.warn(f"{text} is {age_s:.2f} s old when it arrives: images wait for it or are "
                    "tracked without; synchronise the clocks")  # fmt: skip
    elif age_s < -_STALE_S:
        report.warn(f"{text} is {-age_s:.2f} s in the future: synchronise the clocks")
    else:
        report.ok(text)


def _check_map(report: Report, tree: TransformTree, expected: TransformExpectation) -> None:
    edges = [e for e in tree.of_child(expected.odom_frame) if e.parent == expected.map_frame]
    others = sorted({e.publisher for e in edges if e.publisher != expected.localizer})
    name = f"{expected.map_frame} -> {expected.odom_frame}"
    if expected.broadcasts and others:
        report.error(f"{', '.join(others)} publishes {name} too: set broadcast_tf to false and "
                     "seed it with initialpose, or stop it; never both")  # fmt: skip
    elif others:
        report.ok(f"{name} is published by {', '.join(others)}: leave broadcast_tf off")
    elif expected.broadcasts and not edges:
        report.warn(f"broadcast_tf is set, but no {name} came: it starts with the first "
                    "LOCALIZED pose")  # fmt: skip
    elif expected.broadcasts:
        report.ok(f"{name} is published by the localizer alone")
    else:
        report.ok(f"nobody publishes {name}: set broadcast_tf if Nav2 is to follow the localizer")


def _moving(path: Iterable[Edge]) -> str:
    return ", ".join(f"{e.parent} -> {e.child} is not static" for e in path if not e.is_static)


def _mount_text(T_base_body: NDArray[np.float64]) -> str:
    x, y, z = T_base_body[:3, 3]
    roll, pitch, yaw = Rotation.from_matrix(T_base_body[:3, :3]).as_euler("xyz", degrees=True)
    return (f"xyz {x:.2f} {y:.2f} {z:.2f} m, roll {roll:.1f}, pitch {pitch:.1f}, yaw {yaw:.1f} "
            "deg")  # fmt: skip
