"""Labels where geometry gives none: confident predictions of the weights that are adapted."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from scmpr_ros.methods.network import PerceivingNetwork
from scmpr_ros.semantics import IGNORE
from scmpr_ros.training.preparation import PreparedRecording
from scmpr_ros.training.validation import BATCH

MIN_PROBABILITY = 0.9
"""Least probability of a predicted class that becomes a label."""


@torch.inference_mode()
def with_confident_predictions(
    network: PerceivingNetwork, recording: PreparedRecording
) -> PreparedRecording:
    """Fill the seen cells without a class by the predicted one where it is probable.

    A LiDAR shows neither the sky nor what is high or far, so geometry labels nothing there.
    """
    device = next(network.parameters()).device
    masks: list[Tensor] = []
    for start in range(0, len(recording.views), BATCH):
        part = slice(start, start + BATCH)
        pixels = recording.views[part].to(device).float() / 255
        probability, predicted = network.predict(pixels).mask_logits.softmax(1).cpu().max(1)
        mask = recording.masks[part]
        missing = (mask == IGNORE) & recording.seen_by(part) & (probability >= MIN_PROBABILITY)
        masks.append(torch.where(missing, predicted.to(mask.dtype), mask))
    return replace(recording, masks=torch.cat(masks))
