"""Evidence of cells, for statistics that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from scmpr_ros.networks.one_hot import one_hot
from scmpr_ros.retrieval.evidence import CellStatistics
from scmpr_ros.semantics import DYNAMIC_IDS, NUM_CLASSES, STATIC_IDS, class_id, label_confusion

ROAD, WALL, POLE, TREE = (class_id(n) for n in ("road", "building", "pole", "vegetation"))
CAR, SKY = class_id("car"), class_id("sky")
ROWS, RANGES = 2, 3
NOTHING = RANGES
TRUE = torch.from_numpy(label_confusion())


def measured() -> CellStatistics:
    """Images of walls (6 of 12 cells), poles (3), cars (1) and sky (2); the map is empty at sky."""
    row = torch.tensor([WALL] * 6 + [POLE] * 3 + [CAR] + [SKY] * 2)
    masks = row.repeat(50, ROWS, 1)
    ranges = torch.tensor([0] * 6 + [1] * 4 + [NOTHING] * 2).repeat(50, ROWS, 1)
    statistics = CellStatistics(ROWS, RANGES)
    statistics.measure(masks, ranges, torch.ones_like(masks, dtype=torch.bool))
    return statistics


def evidence(
    statistics: CellStatistics, seen: int, shown: int, range_seen: int = -1, range_shown: int = 0,
    confusion: Tensor = TRUE, outlier: float = 1e-6, **settings: float,
) -> float:  # fmt: skip
    """Log-evidence of an image class for a map class and range, in a cell of the first row."""
    probs = one_hot(torch.full((1, ROWS, 1), seen), NUM_CLASSES)[0]
    ranges = None
    if range_seen >= 0:
        ranges = one_hot(torch.full((1, ROWS, 1), range_seen), RANGES + 1)[0]
    weight = settings.get("range_weight", 1.0)
    table = statistics.table(probs, ranges, statistics.class_ratios(confusion), outlier, weight)
    cell = statistics.cell_ids(torch.tensor(shown), torch.tensor(range_shown))
    assert table.shape == ((len(STATIC_IDS) + 1) * (RANGES + 1), ROWS, 1)
    return float(table[int(cell), 0, 0])


def test_evidence_by_hand() -> None:
    """Of the cells with a return two thirds are walls, a third poles, and behind cars likewise."""
    statistics, walls = measured(), 2 / 3
    shown = 10 / 12 * walls  # cells in which the map shows a wall
    both = 6 / 12 * (0.9 + 0.1 * walls)
    assert evidence(statistics, WALL, WALL) == pytest.approx(np.log(both / shown * 2), abs=0.05)
    pole = 3 / 12 * 0.1 * walls
    assert evidence(statistics, POLE, WALL) == pytest.approx(np.log(pole / shown * 4), abs=0.1)
    assert evidence(statistics, SKY, 0, range_shown=NOTHING) == pytest.approx(np.log(6), abs=0.1)


def test_a_camera_that_sees_walls_speaks_against_a_place_without_a_map() -> None:
    """Else look-alikes at the map's border win, because nothing there contradicts them."""
    statistics = measured()
    assert evidence(statistics, WALL, 0, range_shown=NOTHING) < -2
    assert evidence(statistics, SKY, WALL) < -2


def test_what_hides_the_map_says_little_about_it() -> None:
    statistics = measured()
    hidden = [evidence(statistics, CAR, shown) for shown in (WALL, POLE)]
    assert hidden[0] == pytest.approx(hidden[1], abs=0.1)
    assert evidence(statistics, 0, WALL) == pytest.approx(0, abs=1e-3)  # an unknown class


def test_rare_classes_count_more_than_common_ones() -> None:
    statistics = measured()
    assert evidence(statistics, POLE, POLE) > evidence(statistics, WALL, WALL) + 0.3


def test_the_prior_is_that_of_the_training_images_and_not_of_the_map() -> None:
    """A classifier that expects walls must not find them everywhere; every map gets the same."""
    before = measured()
    rare = CellStatistics(ROWS, RANGES)
    masks = torch.tensor([WALL] + [POLE] * 9).repeat(50, ROWS, 1)
    rare.measure(masks, torch.zeros_like(masks), torch.ones_like(masks, dtype=torch.bool))
    assert evidence(rare, WALL, WALL) > evidence(before, WALL, WALL) + 1


def test_ranges_add_their_evidence() -> None:
    """p(range | image) / p(range): 1 / (4 / 12) for the second of the ranges."""
    statistics = measured()
    of_class = evidence(statistics, WALL, WALL, range_shown=1)
    both = evidence(statistics, WALL, WALL, range_seen=1, range_shown=1)
    assert both - of_class == pytest.approx(np.log(3), abs=0.02)
    assert evidence(statistics, WALL, WALL, range_seen=0, range_shown=1) < of_class - 5
    half = evidence(statistics, WALL, WALL, range_seen=1, range_shown=1, range_weight=0.5)
    assert half - of_class == pytest.approx(np.log(3) / 2, abs=0.02)


def test_an_outlier_probability_bounds_the_evidence_against_a_place() -> None:
    statistics = measured()
    assert evidence(statistics, SKY, WALL, outlier=0.1) >= np.log(0.1) - 1e-6


def test_a_map_that_confuses_classes_is_understood() -> None:
    """All poles of this map are labelled walls: a pole in the image is a wall in the map."""
    confusion = torch.from_numpy(label_confusion({"pole": {"building": 1.0}}))
    statistics = measured()
    assert evidence(statistics, POLE, WALL) < -1
    assert evidence(statistics, POLE, WALL, confusion=confusion) == pytest.approx(0, abs=0.3)


def test_statistics_that_were_never_measured_serve_as_well() -> None:
    """As in checkpoints of earlier versions: classes meet themselves, the sky meets nothing."""
    statistics = CellStatistics(ROWS, RANGES)
    assert evidence(statistics, WALL, WALL) > 1 > 0 > evidence(statistics, WALL, TREE)
    assert evidence(statistics, SKY, 0, range_shown=NOTHING) > 1
    assert evidence(statistics, WALL, WALL, range_seen=1, range_shown=1) > 2


def test_cells_outside_the_image_are_not_counted() -> None:
    masks = torch.full((1, ROWS, 4), WALL)
    masks[..., 2:] = TREE
    seen = torch.zeros_like(masks, dtype=torch.bool)
    seen[..., :2] = True
    statistics = CellStatistics(ROWS, RANGES)
    statistics.measure(masks, torch.zeros_like(masks), seen)
    assert statistics.class_pairs[TREE].sum() == 0
    assert statistics.class_pairs.sum((0, 1)).tolist() == pytest.approx([1] * ROWS)


@pytest.mark.parametrize(("num_ranges", "dtype"), [(RANGES, torch.uint8), (40, torch.int16)])
def test_cell_ids_tell_all_classes_and_ranges_apart(num_ranges: int, dtype: torch.dtype) -> None:
    statistics = CellStatistics(ROWS, num_ranges)
    labels, ranges = torch.meshgrid(
        torch.tensor([0, *STATIC_IDS]), torch.arange(num_ranges + 1), indexing="ij"
    )
    ids = statistics.cell_ids(labels, ranges)
    assert ids.dtype == dtype and ids.amin() == 0 and len(ids.unique()) == ids.numel()
    of_cars = statistics.cell_ids(torch.tensor(DYNAMIC_IDS), torch.zeros(len(DYNAMIC_IDS)).long())
    assert (of_cars == statistics.cell_ids(torch.tensor(0), torch.tensor(0))).all()
