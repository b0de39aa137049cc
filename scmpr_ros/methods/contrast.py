"""Contrastive losses between images and the heading windows of places, for every method."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

IMPOSSIBLE = -1e4
"""Logit of a pair that is masked out; minus infinity times a target of zero would be NaN."""


def cosines(descriptors: Tensor, windows: Tensor) -> Tensor:
    """Cosines (B, P, V) of unit descriptors (B, D) with (P, V, D), always in single precision.

    Autocast would round to two digits, and neighbouring places differ in the third.
    """
    with torch.autocast(descriptors.device.type, enabled=False):
        return torch.einsum("id,jvd->ijv", descriptors.float(), windows.float())


def contrastive_loss(
    similarity: Tensor, target: Tensor, ambiguous: Tensor, scale: Tensor, remembered: Tensor
) -> Tensor:
    """Symmetric InfoNCE between images and all heading windows of all places of the batch.

    Args:
        similarity: (B, B, V), cosine of each image with each window of each place; place i is where
            image i was taken.
        target: (B, V), weight of each heading window of the own place; rows sum to 1.
        ambiguous: (B, B, V) bool, pairs (image, place, window) too close to be negatives.
        scale: scalar, inverse temperature.
        remembered: (B, M) cosines with negative windows of earlier batches; -1 for none.
    """
    batch = len(similarity)
    logits, own = scale * similarity, _own(target)
    logits = logits.masked_fill(ambiguous & (own == 0), IMPOSSIBLE)

    candidates = torch.cat([logits.flatten(1), scale * remembered], dim=1)
    targets = torch.cat([own.flatten(1), torch.zeros_like(remembered)], dim=1)
    to_map = functional.cross_entropy(candidates, targets)
    columns = logits[:, torch.arange(batch, device=logits.device), _facing(target)]
    to_image = functional.cross_entropy(columns.T, torch.arange(batch, device=logits.device))
    return (to_map + to_image) / 2


def triplet_loss(
    similarity: Tensor, target: Tensor, ambiguous: Tensor, margin: float, remembered: Tensor
) -> Tensor:
    """Triplets with the hardest negative of the batch, in both directions.

    Arguments as in `contrastive_loss`. An image must be closer to its window than to the most
    similar wrong one, and its window closer to it than to the most similar wrong image, by a margin
    of the cosine.
    """
    each = torch.arange(len(similarity), device=similarity.device)
    positive = similarity[each, each, _facing(target)]
    negative = similarity.masked_fill(ambiguous | (_own(target) > 0), -1.0)
    to_map = torch.cat([negative.flatten(1), remembered], dim=1).amax(1)
    to_image = negative[:, each, _facing(target)].amax(0)
    violation = (margin + to_map - positive).relu() + (margin + to_image - positive).relu()
    return violation.mean() / 2


def heading_targets(yaw_rad: Tensor, headings_rad: Tensor) -> Tensor:
    """Weights (B, V) of the two windows nearest to each view's heading, linear in the angle."""
    step = 2 * torch.pi / len(headings_rad)
    return (1 - _angle_between(yaw_rad[:, None], headings_rad) / step).clamp_min(0)


@dataclass(frozen=True)
class Viewpoints:
    """Poses of N images or places.

    position: (N, 3) metres in the recording's frame. recording: (N,) its number. yaw_rad: (N,)
    heading of an image; for a place, the angle by which augmentation turned its world.
    """

    position: Tensor
    recording: Tensor
    yaw_rad: Tensor


def ambiguous_pairs(
    images: Viewpoints,
    places: Viewpoints,
    headings_rad: Tensor,
    radius_m: float,
    angle_rad: float,
) -> Tensor:
    """Pairs (image, place, window) within radius and angle in the same recording: (B, P, V) bool.

    headings_rad: (V,) of the windows of every place, or (P, V) if they differ.
    """
    near = torch.cdist(images.position[:, :2], places.position[:, :2]) < radius_m
    near &= images.recording[:, None] == places.recording[None, :]
    # The image's heading in the world of each place: places are turned by different angles.
    yaw_rad = images.yaw_rad[:, None] + places.yaw_rad
    aligned = _angle_between(yaw_rad[..., None], headings_rad) < angle_rad
    return near[:, :, None] & aligned


def _own(target: Tensor) -> Tensor:
    """Target weights (B, B, V) of each image's own place; zero for other places."""
    return torch.eye(len(target), device=target.device)[:, :, None] * target[:, None, :]


def _facing(target: Tensor) -> Tensor:
    """Index (B,) of the window of each place that its own image looks through."""
    return target.argmax(1)


def _angle_between(a_rad: Tensor, b_rad: Tensor) -> Tensor:
    return torch.remainder(a_rad - b_rad + torch.pi, 2 * torch.pi).sub(torch.pi).abs()
