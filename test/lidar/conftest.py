"""A street of boxes, and a LiDAR that scans it by exact ray casting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from scmpr_ros.geometry import make_transform
from scmpr_ros.records import PointCloud

SENSOR_HEIGHT_M = 1.7
Box = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Lower and upper corner in the map frame; the ground is z = 0."""


def cast(position: np.ndarray, boxes: list[Box], max_range_m: float = 60.0) -> np.ndarray:
    """Points (N, 3), in the map frame, of a 48 x 600 scan from `position`."""
    elevation, azimuth = np.meshgrid(
        np.deg2rad(np.linspace(-24, 6, 48)), np.linspace(-np.pi, np.pi, 600, endpoint=False)
    )
    ray = np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth),
         np.sin(elevation)], axis=-1,
    ).reshape(-1, 3)  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        range_m = np.where(ray[:, 2] < 0, -position[2] / ray[:, 2], np.inf)
        for low, high in boxes:
            t = np.sort([(low - position) / ray, (high - position) / ray], axis=0)
            enter, leave = t[0].max(axis=1), t[1].min(axis=1)
            range_m = np.where((enter > 0) & (enter < leave), np.minimum(range_m, enter), range_m)
    hit = range_m < max_range_m
    return position + ray[hit] * range_m[hit, None]


@pytest.fixture(scope="session")
def drive_past() -> Callable[..., list[tuple[PointCloud, np.ndarray]]]:
    """Function `drive_past(boxes_at)`: posed scans of a drive along x from 0 to 20 m.

    boxes_at(step): the boxes present at one of the 11 steps.
    """

    def scans(boxes_at: Callable[[int], list[Box]]) -> list[tuple[PointCloud, np.ndarray]]:
        posed = []
        for step in range(11):
            position = np.array([2.0 * step, 0.0, SENSOR_HEIGHT_M])
            xyz = (cast(position, boxes_at(step)) - position).astype(np.float32)
            posed.append((PointCloud(xyz), make_transform(np.eye(3), position)))
        return posed

    return scans
