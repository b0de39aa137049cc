"""Entries `points`: classes of the points of a labelled scan, predicted from geometry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scmpr_ros.datasets.kitti.files import read_labels, read_points
from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.iou import count_classes, named_iou
from scmpr_ros.evaluation.suite.entry import Column, Entry, Numbers
from scmpr_ros.evaluation.suite.workbench import Workbench
from scmpr_ros.lidar.segmentation import segment_points
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import GROUND_IDS, IGNORE, to_joint


@dataclass(frozen=True)
class PointsEntry(Entry):
    """IoU of a scan's classes.

    scan: KITTI's .bin. labels: SemanticKITTI's .label of the same points.
    """

    scan: Path
    labels: Path

    title = "Classes of points"
    rules = (
        "IoU by class of a single scan that is segmented by geometry, as maps without labels are. "
        "Ground: road, sidewalk and terrain as one class. mIoU: mean of the classes that occur."
    )
    columns = (
        Column("points", "num_points", "{:,}"),
        Column("mIoU", "mean"),
        Column("ground", "ground"),
        *(Column(name, name) for name in ("building", "barrier", "vegetation", "pole", "car")),
    )

    def needs(self, bench: Workbench) -> list[Path]:
        """Both files."""
        return [bench.data / self.scan, bench.data / self.labels]

    def measure(self, bench: Workbench) -> Numbers:
        """Segment the scan and count."""
        points = read_points(bench.data / self.scan)
        xyz, intensity = points[:, :3].copy(), points[:, 3].copy()
        true = to_joint(read_labels(bench.data / self.labels), "semantickitti")
        if len(true) != len(xyz):
            raise DatasetError(
                f"{self.labels} has {len(true)} labels for the {len(xyz)} points of {self.scan}"
            )
        finite = np.isfinite(xyz).all(axis=1)
        scan = PointCloud(xyz, intensity=intensity).select(finite)
        confusion = count_classes(true[finite], segment_points(scan))
        return {
            "num_points": int(finite.sum()), **named_iou(confusion),
            "ground": _joined_iou(confusion),
        }  # fmt: skip


def _joined_iou(confusion: np.ndarray) -> float | None:
    """IoU of all ground classes as one; None without ground."""
    known, ground = np.delete(confusion, IGNORE, axis=0), list(GROUND_IDS)
    true = confusion[ground].sum()
    both = confusion[np.ix_(ground, ground)].sum()
    union = true + known[:, ground].sum() - both
    return float(both / union) if true else None
