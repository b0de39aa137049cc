"""psi (eq. 10) for masks and maps whose overlap is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.networks.one_hot import one_hot
from scmpr_ros.retrieval.matching import MatchingConfig, SemanticMatcher
from scmpr_ros.semantics import NUM_CLASSES, class_id, label_confusion

PANORAMA = AngularGrid(8, 120, 16.0, -16.0)
VIEW = AngularGrid(8, 30, 16.0, -16.0, 90.0)  # the same cells, a quarter of the circle
SEEN = np.ones((8, 30), bool)
ROAD, WALL, POLE = class_id("road"), class_id("building"), class_id("pole")
CAR, SKY, SIDEWALK = class_id("car"), class_id("sky"), class_id("sidewalk")


def street(seed: int = 0) -> np.ndarray:
    """Ground below, blocks of random static classes above; all directions differ."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.integers(3, 9, (4, 24)), 5, axis=1).astype(np.uint8)
    return np.concatenate([labels, np.full((4, 120), ROAD, np.uint8)])


def look(panorama: np.ndarray, columns_left: int) -> np.ndarray:
    """The mask of a camera rotated `columns_left` columns to the left."""
    return np.roll(panorama, columns_left, axis=1)[:, 45:75]


def certain(mask: np.ndarray) -> torch.Tensor:
    """One-hot probabilities of a mask."""
    return one_hot(torch.from_numpy(np.ascontiguousarray(mask))[None], NUM_CLASSES)[0]


def overlap(
    mask: np.ndarray | torch.Tensor, panorama: np.ndarray, yaw: float = 0.0, slide: int = 0,
    confusion: np.ndarray | None = None, **settings: Any,
) -> tuple[float, float]:  # fmt: skip
    """psi and yaw of one candidate, by IoU unless set otherwise."""
    config = MatchingConfig(slide_columns=slide, **{"measure": "iou", **settings})
    matcher = SemanticMatcher(
        VIEW, PANORAMA, config, torch.from_numpy(panorama[None]),
        torch.from_numpy(label_confusion() if confusion is None else confusion),
    )  # fmt: skip
    classes = certain(mask) if isinstance(mask, np.ndarray) else mask
    place, yaws = torch.tensor([0]), torch.tensor([yaw], dtype=torch.float64)
    psi, best = matcher.overlap(classes, torch.from_numpy(SEEN), place, yaws)
    return float(psi[0]), float(best[0])


def likelihood(*args: Any, **settings: Any) -> tuple[float, float]:
    return overlap(*args, **settings, measure="likelihood")


def test_identical_views_overlap_fully() -> None:
    assert overlap(look(street(), 0), street())[0] == pytest.approx(1)


def test_two_classes_by_hand() -> None:
    panorama = np.full((8, 120), WALL, np.uint8)
    mask = np.full((8, 30), WALL, np.uint8)
    mask[:, :10] = POLE
    # 20 columns agree, of weight 1; 10 differ and add wall (1) and pole (3) to the union.
    assert overlap(mask, panorama, thin_weight=3.0)[0] == pytest.approx(20 / (20 + 10 * (1 + 3)))


@settings(max_examples=30, deadline=None)
@given(turn=st.integers(-60, 59), error=st.integers(-6, 6), seed=st.integers(0, 50))
def test_sliding_finds_the_heading(turn: int, error: int, seed: int) -> None:
    step = PANORAMA.column_rad
    mask = look(street(seed), turn)
    psi, yaw = overlap(mask, street(seed), yaw=(turn + error) * step, slide=6)
    assert psi == pytest.approx(1)
    assert np.cos(yaw - turn * step) == pytest.approx(1, abs=1e-6)
    _, yaw = likelihood(mask, street(seed), yaw=(turn + error) * step, slide=6)
    assert np.cos(yaw - turn * step) == pytest.approx(1, abs=1e-6)


def test_a_shifted_view_overlaps_less() -> None:
    assert overlap(look(street(), 10), street())[0] < 0.7


def test_cells_hidden_by_cars_are_ignored() -> None:
    mask = look(street(), 0).copy()
    mask[3:6, 5:20] = CAR
    assert overlap(mask, street())[0] == pytest.approx(1)


