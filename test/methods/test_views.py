"""What a method can ask of a place, all derived from its panorama."""

from __future__ import annotations

import math

import pytest
import torch

from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.panorama import Panoramas
from scmpr_ros.methods.views import PlaceView

GRID = AngularGrid(1, 4, 1.0, -1.0)
"""One row on the horizon; columns look to the rear left, front left, front right, rear right."""


def place(*rows: list[float]) -> PlaceView:
    range_m = torch.tensor(rows)[:, None]
    nothing = torch.zeros_like(range_m)
    normal = torch.zeros(len(rows), 3, 1, 4)
    return PlaceView.of(Panoramas(range_m, nothing, normal, nothing.to(torch.uint8)), GRID)


def test_nothing_is_rendered_before_it_is_needed() -> None:
    rendered: list[int] = []
    panoramas = place([1.0, 0.0, 0.0, 0.0]).panoramas

    def render() -> Panoramas:
        rendered.append(1)
        return panoramas

    view = PlaceView(render, GRID)
    assert not rendered
    assert view.points.shape == (1, 4, 3) and view.voxels(1.0)[0].shape == (1, 4)
    assert rendered == [1]


def test_points_are_the_returns_in_the_axes_of_the_place() -> None:
    points = place([0.0, 2.0, 4.0, 0.0]).points[0]
    half = 0.5**0.5
    torch.testing.assert_close(points[1], torch.tensor([2 * half, 2 * half, 0.0]))
    torch.testing.assert_close(points[2], torch.tensor([4 * half, -4 * half, 0.0]))
    assert points[[0, 3]].isnan().all()


def test_birds_eye_view_has_the_front_up_and_the_left_on_the_left() -> None:
    image = place([0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0]).birds_eye_view(4.0, 1.0)
    assert image.shape == (2, 2, 4, 4)
    assert image[0, 1].nonzero().tolist() == [[0, 0]]  # ahead on the left
    assert image[1, 1].nonzero().tolist() == [[3, 3]]  # behind on the right
    far = place([0.0, 50.0, 0.0, 0.0]).birds_eye_view(4.0, 1.0)
    assert not far.any()


def test_birds_eye_view_keeps_the_highest_return_and_counts_all() -> None:
    grid = AngularGrid(2, 4, 40.0, -40.0)  # rows at 20 degrees above and below the horizon
    range_m = torch.full((1, 2, 4), 2.0)
    nothing = torch.zeros(1, 2, 4)
    panoramas = Panoramas(range_m, nothing, torch.zeros(1, 3, 2, 4), nothing.to(torch.uint8))
    height, count = PlaceView.of(panoramas, grid).birds_eye_view(8.0, 4.0)[0]
    assert count.tolist() == [[2, 2], [2, 2]]
    torch.testing.assert_close(height, torch.full((2, 2), 0.68404))  # 2 sin(20 deg)


def test_voxels_hold_the_mean_of_their_returns() -> None:
    voxels, mean = place([0.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]).voxels(10.0)
    assert voxels.tolist() == [
        [0, 0, 0, 0], [1, -1, -1, 0], [1, -1, 0, 0], [1, 0, -1, 0], [1, 0, 0, 0]
    ]  # fmt: skip
    torch.testing.assert_close(mean[0], torch.tensor([0.5**0.5, 0.5**0.5, 0.0]))


ROUND = AngularGrid(2, 12, 10.0, -10.0)
"""Columns of 30 degrees; the first looks to the rear left, azimuth 165 degrees."""


def numbered(count: int) -> PlaceView:
    """Every cell is its own number, from 1, and a hundred more for each further place."""
    number = torch.arange(1.0, 25.0).view(1, 2, 12) + 100 * torch.arange(count).view(-1, 1, 1)
    normal = torch.stack([number, -number, 2 * number], dim=1)
    return PlaceView.of(Panoramas(number, number / 2, normal, number.to(torch.uint8)), ROUND)


def test_windows_look_along_their_yaw_and_wrap() -> None:
    """Each of a batch along its own; columns run from left to right."""
    yaw_rad = torch.tensor([0.0, math.pi / 2, math.pi, -math.pi / 2, 2.5 * math.pi])
    window = numbered(5).window(yaw_rad, math.radians(120))
    found = window.panoramas.range_m[:, 0] - 100 * torch.arange(5)[:, None]
    assert found.tolist() == [
        [5, 6, 7, 8], [2, 3, 4, 5], [11, 12, 1, 2], [8, 9, 10, 11], [2, 3, 4, 5]
    ]  # fmt: skip


def test_windows_show_all_that_panoramas_do() -> None:
    window = numbered(2).window(torch.tensor([math.pi, 0.0]), math.radians(60)).panoramas
    number = torch.tensor([[[12.0, 1], [24, 13]], [[106, 107], [118, 119]]])
    assert window.range_m.equal(number) and window.height_m.equal(number / 2)
    assert window.normal.equal(torch.stack([number, -number, 2 * number], dim=1))
    assert window.label.equal(number.to(torch.uint8))


@pytest.mark.parametrize("yaw_deg", [0.0, 90.0, -150.0, 180.0, 540.0])
@pytest.mark.parametrize("fov_deg", [60.0, 120.0])
def test_points_of_windows_are_those_of_the_place_turned_back(
    yaw_deg: float, fov_deg: float
) -> None:
    """x looks along the yaw."""
    place, yaw = numbered(1), torch.tensor([math.radians(yaw_deg)])
    window = place.window(yaw, math.radians(fov_deg))
    assert window.grid.fov_deg == pytest.approx(fov_deg)
    x, y, z = window.points[0].T
    assert len(x) == 2 * fov_deg / 30 and torch.atan2(y, x).abs().max() < math.radians(fov_deg / 2)
    turned = torch.stack([x * yaw.cos() - y * yaw.sin(), x * yaw.sin() + y * yaw.cos(), z], dim=1)
    distance = torch.cdist(turned, place.points[0]).amin(1)
    torch.testing.assert_close(distance, torch.zeros(len(x)), atol=1e-3, rtol=0)


def test_windows_begin_at_the_nearest_column() -> None:
    """A yaw beside the middle of a column; a field of view that is no multiple of one."""
    yaw_rad = torch.tensor([math.radians(15 + 14), math.radians(15 - 14)])
    window = numbered(2).window(yaw_rad, math.radians(80))  # 2.67 columns: three
    assert window.grid.width == 3 and window.grid.fov_deg == pytest.approx(90)
    assert window.panoramas.range_m[:, 0, 1].tolist() == [6, 106]
