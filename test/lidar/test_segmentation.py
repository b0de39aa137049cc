"""Segmentation of simple shapes and of a real scan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scmpr_ros.errors import DatasetError
from scmpr_ros.lidar import segmentation
from scmpr_ros.lidar.accumulation import AccumulationConfig, accumulate
from scmpr_ros.lidar.segmentation import point_confusion, segment_points
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import CLASSES, GROUND_IDS, STATIC_IDS, class_id, label_confusion, to_joint

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
    assert np.mean(np.isin(label[ground], GROUND_IDS)) > 0.99
    assert np.mean(label[ground] == class_id("road")) > 0.5  # no kerb says where it ends


def test_rough_ground_beside_a_road_is_terrain() -> None:
    rng = np.random.default_rng(0)
    xyz = rng.uniform((0, 0, 0), (30, 30, 0), (60_000, 3))
    meadow = xyz[:, 1] > 20
    xyz[:, 2] = rng.normal(0, np.where(meadow, 0.06, 0.01))
    label = segment_points(PointCloud(xyz.astype(np.float32)))
    away = np.abs(xyz[:, 1] - 20) > 1.5
    assert np.mean(label[meadow & away] == class_id("terrain")) > 0.8
    assert np.mean(label[~meadow & away] == class_id("road")) > 0.95


def test_parts_of_a_map_get_the_classes_of_the_whole(
    drive_past, monkeypatch: pytest.MonkeyPatch
) -> None:
    houses = [((x, 7, 0), (x + 9, 15, 6)) for x in range(-40, 60, 14)]
    scans = drive_past(lambda step: [*houses, GARDEN_WALL, PARKED_CAR, POLE])
    cloud = accumulate(scans[::4], AccumulationConfig(min_hits=1))
    cloud = replace(cloud, intensity=np.where(cloud.xyz[:, 2] > 0.1, 0.3, 0.2).astype(np.float32))
    whole, confidence = segmentation.segment_with_confidence(cloud)
    monkeypatch.setattr(segmentation, "_VOXELS_PER_PART", 8_000)
    parts = list(segmentation._parts(cloud.xyz))
    assert len(parts) > 2
    label, sure = segmentation.segment_with_confidence(cloud)
    assert np.mean(label == whole) > 0.99
    assert np.mean(np.abs(sure - confidence) < 0.05) > 0.97


def test_parts_cover_each_point_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "_VOXELS_PER_PART", 500)
    rng = np.random.default_rng(0)
    xyz = rng.normal(0, 60, (3000, 3)).astype(np.float32)
    count = np.zeros(len(xyz), int)
    for inside, around in segmentation._parts(xyz):
        count[around[inside]] += 1
        low, high = xyz[around[inside], :2].min(axis=0), xyz[around[inside], :2].max(axis=0)
        margin = segmentation.REACH_M - 0.1
        near = (xyz[:, :2] > low - margin) & (xyz[:, :2] < high + margin)
        assert set(np.flatnonzero(near.all(axis=1))) <= set(around)
    assert (count == 1).all()


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
    assert len(both) > 10_000 and measured > max(others) + 0.1
