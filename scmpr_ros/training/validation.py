"""How well a network finds the views of whole towns, and reads them, while it is being trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scmpr_ros.evaluation.figures import new_figure
from scmpr_ros.evaluation.metrics import (
    FloatArray,
    Tolerance,
    heading_errors,
    position_errors,
    recall_at,
    within,
)
from scmpr_ros.evaluation.segmentation import count_classes
from scmpr_ros.networks.attention import mean_tokens
from scmpr_ros.networks.place_network import PlaceNetwork
from scmpr_ros.semantics import colourise
from scmpr_ros.training.towns import Town, seen_cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANORAMA = ("range_m", "height_m", "normal", "label")
"""What a place looks like, by name in `Town` and as arguments of `encode_panorama`."""

BATCH = 32
"""Views, or places, that are described at a time."""

_SHOWN = 6


@dataclass(frozen=True)
class TownRetrieval:
    """First answers to the Q views of a town, by descriptors alone, and their masks.

    place: (Q,) numbers. yaw_rad, off_m, turned_rad: (Q,). masks: (Q, h, w) uint8 predicted ids.
    confusion: (NUM_CLASSES, NUM_CLASSES) cells by true and predicted class.
    """

    place: Tensor
    yaw_rad: Tensor
    off_m: FloatArray
    turned_rad: FloatArray
    masks: Tensor
    confusion: NDArray[np.int64]

    def recall(self, tolerance: Tolerance) -> float:
        """Recall@1."""
        return recall_at(1, within(self.off_m, self.turned_rad, tolerance)[:, None])


@torch.no_grad()
def retrieve_town(network: PlaceNetwork, town: Town) -> TownRetrieval:
    """Look for all views of a town among all its places in all headings."""
    places, context = describe_places(network, town)
    queries, masks = _describe_views(network, town, context)
    viewpoints = (queries @ places.flatten(0, 1).T).argmax(1)
    answers = locate(viewpoints, network.headings_rad.cpu(), town)
    return TownRetrieval(*answers, masks, count_classes(town.masks.numpy(), masks.numpy()))


def locate(
    viewpoints: Tensor, headings_rad: Tensor, town: Town
) -> tuple[Tensor, Tensor, FloatArray, FloatArray]:
    """Place, heading and both errors, as in `TownRetrieval`, of what was taken for each view.

    viewpoints: (Q,) numbers among all headings of all places.
    """
    place = torch.div(viewpoints, len(headings_rad), rounding_mode="floor")
    yaw_rad = headings_rad[viewpoints % len(headings_rad)]
    off_m = position_errors(town.positions[place].numpy(), town.poses[:, :3, 3].numpy())
    return place, yaw_rad, off_m, heading_errors(yaw_rad.numpy(), town.yaw_rad.numpy())


@torch.no_grad()
def describe_town(network: PlaceNetwork, town: Town) -> tuple[Tensor, Tensor]:
    """Descriptors (Q, D) of all views of a town, and (P, V, D) of all its places."""
    places, context = describe_places(network, town)
    return _describe_views(network, town, context)[0], places


@torch.no_grad()
def describe_places(network: PlaceNetwork, town: Town) -> tuple[Tensor, Tensor]:
    """Descriptors (P, V, D) of all places of a town, and its semantic context, as of a map."""
    device = next(network.parameters()).device
    parts = zip(*(getattr(town, name).split(BATCH) for name in PANORAMA), strict=True)
    places, tokens = [], []
    for range_m, height_m, normal, label in parts:
        metres = (range_m, height_m, normal)
        range_m, height_m, normal = (x.to(device).float() for x in metres)
        label = label.to(device)
        encoded = network.encode_panorama(range_m, height_m, normal, label)
        places.append(network.describe_headings(encoded, label, range_m).cpu())
        tokens.append(network.class_tokens(encoded, label))
    sums, weights = (torch.cat(parts) for parts in zip(*tokens, strict=True))
    return torch.cat(places), mean_tokens(sums, weights)


def draw_examples(town: Town, found: TownRetrieval, fov_rad: float) -> Figure:
    """Some views, their masks, and the classes of the window that was taken for them."""
    count = min(_SHOWN, len(town.views))
    figure = new_figure(9, 1.1 * count)
    axes = figure.subplots(count, 3, squeeze=False)
    tolerance = Tolerance()
    right = within(found.off_m, found.turned_rad, tolerance)
    width = town.label.shape[-1]
    half = round(fov_rad / (2 * np.pi) * width / 2)
    for row, view in zip(axes, np.linspace(0, len(town.views) - 1, count).astype(int), strict=True):
        centre = round((0.5 - float(found.yaw_rad[view]) / (2 * np.pi)) * width)
        window = torch.roll(town.label[found.place[view]], width // 2 - centre, -1)
        window = window[:, width // 2 - half : width // 2 + half]
        row[0].imshow(town.views[view].permute(1, 2, 0).numpy())
        row[1].imshow(colourise(found.masks[view].numpy()), aspect="auto")
        row[2].imshow(colourise(window.numpy()), aspect="auto")
        verdict = "right" if right[view] else f"{found.off_m[view]:.0f} m off"
        row[2].set_title(verdict, fontsize=8)
        for axis in row:
            axis.set_axis_off()
    figure.tight_layout()
    return figure


def _describe_views(network: PlaceNetwork, town: Town, context: Tensor) -> tuple[Tensor, Tensor]:
    """Descriptors (Q, D) and masks of all views, on the CPU."""
    device = context.device
    queries, masks = [], []
    for views in town.views.split(BATCH):
        seen = seen_cells(views).to(device)
        encoding = network.encode_image(views.to(device).float() / 255, seen, context)
        queries.append(encoding.descriptor.cpu())
        masks.append(encoding.reading.mask_logits.argmax(1).to(torch.uint8).cpu())
    return torch.cat(queries), torch.cat(masks)
