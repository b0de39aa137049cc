"""Maps built without labels: vehicles are still there when the cloud is segmented."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recording import add_wall_like_lorry, write_labelled_scans, write_recording

from scmpr_ros.evaluation.iou import count_map_classes, named_iou
from scmpr_ros.lidar.cloud_files import read_cloud, write_cloud
from scmpr_ros.pipeline.label_free_map import load_label_free_map
from scmpr_ros.pipeline.map_points import load_point_cloud_map
from scmpr_ros.pipeline.map_source import MapSourceConfig
from scmpr_ros.semantics import IS_DYNAMIC, class_id

LORRY = class_id("other_vehicle")
CONFIG = MapSourceConfig(sequence="00")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_recording(tmp_path / "0000", seed=0, images=2)


def at_lorry(xyz: np.ndarray) -> np.ndarray:
    return (np.abs(xyz[:, 0] - 30) < 0.3) & (np.abs(xyz[:, 1]) < 4) & (xyz[:, 2] > -1.2)


def test_a_vehicle_that_looks_like_a_wall_stays_in_the_map(folder: Path) -> None:
    """map.ply lacks it, so the cloud is accumulated from the labelled scans."""
    write_labelled_scans(folder, add_wall_like_lorry(read_cloud(folder / "map.ply")))
    labelled = load_point_cloud_map(folder, CONFIG)
    assert not at_lorry(labelled.cloud.xyz).any()
    label_free = load_label_free_map(folder, CONFIG, labelled)
    assert label_free is not None
    lorry = label_free.true_label == LORRY
    assert lorry.sum() > 500
    remaining = at_lorry(label_free.static.cloud.xyz)
    assert remaining.sum() > 0.8 * lorry.sum()
    assert not IS_DYNAMIC[label_free.static.cloud.label].any()

    iou = named_iou(count_map_classes(label_free))
    assert iou["other_vehicle"] < 0.2  # although the labelled map has no vehicle
    assert set(iou) == {"road", "building", "barrier", "vegetation", "other_vehicle", "mean"}


def test_the_cloud_of_map_ply_is_used_without_labelled_scans(folder: Path) -> None:
    cloud = add_wall_like_lorry(read_cloud(folder / "map.ply"))
    write_cloud(folder / "map.ply", cloud)
    labelled = load_point_cloud_map(folder, CONFIG)
    label_free = load_label_free_map(folder, CONFIG, labelled)
    assert label_free is not None and (label_free.true_label == LORRY).sum() > 500


def test_a_map_without_labels_is_label_free_already(folder: Path) -> None:
    write_cloud(folder / "map.ply", replace(read_cloud(folder / "map.ply"), label=None))
    assert load_label_free_map(folder, CONFIG, load_point_cloud_map(folder, CONFIG)) is None
