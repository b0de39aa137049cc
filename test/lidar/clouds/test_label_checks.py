"""Labels of another set than the assumed one are noticed by where their points are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clouds import columns_of, street_points, write_ply

from scmpr_ros.errors import DatasetError
from scmpr_ros.label_sets import open_label_set
from scmpr_ros.lidar.cloud_files import open_cloud, read_cloud
from scmpr_ros.lidar.clouds.checks import CloudSample
from scmpr_ros.lidar.clouds.label_checks import check_ground_labels
from scmpr_ros.semantics import class_id

FULL = street_points(0.25)
XYZ = FULL[(FULL[:, 2] > -1.4) | (np.arange(len(FULL)) % 3 == 0)]  # more of fronts than of road
ON_ROAD = XYZ[:, 2] < -1.4


def write(path: Path, label: np.ndarray, field: str) -> Path:
    write_ply(path, columns_of(XYZ, **{field: label.astype("u1")}))
    return path


@pytest.mark.parametrize("ground", [0, 1])
def test_buildings_that_asprs_calls_ground(tmp_path: Path, ground: int, caplog) -> None:
    """SensatUrban: 0 ground, 2 building, 3 wall; Paris-Lille-3D: 1 ground, 2 building, 3 pole."""
    standing = np.where(np.arange(len(XYZ)) % 4, 2, 3)
    path = write(tmp_path / "m.ply", np.where(ON_ROAD, ground, standing), "class")
    with pytest.raises(
        DatasetError, match=r"m\.ply: \d+% of the points that are ground in asprs \(ids 2\) stand"
    ):
        open_cloud(path)
    assert read_cloud(path, "asprs").label is not None
    assert "above points that are not: are they ids of this set?" in caplog.text
    assert read_cloud(path, "none").label is None


def test_ground_that_is_ground(tmp_path: Path) -> None:
    label = read_cloud(write(tmp_path / "m.ply", np.where(ON_ROAD, 2, 6), "class")).label
    np.testing.assert_array_equal(label == class_id("terrain"), ON_ROAD)


def test_decks_above_each_other() -> None:
    """A parking garage: all of its floors are road."""
    floors = np.concatenate([XYZ[ON_ROAD] + [0, 0, 3 * k] for k in range(5)])
    sample = CloudSample(floors, len(floors), np.full(len(floors), 40))
    check_ground_labels(sample, open_label_set("semantickitti"), "m.ply")


def test_a_field_that_may_hold_classes_is_said(tmp_path: Path, caplog) -> None:
    assert read_cloud(write(tmp_path / "m.ply", np.where(ON_ROAD, 1, 8), "sem_class")).label is None
    assert "its field sem_class may hold classes but is not read" in caplog.text
    caplog.clear()
    read_cloud(write(tmp_path / "m.ply", np.where(ON_ROAD, 1, 8), "instance"))
    assert "may hold classes" not in caplog.text
