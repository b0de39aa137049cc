"""Scores of predicted cells, by predictions whose scores are known."""

from __future__ import annotations

import math

import pytest
import torch

from scmpr_ros.evaluation.cells import cell_scores, cells_correct, masked_mean
from scmpr_ros.networks.depth import DepthConfig
from scmpr_ros.networks.saff import ImagePrediction
from scmpr_ros.semantics import IGNORE, NUM_CLASSES, class_id

ROAD, SIDEWALK, CAR = (class_id(name) for name in ("road", "sidewalk", "car"))
RANGES = DepthConfig(edges_m=(1.0, 5.0, 10.0))  # two ranges and `nothing`
LABELS = torch.tensor([[[ROAD, SIDEWALK, CAR, IGNORE]]])
RANGE_M = torch.tensor([[[2.0, 7.0, 0.0, 12.0]]])  # 12 m is beyond the last edge


def prediction(classes: list[int], ranges: list[int] | None, logit: float) -> ImagePrediction:
    """One row of cells, each with one class and one range of that logit, all others zero."""

    def logits(ids: list[int], count: int) -> torch.Tensor:
        return (
            logit * torch.nn.functional.one_hot(torch.tensor(ids), count).T[None, :, None].float()
        )

    range_logits = None if ranges is None else logits(ranges, RANGES.num_ranges + 1)
    return ImagePrediction(torch.zeros(1), logits(classes, NUM_CLASSES), range_logits)


def test_the_truth_has_no_loss() -> None:
    predicted = prediction([ROAD, SIDEWALK, CAR, CAR], [0, 1, 0, 2], logit=50.0)
    scores = cell_scores(predicted, LABELS, RANGE_M, RANGES)
    assert all(float(scores[name]) == 1 for name in scores if "nll" not in name)
    assert all(
        float(scores[name]) == pytest.approx(0, abs=1e-6) for name in scores if "nll" in name
    )
    assert cells_correct(predicted, LABELS, RANGE_M, RANGES).tolist() == [[1.0, 1.0]]


def test_ground_classes_can_be_joined() -> None:
    """Road for sidewalk and the other way round is wrong, but ground all the same."""
    predicted = prediction([SIDEWALK, ROAD, ROAD, ROAD], [1, 1, 1, 1], logit=math.log(14))
    scores = cell_scores(predicted, LABELS, RANGE_M, RANGES)
    assert float(scores["classes_correct"]) == 0
    assert float(scores["ground_joined_correct"]) == pytest.approx(2 / 3)
    assert float(scores["ranges_correct"]) == pytest.approx(1 / 3)  # of cells with a return
    # Of 15 classes, one has 14 / 28 and each of the others 1 / 28.
    assert float(scores["class_confidence"]) == pytest.approx(0.5)
    assert float(scores["class_nll"]) == pytest.approx(math.log(28))
    joined = -(2 * math.log(16 / 28) + math.log(1 / 28)) / 3
    assert float(scores["ground_joined_nll"]) == pytest.approx(joined)


def test_nothing_to_score() -> None:
    assert math.isnan(
        float(masked_mean(torch.ones(1, 1, 4), torch.zeros(1, 1, 4, dtype=torch.bool)))
    )
    scores = cell_scores(prediction([ROAD] * 4, None, 1.0), LABELS, RANGE_M, RANGES)
    assert not any(name.startswith("range") for name in scores)
