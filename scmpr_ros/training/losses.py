"""The three losses of eq. 12: L_total = L_contrastive + lambda L_sem + L_seg."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from scmpr_ros.networks.attention import class_tokens, one_hot_share
from scmpr_ros.semantics import IGNORE

_IMPOSSIBLE = -1e4


def contrastive_loss(
    image_descriptors: Tensor,
    place_descriptors: Tensor,
    target: Tensor,
    ambiguous: Tensor,
    scale: Tensor,
) -> Tensor:
    """Symmetric InfoNCE between images and all heading windows of all places of the batch.

    Args:
        image_descriptors: (B, D), unit length.
        place_descriptors: (B, V, D), unit length; place i is where image i was taken.
        target: (B, V), share of each heading window of its own place in image i; rows sum to 1.
        ambiguous: (B, B, V) bool, pairs (image, place, window) too close to call them wrong.
        scale: scalar, inverse temperature.
    """
    batch, headings, _ = place_descriptors.shape
    logits = scale * torch.einsum("id,jvd->ijv", image_descriptors, place_descriptors)
    own = torch.eye(batch, device=logits.device)[:, :, None] * target[:, None, :]
    # Not minus infinity: times a target share of zero that would be NaN.
    logits = logits.masked_fill(ambiguous & (own == 0), _IMPOSSIBLE)

    to_map = functional.cross_entropy(logits.flatten(1), own.flatten(1))
    facing = target.argmax(1)  # the window of each place that its own image looks through
    columns = logits[:, torch.arange(batch, device=logits.device), facing]
    to_image = functional.cross_entropy(columns.T, torch.arange(batch, device=logits.device))
    return (to_map + to_image) / 2


def heading_targets(yaw_rad: Tensor, headings_rad: Tensor) -> Tensor:
    """Share (B, V) of the two nearest windows in each view, linear in the angle."""
    step = 2 * torch.pi / len(headings_rad)
    return (1 - _angle_between(yaw_rad, headings_rad) / step).clamp_min(0)


def ambiguous_pairs(
    image_positions: Tensor,
    place_positions: Tensor,
    yaw_rad: Tensor,
    headings_rad: Tensor,
    town: Tensor,
    radius_m: float,
    angle_rad: float,
) -> Tensor:
    """Pairs (image, place, window) within radius and angle in the same town: (B, B, V) bool."""
    near = torch.cdist(image_positions[:, :2], place_positions[:, :2]) < radius_m
    near &= town[:, None] == town[None, :]
    aligned = _angle_between(yaw_rad, headings_rad) < angle_rad
    return near[:, :, None] & aligned[:, None, :]


def semantic_consistency_loss(
    image_features: Tensor,
    image_label: Tensor,
    panorama_features: Tensor,
    panorama_label: Tensor,
    window: Tensor,
) -> Tensor:
    """L_sem, eq. 11: class-wise pooled features of an image and of its window of the map.

    The distance is 1 - cosine, averaged over the pairs of (place, class) that both sides see.
    Each modality's mean is taken off first: without that the loss is least where all features
    are the same, and training went there within a hundred steps.

    Args:
        image_features: (B, C, h, w). image_label: (B, H, W) joint ids.
        panorama_features: (B, C, h', w'). panorama_label: (B, H', W') joint ids.
        window: (B, w'), share of each panorama column in the image's view.
    """
    image_share = one_hot_share(image_label, image_features.shape[-2:])
    place_share = one_hot_share(panorama_label, panorama_features.shape[-2:])
    place_share = place_share * window[:, None, None, :].clamp_max(1)
    image_sums, image_weight = class_tokens(image_features, image_share)
    place_sums, place_weight = class_tokens(panorama_features, place_share)
    both = (image_weight > 1) & (place_weight > 1)
    if both.sum() < 2:
        return image_features.sum() * 0
    of_image = image_sums[both] / image_weight[both][:, None]
    of_place = place_sums[both] / place_weight[both][:, None]
    centred = of_image - of_image.mean(0), of_place - of_place.mean(0)
    return (1 - functional.cosine_similarity(*centred, dim=-1)).mean()


def segmentation_loss(logits: Tensor, label: Tensor) -> Tensor:
    """L_seg: cross-entropy of (B, NUM_CLASSES, H, W) against ids (B, H, W), without `ignore`."""
    loss = functional.cross_entropy(logits, label.long(), ignore_index=IGNORE, reduction="sum")
    return loss / (label != IGNORE).sum().clamp_min(1)


def _angle_between(yaw_rad: Tensor, headings_rad: Tensor) -> Tensor:
    difference = yaw_rad[:, None] - headings_rad[None, :]
    return torch.remainder(difference + torch.pi, 2 * torch.pi).sub(torch.pi).abs()
