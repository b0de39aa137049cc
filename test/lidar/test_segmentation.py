"""Segmentation of simple shapes and of a real scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scmpr_ros.errors import DatasetError
from scmpr_ros.lidar.accumulation import AccumulationConfig, accumulate
from scmpr_ros.lidar.segmentation import point_confusion, segment_points
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import CLASSES, STATIC_IDS, class_id, label_confusion, to_joint

FACADE = ((-30, 9, 0), (50, 10, 8))
GARDEN_WALL = ((-30, -9, 0), (50, -8.9, 1.9))
PARKED_CAR = ((8, 5, 0), (12, 6.8, 1.5))
POLE = ((15, -5.1, 0), (15.2, -4.9, 5))
BUSH = ((20, 3, 0), (23, 6, 3))


def name_of(labels: np.ndarray) -> str:
    return CLASSES[np.bincount(labels).argmax()].name


def in_box(xyz: np.ndarray, box) -> np.ndarray:
    low, high = np.array(box[0]) - 0.1, np.array(box[1]) + 0.1
    return ((xyz >= low) & (xyz <= high)).all(axis=1) & (xyz[:, 2] > 0.4)


@pytest.fixture(scope="module")
def street(drive_past) -> tuple[np.ndarray, np.ndarray]:
    scans = drive_past(lambda step: [FACADE, GARDEN_WALL, PARKED_CAR, POLE])
    xyz = accumulate(scans, AccumulationConfig(min_hits=1)).xyz
    bush = np.random.default_rng(0).uniform((20, 3, 0.1), (23, 6, 3), (6000, 3)).astype(np.float32)
    xyz = np.concatenate([xyz[np.abs(xyz[:, 0] - 10) < 20], bush])
    return xyz, segment_points(PointCloud(xyz))


@pytest.mark.parametrize(
    ("box", "name"),
    [(FACADE, "building"), (GARDEN_WALL, "barrier"), (PARKED_CAR, "car"), (POLE, "pole"),
     (BUSH, "vegetation")],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_shapes_are_classified(street, box, name: str) -> None:
    xyz, label = street
    inside = in_box(xyz, box)
    assert inside.sum() > 10
    assert name_of(label[inside]) == name


def test_blurred_facades_stay_buildings(street) -> None:
    """Pose errors of 0.15 m, as in real maps, must not turn walls into vegetation."""
    xyz, _ = street
    blurred = xyz + np.random.default_rng(0).normal(0, 0.15, xyz.shape).astype(np.float32)
    label = segment_points(PointCloud(blurred))
    assert np.mean(label[in_box(xyz, FACADE)] == class_id("building")) > 0.8
    assert np.mean(label[in_box(xyz, BUSH)] == class_id("vegetation")) > 0.8


def test_flat_ground_is_road(street) -> None:
    xyz, label = street
    ground = (xyz[:, 2] < 0.05) & (np.abs(xyz[:, 1]) < 4)
    assert np.mean(label[ground] == class_id("road")) > 0.9


def test_rough_ground_beside_a_road_is_terrain() -> None:
    rng = np.random.default_rng(0)
    xyz = rng.uniform((0, 0, 0), (30, 30, 0), (60_000, 3))
    meadow = xyz[:, 1] > 20
    xyz[:, 2] = rng.normal(0, np.where(meadow, 0.06, 0.01))
    label = segment_points(PointCloud(xyz.astype(np.float32)))
    away = np.abs(xyz[:, 1] - 20) > 1.5
    assert np.mean(label[meadow & away] == class_id("terrain")) > 0.8
    assert np.mean(label[~meadow & away] == class_id("road")) > 0.95


def test_single_point_and_no_point() -> None:
    assert segment_points(PointCloud(np.zeros((1, 3), np.float32))).shape == (1,)
    with pytest.raises(DatasetError, match="empty point cloud"):
        segment_points(PointCloud(np.zeros((0, 3), np.float32)))


def test_real_scan(shared_data: Path) -> None:
    folder = shared_data / "semantickitti_sample"
    xyz = np.fromfile(folder / "velodyne/000000.bin", "<f4").reshape(-1, 4)[:, :3].copy()
    raw = np.fromfile(folder / "labels/000000.label", "<u4")
    truth = to_joint(raw, "semantickitti")
    predicted = segment_points(PointCloud(xyz))

    def iou(*names: str) -> float:
        ids = [class_id(name) for name in names]
        a, b = np.isin(truth, ids), np.isin(predicted, ids)
        known = truth != 0
        return float((a & b & known).sum() / ((a | b) & known).sum())

    assert iou("road", "sidewalk", "terrain") > 0.9
    assert iou("vegetation") > 0.7
    assert iou("car") > 0.3

    # The confusion matrix, measured on towns, fits a real street better than other matrices.
    row = {index: row for row, index in enumerate(STATIC_IDS)}
    both = [(row[t], row[p]) for t, p in zip(truth, predicted, strict=True) if {t, p} <= row.keys()]
    confusion = point_confusion()
    uniform = np.full_like(confusion, 1 / len(row))
    measured, *others = (
        np.mean([np.log(0.95 * table[pair] + 0.05 / len(row)) for pair in both])
        for table in (confusion, label_confusion(), confusion.T, uniform)
    )
    assert len(both) > 10_000 and measured > max(others) + 0.2
