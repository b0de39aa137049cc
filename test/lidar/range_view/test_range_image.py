"""Where points lie in a range image, and what a network sees of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scmpr_ros.errors import DatasetError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.range_view.description import RangeViewDescription
from scmpr_ros.lidar.range_view.projection import RangeImage, network_input
from scmpr_ros.records import PointCloud

GRID = AngularGrid(64, 2048, 3.0, -25.0)
SAYS = RangeViewDescription("none.onnx", label_set="semantickitti_train")


def points(*xyz: tuple[float, float, float]) -> np.ndarray:
    return np.array(xyz, np.float32)


def test_forward_is_the_centre_column_and_left_is_a_quarter() -> None:
    image = RangeImage.of(points((10, 0.001, 0), (0, 10, 0), (0, -10, 0), (-10, 0.001, 0)), GRID)
    assert image.column.tolist() == [1023, 512, 1536, 0]
    assert set(image.row.tolist()) == {6}  # floor(3 / 28 * 64)


def test_points_above_and_below_lie_in_the_edge_rows() -> None:
    image = RangeImage.of(points((1, 0, 5), (1, 0, -5)), GRID)
    assert image.row.tolist() == [0, 63]


def test_the_nearest_point_wins_and_point_0_is_no_empty_cell() -> None:
    image = RangeImage.of(points((5, 0.01, 0), (9, 0.01, 0), (0, 7, 0), (0, 3, 0)), GRID)
    assert image.nearest[6, 1023] == 0 and image.is_return[6, 1023]
    assert image.nearest[6, 512] == 3
    assert image.is_return.sum() == 2


@given(st.lists(st.tuples(*[st.floats(-80, 80, width=32)] * 3), min_size=1, max_size=30))
def test_cells_follow_the_published_formula(xyz: list) -> None:
    x, y, z = np.array(xyz, np.float32).astype(np.float64).T
    r = np.maximum(np.sqrt(x**2 + y**2 + z**2), 1e-9)
    up, down = np.radians(3.0), np.radians(25.0)
    u = np.floor(0.5 * (1 - np.arctan2(y, x) / np.pi) * 2048).clip(0, 2047)
    v = np.floor((1 - (np.arcsin((z / r).clip(-1, 1)) + down) / (up + down)) * 64).clip(0, 63)
    image = RangeImage.of(np.array(xyz, np.float32), GRID)
    assert np.abs(image.column - u).max() <= 1 and np.abs(image.row - v).max() <= 1
    assert np.mean(image.column == u) > 0.9 and np.mean(image.row == v) > 0.9
    nearest = image.nearest[image.row, image.column]
    assert (image.range_m[nearest] <= image.range_m).all()


def test_the_input_is_normalised_and_empty_cells_are_zero() -> None:
    scan = PointCloud(points((3, 4, -1)), intensity=np.array([0.5], np.float32))
    image = RangeImage.of(scan.xyz, SAYS.grid)
    pixels = network_input(scan, image, SAYS)
    assert pixels.shape == (1, 5, 64, 2048) and pixels.dtype == np.float32
    expected = (np.array([np.sqrt(26), 3, 4, -1, 0.5]) - SAYS.mean) / SAYS.std
    np.testing.assert_allclose(pixels[0, :, image.row[0], image.column[0]], expected, rtol=1e-5)
    pixels[0, :, image.row[0], image.column[0]] = 0
    assert not pixels.any()


def test_channels_follow_their_order() -> None:
    says = replace(SAYS, channels=("mask", "z"), mean=(0.0, 0.0), std=(1.0, 2.0))
    scan = PointCloud(points((5, 0, -1)))
    image = RangeImage.of(scan.xyz, says.grid)
    pixels = network_input(scan, image, says)
    assert pixels[0, :, image.row[0], image.column[0]].tolist() == [1.0, -0.5]


def test_remission_is_scaled_and_checked() -> None:
    scan = PointCloud(points((3, 4, -1)), intensity=np.array([127.5], np.float32))
    image = RangeImage.of(scan.xyz, SAYS.grid)
    says = replace(SAYS, remission_white=255.0)
    value = network_input(scan, image, says)[0, 4, image.row[0], image.column[0]]
    assert value == pytest.approx((0.5 - 0.21) / 0.16, rel=1e-5)
    with pytest.raises(DatasetError, match=r"up to 127\.5, but remission_white is 1: set it to"):
        network_input(scan, image, SAYS)
    with pytest.raises(DatasetError, match="reads remission, but the scan has no intensity"):
        network_input(replace(scan, intensity=None), image, SAYS)
