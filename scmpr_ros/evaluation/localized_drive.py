"""A drive whose queries have been answered: truth beside candidates, and the score of the whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import DatasetError, ShapeError
from scmpr_ros.evaluation.metrics import (
    Axes,
    Tolerance,
    bootstrap_interval,
    chance_level,
    first_right,
    heading_errors,
    one_percent,
    position_errors,
    precision_recall,
    recall_at,
    right_by_confidence,
    within,
)
from scmpr_ros.geometry import camera_yaw


@dataclass(frozen=True)
class Answer:
    """What a localizer published for one image.

    candidates: (K, 4, 4) `T_map_camera`, best first, at least one.
    latency_s: from the receipt of the image to that of the pose; NaN where nobody measured it.
    confidence: of the first candidate; NaN where it is not known.
    """

    candidates: NDArray[np.float64]
    latency_s: float
    confidence: float = np.nan


def read_answers(path: Path) -> dict[int, Answer]:
    """Read a file of `record_answers`: answers by the stamp of their image, in nanoseconds.

    Raises DatasetError where the file is missing or a line is not an answer.
    """
    if not path.is_file():
        raise DatasetError(f"no answers in {path}: did the recorder end before it wrote them?")
    answers = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            record = json.loads(line)
            poses = np.array(record["candidates"] or [record["T_map_camera"]], dtype=np.float64)
            latency_s = np.nan if record["latency_s"] is None else float(record["latency_s"])
            stamp_ns = int(record["stamp_ns"])
            sure = record.get("confidence")
            confidence = np.nan if sure is None else float(sure)
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"{path}, line {number} is not an answer: {error!r}") from error
        if poses.ndim != 3 or poses.shape[1:] != (4, 4):
            raise DatasetError(
                f"{path}, line {number}: poses of shape {poses.shape}, not (K, 4, 4)"
            )
        answers[stamp_ns] = Answer(poses, latency_s, confidence)
    return answers


@dataclass(frozen=True)
class LocalizedDrive:
    """N queries of one drive with truth and answers, in the order of the drive.

    frames: (N,) frame numbers.
    T_map_camera: (N, 4, 4) true poses.
    candidates: (N, K, 4, 4) `T_map_camera`, best first; NaN where there is no such candidate.
    latency_s, confidences: (N,) NaN where there is no answer.
    """

    frames: tuple[int, ...]
    T_map_camera: NDArray[np.float64]
    candidates: NDArray[np.float64]
    latency_s: NDArray[np.float64]
    confidences: NDArray[np.float64]

    def __post_init__(self) -> None:
        N = len(self.frames)
        if N == 0:
            raise ShapeError("a localized drive needs at least one query")
        if self.T_map_camera.shape != (N, 4, 4):
            raise ShapeError.of("T_map_camera", f"({N}, 4, 4)", self.T_map_camera.shape)
        if self.candidates.ndim != 4 or len(self.candidates) != N:
            raise ShapeError.of("candidates", f"({N}, K, 4, 4)", self.candidates.shape)
        for name in ("latency_s", "confidences"):
            if getattr(self, name).shape != (N,):
                raise ShapeError.of(name, f"({N},)", getattr(self, name).shape)

    @classmethod
    def join(
        cls,
        truth: Mapping[int, NDArray[np.float64]],
        stamps_ns: Mapping[int, int],
        answers: Mapping[int, Answer],
    ) -> LocalizedDrive:
        """Put answers beside the truth.

        truth: `T_map_camera` by frame, one for each query; stamps_ns: stamp of each frame;
        answers: by stamp. A query without an answer stays in, unanswered.
        """
        frames = tuple(sorted(truth))
        most = max((len(a.candidates) for a in answers.values()), default=1)
        candidates = np.full((len(frames), most, 4, 4), np.nan)
        latency_s, confidences = np.full((2, len(frames)), np.nan)
        for row, frame in enumerate(frames):
            answer = answers.get(stamps_ns[frame])
            if answer is not None:
                candidates[row, : len(answer.candidates)] = answer.candidates
                latency_s[row], confidences[row] = answer.latency_s, answer.confidence
        return cls(frames, np.stack([truth[f] for f in frames]), candidates, latency_s, confidences)

    def select(self, keep: NDArray[np.bool_]) -> LocalizedDrive:
        """The queries that a mask (N,) picks, at least one."""
        frames = tuple(f for f, kept in zip(self.frames, keep, strict=True) if kept)
        arrays = (self.T_map_camera, self.candidates, self.latency_s, self.confidences)
        return LocalizedDrive(frames, *(array[keep] for array in arrays))

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Which queries (N,) got an answer at all."""
        return np.isfinite(self.candidates[:, 0, 0, 3])

    @property
    def position_errors_m(self) -> NDArray[np.float64]:
        """Horizontal error of every candidate, (N, K)."""
        return self.distances_m((0, 1))

    def distances_m(self, axes: Axes) -> NDArray[np.float64]:
        """Distance of every candidate from the truth in two axes of the map, (N, K)."""
        return position_errors(self.candidates[..., :3, 3], self.T_map_camera[:, :3, 3], axes)

    @property
    def heading_errors_rad(self) -> NDArray[np.float64]:
        """Heading error of every candidate, (N, K)."""
        return heading_errors(camera_yaw(self.candidates), camera_yaw(self.T_map_camera))

    def correct(self, tolerance: Tolerance) -> NDArray[np.bool_]:
        """Which candidates (N, K) are within the tolerance."""
        return within(self.distances_m(tolerance.axes), self.heading_errors_rad, tolerance)

    def summary(
        self,
        place_positions: NDArray[np.floating],
        place_headings_rad: NDArray[np.floating],
        tolerance: Tolerance,
        allowed: NDArray[np.bool_] | None = None,
    ) -> dict[str, Any]:
        """The numbers of a run, ready for JSON; None where there is nothing to tell.

        Errors and latencies are of the published (first) answers, recall is of all queries, each
        candidate being another place. allowed: (N, P) places that may answer each query.
        """
        correct, true_yaw = self.correct(tolerance), camera_yaw(self.T_map_camera)
        chance = chance_level(
            self.T_map_camera[:, :3, 3], true_yaw, place_positions, place_headings_rad, tolerance,
            allowed,
        )  # fmt: skip
        trusted = np.isfinite(self.confidences).any()
        return {
            "recall_at_1": recall_at(1, correct),
            "recall_at_1_interval": bootstrap_interval(correct[:, 0]),
            "recall_at_5": recall_at(5, correct),
            "recall_at_10": _recall(10, correct),
            "recall_at_1_percent": _recall(one_percent(len(place_positions)), correct),
            "first_right_rank": first_right(correct),
            "best_f1": (
                precision_recall(self.confidences, correct[:, 0]).best_f1 if trusted else None
            ),
            "by_confidence": (
                right_by_confidence(self.confidences, correct[:, 0]) if trusted else None
            ),
            "heading_within_15_deg": self._well_turned(tolerance),
            "chance": chance,
            "radius_m": tolerance.radius_m,
            "max_heading_error_deg": tolerance.angle_deg,
            "num_queries": len(self.frames),
            "num_answered": int(self.answered.sum()),
            "num_places": len(place_positions),
            "num_headings": len(place_headings_rad),
            "median_position_error_m": _percentile(self.position_errors_m[:, 0], 50),
            "median_heading_error_deg": _percentile(np.rad2deg(self.heading_errors_rad[:, 0]), 50),
            "latency_ms_p50": _percentile(1e3 * self.latency_s, 50),
            "latency_ms_p95": _percentile(1e3 * self.latency_s, 95),
        }

    def _well_turned(self, tolerance: Tolerance) -> float | None:
        """Of the first answers that are near enough, the share whose heading is right to 15 deg."""
        near = self.distances_m(tolerance.axes)[:, 0] <= tolerance.radius_m
        if not near.any():
            return None
        return float((self.heading_errors_rad[near, 0] <= np.deg2rad(15.0)).mean())


def _recall(k: int, correct: NDArray[np.bool_]) -> float | None:
    """Recall@K where so many candidates are known."""
    return recall_at(k, correct) if correct.shape[1] >= k else None


def _percentile(values: NDArray[np.floating], percent: float) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, percent)) if len(finite) else None
