"""Fragments amid vehicles and ghosts are removed; what merely stands near them is kept."""

from __future__ import annotations

import numpy as np

from scmpr_ros.lidar.vehicle_remains import remove_vehicle_remains
from scmpr_ros.semantics import class_id

ROAD, CAR, HEDGE = class_id("road"), class_id("car"), class_id("vegetation")
NO_GHOSTS = np.empty((0, 3), np.float32)


def filled(low, high, step_m: float = 0.2) -> np.ndarray:
    """Points (N, 3) that fill a box."""
    axes = [np.arange(a, max(b, a + step_m / 2), step_m) for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float32)


GROUND = filled((0, 0, 0), (40, 20, 0))
VEHICLE = filled((10, 5, 0.3), (14.4, 6.8, 1.5))


def kept(thing: np.ndarray, vehicle: np.ndarray, ghosts: np.ndarray = NO_GHOSTS) -> np.ndarray:
    """Which points of a thing of a static class are kept; all of the ground and vehicle are."""
    xyz = np.concatenate([GROUND, vehicle, thing])
    sizes = (len(GROUND), len(vehicle), len(thing))
    label = np.repeat(np.array([ROAD, CAR, HEDGE], np.uint8), sizes)
    keep = remove_vehicle_remains(xyz, label, ghosts)
    assert keep[: -len(thing)].all()
    return keep[-len(thing) :]


def test_parts_of_a_vehicle_taken_for_a_hedge_are_removed() -> None:
    parts = np.arange(len(VEHICLE)) % 3 == 0
    assert not kept(VEHICLE[parts], VEHICLE[~parts]).any()


def test_fragments_amid_ghosts_are_removed() -> None:
    streak = filled((20, 12, 0.3), (36, 13.8, 1.5))
    sparse = np.arange(len(streak)) % 4 == 0
    assert not kept(streak[sparse], VEHICLE, streak[~sparse]).any()


def test_hedge_beside_a_vehicle_is_kept() -> None:
    hedge = filled((8, 8.0, 0), (18, 9.4, 1.5))
    assert kept(hedge, VEHICLE).all()


def test_crown_above_a_vehicle_is_kept() -> None:
    crown = filled((10, 5, 3), (14, 7, 5), 0.6)
    assert kept(crown, VEHICLE).all()


def test_an_empty_map_stays_empty() -> None:
    empty = remove_vehicle_remains(NO_GHOSTS, np.empty(0, np.uint8), VEHICLE)
    assert empty.shape == (0,)
