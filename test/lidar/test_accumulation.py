"""Voxel means of posed scans, also against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.geometry import make_transform, rotation_z, voxel_keys
from scmpr_ros.lidar import accumulation
from scmpr_ros.lidar.accumulation import (
    AccumulationConfig,
    ClassifiedScan,
    accumulate,
    accumulate_classes,
)
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import class_id

ROAD, BUILDING, CAR = class_id("road"), class_id("building"), class_id("car")
ANYTHING = AccumulationConfig(voxel_m=1.0, min_hits=1, min_range_m=0.0, max_range_m=1000.0)


def cloud_of(xyz, label=None, intensity=None) -> PointCloud:
    return PointCloud(
        np.asarray(xyz, np.float32),
        None if label is None else np.asarray(label, np.uint8),
        None if intensity is None else np.asarray(intensity, np.float32),
    )


def test_mean_position_mean_intensity_majority_label() -> None:
    first = cloud_of([[5.1, 0.1, 0.1], [5.3, 0.3, 0.3]], [ROAD, BUILDING], [0.0, 0.3])
    second = cloud_of([[5.5, 0.5, 0.5]], [BUILDING], [0.6])
    result = accumulate([(first, np.eye(4)), (second, np.eye(4))], ANYTHING)
    np.testing.assert_allclose(result.xyz, [[5.3, 0.3, 0.3]], atol=1e-6)
    assert result.label.tolist() == [BUILDING]
    np.testing.assert_allclose(result.intensity, [0.3], atol=1e-6)


def test_scans_are_moved_by_their_poses() -> None:
    T_map_lidar = make_transform(rotation_z(np.pi / 2), np.array([10.0, 20.0, 1.0]))
    result = accumulate([(cloud_of([[5.0, 0, 0]]), T_map_lidar)], ANYTHING)
    np.testing.assert_allclose(result.xyz, [[10.0, 25.0, 1.0]], atol=1e-5)


def test_dynamic_and_out_of_range_points_are_dropped() -> None:
    scan = cloud_of([[1, 0, 0], [5, 0, 0], [9, 0, 0], [80, 0, 0]], [ROAD, CAR, ROAD, ROAD])
    config = AccumulationConfig(voxel_m=0.5, min_hits=1, min_range_m=2.5, max_range_m=70.0)
    np.testing.assert_array_equal(accumulate([(scan, np.eye(4))], config).xyz, [[9, 0, 0]])


def test_min_hits_counts_returns_over_all_scans() -> None:
    scan = cloud_of([[5, 0, 0], [5, 9, 0]])
    second = cloud_of([[5, 0, 0]])
    config = AccumulationConfig(voxel_m=0.5, min_hits=2)
    result = accumulate([(scan, np.eye(4)), (second, np.eye(4))], config)
    np.testing.assert_array_equal(result.xyz, [[5, 0, 0]])


@pytest.mark.parametrize("fold_every", [1, 700, 10**9])
def test_folding_equals_a_plain_loop(monkeypatch, fold_every: int) -> None:
    monkeypatch.setattr(accumulation, "_FOLD_EVERY_POINTS", fold_every)
    rng = np.random.default_rng(0)
    scans = [
        (cloud_of(rng.uniform(-4, 4, (300, 3)), rng.integers(0, 9, 300), rng.uniform(0, 1, 300)),
         make_transform(rotation_z(rng.uniform(-3, 3)), rng.uniform(-2, 2, 3)))
        for _ in range(5)
    ]  # fmt: skip
    result = accumulate(scans, ANYTHING)

    voxels: dict[tuple, list] = {}
    for scan, T in scans:
        for p, label in zip(scan.xyz @ T[:3, :3].T + T[:3, 3], scan.label, strict=True):
            voxels.setdefault(tuple(np.floor(p).astype(int)), []).append((p, label))
    assert len(result) == len(voxels)
    for p, label in zip(result.xyz, result.label, strict=True):
        members = voxels[tuple(np.floor(p).astype(int))]
        np.testing.assert_allclose(p, np.mean([m[0] for m in members], axis=0), atol=1e-5)
        assert label == np.bincount([m[1] for m in members]).argmax()


def test_returns_vote_with_their_confidence() -> None:
    """One sure return outvotes two unsure ones, and the confidence is what it gives to them all."""
    scan = cloud_of([[5.1, 0.1, 0.1], [5.2, 0.1, 0.1], [5.3, 0.1, 0.1]], [ROAD, ROAD, BUILDING])
    sure = ClassifiedScan(scan, np.eye(4), np.array([0.3, 0.2, 0.9], np.float32))
    cloud, confidence = accumulate_classes([sure], ANYTHING)
    assert cloud.label.tolist() == [BUILDING]
    np.testing.assert_allclose(confidence, [0.3])
    certain = accumulate_classes([sure._replace(confidence=None)], ANYTHING)
    assert certain.cloud.label.tolist() == [ROAD]
    np.testing.assert_allclose(certain.confidence, [2 / 3])
    unlabelled = ClassifiedScan(cloud_of(scan.xyz), np.eye(4), None)
    assert accumulate_classes([unlabelled], ANYTHING).confidence is None


def test_dynamic_returns_vote_where_they_are_kept() -> None:
    scan = cloud_of([[5, 0, 0], [5, 0, 0.1], [5, 0, 0.2]], [ROAD, CAR, CAR])
    scans = [ClassifiedScan(scan, np.eye(4), None)]
    assert accumulate_classes(scans, ANYTHING).cloud.label.tolist() == [ROAD]
    assert accumulate_classes(scans, ANYTHING, keep_dynamic=True).cloud.label.tolist() == [CAR]


@pytest.mark.parametrize("fold_every", [0, 10**9])
def test_all_or_no_scans_have_a_confidence(monkeypatch, fold_every: int) -> None:
    monkeypatch.setattr(accumulation, "_FOLD_EVERY_POINTS", fold_every)
    first = ClassifiedScan(cloud_of([[5, 0, 0]], [ROAD]), np.eye(4), np.ones(1, np.float32))
    if fold_every:
        with pytest.raises(DatasetError, match="1 of 2 scans have confidence"):
            accumulate_classes([first, first._replace(confidence=None)], ANYTHING)
    cloud, confidence = accumulate_classes([first, first], ANYTHING)
    assert confidence.tolist() == [1.0]


def test_large_map_coordinates_get_an_origin() -> None:
    T_map_lidar = make_transform(np.eye(3), np.array([613180.0, 4116330.0, 115.0]))
    result = accumulate([(cloud_of([[5.125, 0, 0]]), T_map_lidar)], ANYTHING)
    np.testing.assert_allclose(result.xyz + result.origin, [[613185.125, 4116330, 115]], atol=1e-4)


def test_voxel_keys_are_equal_only_in_the_same_voxel() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3), axis=-1).reshape(-1, 3)
    keys = voxel_keys((grid + 0.5) * 0.15, 0.15)
    assert len(np.unique(keys)) == len(grid)
    np.testing.assert_array_equal(keys, voxel_keys((grid + 0.9) * 0.15, 0.15))


def test_nothing_to_accumulate() -> None:
    with pytest.raises(DatasetError, match="no scans"):
        accumulate([], ANYTHING)
    with pytest.raises(DatasetError, match="hit 2 times"):
        accumulate([(cloud_of([[5, 0, 0]]), np.eye(4))], AccumulationConfig(min_hits=2))


@pytest.mark.parametrize("fold_every", [0, 10**9])
def test_scans_must_agree_on_their_fields(monkeypatch, fold_every: int) -> None:
    monkeypatch.setattr(accumulation, "_FOLD_EVERY_POINTS", fold_every)
    scans = [(cloud_of([[5, 0, 0]], [ROAD]), np.eye(4)), (cloud_of([[5, 0, 0]]), np.eye(4))]
    with pytest.raises(DatasetError, match="label"):
        accumulate(scans, ANYTHING)


@pytest.mark.parametrize(
    "bad", [{"voxel_m": 0.0}, {"min_hits": 0}, {"min_range_m": 5.0, "max_range_m": 5.0}]
)
def test_bad_config(bad) -> None:
    with pytest.raises(ConfigError):
        AccumulationConfig(**bad)
