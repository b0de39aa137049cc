"""Coordinates that are no metres, not z up, or rounded: noticed, and served when stated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clouds import columns_of, street_points, write_ply

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.lidar.cloud_files import CloudConfig, open_cloud, read_cloud
from scmpr_ros.lidar.clouds.checks import CloudSample, check_units, check_up

XYZ = street_points(0.25)
UTM = np.array([458000.0, 5428000.0, 110.0])
AXES = ("+x", "-x", "+y", "-y", "+z", "-z")


def write(path: Path, xyz: np.ndarray, dtype: str = "f8") -> Path:
    write_ply(path, columns_of(xyz, dtype))
    return path


@pytest.mark.parametrize(
    ("name", "unit_m"), [("millimetres", 0.001), ("centimetres", 0.01), ("kilometres", 1000.0)]
)
def test_other_units(tmp_path: Path, name: str, unit_m: float) -> None:
    path = write(tmp_path / "m.ply", XYZ / unit_m)
    with pytest.raises(DatasetError, match=f"m.ply.* {name}"):
        open_cloud(path)
    cloud = open_cloud(path, CloudConfig(unit_m=unit_m)).read()
    np.testing.assert_allclose(cloud.xyz, XYZ, atol=1e-4)
    assert open_cloud(path, CloudConfig(unit_m=1.0, up="+z")).count == len(XYZ)


@pytest.mark.parametrize("offset", [(8.4, 49.01, 115), (-122.4, 37.7, 10), (151.2, -33.8, 0)])
@pytest.mark.parametrize("extent_deg", [0.0005, 0.5])
def test_degrees(tmp_path: Path, offset: tuple, extent_deg: float) -> None:
    xyz = XYZ * [extent_deg / 70, extent_deg / 70, 1] + offset
    with pytest.raises(DatasetError, match="geographic coordinates in degrees"):
        open_cloud(write(tmp_path / "m.ply", xyz))


@pytest.mark.parametrize("up", AXES)
def test_every_axis_that_points_up(tmp_path: Path, up: str) -> None:
    turned = XYZ @ CloudConfig(up=up).R_map_file
    path = write(tmp_path / "m.ply", turned)
    if up == "+z":
        assert open_cloud(path).count == len(XYZ)
    else:
        with pytest.raises(DatasetError, match=f"set cloud.up to [{up[0]}]{up[1]}, or to [+]z"):
            open_cloud(path)
    cloud = open_cloud(path, CloudConfig(up=up)).read()
    np.testing.assert_allclose(cloud.xyz, XYZ, atol=1e-4)


@pytest.mark.parametrize("up", AXES)
def test_rotations_are_right_handed(up: str) -> None:
    R = CloudConfig(up=up).R_map_file
    assert np.linalg.det(R) == pytest.approx(1)
    axis = (1 if up[0] == "+" else -1) * np.eye(3)["xyz".index(up[1])]
    np.testing.assert_array_equal(R @ axis, [0, 0, 1])


def test_loam_and_optical_frames() -> None:
    """LOAM: x left, y up, z forward. Optical: x right, y down, z forward."""
    forward_left_up = np.array([3.0, 2, 1])
    np.testing.assert_array_equal(CloudConfig(up="+y").R_map_file @ [2, 1, 3], forward_left_up)
    np.testing.assert_array_equal(CloudConfig(up="-y").R_map_file @ [-2, -1, 3], forward_left_up)


def test_a_street_on_a_slope_is_upright() -> None:
    slope = np.radians(8)
    R = np.array([[np.cos(slope), 0, np.sin(slope)], [0, 1, 0], [-np.sin(slope), 0, np.cos(slope)]])
    check_up(CloudSample(XYZ @ R.T, len(XYZ)), "m.ply")


@pytest.mark.parametrize("degrees", [0, 6, 15, 30])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_tilted_sensor(degrees: int, axis: int, caplog) -> None:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    R = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]] if axis else [[1, 0, 0], [0, c, s], [0, -s, c]])
    check_up(CloudSample(XYZ @ R.T, len(XYZ)), "m.ply")
    assert ("its ground rises by" in caplog.text) == (degrees > 10)


def test_a_wall_larger_than_the_ground_is_no_ground() -> None:
    rng = np.random.default_rng(0)
    ground = rng.uniform((0, 0, 0), (200, 8, 0.02), (20_000, 3))
    wall = rng.uniform((0, 8, 0), (200, 8.02, 25), (60_000, 3))
    check_up(CloudSample(np.concatenate([ground, wall]), 80_000), "m.ply")


def test_a_plain_says_nothing_of_up_and_down() -> None:
    ground = np.random.default_rng(0).uniform((0, 0, 0), (90, 90, 0.02), (20_000, 3))
    check_up(CloudSample(ground, len(ground)), "m.ply")


@pytest.mark.parametrize("factor", [1, 3])
def test_a_sample_of_a_dense_map_is_in_metres(factor: int) -> None:
    """What is left of a hundred million points is metres apart."""
    city = np.concatenate([XYZ + [70.0 * k, 0, 0] for k in range(10 * factor)])
    chosen = np.random.default_rng(0).random(len(city)) < 0.01
    check_units(CloudSample(city[chosen], len(city)), "m.ply")


def test_utm_in_float32_is_refused_and_in_float64_served(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"has y in steps of 0\.5 m.*doubles"):
        open_cloud(write(tmp_path / "m.ply", XYZ + UTM, "f4"))
    cloud = read_cloud(write(tmp_path / "d.ply", XYZ + UTM))
    assert np.abs(cloud.xyz).max() < 200
    np.testing.assert_allclose(cloud.xyz + cloud.origin, XYZ + UTM, atol=1e-4)


def test_utm_in_short_text_is_refused(tmp_path: Path) -> None:
    """As %g writes it: six digits."""
    rows = "".join(f"{x:g} {y:g} {z:g}\n" for x, y, z in XYZ + UTM)
    header = f"ply\nformat ascii 1.0\nelement vertex {len(XYZ)}\n"
    header += "".join(f"property float {axis}\n" for axis in "xyz") + "end_header\n"
    (tmp_path / "m.ply").write_text(header + rows)
    with pytest.raises(DatasetError, match="in steps of 1"):
        open_cloud(tmp_path / "m.ply")


def test_mgrs_in_float32_and_voxel_centres_are_served(tmp_path: Path) -> None:
    mgrs = XYZ + [81655.0, 50137.0, 40.0]
    assert open_cloud(write(tmp_path / "m.ply", mgrs, "f4")).count == len(XYZ)
    voxels = np.round(XYZ / 0.2) * 0.2 + UTM
    assert open_cloud(write(tmp_path / "v.ply", voxels)).count == len(XYZ)


def test_earth_centred_coordinates(tmp_path: Path) -> None:
    """Karlsruhe: up is along the position."""
    up = np.array([0.655, 0.097, 0.749])
    up /= np.linalg.norm(up)
    east = np.cross([0, 0, 1.0], up)
    east /= np.linalg.norm(east)
    R = np.stack([east, np.cross(up, east), up], axis=1)
    with pytest.raises(DatasetError, match="earth-centred"):
        open_cloud(write(tmp_path / "m.ply", XYZ @ R.T + 6_366_000 * up))


def test_a_given_origin(tmp_path: Path) -> None:
    path = write(tmp_path / "m.ply", XYZ + UTM)
    cloud = open_cloud(path, CloudConfig(origin="457000,5427000,0"))
    assert cloud.origin.tolist() == [457000, 5427000, 0]
    np.testing.assert_allclose(cloud.read().xyz, XYZ + UTM - cloud.origin, atol=1e-3)
    np.testing.assert_allclose(cloud.bounds, [(XYZ + UTM).min(0), (XYZ + UTM).max(0)])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"origin": "1,2"}, "origin '1,2'"),
        ({"origin": "1,2,nan"}, "origin '1,2,nan'"),
        ({"up": "z"}, "up 'z'"),
        ({"unit_m": -1.0}, "unit_m -1.0"),
        ({"unit_m": float("inf")}, "unit_m inf"),
    ],
)
def test_impossible_settings(setting: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CloudConfig(**setting)


class TestStrays:
    def test_a_far_point_is_left_out(self, tmp_path: Path, caplog) -> None:
        strays = np.array([[1e6, 0, 0], [0, 0, -3e4], [1e30, 1e30, 1e30]])
        cloud = open_cloud(write(tmp_path / "m.ply", np.concatenate([strays, XYZ])))
        assert cloud.count == len(XYZ)
        assert np.abs(cloud.bounds).max() < 100
        assert sum(len(block) for block in cloud.blocks()) == len(XYZ)
        assert "left out 3 points" in caplog.text

    def test_zeros_among_utm_are_no_returns(self, tmp_path: Path) -> None:
        zeros = np.zeros((len(XYZ) // 10, 3))
        cloud = open_cloud(write(tmp_path / "m.ply", np.concatenate([XYZ + UTM, zeros])))
        assert cloud.count == len(XYZ)

    def test_two_districts_are_both_kept(self, tmp_path: Path) -> None:
        both = np.concatenate([XYZ, XYZ + [9000.0, 0, 0]])
        assert open_cloud(write(tmp_path / "m.ply", both)).count == 2 * len(XYZ)

    def test_two_coordinate_systems_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="reaches over 5428 km"):
            open_cloud(write(tmp_path / "m.ply", np.concatenate([XYZ, XYZ + UTM])))


def test_real_map(shared_data: Path) -> None:
    xyz = read_cloud(shared_data / "kitti_drive_0009" / "map.ply").xyz.astype(float)
    for up in AXES:
        sample = CloudSample(xyz @ CloudConfig(up=up).R_map_file, len(xyz))
        if up == "+z":
            check_up(sample, "m.ply")
        else:
            with pytest.raises(DatasetError, match=f"set cloud.up to [{up[0]}]{up[1]}"):
                check_up(sample, "m.ply")
    for unit_m in (0.001, 0.01):
        with pytest.raises(DatasetError, match=f"set cloud.unit_m to {unit_m}"):
            check_units(CloudSample(xyz / unit_m, len(xyz)), "m.ply")


def test_many_zeros_of_no_return_take_no_time(tmp_path: Path) -> None:
    xyz = street_points(0.25)
    xyz = np.concatenate([xyz, np.zeros((2 * len(xyz), 3))])
    write_ply(tmp_path / "m.ply", columns_of(xyz))
    assert open_cloud(tmp_path / "m.ply").count == len(xyz)
