"""Contrastive losses between images and the heading windows of places, for every method."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

IMPOSSIBLE = -1e4
"""Logit of a pair that is masked out; minus infinity times a target of zero would be NaN."""


def cosines(descriptors: Tensor, windows: Tensor) -> Tensor:
    """Cosines (B, P, V) of unit descriptors (B, D) with (P, V, D), in single precision always.

    Under autocast they would come with two digits, and neighbouring places differ in the third.
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
        target: (B, V), share of each heading window of its own place in image i; rows sum to 1.
        ambiguous: (B, B, V) bool, pairs (image, place, window) too close to call them wrong.
        scale: scalar, inverse temperature.
        remembered: (B, M) cosines with wrong windows of earlier batches; -1 for none.
    """
    batch = len(similarity)
    logits, own = scale * similarity, _own(target)
    # Not minus infinity: times a target share of zero that would be NaN.
    logits = logits.masked_fill(ambiguous & (own == 0), IMPOSSIBLE)

    offered = torch.cat([logits.flatten(1), scale * remembered], dim=1)
    wanted = torch.cat([own.flatten(1), torch.zeros_like(remembered)], dim=1)
    to_map = functional.cross_entropy(offered, wanted)
    columns = logits[:, torch.arange(batch, device=logits.device), _facing(target)]
    to_image = functional.cross_entropy(columns.T, torch.arange(batch, device=logits.device))
    return (to_map + to_image) / 2


def triplet_loss(
    similarity: Tensor, target: Tensor, ambiguous: Tensor, margin: float, remembered: Tensor
) -> Tensor:
    """Triplets with the hardest negative of the batch, in both directions.

    As `contrastive_loss`; by a margin of the cosine, an image has to be nearer to its window than
    to the most similar wrong one, and its window nearer to it than to the most similar wrong image.
    """
    each = torch.arange(len(similarity), device=similarity.device)
    right = similarity[each, each, _facing(target)]
    excused = similarity.masked_fill(ambiguous | (_own(target) > 0), -1.0)
    to_map = torch.cat([excused.flatten(1), remembered], dim=1).amax(1)
    to_image = excused[:, each, _facing(target)].amax(0)
    violation = (margin + to_map - right).relu() + (margin + to_image - right).relu()
    return violation.mean() / 2


def heading_targets(yaw_rad: Tensor, headings_rad: Tensor) -> Tensor:
    """Share (B, V) of the two nearest windows in each view, linear in the angle."""
    step = 2 * torch.pi / len(headings_rad)
    return (1 - _angle_between(yaw_rad[:, None], headings_rad) / step).clamp_min(0)


@dataclass(frozen=True)
class Viewpoints:
    """Where N images, or places, are.

    position: (N, 3) metres in their recording; recording: (N,) its number. yaw_rad: (N,) headings
    of images; of places, the angle by which their world was turned when they were augmented.
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

    headings_rad: (V,) of the windows of every place, or (P, V) where each has its own.
    """
    near = torch.cdist(images.position[:, :2], places.position[:, :2]) < radius_m
    near &= images.recording[:, None] == places.recording[None, :]
    # An image's heading in the world of each place, for they need not be turned alike.
    yaw_rad = images.yaw_rad[:, None] + places.yaw_rad
    aligned = _angle_between(yaw_rad[..., None], headings_rad) < angle_rad
    return near[:, :, None] & aligned


def _own(target: Tensor) -> Tensor:
    """Shares (B, B, V) of the windows of each image's own place; zero for other places."""
    return torch.eye(len(target), device=target.device)[:, :, None] * target[:, None, :]


def _facing(target: Tensor) -> Tensor:
    """The window (B,) of each place that its own image looks through."""
    return target.argmax(1)


def _angle_between(a_rad: Tensor, b_rad: Tensor) -> Tensor:
    return torch.remainder(a_rad - b_rad + torch.pi, 2 * torch.pi).sub(torch.pi).abs()
