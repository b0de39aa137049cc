"""Points of ranges, and what is made of them, by hand."""

from __future__ import annotations

import torch

from scmpr_ros.geometry import AngularGrid
from scmpr_ros.methods.range_points import birds_eye_view, points_of_ranges, voxels

NOTHING = [torch.nan] * 3


def test_points_lie_in_the_middle_of_their_cells() -> None:
    """A grid of 120 x 120 degrees in cells of 60: left, right; up, down."""
    grid = AngularGrid(2, 2, 60.0, -60.0, 120.0)
    range_m = torch.tensor([[[2.0, 0.0], [-1.0, 4.0]]])
    points = points_of_ranges(range_m, grid)
    assert points.shape == (1, 4, 3)
    half, level = 0.5, 0.75**0.5
    torch.testing.assert_close(points[0, 0], 2 * torch.tensor([level**2, half * level, half]))
    torch.testing.assert_close(points[0, 3], 4 * torch.tensor([level**2, -half * level, -half]))
    assert points[0, 1:3].isnan().all()


def test_birds_eye_view_of_what_is_ahead() -> None:
    """Two metres ahead, one to the left and two to the right: the highest of three points in a
    cell, and one below ground."""
    points = torch.tensor([
        [[1.5, -0.2, 1.0], [1.6, -0.1, 3.0], [1.7, -0.4, 2.0], [0.5, -1.4, -7.0], NOTHING],
        [[-0.1, 0.0, 1.0], [2.1, 0.0, 1.0], [1.0, 1.1, 1.0], [1.0, -2.1, 1.0], NOTHING],
    ])  # fmt: skip
    image = birds_eye_view(points, (0.0, 2.0), (-2.0, 1.0), 1.0)
    assert image.shape == (2, 2, 2, 3)
    assert image[0].tolist() == [[[0, 3, 0], [0, 0, -7]], [[0, 3, 0], [0, 0, 1]]]
    assert not image[1].any()


def test_voxels_of_each_place_are_its_own() -> None:
    points = torch.tensor([
        [[0.5, -0.5, 0.2], [0.7, -0.1, 0.4], NOTHING],
        [[0.5, -0.5, 0.2], [4.1, 0.0, 0.0], [-0.1, 0.0, 0.0]],
    ])  # fmt: skip
    index, mean = voxels(points, 1.0)
    assert index.tolist() == [[0, 0, -1, 0], [1, -1, 0, 0], [1, 0, -1, 0], [1, 4, 0, 0]]
    torch.testing.assert_close(mean[0], torch.tensor([0.6, -0.3, 0.3]))
    torch.testing.assert_close(mean[2], points[1, 0])


def test_no_points_give_nothing() -> None:
    points = torch.tensor([[NOTHING, NOTHING]])
    index, mean = voxels(points, 1.0)
    assert index.shape == (0, 4) and mean.shape == (0, 3)
    assert not birds_eye_view(points, (0.0, 2.0), (-1.0, 1.0), 1.0).any()
