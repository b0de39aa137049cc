"""The losses of eq. 12, L_total = L_contrastive + lambda L_sem + L_seg, and what may join them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from scmpr_ros.networks.depth import DepthConfig, range_ids
from scmpr_ros.networks.distributed import total
from scmpr_ros.semantics import IGNORE

_IMPOSSIBLE = -1e4


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
    logits = logits.masked_fill(ambiguous & (own == 0), _IMPOSSIBLE)

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


def semantic_consistency_loss(
    image_sums: Tensor, image_weight: Tensor, place_sums: Tensor, place_weight: Tensor
) -> Tensor:
    """L_sem, eq. 11: class-wise pooled features of an image and of its window of the map.

    The distance is 1 - cosine, averaged over the pairs of (place, class) that both sides see.
    Each modality's mean is taken off first: without that the loss is least where all features
    are the same, and training went there within a hundred steps.

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


def segmentation_loss(logits: Tensor, label: Tensor) -> Tensor:
    """L_seg: cross-entropy of (B, NUM_CLASSES, H, W) against ids (B, H, W), without `ignore`.

    Dense where masks are; where they are sparse, what lies between the labelled cells is `ignore`.
    """
    loss = functional.cross_entropy(logits, label.long(), ignore_index=IGNORE, reduction="sum")
    return total(loss) / total((label != IGNORE).sum().to(loss)).clamp_min(1)


def depth_loss(logits: Tensor, depth: Tensor, seen: Tensor, config: DepthConfig) -> Tensor:
    """Cross-entropy of the depth head against what the map shows in the cells that are seen.

    logits: (B, num_ranges + 1, h, w). depth: (B, h, w) metres, 0 for nothing. seen: (B, h, w) bool.
    """
    loss = functional.cross_entropy(logits, range_ids(depth, config), reduction="none")
    return total((loss * seen).sum()) / total(seen.sum().to(loss)).clamp_min(1)


def alignment_loss(pixels: Tensor, points: Tensor, where: Tensor, scale: Tensor) -> Tensor:
    """InfoNCE between image features and the map features of the very points that they show.

    The local stage of VXP: what a pixel and a map point have in common is learned before whole
    views are described. Points within two metres of each other are not called wrong.

    pixels, points: (N, C), unit length, pair by pair; where: (N, 4) recording, position in metres.
    """
    if len(pixels) < 2:
        return pixels.sum() * 0 + points.sum() * 0
    near = (torch.cdist(where[:, 1:], where[:, 1:]) < 2.0) & (where[:, None, 0] == where[:, 0])
    near.fill_diagonal_(False)
    logits = (scale * cosines(pixels, points[:, None])[..., 0]).masked_fill(near, _IMPOSSIBLE)
    each = torch.arange(len(pixels), device=pixels.device)
    return (functional.cross_entropy(logits, each) + functional.cross_entropy(logits.T, each)) / 2


def _own(target: Tensor) -> Tensor:
    """Shares (B, B, V) of the windows of each image's own place; zero for other places."""
    return torch.eye(len(target), device=target.device)[:, :, None] * target[:, None, :]


def _facing(target: Tensor) -> Tensor:
    """The window (B,) of each place that its own image looks through."""
    return target.argmax(1)


def _angle_between(a_rad: Tensor, b_rad: Tensor) -> Tensor:
    return torch.remainder(a_rad - b_rad + torch.pi, 2 * torch.pi).sub(torch.pi).abs()
