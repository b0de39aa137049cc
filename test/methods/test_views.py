"""What a method can ask of a place, all derived from its panorama."""

from __future__ import annotations

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