def test_sky_over_a_wall_lowers_the_overlap() -> None:
    mask = look(street(), 0).copy()
    mask[:4] = SKY
    assert overlap(mask, street())[0] < 0.5


def test_cells_without_return_in_the_map_are_ignored() -> None:
    low = street()
    low[:3] = 0
    assert overlap(look(street(), 0), low)[0] == pytest.approx(1)


def test_psi_is_zero_without_common_cells() -> None:
    assert overlap(np.full((8, 30), CAR, np.uint8), street())[0] == 0
    assert overlap(look(street(), 0), np.zeros((8, 120), np.uint8))[0] == 0


def test_a_likelihood_by_hand() -> None:
    """Each row of the map is two thirds walls, one third poles; the camera sees walls only."""
    panorama = np.full((8, 120), WALL, np.uint8)
    panorama[:, ::3] = POLE
    walls, outlier = np.full((8, 30), WALL, np.uint8), 0.05
    expected = 2 / 3 * np.log((1 - outlier) / (2 / 3) + outlier) + 1 / 3 * np.log(outlier)
    assert likelihood(walls, panorama)[0] == pytest.approx(expected, abs=0.02)
    half = 0.5 * certain(walls) + 0.5 * certain(np.full((8, 30), POLE, np.uint8))
    expected = 2 / 3 * np.log(0.95 * 0.75 + outlier) + 1 / 3 * np.log(0.95 * 1.5 + outlier)
    assert likelihood(half, panorama)[0] == pytest.approx(expected, abs=0.02)


def test_a_rare_agreement_counts_more_than_a_common_one() -> None:
    panorama = np.full((8, 120), WALL, np.uint8)
    panorama[:, 50:55] = POLE  # visible, among walls
    right, wall = look(panorama, 0), np.full((8, 30), WALL, np.uint8)
    elsewhere = np.full((8, 120), WALL, np.uint8)
    elsewhere[:, :5] = POLE  # as frequent, but outside the view
    assert likelihood(right, panorama)[0] > likelihood(wall, elsewhere)[0] + 0.2
    assert abs(likelihood(wall, elsewhere)[0]) < 0.1


def test_hidden_and_unknown_cells_give_no_evidence() -> None:
    assert likelihood(np.full((8, 30), CAR, np.uint8), street())[0] == pytest.approx(0, abs=1e-6)
    assert likelihood(np.zeros((8, 30), np.uint8), street())[0] == pytest.approx(0, abs=1e-6)
    assert likelihood(look(street(), 0), np.zeros((8, 120), np.uint8))[0] == 0
    sky = look(street(), 0).copy()
    sky[:4] = SKY
    assert likelihood(sky, street())[0] < likelihood(look(street(), 0), street())[0] - 0.5


def test_the_confusion_matrix_corrects_mislabelled_maps() -> None:
    """The map labels pavements as roads and poles as walls."""
    geometric = np.where(street() == POLE, WALL, street())
    confusion = label_confusion({"sidewalk": {"road": 1.0}, "pole": {"building": 1.0}})
    pavement = np.full((8, 30), SIDEWALK, np.uint8)
    road = np.full((8, 120), ROAD, np.uint8)
    assert likelihood(pavement, road)[0] < -1
    assert likelihood(pavement, road, confusion=confusion)[0] == pytest.approx(0, abs=0.05)
    mask = look(street(), 0)
    naive, _ = likelihood(mask, geometric)
    assert likelihood(mask, geometric, confusion=confusion)[0] > naive


def test_invalid_settings_and_shapes_are_refused() -> None:
    with pytest.raises(ConfigError, match="outlier_probability"):
        MatchingConfig(outlier_probability=0)
    with pytest.raises(ConfigError, match="measure"):
        MatchingConfig(measure="cosine")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="class_probs"):
        overlap(np.zeros((4, 30), np.uint8), street())
    for beta in (-1, np.nan, np.inf):
        with pytest.raises(ConfigError, match="beta"):
            MatchingConfig(beta=beta)
    with pytest.raises(ConfigError):
        MatchingConfig(slide_columns=-1)
