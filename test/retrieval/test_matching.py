"""psi (eq. 10) for masks and maps whose overlap is known."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.networks.one_hot import one_hot
from scmpr_ros.retrieval.evidence import CellStatistics
from scmpr_ros.retrieval.matching import MatchingConfig, SemanticMatcher
from scmpr_ros.retrieval.panoramas import Panoramas
from scmpr_ros.retrieval.place_map import TiledArray
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


def ranges_of(labels: torch.Tensor) -> torch.Tensor:
    """Ranges 0 to 2 that differ from direction to direction; 3 without a return."""
    columns = (torch.arange(labels.shape[-1]) // 5 * 7 % 3).to(torch.uint8)
    return torch.where(labels == 0, 3, columns.expand_as(labels)).to(torch.uint8)


def _measured() -> CellStatistics:
    """Statistics of images of many streets."""
    masks = torch.cat([torch.from_numpy(look(street(seed), 0).copy())[None] for seed in range(60)])
    statistics = CellStatistics(8, num_ranges=3)
    statistics.measure(masks, ranges_of(masks).long(), torch.ones_like(masks, dtype=torch.bool))
    return statistics


STATISTICS = _measured()


def panoramas(labels: np.ndarray) -> Panoramas:
    """With ids in the place of ranges, which the matcher then takes as they are."""
    return Panoramas(labels, ranges_of(torch.from_numpy(labels)).half().numpy())


def overlap(
    mask: np.ndarray | torch.Tensor, panorama: np.ndarray, yaw: float = 0.0, slide: int = 0,
    confusion: np.ndarray | None = None, ranges: torch.Tensor | None = None, **settings: Any,
) -> tuple[float, float]:  # fmt: skip
    """psi and yaw of one candidate, by IoU unless set otherwise."""
    config = MatchingConfig(slide_columns=slide, **{"measure": "iou", **settings})
    matcher = SemanticMatcher(
        VIEW, PANORAMA, config, panoramas(panorama[None]), torch.Tensor.byte,
        torch.from_numpy(label_confusion() if confusion is None else confusion), STATISTICS,
    )  # fmt: skip
    classes = certain(mask) if isinstance(mask, np.ndarray) else mask
    place, yaws = torch.tensor([0]), torch.tensor([yaw], dtype=torch.float64)
    psi, best = matcher.overlap(classes, ranges, torch.from_numpy(SEEN), place, yaws)
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


def test_a_likelihood_is_the_mean_evidence_of_all_cells() -> None:
    """Evidence itself has its own tests; here three cells in four are outside the image."""
    panorama, walls = np.full((8, 120), WALL, np.uint8), np.full((8, 30), WALL, np.uint8)
    ratios = STATISTICS.class_ratios(torch.from_numpy(label_confusion()))
    table = STATISTICS.table(certain(walls), None, ratios, 0.05, 1.0)
    cell = int(STATISTICS.cell_ids(torch.tensor(WALL), torch.tensor(0)))
    expected = float(table[cell].mean())
    assert likelihood(walls, panorama)[0] == pytest.approx(expected, abs=1e-5)


def test_cells_hidden_by_cars_give_no_evidence() -> None:
    mask = look(street(), 0).copy()
    mask[:, 5:20] = CAR
    right, wrong = (likelihood(mask, np.roll(street(), turn, axis=1))[0] for turn in (0, 40))
    bare = likelihood(look(street(), 0), street())[0]
    assert bare > right > wrong


def test_a_view_of_walls_speaks_against_a_place_that_sees_nothing() -> None:
    nothing = np.zeros((8, 120), np.uint8)
    view = look(street(), 0)
    assert likelihood(view, nothing)[0] < 0 < likelihood(view, street())[0]


def test_ranges_find_the_heading_where_classes_cannot() -> None:
    panorama = np.full((8, 120), WALL, np.uint8)
    turned = np.roll(ranges_of(torch.from_numpy(panorama)).numpy(), 3, axis=1)[:, 45:75]
    probs = one_hot(torch.from_numpy(turned.copy())[None], 4)[0]
    walls, step = np.full((8, 30), WALL, np.uint8), PANORAMA.column_rad
    psi, yaw = likelihood(walls, panorama, slide=6, ranges=probs, range_weight=1.0)
    assert yaw == pytest.approx(3 * step)
    assert psi > likelihood(walls, panorama, slide=6)[0] + 0.5
    unweighted, _ = likelihood(walls, panorama, slide=6, ranges=probs, range_weight=0)
    assert unweighted == pytest.approx(likelihood(walls, panorama, slide=6)[0])


def test_the_confusion_matrix_corrects_mislabelled_maps() -> None:
    """The map labels pavements as roads and poles as walls."""
    geometric = np.where(street() == POLE, WALL, street())
    confusion = label_confusion({"pole": {"building": 1.0}})
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


@pytest.mark.parametrize("measure", ["likelihood", "iou"])
def test_cells_read_for_each_image_give_the_same_psi(measure: Literal["likelihood", "iou"]) -> None:
    tiles = [np.stack([street(seed) for seed in seeds]) for seeds in ((0, 1, 2), (3, 4, 5, 6))]
    shown = np.concatenate(tiles)
    ranges = [ranges_of(torch.from_numpy(tile)).half().numpy() for tile in tiles]
    config = MatchingConfig(measure=measure)
    confusion = torch.from_numpy(label_confusion())
    place = torch.tensor([5, 0, 5, 3, 6, 5])
    yaw = torch.linspace(-3, 3, 6, dtype=torch.float64)
    image = certain(look(street(5), 4)), None, torch.from_numpy(SEEN), place, yaw
    kept, read = (
        SemanticMatcher(
            VIEW, PANORAMA, config, source, torch.Tensor.byte, confusion, STATISTICS, keep
        ).overlap(*image)
        for source, keep in (
            (panoramas(shown), True),
            (Panoramas(TiledArray(tiles), TiledArray(ranges)), False),
        )
    )  # fmt: skip
    assert torch.equal(kept[0], read[0]) and torch.equal(kept[1], read[1])
    assert len(kept[0].unique()) > 3
