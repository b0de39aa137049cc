"""Headerless scans: KITTI is read, other layouts are noticed, named ones are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clouds import street_points

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.lidar.cloud_files import CloudConfig, open_cloud, read_cloud
from scmpr_ros.semantics import class_id

XYZ = street_points()
N = len(XYZ) // 16 * 16
RNG = np.random.default_rng(0)


def rows(*more: object) -> np.ndarray:
    return np.column_stack([XYZ[:N], *(np.broadcast_to(m, N) for m in more)])


REFLECTANCE = RNG.random(N)
SHUFFLE = RNG.permutation(N)
OTHERS = {
    "nuscenes": (rows(255 * REFLECTANCE, np.arange(N) % 32), "f4", "nuscenes"),
    "shuffled": (rows(255 * REFLECTANCE, np.arange(N) % 32)[SHUFFLE], "f4", "nuscenes"),
    "boreas": (rows(REFLECTANCE, np.arange(N) % 128, np.linspace(-0.05, 0.05, N)), "f4", "boreas"),
    "boreas_zeros": (rows(REFLECTANCE, 0, 0), "f4", "boreas"),
    "three": (rows(), "f4", "float32 x y z"),
    "double": (rows(REFLECTANCE), "f8", "float64 x y z intensity"),
    "double_xyz": (rows(), "f8", "float64 x y z"),
    "eight": (rows(REFLECTANCE, 0, 0, 0, np.arange(N)), "f4", "float32 x y z intensity _ _ _ _"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_layouts_are_refused_with_what_to_set(tmp_path: Path, name: str) -> None:
    values, dtype, layout = OTHERS[name]
    path = tmp_path / "000000.bin"
    values.astype(dtype).tofile(path)
    with pytest.raises(DatasetError, match=f"no KITTI scan .* set cloud.bin_layout to '{layout}'"):
        open_cloud(path)
    cloud = open_cloud(path, CloudConfig(bin_layout=layout)).read()
    np.testing.assert_allclose(cloud.xyz, values[:, :3], atol=1e-5)


@pytest.mark.parametrize("scale", [1, 255, 65535])
@pytest.mark.parametrize("shuffled", [False, True])
def test_kitti_is_read_whatever_its_reflectance(tmp_path: Path, scale: int, shuffled: bool) -> None:
    values = rows(scale * REFLECTANCE)[SHUFFLE if shuffled else slice(None)]
    values.astype("f4").tofile(tmp_path / "000000.bin")
    np.testing.assert_allclose(read_cloud(tmp_path / "000000.bin").xyz, values[:, :3], atol=1e-5)


def test_nuscenes_by_its_suffix(tmp_path: Path) -> None:
    OTHERS["nuscenes"][0].astype("f4").tofile(tmp_path / "LIDAR_TOP.pcd.bin")
    assert open_cloud(tmp_path / "LIDAR_TOP.pcd.bin").count == N


@pytest.mark.parametrize("where", ["labels", "velodyne"])
def test_semantickitti_labels_beside_the_scan(tmp_path: Path, where: str) -> None:
    for folder in ("velodyne", "labels"):
        (tmp_path / folder).mkdir()
    rows(REFLECTANCE).astype("f4").tofile(tmp_path / "velodyne" / "000000.bin")
    label = np.where(XYZ[:N, 2] < -1.4, 40, 50).astype("<u4") | (7 << 16)
    label.tofile(tmp_path / where / "000000.label")
    cloud = read_cloud(tmp_path / "velodyne" / "000000.bin")
    assert cloud.label is not None
    assert cloud.label[0] == class_id("road")
    label[:-1].tofile(tmp_path / where / "000000.label")
    with pytest.raises(DatasetError, match=r"000000.label .* do not belong together"):
        read_cloud(tmp_path / "velodyne" / "000000.bin")


def test_columns_one_after_the_other(tmp_path: Path) -> None:
    """Oxford RobotCar writes all x, then all y."""
    rows(REFLECTANCE).T.astype("f4").tofile(tmp_path / "m.bin")
    with pytest.raises(DatasetError, match=r"m\.bin .* four columns one after the other"):
        read_cloud(tmp_path / "m.bin")


def test_bytes_that_are_no_scan(tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(np.random.default_rng(0).bytes(16 * 1024))
    with pytest.raises(DatasetError, match=r"m\.bin holds 16384 bytes that are no scan"):
        read_cloud(tmp_path / "m.bin")


@pytest.mark.parametrize("layout", ["kiti", "float32 x y", "int8 x y z", "float32 x y z i i"])
def test_unknown_layout(layout: str) -> None:
    with pytest.raises(ConfigError, match="bin_layout"):
        CloudConfig(bin_layout=layout)


def test_real_scan_with_labels(shared_data: Path) -> None:
    cloud = read_cloud(shared_data / "semantickitti_sample" / "velodyne" / "000000.bin")
    assert cloud.label is not None
    assert len(cloud) == 123_389
    assert np.mean(cloud.label == class_id("road")) > 0.1
