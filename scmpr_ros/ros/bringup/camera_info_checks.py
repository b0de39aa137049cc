"""Findings about camera_info: whether it comes and fits the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scmpr_ros.datasets.camera_images import CameraImageConfig, CameraImages, ImageSource
from scmpr_ros.datasets.intrinsics import find_unusual
from scmpr_ros.datasets.rectification import Calibration
from scmpr_ros.datasets.ros_cameras import calibration_from_info
from scmpr_ros.errors import CalibrationError
from scmpr_ros.records import CameraModel
from scmpr_ros.ros.bringup.findings import Finding, Report
from scmpr_ros.ros.bringup.image_checks import image_size
from scmpr_ros.ros.bringup.streams import Stream, names
from scmpr_ros.ros.camera_input import IMAGE_PARAMETERS

CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_MAX_RECTIFIED_CHANGE = 0.05


def check_camera_info(
    info: Stream,
    images: Stream,
    view_fov_deg: float,
    topics: Mapping[str, Sequence[str]],
    config: CameraImageConfig | None = None,
) -> list[Finding]:
    """Check the intrinsics against the images.

    view_fov_deg: horizontal field of view of the network.
    topics: types of every topic of the system, to suggest others.
    config: the localizer's parameters images.*; by default its defaults.
    """
    report = Report("camera_info")
    if info.newest is None:
        _report_silence(report, info, images, topics)
        return report.findings
    try:
        calibration = calibration_from_info(info.newest)
    except CalibrationError as error:
        report.error(f"{info.topic}: {error}")
        return report.findings
    camera = _fitting_camera(report, info, images, calibration, config or CameraImageConfig())
    if camera is not None:
        _check_intrinsics(report, info, camera, view_fov_deg)
    _check_matrices(report, info.newest)
    if len(info.of_kind) > 1:
        report.warn(f"{names(info.of_kind)} all publish {info.topic}: stop or remap all but one")
    if len(info.seen) > 1:
        report.error(f"intrinsics on {info.topic} change while listening: let one node publish "
                     "them")  # fmt: skip
    if images.newest is not None:
        _check_pairing(report, info, images)
    return report.findings


def _fitting_camera(
    report: Report,
    info: Stream,
    images: Stream,
    calibration: Calibration,
    config: CameraImageConfig,
) -> CameraModel | None:
    """The camera that the localizer makes of the calibration; None if it refuses."""
    size = image_size(images) or (calibration.width, calibration.height)
    source = ImageSource(images.topic, info.topic, IMAGE_PARAMETERS)
    try:
        return CameraImages(calibration, size, config, source).camera
    except CalibrationError as error:
        report.error(str(error))
        return None


def _report_silence(
    report: Report, info: Stream, images: Stream, topics: Mapping[str, Sequence[str]]
) -> None:
    if info.of_kind:
        report.error(f"{info.topic} is published by {names(info.of_kind)}, but no message came: "
                     "many drivers publish it only with images")  # fmt: skip
        return
    found = sorted(name for name, kinds in topics.items() if CAMERA_INFO in kinds)
    folder = images.topic.rpartition("/")[0]
    found.sort(key=lambda name: not name.startswith(f"{folder}/"))
    advice = (
        f"there is {', '.join(found)}: add --ros-args -r camera_info:={found[0]}"
        if found
        else "calibrate the camera, and let its driver publish the intrinsics"
    )
    report.error(f"nobody publishes {info.topic}; {advice}")


def _check_intrinsics(
    report: Report, info: Stream, camera: CameraModel, view_fov_deg: float
) -> None:
    fov_deg = float(np.degrees(camera.horizontal_fov_rad))
    text = (f"{info.topic}: {camera.width}x{camera.height}, fx {camera.fx:.1f}, field of view "
            f"{fov_deg:.0f} deg")  # fmt: skip
    if fov_deg < 0.75 * view_fov_deg:
        report.warn(f"{text}: the network looks {view_fov_deg:.0f} deg wide and sees nothing in "
                    "the rest, which costs recall; a wider lens helps")  # fmt: skip
    else:
        report.ok(text)
    unusual = find_unusual(camera)
    if unusual:
        report.warn(f"{info.topic}: {unusual}")


def _check_matrices(report: Report, message: Any) -> None:
    P, K = np.reshape(message.p, (3, 4)), np.reshape(message.k, (3, 3))
    if not P.any():
        report.warn("P is zero, so K is used: let the driver publish P of the rectified image")
        return
    is_plain = not np.any(message.d) and np.allclose(np.reshape(message.r, (3, 3)), np.eye(3))
    if K[0, 0] > 0 and is_plain:
        change = abs(P[0, 0] / K[0, 0] - 1)
        if change > _MAX_RECTIFIED_CHANGE:
            report.warn(
                f"without distortion P and K should agree, but fx is {P[0, 0]:.1f} in P "
                f"and {K[0, 0]:.1f} in K: P is used; is it for another resolution?"
            )


def _check_pairing(report: Report, info: Stream, images: Stream) -> None:
    header = images.newest.header
    frames = header.frame_id, info.newest.header.frame_id
    if frames[0] != frames[1]:
        report.warn(f"frame_id is {frames[0]!r} in images but {frames[1]!r} in camera_info: are "
                    "they of one camera?")  # fmt: skip
    elif not frames[0]:
        report.warn("frame_id is empty in images and camera_info: without it the mount cannot come "
                    "from TF; set it in the driver")  # fmt: skip
    is_periodic = len(info.arrivals) > 1
    if is_periodic and not np.isin(images.stamps_ns, info.stamps_ns).any():
        report.warn("no image has the stamp of a camera_info: harmless here, but nodes that pair "
                    "them (image_proc) get nothing")  # fmt: skip
