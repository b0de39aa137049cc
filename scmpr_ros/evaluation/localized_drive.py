"""A drive with its answered queries: true poses beside candidates, and their scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import DatasetError, ShapeError
from scmpr_ros.evaluation.confidence import accepted_answers, calibration, precision_recall
from scmpr_ros.evaluation.intervals import recall_interval
from scmpr_ros.evaluation.metrics import (
    Axes,
    Tolerance,
    chance_level,
    first_correct_ranks,
    heading_errors,
    one_percent,
    position_errors,
    recall_at,
    within,
)
from scmpr_ros.evaluation.result import Scores
from scmpr_ros.geometry import camera_yaw


@dataclass(frozen=True)
class Answer:
    """The answer to one image.

    candidates: (K, 4, 4) `T_map_camera`, best first, at least one.
    latency_s: from the receipt of the image to that of the pose; NaN if not measured.
    confidence: of the first candidate; NaN if unknown.
    """

    candidates: NDArray[np.float64]
    latency_s: float
    confidence: float = np.nan


def read_answers(path: Path) -> dict[int, Answer]:
    """Read a file of `record_answers`: answers by the stamp of their image, in nanoseconds.

    Raises DatasetError if the file is missing or a line is not an answer.
    """
    if not path.is_file():
        raise DatasetError(f"no answers in {path}: did the recorder end before it wrote them?")
    answers = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            record = json.loads(line)
            poses = np.array(record["candidates"] or [record["T_map_camera"]], dtype=np.float64)
            latency_s, confidence = (
                np.nan if value is None else float(value)
                for value in (record["latency_s"], record.get("confidence"))
            )
            stamp_ns = int(record["stamp_ns"])
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
    """N queries of one drive with truth and answers, in driving order.

    frames: (N,) frame numbers.
    T_map_camera: (N, 4, 4) true poses.
    candidates: (N, K, 4, 4) `T_map_camera`, best first; NaN beyond a query's last candidate.
        A rotation is NaN if the method gives no heading.
    latency_s, confidences: (N,) NaN if unknown.
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
        """Pair answers with the truth; a query without an answer stays in, unanswered.

        truth: `T_map_camera` by frame, one for each query.
        stamps_ns: stamp of each frame.
        answers: by stamp.
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
        """Which queries (N,) have an answer."""
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

    def score(
        self,
        place_positions: NDArray[np.floating],
        place_headings_rad: NDArray[np.floating],
        tolerance: Tolerance,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Scores:
        """Score the drive.

        place_positions: (P, 3) of the database.
        place_headings_rad: (V,) of all places, or (P, V) of each.
        allowed: (N, P) places that may answer each query; all by default.
        """
        correct, true_xy = self.correct(tolerance), self.T_map_camera[:, :2, 3]
        hits, confidences = correct[:, 0], self.confidences
        known = bool(np.isfinite(confidences).any())
        chance = chance_level(
            self.T_map_camera[:, :3, 3], camera_yaw(self.T_map_camera), place_positions,
            place_headings_rad, tolerance, allowed,
        )  # fmt: skip
        return Scores(
            recall_at_1=recall_at(1, correct),
            recall_at_1_interval=recall_interval(hits, true_xy),
            recall_at_5=recall_at(5, correct),
            recall_at_10=_recall(10, correct),
            recall_at_1_percent=_recall(one_percent(len(place_positions)), correct),
            best_f1=precision_recall(confidences, hits).best_f1 if known else None,
            by_confidence=accepted_answers(confidences, hits) if known else None,
            calibration=calibration(confidences, hits),
            heading_within_15_deg=self._heading_accuracy(tolerance),
            chance=chance,
            radius_m=tolerance.radius_m,
            max_heading_error_deg=tolerance.angle_deg,
            num_queries=len(self.frames),
            num_answered=int(self.answered.sum()),
            num_places=len(place_positions),
            num_headings=np.shape(place_headings_rad)[-1],
            median_position_error_m=_percentile(self.position_errors_m[:, 0], 50),
            median_heading_error_deg=_percentile(np.rad2deg(self.heading_errors_rad[:, 0]), 50),
            latency_ms_p50=_percentile(1e3 * self.latency_s, 50),
            latency_ms_p95=_percentile(1e3 * self.latency_s, 95),
            first_right_rank=first_correct_ranks(correct),
            query_xy_m=tuple((float(x), float(y)) for x, y in true_xy.round(2)),
            query_confidence=tuple(float(c) if np.isfinite(c) else None for c in confidences),
        )

    def _heading_accuracy(self, tolerance: Tolerance) -> float | None:
        """Share of first answers within the radius whose heading is right to 15 deg."""
        near = self.distances_m(tolerance.axes)[:, 0] <= tolerance.radius_m
        errors_rad = self.heading_errors_rad[near, 0]
        errors_rad = errors_rad[np.isfinite(errors_rad)]
        return float((errors_rad <= np.deg2rad(15.0)).mean()) if len(errors_rad) else None


def _recall(k: int, correct: NDArray[np.bool_]) -> float | None:
    """Recall@K if that many candidates were kept."""
    return recall_at(k, correct) if correct.shape[1] >= k else None


def _percentile(values: NDArray[np.floating], percent: float) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, percent)) if len(finite) else None
