"""Pixels and panorama cells that show the same point are found, by a scene worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from scmpr_ros.geometry import AngularGrid
from scmpr_ros.training.alignment import Alignment

VIEW = AngularGrid(8, 16, 12.0, -12.0, 80.0)
PANORAMA = AngularGrid(16, 360, 16.0, -16.0)


def azimuth_features(azimuth_rad: torch.Tensor, height: int) -> torch.Tensor:
    """(1, 2, height, W): the direction in the world of each column."""
    columns = torch.stack([azimuth_rad.cos(), azimuth_rad.sin()])
    return columns[None, :, None, :].expand(-1, -1, height, -1).float()


@pytest.mark.parametrize("yaw_deg", [0.0, 90.0, -150.0])
@pytest.mark.parametrize("turned_deg", [0.0, 40.0])
def test_a_round_wall_is_seen_alike_from_its_centre(yaw_deg: float, turned_deg: float) -> None:
    """Camera and place stand in the middle of a wall at 10 m: azimuths must agree."""
    yaw, turned = torch.tensor([math.radians(yaw_deg)]), torch.tensor([math.radians(turned_deg)])
    at = torch.zeros(1, 3)
    batch = {"view_position": at, "place_position": at, "yaw_rad": yaw, "town": torch.tensor([3])}
    image = azimuth_features(torch.from_numpy(VIEW.azimuths()) + yaw, VIEW.height)
    place = azimuth_features(torch.from_numpy(PANORAMA.azimuths()) - turned, PANORAMA.height)
    depth = torch.full((1, 8, 16), 10.0)
    range_m = torch.full((1, 16, 360), 10.0)
    found = Alignment(VIEW, PANORAMA)(image, place, depth, range_m, batch, turned, most=500)
    assert len(found.pixels) == 8 * 16
    torch.testing.assert_close(found.pixels, found.points, atol=2e-3, rtol=0)
    assert (found.where[:, 0] == 3).all()
    torch.testing.assert_close(found.where[:, 1:].norm(dim=1), torch.full((128,), 10.0))


def test_what_the_place_does_not_see_is_left_out() -> None:
    at = torch.zeros(1, 3)
    batch = {
        "view_position": at, "place_position": at, "yaw_rad": torch.zeros(1),
        "town": torch.zeros(1, dtype=torch.long),
    }  # fmt: skip
    image, place = torch.randn(1, 4, 8, 16), torch.randn(1, 4, 4, 45)
    range_m = torch.full((1, 16, 360), 10.0)
    align = Alignment(VIEW, PANORAMA)
    depth = torch.full((1, 8, 16), 10.0)
    depth[:, :, :8] = 30.0  # the place has a wall in front of it
    depth[:, :4] = 0.0  # and the map shows nothing up there
    found = align(image, place, depth, range_m, batch, torch.zeros(1), most=500)
    assert len(found.pixels) == 4 * 8
    few = align(image, place, depth, range_m, batch, torch.zeros(1), most=10)
    assert len(few.pixels) <= 10
