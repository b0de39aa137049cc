"""Pixels and panorama cells that show the same point are found, by a scene worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from scmpr_ros.geometry import AngularGrid, rotation_z, upright_axes
from scmpr_ros.lidar.panorama import Panoramas
from scmpr_ros.methods.pair_batch import PairBatch
from scmpr_ros.methods.scmpr.alignment import Alignment

VIEW = AngularGrid(8, 16, 12.0, -12.0, 80.0)
PANORAMA = AngularGrid(16, 360, 16.0, -16.0)


def azimuth_features(azimuth_rad: torch.Tensor, height: int) -> torch.Tensor:
    """(1, 2, height, W): the direction in the world of each column."""
    columns = torch.stack([azimuth_rad.cos(), azimuth_rad.sin()])
    return columns[None, :, None, :].expand(-1, -1, height, -1).float()


def pair_at_origin(yaw_deg: float, depth_m: float = 10.0) -> PairBatch:
    """Camera and place at the origin, all surfaces at 10 m; the camera looks along `yaw_deg`."""
    origin, yaw_rad = torch.zeros(1, 3), math.radians(yaw_deg)
    grid = torch.zeros(1, PANORAMA.height, PANORAMA.width)
    panorama = Panoramas(grid + 10.0, grid, grid[:, None].expand(-1, 3, -1, -1), grid)
    return PairBatch(
        view=torch.zeros(1, 3, 32, 64), mask=torch.zeros(1, 8, 16), seen=torch.ones(1, 8, 16),
        mask_confusion=torch.zeros(1, 15, 15),
        seen_pixels=torch.ones(1, 32, 64), depth=torch.full((1, 8, 16), depth_m),
        yaw_rad=torch.tensor([yaw_rad]),
        view_position=origin, view_axes=torch.from_numpy(rotation_z(yaw_rad)[None]).float(),
        place_position=origin, place_axes=torch.eye(3)[None],
        recording=torch.zeros(1, dtype=torch.long),
        panorama=panorama, segmented=panorama, turned_rad=torch.zeros(1),
    )  # fmt: skip


@pytest.mark.parametrize("yaw_deg", [0.0, 90.0, -150.0])
@pytest.mark.parametrize("turned_deg", [0.0, 40.0])
def test_a_round_wall_is_seen_alike_from_its_centre(yaw_deg: float, turned_deg: float) -> None:
    """Camera and place stand in the middle of a wall at 10 m: azimuths must agree."""
    yaw, turned = torch.tensor([math.radians(yaw_deg)]), torch.tensor([math.radians(turned_deg)])
    batch = replace(pair_at_origin(yaw_deg), recording=torch.tensor([3]), turned_rad=turned)
    image = azimuth_features(torch.from_numpy(VIEW.azimuths()) + yaw, VIEW.height)
    place = azimuth_features(torch.from_numpy(PANORAMA.azimuths()) - turned, PANORAMA.height)
    found = Alignment(VIEW, PANORAMA)(image, place, batch, most=500)
    assert len(found.pixels) == 8 * 16
    torch.testing.assert_close(found.pixels, found.points, atol=2e-3, rtol=0)
    assert (found.where[:, 0] == 3).all()
    torch.testing.assert_close(found.where[:, 1:].norm(dim=1), torch.full((128,), 10.0))


def test_a_place_on_a_slope_is_seen_alike_by_a_camera_on_it() -> None:
    """A wall as round as a ball: both tilt alike, or one of them does and rows differ."""
    at_angle = torch.from_numpy(PANORAMA.elevations()).float()
    place = torch.stack([at_angle.cos(), at_angle.sin()])[None, :, :, None].repeat(1, 1, 1, 360)
    at_angle = torch.from_numpy(VIEW.elevations()).float()
    image = torch.stack([at_angle.cos(), at_angle.sin()])[None, :, :, None].repeat(1, 1, 1, 16)
    slope = torch.from_numpy(upright_axes(np.array([[0.0, -0.05, 1.0]]))).float()
    turn = torch.from_numpy(rotation_z(0.9)).float()
    batch = replace(pair_at_origin(0.0), place_axes=slope, view_axes=slope @ turn)
    found = Alignment(VIEW, PANORAMA)(image, place, batch, most=500)
    torch.testing.assert_close(found.pixels, found.points, atol=1e-3, rtol=0)
    batch = replace(batch, view_axes=turn[None])
    found = Alignment(VIEW, PANORAMA)(image, place, batch, most=500)
    assert (found.pixels - found.points).abs().max() > 0.03


def test_points_hidden_from_the_place_are_left_out() -> None:
    batch = pair_at_origin(0.0)
    image, place = torch.randn(1, 4, 8, 16), torch.randn(1, 4, 4, 45)
    align = Alignment(VIEW, PANORAMA)
    depth = batch.depth.clone()
    depth[:, :, :8] = 30.0  # behind the wall that the place sees
    depth[:, :4] = 0.0  # no surface
    batch = replace(batch, depth=depth)
    assert len(align(image, place, batch, most=500).pixels) == 4 * 8
    assert len(align(image, place, batch, most=10).pixels) <= 10
