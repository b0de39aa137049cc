"""How far the fields of view of two cameras overlap on the ground."""

from __future__ import annotations

import torch
from torch import Tensor

_RINGS, _SPOKES = 8, 12  # of the points that sample a field of view, each for an equal area


def sector_overlap(
    position: Tensor, yaw_rad: Tensor, other_position: Tensor, other_yaw_rad: Tensor,
    fov_rad: float, reach_m: float,
) -> Tensor:  # fmt: skip
    """Intersection over union (N, M) of sectors of a circle, in [0, 1].

    position, other_position: (N, 2 or more) and (M, 2 or more), metres. yaw_rad, other_yaw_rad:
    (N,), (M,). fov_rad, reach_m: angle and radius of all sectors.
    """
    points = _points_in_sector(position, yaw_rad, fov_rad, reach_m)
    offset = points[:, None] - other_position[None, :, None, :2]  # (N, M, S, 2)
    bearing = torch.atan2(offset[..., 1], offset[..., 0]) - other_yaw_rad[None, :, None]
    bearing = torch.remainder(bearing + torch.pi, 2 * torch.pi) - torch.pi
    inside = (offset.norm(dim=-1) <= reach_m) & (bearing.abs() <= fov_rad / 2)
    share = inside.float().mean(-1)  # of the sector's area, which is that of the other
    return share / (2 - share)


def _points_in_sector(position: Tensor, yaw_rad: Tensor, fov_rad: float, reach_m: float) -> Tensor:
    """Points (N, S, 2) spread evenly over each sector."""
    rings = (torch.arange(_RINGS).to(position) + 0.5).div(_RINGS).sqrt() * reach_m
    spokes = ((torch.arange(_SPOKES).to(position) + 0.5) / _SPOKES - 0.5) * fov_rad
    angle = yaw_rad[:, None] + spokes  # (N, spokes)
    unit = torch.stack([angle.cos(), angle.sin()], dim=-1)
    points = rings[None, :, None, None] * unit[:, None]
    return position[:, None, :2] + points.flatten(1, 2)
