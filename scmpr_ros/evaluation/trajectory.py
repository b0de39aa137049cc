"""A drive localised image by image and by a tracker, beside the truth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import DatasetError, ShapeError
from scmpr_ros.evaluation.metrics import Tolerance, heading_errors, position_errors, within
from scmpr_ros.geometry import camera_yaw
from scmpr_ros.pipeline.mixture import NEAR_DEG, NEAR_M
from scmpr_ros.pipeline.states import LOCALIZED

NEAR = Tolerance(NEAR_M, NEAR_DEG)
"""What `near_probability` is the probability of."""


@dataclass(frozen=True)
class TrackedScores:
    """How often a drive was localised, and how often rightly; shares lie in [0, 1].

    localized: share of the images in the state LOCALIZED. right_when_localized: share of those
    within `NEAR`; None without any. right, single_right: share of all images whose tracked pose, or
    whose answer to the image alone, is. median_position_error_m, median_heading_error_deg: of
    LOCALIZED poses.
    """

    num_images: int
    localized: float
    right_when_localized: float | None
    right: float
    single_right: float
    median_position_error_m: float | None
    median_heading_error_deg: float | None


@dataclass(frozen=True)
class TrackedDrive:
    """N images of one drive, in driving order.

    stamps_s: (N,) growing. T_true, T_tracked, T_single: (N, 4, 4) `T_map_camera`; `T_single` is the
        answer to the image alone. covariance: (N, 6, 6) of the tracked pose. near_probability,
        off_map_probability: (N,) of the tracked pose. single_confidence: (N,). state: (N,) text.
    """

    stamps_s: NDArray[np.float64]
    T_true: NDArray[np.float64]
    T_tracked: NDArray[np.float64]
    T_single: NDArray[np.float64]
    covariance: NDArray[np.float64]
    near_probability: NDArray[np.float64]
    off_map_probability: NDArray[np.float64]
    single_confidence: NDArray[np.float64]
    state: NDArray[np.str_]

    def __post_init__(self) -> None:
        N = len(self.stamps_s)
        if N == 0:
            raise ShapeError("a tracked drive needs at least one image")
        shapes = {"T_true": (N, 4, 4), "T_tracked": (N, 4, 4), "T_single": (N, 4, 4)}
        shapes |= {"covariance": (N, 6, 6)}
        for name, values in vars(self).items():
            expected = shapes.get(name, (N,))
            if values.shape != expected:
                raise ShapeError.of(name, expected, values.shape)

    def position_errors_m(self, T_map_camera: NDArray[np.float64]) -> NDArray[np.float64]:
        """Horizontal errors (N,) of poses (N, 4, 4)."""
        return position_errors(T_map_camera[:, :3, 3], self.T_true[:, :3, 3])

    def near(self, T_map_camera: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which poses (N, 4, 4) are within `NEAR` of the truth."""
        errors_rad = self.heading_errors_rad(T_map_camera)
        return within(self.position_errors_m(T_map_camera), errors_rad, NEAR)

    def heading_errors_rad(self, T_map_camera: NDArray[np.float64]) -> NDArray[np.float64]:
        """Heading errors (N,) of poses (N, 4, 4)."""
        return heading_errors(camera_yaw(T_map_camera), camera_yaw(self.T_true))

    def score(self) -> TrackedScores:
        """Score the drive."""
        localized, right = self.state == LOCALIZED, self.near(self.T_tracked)
        any_localized = bool(localized.any())
        errors_m = self.position_errors_m(self.T_tracked)[localized]
        errors_deg = np.rad2deg(self.heading_errors_rad(self.T_tracked)[localized])
        return TrackedScores(
            num_images=len(self.state),
            localized=float(localized.mean()),
            right_when_localized=float(right[localized].mean()) if any_localized else None,
            right=float(right.mean()),
            single_right=float(self.near(self.T_single).mean()),
            median_position_error_m=float(np.median(errors_m)) if any_localized else None,
            median_heading_error_deg=float(np.median(errors_deg)) if any_localized else None,
        )


def read_tracked_drive(
    path: Path, truth: Mapping[int, NDArray[np.float64]], stamps_ns: Mapping[int, int]
) -> TrackedDrive:
    """Pair a file of `record_answers` with the truth; images without a tracked answer are left out.

    truth: `T_map_camera` (4, 4) by frame. stamps_ns: stamp of each frame.

    Raises DatasetError if the file is missing, a line is not an answer, or none is of a frame.
    """
    if not path.is_file():
        raise DatasetError(f"no answers in {path}: did the recorder end before it wrote them?")
    frame_at = {stamps_ns[frame]: frame for frame in truth}
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            answer = json.loads(line)
            frame = frame_at.get(answer["stamp_ns"])
            if frame is None or answer["state"] is None:
                continue
            rows.append(
                (
                    1e-9 * answer["stamp_ns"], truth[frame], np.array(answer["T_map_camera"]),
                    np.array(answer["candidates"][0]), np.array(answer["covariance"]),
                    answer["near_probability"], answer["off_map_probability"],
                    answer["confidence"], answer["state"],
                )
            )  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"{path}, line {number} is not an answer: {error!r}") from error
    if not rows:
        raise DatasetError(f"{path} has no tracked pose of any of the {len(truth)} images")
    rows.sort(key=lambda row: row[0])
    return TrackedDrive(*(np.array(column) for column in zip(*rows, strict=True)))
