"""A point cloud of one file or of many tiles, checked, in metres and z up, with joint labels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from scmpr_ros.cancellation import raise_if_cancelled
from scmpr_ros.errors import DatasetError
from scmpr_ros.label_sets import LabelSet, check_label_ids, open_label_set
from scmpr_ros.lidar.clouds.checks import (
    FEWEST_POINTS,
    check_georeference,
    check_resolution,
    check_units,
    check_up,
)
from scmpr_ros.lidar.clouds.config import CloudConfig
from scmpr_ros.lidar.clouds.fields import likely_labels
from scmpr_ros.lidar.clouds.formats.point_table import BLOCK_POINTS
from scmpr_ros.lidar.clouds.label_checks import check_ground_labels
from scmpr_ros.lidar.clouds.survey import CloudSurvey
from scmpr_ros.lidar.clouds.tables import CloudTables, RawBlock, open_tables
from scmpr_ros.semantics import GROUND_IDS, IGNORE

_log = logging.getLogger(__name__)

_MAX_EXTENT_M = 100_000.0
_MAX_COORDINATE_M = 1e8
"""Eastings with their zone in front reach 6e7."""
_MAX_LABEL_IDS = 10_000
_LEAST_CLASSIFIED = 0.5
_LEAST_STANDING = 0.2
"""Surveys often classify the ground alone: then geometry says more than the labels."""


@dataclass(frozen=True)
class RawCloud:
    """A checked cloud before an origin is subtracted; see `CloudStream` for its fields.

    sample: (S, 3) float64 random points; all of a cloud of at most a million.
    """

    name: str
    bounds: NDArray[np.float64]
    sample: NDArray[np.float64]
    count: int
    georeference: str
    has_label: bool
    has_intensity: bool
    blocks: Callable[[], Iterator[RawBlock]]


def open_raw_cloud(path: Path, config: CloudConfig) -> RawCloud:
    """Open and check a file or a folder of tiles, see `cloud_files.open_cloud`."""
    tables = open_tables(path, config)
    labels = _label_set(tables, config)
    survey, kept = _survey(path, tables, labels)
    _check_count(str(path), survey)
    if labels is not None and not _use_labels(tables, survey, labels):
        labels = None
    if config.unit_m == 0:
        check_georeference(tables.georeference, str(path))
    if survey.count >= FEWEST_POINTS:
        _check(str(path), survey, config)
        if labels is not None:
            assumed = config.label_set == "auto"
            check_ground_labels(survey.sample(), labels, str(path), assumed)
    has_intensity = tables.has_intensity and survey.dark < survey.count
    if tables.has_intensity and survey.dark:
        fate = "taken as 0" if has_intensity else "so it has no intensity"
        _log.warning("%s: the intensity of %d points is not finite, %s", path, survey.dark, fate)
    _log.info("%s: %s", path, tables.used_fields(labels, has_intensity))
    table, fields = tables.tables[0]
    like_labels = likely_labels(table.fields) if fields.label is None else []
    if like_labels:
        _log.warning("%s: its field %s may hold classes but is not read: if it does, call it label "
                     "and say by cloud.label_set what they are", path, like_labels[0])  # fmt: skip
    strays = survey.cells.strays()
    if strays.count:
        _log.warning(
            "%s: left out %d points that lie more than %.0f m from all others",
            path, strays.count, strays.cell_m,
        )  # fmt: skip

    def blocks() -> Iterator[RawBlock]:
        for block in kept if kept is not None else tables.blocks(labels):
            raise_if_cancelled()
            block = block.select(~strays.contain(block.xyz)) if strays.count else block
            if len(block.xyz) == 0:
                continue
            label = None if labels is None or block.label is None else labels.to_joint(block.label)
            intensity = None
            if has_intensity and block.intensity is not None:
                intensity = np.nan_to_num(block.intensity, posinf=0.0, neginf=0.0)
            yield replace(block, label=label, intensity=intensity)

    bounds = _bounds(blocks()) if strays.count else survey.bounds
    _check_extent(str(path), bounds)
    sample = survey.sample().xyz
    return RawCloud(
        str(path),
        bounds,
        sample[~strays.contain(sample)] if strays.count else sample,
        survey.count - strays.count,
        tables.georeference,
        labels is not None,
        has_intensity,
        blocks,
    )


def _use_labels(tables: CloudTables, survey: CloudSurvey, labels: LabelSet) -> bool:
    """Whether the labels say something; DatasetError if they cannot mean what is assumed."""
    counts = survey.label_counts
    field = tables.tables[0][1].label
    if labels.are_unlabelled(counts):
        _log.warning("%s: its field %s says of no point what it is", tables.path, field)
        return False
    if survey.count < FEWEST_POINTS:
        return True
    assumed = tables.config.label_set == "auto"
    known = sum(n for i, n in counts.items() if labels.joint_of.get(i, IGNORE) != IGNORE)
    if assumed and labels.name == "asprs" and _are_of_the_ground_alone(counts, known, labels):
        _log.warning(
            "%s: only %.0f %% of its points are classified (field %s), too few or ground alone, so "
            "classes are found by geometry; set cloud.label_set to asprs to use them, or to a YAML "
            "file if they are other classes",
            tables.path, 100 * known / survey.count, field,
        )  # fmt: skip
        return False
    where = f"{tables.path}: field {field}"
    check_label_ids(counts, labels, where, assumed)
    rare = [i for i in counts if i not in labels.joint_of]
    if rare:
        _log.warning("%s: field %s holds ids that %s does not know, taken as void: %s",
                     tables.path, field, labels.name, ", ".join(map(str, rare[:10])))  # fmt: skip
    return True


def _are_of_the_ground_alone(counts: Mapping[int, int], known: int, labels: LabelSet) -> bool:
    """Whether a survey has classes for few of its points, or for few that stand on the ground."""
    total = sum(counts.values())
    ground = sum(n for i, n in counts.items() if labels.joint_of.get(i, IGNORE) in GROUND_IDS)
    return known < _LEAST_CLASSIFIED * total or known - ground < _LEAST_STANDING * (total - ground)


def _label_set(tables: CloudTables, config: CloudConfig) -> LabelSet | None:
    """What the label fields mean; None if there are none, or they are to be ignored."""
    if config.label_set == "none" or tables.tables[0][1].label is None:
        return None
    usual = tables.tables[0][1].label_set
    return open_label_set(usual if config.label_set == "auto" else config.label_set)


def _survey(
    path: Path, tables: CloudTables, labels: LabelSet | None
) -> tuple[CloudSurvey, list[RawBlock] | None]:
    """The first pass; also all blocks, if there are so few that they need not be read again."""
    survey, kept = CloudSurvey(), []
    promised = [table.count for table, _ in tables.tables]
    total = None if None in promised else sum(count or 0 for count in promised)
    with tqdm(total=total, desc=f"reading {path.name}", unit="point", unit_scale=True,
              disable=None, leave=False) as bar:  # fmt: skip
        for block in tables.blocks(labels):
            raise_if_cancelled()
            survey.not_finite += block.dropped
            survey.add(block.xyz, block.label)
            if block.intensity is not None:
                survey.dark += int(np.sum(~np.isfinite(block.intensity)))
            if len(survey.label_counts) > _MAX_LABEL_IDS:
                raise DatasetError(
                    f"{path}: field {tables.tables[0][1].label} holds more than "
                    f"{_MAX_LABEL_IDS} ids, so it holds no classes: set cloud.label_set to none"
                )
            kept.append(block)
            if survey.count > 2 * BLOCK_POINTS:
                kept.clear()
            bar.update(len(block.xyz))
    return survey, kept if survey.count <= 2 * BLOCK_POINTS else None


def _check_count(where: str, survey: CloudSurvey) -> None:
    total = survey.count + survey.not_finite
    if total == 0:
        raise DatasetError(f"{where} holds no points: export the cloud again")
    if survey.count == 0:
        raise DatasetError(f"{where}: none of its {total} points is finite; export it again")
    if survey.not_finite:
        _log.warning("%s: dropped %d points that are not finite", where, survey.not_finite)


def _check(where: str, survey: CloudSurvey, config: CloudConfig) -> None:
    """Check what the settings leave open."""
    sample = survey.sample()
    if config.unit_m == 0:
        check_units(sample, where)
    check_resolution(sample, where)
    if config.up == "":
        check_up(sample, where)


def _check_extent(where: str, bounds: NDArray[np.float64]) -> None:
    farthest = float(np.abs(bounds).max())
    if not farthest <= _MAX_COORDINATE_M:
        raise DatasetError(
            f"{where} has coordinates of {farthest:.3g} m, which are on no map: it is damaged, or "
            "its unit is not metres (set cloud.unit_m)"
        )
    extent = float(np.max(bounds[1] - bounds[0]))
    if not extent <= _MAX_EXTENT_M:
        raise DatasetError(
            f"{where} reaches over {extent / 1000:.4g} km, too far for one map: are parts of it in "
            "different coordinate systems, or is its unit not metres (set cloud.unit_m)?"
        )


def _bounds(blocks: Iterator[RawBlock]) -> NDArray[np.float64]:
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for block in blocks:
        low = np.minimum(low, block.xyz.min(axis=0))
        high = np.maximum(high, block.xyz.max(axis=0))
    return np.stack([low, high])
