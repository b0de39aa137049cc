"""The losses of SCM-PR beside the contrastive one: L_sem (eq. 11), L_seg, depth and alignment."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from scmpr_ros.methods.contrast import IMPOSSIBLE, cosines
from scmpr_ros.networks.depth import DepthConfig, range_ids
from scmpr_ros.networks.distributed import total
from scmpr_ros.semantics import IGNORE


def semantic_consistency_loss(
    image_sums: Tensor, image_weight: Tensor, place_sums: Tensor, place_weight: Tensor
) -> Tensor:
    """L_sem, eq. 11: class-wise pooled features of an image and of its window of the map.

    The distance is 1 - cosine, averaged over the (place, class) pairs that both sides see. Each
    modality's mean is subtracted first; otherwise the loss is lowest when all features are equal,
    and training collapses to that.

    image_sums, place_sums: (B, S, C); image_weight, place_weight: (B, S), from
    `attention.class_tokens`.
    """
    both = (image_weight > 1) & (place_weight > 1)
    if both.sum() < 2:
        return image_sums.sum() * 0
    of_image = image_sums[both] / image_weight[both][:, None]
    of_place = place_sums[both] / place_weight[both][:, None]
    centred = of_image - of_image.mean(0), of_place - of_place.mean(0)
    return (1 - functional.cosine_similarity(*centred, dim=-1)).mean()


def segmentation_loss(logits: Tensor, label: Tensor, confusion: Tensor | None = None) -> Tensor:
    """L_seg: cross-entropy of (B, NUM_CLASSES, H, W) against ids (B, H, W), without `ignore`.

    Sparse masks hold `ignore` between their labelled cells.

    confusion: (B, NUM_CLASSES, NUM_CLASSES), see `PairBatch.mask_confusion`. The loss is then that
        of the probability with which the label would be given ("forward correction", Patrini et
        al. 2017), which does not ask for distinctions that the labels do not make.
    """
    known, label = label != IGNORE, label.long()
    if confusion is None:
        loss = functional.cross_entropy(logits, label, ignore_index=IGNORE, reduction="none")
    else:
        of_true = confusion.log()[torch.arange(len(label))[:, None, None], :, label]
        given = logits.log_softmax(1) + of_true.movedim(-1, 1)
        loss = -given.logsumexp(1)
    loss = torch.where(known, loss, 0).sum()
    return total(loss) / total(known.sum().to(loss)).clamp_min(1)


def depth_loss(logits: Tensor, depth: Tensor, seen: Tensor, config: DepthConfig) -> Tensor:
    """Cross-entropy of the range head against the map's ranges in the cells that are seen.

    logits: (B, num_ranges + 1, h, w). depth: (B, h, w) metres, 0 for nothing. seen: (B, h, w) bool.
    """
    loss = functional.cross_entropy(logits, range_ids(depth, config), reduction="none")
    return total((loss * seen).sum()) / total(seen.sum().to(loss)).clamp_min(1)


def alignment_loss(pixels: Tensor, points: Tensor, where: Tensor, scale: Tensor) -> Tensor:
    """InfoNCE between features of pixels and of the map points that they show.

    The local stage of VXP: pixels and points are aligned before whole views are described. Points
    within two metres of each other are no negatives.

    pixels, points: (N, C), unit length, pair by pair; where: (N, 4) recording, position in metres.
    """
    if len(pixels) < 2:
        return pixels.sum() * 0 + points.sum() * 0
    near = (torch.cdist(where[:, 1:], where[:, 1:]) < 2.0) & (where[:, None, 0] == where[:, 0])
    near.fill_diagonal_(False)
    logits = (scale * cosines(pixels, points[:, None])[..., 0]).masked_fill(near, IMPOSSIBLE)
    each = torch.arange(len(pixels), device=pixels.device)
    return (functional.cross_entropy(logits, each) + functional.cross_entropy(logits.T, each)) / 2
