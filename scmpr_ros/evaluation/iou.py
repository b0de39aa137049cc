"""Segmentation quality: IoU of predicted masks and of map labels against the ground truth."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from scmpr_ros.datasets.drive import Drive
from scmpr_ros.evaluation.metrics import class_iou
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.networks.view import ViewSampler
from scmpr_ros.pipeline.label_free_map import LabelFreeMap
from scmpr_ros.records import Mount, PlaceMatch
from scmpr_ros.semantics import CLASSES, NUM_CLASSES


def count_classes(true: NDArray[np.integer], predicted: NDArray[np.integer]) -> NDArray[np.int64]:
    """Count ids of equal shape by true and predicted class, (NUM_CLASSES, NUM_CLASSES)."""
    pairs = np.asarray(true, np.int64).ravel() * NUM_CLASSES + np.asarray(predicted).ravel()
    return np.bincount(pairs, minlength=NUM_CLASSES**2).reshape(NUM_CLASSES, NUM_CLASSES)


def named_iou(confusion: NDArray[np.integer]) -> dict[str, float]:
    """IoU by name of every class that occurs, and their `mean`; see `metrics.class_iou`."""
    values = zip(CLASSES, class_iou(confusion), strict=True)
    known = {c.name: float(iou) for c, iou in values if np.isfinite(iou)}
    return {**known, "mean": float(np.mean(list(known.values()))) if known else 0.0}


class MaskCounter:
    """Counts predicted against true mask cells of a drive's answers, on the grid of S_RGB."""

    def __init__(self, drive: Drive, grid: AngularGrid, mount: Mount) -> None:
        self.drive = drive
        self.confusion = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)
        self._view = ViewSampler.of(drive.camera, grid, mount.R_level_camera)

    def __call__(self, frame: int, match: PlaceMatch) -> None:
        """Count one answer, if its frame has a mask."""
        mask = self.drive.mask(frame)
        if mask is not None and match.mask is not None:
            true = self._view.labels(torch.from_numpy(mask)[None])[0].numpy()
            self.confusion += count_classes(true, match.mask)


def count_map_classes(label_free: LabelFreeMap) -> NDArray[np.int64]:
    """Count points by true class and by the class predicted from geometry, vehicles included."""
    assert label_free.cloud.label is not None
    return count_classes(label_free.true_label, label_free.cloud.label)


def iou_summary(confusion: NDArray[np.integer] | None) -> dict[str, float] | None:
    """`named_iou` of what was counted; None if nothing was."""
    return None if confusion is None or not confusion.any() else named_iou(confusion)
