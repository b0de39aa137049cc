"""Whatever gives points their classes is asked in the same way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_range_view import by_height, write_network

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.lidar.accumulation import (
    AccumulationConfig,
    ClassifiedScan,
    ClassifiedVoxels,
    accumulate_classes,
)
from scmpr_ros.lidar.point_classes import PointClassConfig, PointClassifier
from scmpr_ros.lidar.segmentation import point_confusion
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import class_id

ROAD, BUILDING = class_id("road"), class_id("building")
FACADE = ((-30, 9, 0), (50, 10, 8))
VOXELS = AccumulationConfig(min_hits=1)


@pytest.fixture(scope="module")
def scans(drive_past) -> list:
    """Scans of a street along a facade, all labelled road."""

    def labelled(scan: PointCloud) -> PointCloud:
        size = len(scan)
        return replace(
            scan, label=np.full(size, ROAD, np.uint8), intensity=np.full(size, 0.2, np.float32)
        )

    return [(labelled(scan), pose) for scan, pose in drive_past(lambda step: [FACADE])[:3]]


def voxels_of(source: str, scans: list) -> tuple[PointClassifier, ClassifiedVoxels]:
    classifier = PointClassifier(PointClassConfig(source))
    return classifier, accumulate_classes(classifier.of_scans(scans), VOXELS, keep_dynamic=True)


@pytest.mark.parametrize("source", ["auto", "labels"])
def test_labels_are_taken_as_they_are(scans: list, source: str) -> None:
    classifier, voxels = voxels_of(source, scans)
    result = classifier.of_cloud(voxels.cloud, voxels.confidence)
    assert (result.cloud.label == ROAD).all() and result.confusion is None
    np.testing.assert_allclose(result.confidence, 1.0)


def test_geometry_disregards_labels(scans: list) -> None:
    classifier, voxels = voxels_of("geometry", scans)
    assert voxels.cloud.label is None and voxels.confidence is None
    result = classifier.of_cloud(voxels.cloud)
    high = result.cloud.xyz[:, 2] > 2
    assert np.mean(result.cloud.label[high] == BUILDING) > 0.8
    np.testing.assert_array_equal(result.confusion, point_confusion())
    labelled = replace(voxels.cloud, label=np.full(len(high), ROAD, np.uint8))
    np.testing.assert_array_equal(classifier.of_cloud(labelled).cloud.label, result.cloud.label)


def test_auto_classifies_what_has_no_labels(scans: list) -> None:
    cloud = voxels_of("geometry", scans)[1].cloud
    found = PointClassifier(PointClassConfig()).of_cloud(cloud)
    expected = PointClassifier(PointClassConfig("geometry")).of_cloud(cloud)
    np.testing.assert_array_equal(found.cloud.label, expected.cloud.label)
    assert found.confidence is not None and found.confusion is not None


def test_an_empty_tile_stays_empty() -> None:
    result = PointClassifier(PointClassConfig()).of_cloud(PointCloud(np.empty((0, 3), np.float32)))
    assert result.cloud.label is not None and len(result.cloud) == 0


def test_a_range_view_network_labels_scans_that_then_vote(scans: list, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path = write_network(tmp_path / "toy", by_height(), fov_up_deg=8.0)
    classifier, voxels = voxels_of(str(path), scans)
    assert classifier.needs_scans
    result = classifier.of_cloud(voxels.cloud, voxels.confidence)
    high, low = result.cloud.xyz[:, 2] > 3.6, result.cloud.xyz[:, 2] < 0.1
    assert np.mean(result.cloud.label[high] == BUILDING) > 0.95
    assert np.mean(result.cloud.label[low] == ROAD) > 0.95
    assert result.confidence is not None and result.confidence.shape == (len(voxels.cloud),)
    assert (result.confidence > 0).all() and (result.confidence <= 1).all()
    with pytest.raises(DatasetError, match="classifies scans, but this map is a point cloud"):
        classifier.of_cloud(voxels.cloud)


def test_missing_labels_are_named(scans: list) -> None:
    classifier = PointClassifier(PointClassConfig("labels"))
    without = [(replace(scan, label=None), pose) for scan, pose in scans]
    with pytest.raises(DatasetError, match="scan 0 has no labels: add a label field"):
        list(classifier.of_scans(without))
    with pytest.raises(DatasetError, match="the cloud has no labels"):
        classifier.of_cloud(without[0][0])


def test_unknown_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'guess': it is one of auto, labels, geometry, or the"):
        PointClassConfig("guess")
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot read"):
        PointClassifier(PointClassConfig(str(tmp_path / "none.yaml")))


def test_scans_are_read_one_by_one(scans: list) -> None:
    """A drive of any length must not be held in memory."""
    taken = 0

    def counted():
        nonlocal taken
        for scan in scans:
            taken += 1
            yield scan

    stream = PointClassifier(PointClassConfig()).of_scans(counted())
    assert isinstance(next(stream), ClassifiedScan) and taken == 1
