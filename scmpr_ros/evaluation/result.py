"""The result of an evaluation: scores of one drive, the rules they follow and their provenance.

Files hold a list of results as flat JSON objects: the fields of `Provenance`, `Rules` and `Scores`
side by side, and the IoU of both segmenters where it was measured.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from scmpr_ros.atomic_files import write_json
from scmpr_ros.config import from_dict, to_dict
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.confidence import AcceptedAnswers, Calibration

T = TypeVar("T")


@dataclass(frozen=True)
class Provenance:
    """What answers depend on, apart from the rules.

    recording: name of its folder. drive: name of the drive within it.
    condition: light and season of a synthetic drive, such as `night/winter`; else empty.
    split: what a synthetic town is reserved for, `train`, `validation` or `test`; else None.
    database: what was searched, a prebuilt map or the single scans of the drive.
    pose_source: file or topic of the true poses.
    fingerprint: of the weights, or of the descriptor files.
    localizer: settings of the search.
    mount_rpy: roll, pitch and yaw of the camera in radians, by which images were levelled.
    own_frame: whether positions are in a frame of the drive's own, as of KITTI odometry, and not in
        one of the recording, such as that of its prebuilt map.
    """

    recording: str
    drive: str
    condition: str
    database: Literal["map", "scans"]
    pose_source: str
    fingerprint: str
    localizer: dict
    mount_rpy: tuple[float, float, float] = (0.0, 0.0, 0.0)
    split: str | None = None
    own_frame: bool = False

    @property
    def frame(self) -> str:
        """The frame of positions by name: equal positions in it are on one street."""
        return f"{self.recording}/{self.drive}" if self.own_frame else self.recording


@dataclass(frozen=True)
class Rules:
    """The rules of an `evaluation.protocols.Protocol`, as written beside every number.

    regions: whether queries are restricted to regions.
    distance_axes: axes of the map in which distances are taken, such as `xy`.
    """

    protocol: str
    include_self: bool
    min_gap_s: float | None
    only_revisits: bool
    keyframe_m: float | None
    regions: bool
    radius_m: float
    angle_deg: float
    distance_axes: str
    assumed: str

    def summary(self) -> str:
        """What decides whether an answer is correct, as text."""
        shown = ("radius_m", "angle_deg", "include_self", "min_gap_s", "distance_axes")
        return ", ".join(
            [f"protocol {self.protocol}", *(f"{name} {getattr(self, name)}" for name in shown)]
        )


@dataclass(frozen=True)
class Scores:
    """The numbers of one drive; None where a number is unknown.

    Errors and latencies are those of first answers. Recall counts all queries, answered or not.

    recall_at_1_interval: 95 %, see `intervals.recall_interval`.
    recall_at_1_percent: recall among the first hundredth of the places.
    best_f1: over thresholds of the confidence. by_confidence: accuracy above such thresholds.
    calibration: of the confidence, on this drive.
    heading_within_15_deg: share of the answers within the radius whose heading is right to 15 deg.
    chance: Recall@1 of random answers.
    first_right_rank: for each query the rank of its first correct candidate, from 1.
    query_xy_m, query_confidence: true position in the map and confidence of each query. With the
        ranks they let results be pooled.
    """

    recall_at_1: float
    recall_at_1_interval: tuple[float, float]
    recall_at_5: float
    recall_at_10: float | None
    recall_at_1_percent: float | None
    best_f1: float | None
    by_confidence: tuple[AcceptedAnswers, ...] | None
    calibration: Calibration | None
    heading_within_15_deg: float | None
    chance: float
    radius_m: float
    max_heading_error_deg: float
    num_queries: int
    num_answered: int
    num_places: int
    num_headings: int
    median_position_error_m: float | None
    median_heading_error_deg: float | None
    latency_ms_p50: float | None
    latency_ms_p95: float | None
    first_right_rank: tuple[int | None, ...]
    query_xy_m: tuple[tuple[float, float], ...]
    query_confidence: tuple[float | None, ...]


@dataclass(frozen=True)
class Result:
    """Scores of one drive with everything they depend on.

    image_iou, map_iou: IoU by class name of the predicted masks and of the map's labels, with
        their `mean`; None where not measured.
    """

    provenance: Provenance
    rules: Rules
    scores: Scores
    image_iou: dict | None = None
    map_iou: dict | None = None

    def to_json(self) -> dict[str, Any]:
        """One flat object for a JSON file; inverse of `from_json`."""
        content: dict[str, Any] = {}
        for part in (self.provenance, self.rules, self.scores):
            content |= to_dict(part)
        for kind, iou in (("image", self.image_iou), ("map", self.map_iou)):
            classes = dict(iou or {})
            content[f"{kind}_miou"] = classes.pop("mean", None)
            if iou is not None:
                content[f"{kind}_iou"] = classes
        return content

    @classmethod
    def from_json(cls, content: Any, source: str) -> Result:
        """Read one object of a result file.

        source: names the file in the DatasetError that is raised for anything else.
        """
        if not isinstance(content, dict):
            raise DatasetError(f"{source}: expected a result of `evaluate --out`, got {content!r}")
        ious = []
        for kind in ("image", "map"):
            classes, mean = content.get(f"{kind}_iou"), content.get(f"{kind}_miou")
            ious.append(None if classes is None else {**classes, "mean": mean})
        try:
            parts = (_part(part, content, source) for part in (Provenance, Rules, Scores))
            return cls(*parts, *ious)  # type: ignore[arg-type]
        except ConfigError as error:
            raise DatasetError(
                f"{error}. It is no result of this version of `evaluate --out`: evaluate again"
            ) from error


def common_rules(results: Sequence[Result]) -> Rules:
    """The rules of all results; DatasetError if they differ."""
    rules = {result.rules.summary(): result.rules for result in results}
    if len(rules) > 1:
        raise DatasetError(f"one row cannot mix results of different rules: {'; '.join(rules)}")
    return results[0].rules


def write_results(results: Sequence[Result], path: Path) -> None:
    """Write a result file."""
    write_json(path, [result.to_json() for result in results])


def read_results(path: Path) -> list[Result]:
    """Read a result file; raises DatasetError if it is not one."""
    content = read_json(path)
    if not isinstance(content, list) or not content:
        raise DatasetError(f"{path}: expected a list of results of `evaluate --out`")
    return [Result.from_json(entry, str(path)) for entry in content]


def read_json(path: Path) -> Any:
    """Content of a JSON file; raises DatasetError if it cannot be read."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot read results: {error}") from error


def _part(cls: type[T], content: dict[str, Any], source: str) -> T:
    names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    return from_dict(cls, {name: content[name] for name in names if name in content}, source)
