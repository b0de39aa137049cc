"""How well the cells of an image are predicted: classes and ranges against what the map shows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from scmpr_ros.networks.depth import DepthConfig, range_ids
from scmpr_ros.networks.saff import ImagePrediction
from scmpr_ros.semantics import GROUND_IDS, IGNORE, NUM_CLASSES


def cells_correct(
    prediction: ImagePrediction, labels: Tensor, range_m: Tensor, ranges: DepthConfig
) -> Tensor:
    """Fractions (B, 2) of cells whose class and whose range are predicted correctly.

    labels: (B, h, w) true classes; `ignore` does not count. range_m: (B, h, w); cells without a
    return do not count. NaN if no cell counts, and without a range head.
    """
    classes = masked_mean(prediction.mask_logits.argmax(1) == labels, labels != IGNORE)
    if prediction.range_logits is None:
        return torch.stack([classes, torch.full_like(classes, torch.nan)], 1)
    correct = prediction.range_logits.argmax(1) == range_ids(range_m, ranges)
    return torch.stack([classes, masked_mean(correct, range_m > 0)], 1)


def cell_scores(
    prediction: ImagePrediction, labels: Tensor, range_m: Tensor, ranges: DepthConfig
) -> dict[str, Tensor]:
    """Scores (B,) of both heads by name; arguments as for `cells_correct`.

    `*_correct`: fraction of correct cells. `*_nll`: mean of -log of the probability of the truth,
    in nats. `*_confidence`: mean probability of the predicted class or range, which equals the
    fraction of correct cells if it is calibrated. `ground_joined_*`: road, sidewalk and terrain
    are taken as one class, since the geometry of a map hardly separates them.
    """
    correct = cells_correct(prediction, labels, range_m, ranges)
    known, joined = labels != IGNORE, _join_ground(labels.long())
    log_probs = prediction.mask_logits.log_softmax(1)
    joined_log_probs = _with_joined_ground(log_probs)
    joined_correct = _join_ground(prediction.mask_logits.argmax(1)) == joined
    scores = {
        "classes_correct": correct[:, 0],
        "ground_joined_correct": masked_mean(joined_correct, known),
        "class_nll": masked_mean(_nll(log_probs, labels), known),
        "ground_joined_nll": masked_mean(_nll(joined_log_probs, joined), known),
        "class_confidence": masked_mean(log_probs.amax(1).exp(), known),
    }
    if prediction.range_logits is not None:
        log_probs, returns = prediction.range_logits.log_softmax(1), range_m > 0
        scores["ranges_correct"] = correct[:, 1]
        scores["range_nll"] = masked_mean(_nll(log_probs, range_ids(range_m, ranges)), returns)
        scores["range_confidence"] = masked_mean(log_probs.amax(1).exp(), returns)
    return scores


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean (B,) of (B, h, w) over the valid cells; NaN if none is valid."""
    return torch.where(valid, values.float(), 0.0).sum((1, 2)) / valid.sum((1, 2))


def _nll(log_probs: Tensor, truth: Tensor) -> Tensor:
    """-log p (B, h, w) of true ids (B, h, w) under log-probabilities (B, C, h, w)."""
    return functional.nll_loss(log_probs, truth.long(), reduction="none")


def _join_ground(labels: Tensor) -> Tensor:
    """Replace all ground classes by the first of them."""
    table = torch.arange(NUM_CLASSES, device=labels.device)
    table[list(GROUND_IDS)] = GROUND_IDS[0]
    return table[labels]


def _with_joined_ground(log_probs: Tensor) -> Tensor:
    """Log-probabilities in which the first ground class has the probability of all."""
    joined = log_probs.clone()
    joined[:, GROUND_IDS[0]] = log_probs[:, list(GROUND_IDS)].logsumexp(1)
    return joined
