"""Trajectories off the map are refused, and odd heights warned of."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from scmpr_ros.errors import DatasetError
from scmpr_ros.lidar.place_checks import (
    check_trajectory_on_map,
    heights_above_ground,
)

DRIVE = np.column_stack([np.linspace(5, 35, 31), np.full(31, 20.0), np.full(31, 3.7)])


def ground() -> np.ndarray:
    """A plane of 40 m x 40 m at z = 2."""
    x, y = np.meshgrid(np.arange(0, 40, 0.5), np.arange(0, 40, 0.5))
    return np.column_stack([x.ravel(), y.ravel(), np.full(x.size, 2.0)])


def check(drive: np.ndarray) -> None:
    xyz = ground()
    bounds = np.stack([xyz.min(axis=0), xyz.max(axis=0)])
    check_trajectory_on_map(drive, heights_above_ground(xyz, drive), bounds)


def test_heights_are_relative_to_the_ground_and_unknown_off_the_map() -> None:
    at = np.array([[20, 20, 3.7], [42, 20, 3.0], [44, 20, 3.0], [20, 20, 1.0]])
    np.testing.assert_allclose(
        heights_above_ground(ground(), at), [1.7, 1.0, np.nan, -1.0], atol=1e-6
    )
    assert np.isnan(heights_above_ground(np.empty((0, 3)), at)).all()


def test_trajectory_on_the_map_is_taken_without_a_word(caplog) -> None:
    check(DRIVE)
    half_outside = DRIVE + (0, 15, 0)
    check(half_outside)
    assert not caplog.records


def test_trajectory_elsewhere_is_refused() -> None:
    with pytest.raises(
        DatasetError,
        match=r"100% of the trajectory has no point of the map within 3 m \(map: x 0 to 40 m, "
        r"y 0 to 40 m; trajectory: x 505 to 535 m, y 20 to 20 m\): give it in the map's frame",
    ):
        check(DRIVE + (500, 0, 0))


@pytest.mark.parametrize(("offset_m", "said"), [(-1.7, "0.0 m"), (30.0, "31.7 m"), (-5, "-3.3 m")])
def test_implausible_heights_are_warned_of(offset_m: float, said: str, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        check(DRIVE + (0, 0, offset_m))
    (record,) = caplog.records
    assert f"{said} above the map's ground" in record.getMessage()
