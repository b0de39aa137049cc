"""How well images and maps are read: classes against masks, and against labels of points."""

from __future__ import annotations

from typing import Any

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
    """Cells by true and predicted class, (NUM_CLASSES, NUM_CLASSES), of ids of equal shape."""
    pairs = np.asarray(true, np.int64).ravel() * NUM_CLASSES + np.asarray(predicted).ravel()
    return np.bincount(pairs, minlength=NUM_CLASSES**2).reshape(NUM_CLASSES, NUM_CLASSES)


def named_iou(confusion: NDArray[np.integer]) -> dict[str, float]:
    """IoU of every class that occurs, by name, and their `mean`; see `metrics.class_iou`."""
    each = class_iou(confusion)
    known = {c.name: float(v) for c, v in zip(CLASSES, each, strict=True) if np.isfinite(v)}
    return {**known, "mean": float(np.mean(list(known.values()))) if known else 0.0}


class MaskCounter:
    """Counts S_RGB of a drive's answers against its masks, on the grid of S_RGB."""

    def __init__(self, drive: Drive, grid: AngularGrid, mount: Mount) -> None:
        self.drive = drive
        self.confusion = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)
        self._view = ViewSampler.of(drive.camera, grid, mount.R_level_camera)

    def __call__(self, frame: int, match: PlaceMatch) -> None:
        """Count one answer, where its frame has a mask."""
        mask = self.drive.mask(frame)
        if mask is not None and match.mask is not None:
            true = self._view.labels(torch.from_numpy(mask)[None])[0].numpy()
            self.confusion += count_classes(true, match.mask)


def count_map_classes(label_free: LabelFreeMap) -> NDArray[np.int64]:
    """Points by true class and by the class that their geometry alone predicts, vehicles too."""
    assert label_free.cloud.label is not None
    return count_classes(label_free.true_label, label_free.cloud.label)


def told(kind: str, confusion: NDArray[np.integer] | None) -> dict[str, Any]:
    """What a result says of one segmenter, ready for JSON."""
    if confusion is None or not confusion.any():
        return {f"{kind}_miou": None}
    iou = named_iou(confusion)
    return {f"{kind}_miou": iou.pop("mean"), f"{kind}_iou": iou}
