"""Findings about images: whether they come, can be decoded, and are rectified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scmpr_ros.datasets.rectification import (
    Rectifier,
    Rectify,
    is_rectified_by_name,
    needs_rectification,
)
from scmpr_ros.datasets.ros_cameras import calibration_from_info
from scmpr_ros.datasets.ros_images import rgb_from_image, size_of_image
from scmpr_ros.errors import CalibrationError, ShapeError
from scmpr_ros.ros.bringup.findings import Finding, Report
from scmpr_ros.ros.bringup.streams import Stream, names
from scmpr_ros.ros.camera_input import IMAGE_PARAMETERS

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_LOW_RATE_HZ = 1.0
_LARGE_BYTES = 500_000
_TOO_MANY_LOST = 0.1
_MIN_CONTRAST = 2.0  # standard deviation of the pixels; a covered lens gives less


@dataclass(frozen=True)
class ImageExpectation:
    """How the localizer listens.

    transport: any, raw or compressed. has_profile: whether a Fast DDS profile is set here.
    white_level: value of white in 16-bit images; 0: as they say themselves.
    """

    transport: str = "any"
    reliable: bool = False
    has_profile: bool = True
    white_level: int = 0


def check_images(
    raw: Stream,
    compressed: Stream,
    expected: ImageExpectation,
    topics: Mapping[str, Sequence[str]],
) -> list[Finding]:
    """Check the images on `image` and `image/compressed`.

    topics: types of every topic of the system, to suggest others.
    """
    report = Report("image")
    wanted = {"raw": [raw], "compressed": [compressed]}.get(expected.transport, [raw, compressed])
    published = [stream for stream in wanted if stream.of_kind]
    if not published:
        _nobody_publishes(report, raw, compressed, expected, topics)
    for stream in published:
        if stream.arrivals:
            _check_stream(report, stream, expected)
        elif stream is raw or not raw.arrivals:
            report.error(f"{stream.topic} is published by {names(stream.of_kind)}, but no image "
                         f"came: {_why_silent(stream, expected)}")  # fmt: skip
        _check_delivery(report, stream, expected)
    return report.findings


def image_size(stream: Stream) -> tuple[int, int] | None:
    """Width and height of the newest image; None if there is none or it cannot be decoded."""
    if stream.newest is None:
        return None
    try:
        return size_of_image(stream.newest)
    except ShapeError:
        return None


def check_rectified(
    topic: str, info: Any, topics: Mapping[str, Sequence[str]], rectify: Rectify = "auto"
) -> list[Finding]:
    """Check whether the images of a topic are rectified, or the localizer rectifies them.

    info: newest camera_info. rectify: the localizer's parameter images.rectify.
    """
    report = Report("rectified")
    try:
        calibration = calibration_from_info(info)
        is_raw, note = needs_rectification(calibration, topic, rectify)
        if is_raw:
            Rectifier(calibration)
    except CalibrationError as error:
        report.error(f"{topic} cannot be rectified: {error}")
        return report.findings
    if is_raw:
        _report_raw(report, topic, note, topics)
    elif note:
        report.warn(f"{note} in {IMAGE_PARAMETERS}")
    elif not calibration.is_distorted:
        report.ok(f"camera_info has no distortion, so {topic} needs no rectification")
    elif is_rectified_by_name(topic):
        report.ok(f"{topic} is rectified, by its name")
    else:
        report.warn(f"camera_info has {calibration.model} distortion, but images.rectify is never: "
                    "make sure that straight edges look straight")  # fmt: skip
    return report.findings


def _report_raw(report: Report, topic: str, note: str, topics: Mapping[str, Sequence[str]]) -> None:
    folder = _uncompressed(topic).rpartition("/")[0]
    beside = [t for t in map(_uncompressed, topics) if t.rpartition("/")[0] == folder]
    rectified = sorted(filter(is_rectified_by_name, beside))
    if rectified:
        report.warn(f"{topic} is rectified by the localizer, but {rectified[0]} is already: remap "
                    "image to it")  # fmt: skip
    elif note:
        report.warn(f"{note} in {IMAGE_PARAMETERS}")
    else:
        report.ok(f"{topic} is rectified by the localizer, as images.rectify says")


def _uncompressed(topic: str) -> str:
    return topic.removesuffix("/compressed")


def _nobody_publishes(
    report: Report,
    raw: Stream,
    compressed: Stream,
    expected: ImageExpectation,
    topics: Mapping[str, Sequence[str]],
) -> None:
    other = {publisher.kind for publisher in raw.publishers} - {IMAGE}
    if COMPRESSED in other:
        base = raw.topic.removesuffix("/compressed")
        report.error(f"{raw.topic} carries CompressedImage: remap image to {base}, and the "
                     "localizer adds /compressed")  # fmt: skip
    elif other:
        report.error(f"{raw.topic} carries {', '.join(sorted(other))}, not images")
    elif expected.transport != "any" and (raw.of_kind or compressed.of_kind):
        there = "raw" if raw.of_kind else "compressed"
        report.error(f"only {there} images are published, but image_transport is "
                     f"{expected.transport}: set it to {there} or any")  # fmt: skip
    else:
        images = sorted(
            name.removesuffix("/compressed")
            for name, kinds in topics.items()
            if (IMAGE in kinds or COMPRESSED in kinds) and not _is_ours(name)
        )
        found = list(dict.fromkeys(images))
        advice = (
            f"images are on {', '.join(found)}: add --ros-args -r image:={_best(found)}"
            if found
            else "no topic of this system carries images: start the camera driver, and compare "
            "ROS_DOMAIN_ID"
        )
        report.error(f"nobody publishes {raw.topic}; {advice}")


def _is_ours(topic: str) -> bool:
    return topic.endswith("/semantic_mask")


def _best(topics: Sequence[str]) -> str:
    return next((topic for topic in topics if "rect" in topic), topics[0])


def _check_stream(report: Report, stream: Stream, expected: ImageExpectation) -> None:
    message = stream.newest
    is_raw = stream.kind == IMAGE
    try:
        pixels = rgb_from_image(message, expected.white_level)
    except ShapeError as error:
        report.error(f"{stream.topic} cannot be decoded: {error}")
        return
    form = message.encoding if is_raw else f"compressed ({message.format or 'no format'})"
    height, width = pixels.shape[:2]
    sender = stream.of_kind[0] if stream.of_kind else None
    delivery = "reliable" if sender is None or sender.reliable else "best effort"
    text = (f"{stream.rate_hz:.1f} Hz of {width}x{height} {form} on {stream.topic}, {delivery}, "
            f"from {names(stream.of_kind)}")  # fmt: skip
    if stream.rate_hz < _LOW_RATE_HZ:
        report.warn(f"{text}: less than {_LOW_RATE_HZ:g} Hz; tracking needs more")
    else:
        report.ok(text)
    if len(stream.seen) > 1:
        found = "; ".join(" ".join(map(str, properties)) for properties in stream.seen)
        report.error(f"images of {stream.topic} differ among themselves ({found}): let one camera "
                     "publish in one mode")  # fmt: skip
    if pixels.std() < _MIN_CONTRAST:
        report.warn(f"the newest image of {stream.topic} is of one colour: look at lens cap and "
                    "exposure")  # fmt: skip


def _check_delivery(report: Report, stream: Stream, expected: ImageExpectation) -> None:
    unreliable = [publisher for publisher in stream.of_kind if not publisher.reliable]
    if expected.reliable and unreliable:
        report.error(
            f"{names(unreliable)} publishes {stream.topic} best effort, but "
            "reliable_images is set: the localizer gets none; set it to false"
        )
    if len(stream.of_kind) > 1:
        report.warn(
            f"{len(stream.of_kind)} publishers of {stream.topic} ({names(stream.of_kind)}):"
            " images of two cameras would be taken for one; stop or remap one"
        )
    if stream.lost_share > _TOO_MANY_LOST:
        report.warn(f"by the gaps between stamps {stream.lost_share:.0%} of the images of "
                    f"{stream.topic} got lost: {_against_loss(expected)}")  # fmt: skip
    elif _is_large(stream) and unreliable and not expected.has_profile:
        report.warn(f"images of {stream.topic} are large and best effort, and no Fast DDS profile "
                    f"is set: {_against_loss(expected)}")  # fmt: skip


def _why_silent(stream: Stream, expected: ImageExpectation) -> str:
    if not all(publisher.reliable for publisher in stream.of_kind):
        return f"the camera may be waiting for a trigger; or {_against_loss(expected)}"
    return "the camera may be waiting for a trigger, or a bag be paused"


def _against_loss(expected: ImageExpectation) -> str:
    if expected.has_profile:
        return ("give the camera driver the same Fast DDS profile, "
                "FASTDDS_DEFAULT_PROFILES_FILE, as the other processes")  # fmt: skip
    return ("large best-effort images get lost on the way: set FASTDDS_DEFAULT_PROFILES_FILE to "
            "the package's config/fastdds.xml for camera, localizer and this check")  # fmt: skip


def _is_large(stream: Stream) -> bool:
    return stream.newest is not None and len(stream.newest.data) > _LARGE_BYTES


def _short(distortion: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.3g}" for value in distortion[:5]) + "]"
