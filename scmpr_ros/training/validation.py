"""Validation while training: retrieval in whole recordings, and IoU of the predicted masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scmpr_ros.evaluation.figures import new_figure
from scmpr_ros.evaluation.iou import count_classes
from scmpr_ros.evaluation.metrics import (
    FloatArray,
    Tolerance,
    heading_errors,
    position_errors,
    recall_at,
    within,
)
from scmpr_ros.methods.network import PlaceNetwork, map_context
from scmpr_ros.methods.views import PlaceView, QueryView
from scmpr_ros.semantics import colourise
from scmpr_ros.training.preparation import PreparedRecording

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH = 32
"""Views, or places, that are described at a time."""

_SHOWN = 6


@dataclass(frozen=True)
class RetrievalResult:
    """First answers to the Q views of a recording, by descriptors alone, and their masks.

    place: (Q,) numbers. yaw_rad, position_error_m, heading_error_rad: (Q,).
    masks: (Q, h, w) uint8 predicted ids; None for methods that predict none.
    confusion: (NUM_CLASSES, NUM_CLASSES) cells by true and predicted class; None likewise.
    """

    place: Tensor
    yaw_rad: Tensor
    position_error_m: FloatArray
    heading_error_rad: FloatArray
    masks: Tensor | None
    confusion: NDArray[np.int64] | None

    def recall(self, tolerance: Tolerance) -> float:
        """Recall@1."""
        return recall_at(1, self.correct(tolerance)[:, None])

    def correct(self, tolerance: Tolerance) -> NDArray[np.bool_]:
        """Whether each view was found, (Q,)."""
        return within(self.position_error_m, self.heading_error_rad, tolerance)


@torch.no_grad()
def retrieve_recording(network: PlaceNetwork, recording: PreparedRecording) -> RetrievalResult:
    """Search all views of a recording among all its places in all headings."""
    places, context = describe_places(network, recording)
    queries, masks = _describe_views(network, recording, context)
    viewpoints = (queries @ places.flatten(0, 1).T).argmax(1)
    answers = locate(viewpoints, network.headings_rad.cpu(), recording)
    confusion = None if masks is None else count_classes(recording.masks.numpy(), masks.numpy())
    return RetrievalResult(*answers, masks, confusion)


def locate(
    viewpoints: Tensor, headings_rad: Tensor, recording: PreparedRecording
) -> tuple[Tensor, Tensor, FloatArray, FloatArray]:
    """Place, heading and both errors, as in `RetrievalResult`, of the viewpoint of each view.

    viewpoints: (Q,) numbers among all headings of all places.
    """
    place = torch.div(viewpoints, len(headings_rad), rounding_mode="floor")
    yaw_rad = headings_rad[viewpoints % len(headings_rad)]
    true = recording.poses[:, :3, 3].numpy()
    position_error_m = position_errors(recording.positions[place].numpy(), true)
    return (
        place,
        yaw_rad,
        position_error_m,
        heading_errors(yaw_rad.numpy(), recording.yaw_rad.numpy()),
    )


@torch.no_grad()
def describe_recording(
    network: PlaceNetwork, recording: PreparedRecording
) -> tuple[Tensor, Tensor]:
    """Descriptors (Q, D) of all views of a recording, and (P, V, D) of all its places."""
    places, context = describe_places(network, recording)
    return _describe_views(network, recording, context)[0], places


@torch.no_grad()
def describe_places(network: PlaceNetwork, recording: PreparedRecording) -> tuple[Tensor, Tensor]:
    """Descriptors (P, V, D) of all places of a recording, and its semantic context."""
    device, grid = next(network.parameters()).device, network.config.panorama
    places, tokens = [], []
    for start in range(0, len(recording.positions), BATCH):
        panoramas = recording.panoramas(slice(start, start + BATCH), device)
        description = network.describe_place(PlaceView.of(panoramas, grid))
        places.append(description.descriptors.cpu())
        if description.tokens is not None:
            tokens.append(description.tokens)
    return torch.cat(places), map_context(tokens).to(device)


def draw_examples(recording: PreparedRecording, result: RetrievalResult, fov_rad: float) -> Figure:
    """Draw some views, their predicted masks, and the classes of the windows that match them."""
    count = min(_SHOWN, len(recording.views))
    figure = new_figure(9, 1.1 * count)
    axes = figure.subplots(count, 3, squeeze=False)
    tolerance = Tolerance()
    correct = result.correct(tolerance)
    width = recording.panorama.label.shape[-1]
    half = round(fov_rad / (2 * np.pi) * width / 2)
    for row, view in zip(
        axes, np.linspace(0, len(recording.views) - 1, count).astype(int), strict=True
    ):
        centre = round((0.5 - float(result.yaw_rad[view]) / (2 * np.pi)) * width)
        window = torch.roll(recording.panorama.label[result.place[view]], width // 2 - centre, -1)
        window = window[:, width // 2 - half : width // 2 + half]
        row[0].imshow(recording.views[view].permute(1, 2, 0).numpy())
        if result.masks is not None:
            row[1].imshow(colourise(result.masks[view].numpy()), aspect="auto")
        row[2].imshow(colourise(window.numpy()), aspect="auto")
        verdict = "correct" if correct[view] else f"{result.position_error_m[view]:.0f} m off"
        row[2].set_title(verdict, fontsize=8)
        for axis in row:
            axis.set_axis_off()
    figure.tight_layout()
    return figure


def _describe_views(
    network: PlaceNetwork, recording: PreparedRecording, context: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Descriptors (Q, D) and predicted masks of all views, on the CPU."""
    device = context.device
    queries, masks = [], []
    for start in range(0, len(recording.views), BATCH):
        part = slice(start, start + BATCH)
        seen = recording.seen_by(part).to(device)
        pixels = recording.views[part].to(device).float() / 255
        query = network.describe_query(QueryView(pixels, seen), context)
        queries.append(query.descriptor.cpu())
        if query.prediction is not None:
            masks.append(query.prediction.mask_logits.argmax(1).to(torch.uint8).cpu())
    return torch.cat(queries), torch.cat(masks) if masks else None
