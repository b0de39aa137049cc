"""psi of maps whose overlap is known, eq. 10."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.retrieval.matching import MatchingConfig, SemanticMatcher
from scmpr_ros.semantics import class_id

PANORAMA = AngularGrid(8, 120, 16.0, -16.0)
VIEW = AngularGrid(8, 30, 16.0, -16.0, 90.0)  # the same cells, a quarter of the circle
SEEN = np.ones((8, 30), bool)
ROAD, WALL, POLE = class_id("road"), class_id("building"), class_id("pole")
CAR, SKY = class_id("car"), class_id("sky")


def street(seed: int = 0) -> np.ndarray:
    """Ground below, blocks of random static classes above; no two directions alike."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.integers(3, 9, (4, 24)), 5, axis=1).astype(np.uint8)
    return np.concatenate([labels, np.full((4, 120), ROAD, np.uint8)])


def look(panorama: np.ndarray, columns_left: int) -> np.ndarray:
    """The mask of a camera whose heading is `columns_left` columns left of forward."""
    return np.roll(panorama, columns_left, axis=1)[:, 45:75]


def overlap(
    mask: np.ndarray, panorama: np.ndarray, yaw: float = 0.0, slide: int = 0, **weights: float
) -> tuple[float, float]:
    matcher = SemanticMatcher(VIEW, PANORAMA, MatchingConfig(slide_columns=slide, **weights))
    psi, best = matcher.overlap(
        torch.from_numpy(np.ascontiguousarray(mask)), torch.from_numpy(SEEN),
        torch.from_numpy(panorama[None]), torch.tensor([yaw], dtype=torch.float64),
    )  # fmt: skip
    return float(psi[0]), float(best[0])


def test_identical_views_overlap_fully() -> None:
    assert overlap(look(street(), 0), street())[0] == pytest.approx(1)


def test_two_classes_by_hand() -> None:
    panorama = np.full((8, 120), WALL, np.uint8)
    mask = np.full((8, 30), WALL, np.uint8)
    mask[:, :10] = POLE
    # Agree: 20 columns of weight 1. Differ: 10 columns, in the unions of wall (1) and pole (3).
    assert overlap(mask, panorama, thin_weight=3.0)[0] == pytest.approx(20 / (20 + 10 * (1 + 3)))


@settings(max_examples=30, deadline=None)
@given(turn=st.integers(-60, 59), off=st.integers(-6, 6), seed=st.integers(0, 50))
def test_sliding_finds_the_heading(turn: int, off: int, seed: int) -> None:
    step = PANORAMA.column_rad
    mask = look(street(seed), turn)
    psi, yaw = overlap(mask, street(seed), yaw=(turn + off) * step, slide=6)
    assert psi == pytest.approx(1)
    assert np.cos(yaw - turn * step) == pytest.approx(1, abs=1e-6)


def test_a_shifted_view_overlaps_less() -> None:
    assert overlap(look(street(), 10), street())[0] < 0.7


def test_cars_hide_and_do_not_count() -> None:
    mask = look(street(), 0).copy()
    mask[3:6, 5:20] = CAR
    assert overlap(mask, street())[0] == pytest.approx(1)


def test_sky_over_a_wall_counts_against() -> None:
    mask = look(street(), 0).copy()
    mask[:4] = SKY
    assert overlap(mask, street())[0] < 0.5


def test_a_map_with_a_low_ceiling_is_not_punished() -> None:
    low = street()
    low[:3] = 0
    assert overlap(look(street(), 0), low)[0] == pytest.approx(1)


def test_nothing_in_common_is_zero() -> None:
    assert overlap(np.full((8, 30), CAR, np.uint8), street())[0] == 0
    assert overlap(look(street(), 0), np.zeros((8, 120), np.uint8))[0] == 0


def test_wrong_input_is_named() -> None:
    with pytest.raises(ShapeError, match="mask"):
        overlap(np.zeros((4, 30), np.uint8), street())
    with pytest.raises(ConfigError):
        MatchingConfig(beta=-1)
    with pytest.raises(ConfigError):
        MatchingConfig(slide_columns=-1)
