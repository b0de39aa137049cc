"""Measure weights on prepared recordings as the localizer uses them: before and after."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scmpr_ros.evaluation.cells import cells_correct
from scmpr_ros.evaluation.intervals import recall_interval
from scmpr_ros.evaluation.metrics import Tolerance, heading_errors, position_errors, within
from scmpr_ros.geometry import camera_yaw, wrap_angle
from scmpr_ros.lidar.segmentation import point_confusion
from scmpr_ros.methods.checkpoint import fingerprint
from scmpr_ros.methods.network import PerceivingNetwork, PlaceNetwork
from scmpr_ros.methods.views import QueryView
from scmpr_ros.pipeline.localizer import Localizer, LocalizerConfig, Observation
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.semantics import label_confusion
from scmpr_ros.training.preparation import PreparedRecording
from scmpr_ros.training.validation import describe_places


@dataclass(frozen=True)
class Measurement:
    """How N views were read and found, by eq. 10 and clustering, among all places of their map.

    correct: (N,) bool, whether the first answer is within the tolerance.
    probability: (N,) that eq. 10 gives to the viewpoints within the tolerance. Its mean varies less
        with chance than the number of correct answers, of which a short stretch has few.
    reading: (N, 2) fractions of mask cells with the right class, and with the right range; NaN if
        there are no such cells or the method predicts none.
    xy_m: (N, 2) where the views were taken. recording: (N,) number of each view's recording.
    """

    correct: NDArray[np.bool_]
    probability: NDArray[np.float64]
    reading: NDArray[np.float64]
    xy_m: NDArray[np.float64]
    recording: NDArray[np.int64]

    @property
    def recall(self) -> float:
        """Recall@1."""
        return float(self.correct.mean())

    @property
    def certainty(self) -> float:
        """Mean probability of what is right."""
        return float(self.probability.mean())

    def summary(self) -> dict[str, Any]:
        """For reports: plain numbers; None where nothing was predicted or known."""
        names = self.recording.astype(np.str_)
        known = [column[np.isfinite(column)] for column in self.reading.T]
        classes, ranges = (float(x.mean()) if len(x) else None for x in known)
        return {
            "num_queries": len(self.correct), "recall_at_1": self.recall,
            "recall_at_1_interval": recall_interval(self.correct, self.xy_m, names),
            "certainty": self.certainty,
            "classes_correct": classes, "ranges_correct": ranges,
        }  # fmt: skip


def measure(network: PlaceNetwork, recordings: Sequence[PreparedRecording]) -> Measurement:
    """Localise all views of some recordings; the network is left in evaluation mode."""
    network.eval()
    parts = [_measure_recording(network, recording) for recording in recordings]
    joined: Mapping[str, NDArray[Any]] = {
        name: np.concatenate([part[name] for part in parts]) for name in parts[0]
    }
    counts = [len(part["correct"]) for part in parts]
    return Measurement(**joined, recording=np.repeat(np.arange(len(parts)), counts))


@torch.inference_mode()
def _measure_recording(
    network: PlaceNetwork, recording: PreparedRecording
) -> dict[str, NDArray[Any]]:
    """The fields of a `Measurement`, but for `recording`."""
    config = LocalizerConfig(device=str(next(network.parameters()).device))
    localizer = Localizer(_place_map(network, recording), network, config)
    poses, probability, reading = [], [], []
    for view in range(len(recording.views)):
        pixels = recording.views[view : view + 1].float() / 255
        seen = recording.seen[recording.camera[view]]
        observation = localizer.observe_view(QueryView(pixels, seen))
        poses.append(localizer.answer(observation).best.T_map_camera)
        probability.append(
            _probability_right(observation, recording, view, len(network.headings_rad))
        )
        reading.append(_reading(network, observation, recording, view))
    found, true = np.stack(poses), recording.poses.numpy()
    errors = (
        position_errors(found[:, :3, 3], true[:, :3, 3]),
        heading_errors(camera_yaw(found), recording.yaw_rad.numpy()),
    )
    return {
        "correct": within(*errors, Tolerance()), "probability": np.array(probability),
        "reading": np.stack(reading), "xy_m": true[:, :2, 3],
    }  # fmt: skip


def _place_map(network: PlaceNetwork, recording: PreparedRecording) -> PlaceMap:
    """The map of a recording's places, as `build_map` would describe them."""
    descriptors, context = describe_places(network, recording)
    geometric = recording.segmented is recording.panorama
    return PlaceMap(
        positions=recording.positions.numpy(), axes=recording.axes.numpy(),
        headings_rad=network.headings_rad.cpu().double().numpy(),
        descriptors=descriptors.numpy().astype(np.float16),
        panorama_labels=recording.panorama.label.numpy(),
        panorama_ranges=recording.panorama.range_m.half().numpy(),
        confusion=point_confusion() if geometric else label_confusion(),
        context=context.cpu().numpy(), grid=network.config.panorama,
        fingerprint=fingerprint(network),
    )  # fmt: skip


def _probability_right(
    observation: Observation, recording: PreparedRecording, view: int, headings: int
) -> float:
    """Probability of the listed viewpoints within the tolerance, among all of the map."""
    tolerance, yaw_rad = Tolerance(), observation.yaw_rad
    offset_m = recording.positions[:, :2] - recording.poses[view, :2, 3]
    near = offset_m.norm(dim=1).numpy() <= tolerance.radius_m
    turned_rad = np.abs(wrap_angle(yaw_rad - float(recording.yaw_rad[view])))
    right = near[observation.place] & tolerance.accepts_heading(turned_rad)
    best = observation.log_likelihood.max()
    likelihood = np.exp(observation.log_likelihood - best)
    unlisted = len(recording.positions) * headings - len(likelihood)
    whole = likelihood.sum() + unlisted * math.exp(observation.floor - best)
    return float(likelihood[right].sum() / whole)


def _reading(
    network: PlaceNetwork, observation: Observation, recording: PreparedRecording, view: int
) -> NDArray[np.float64]:
    """Fractions of the cells of one view with the right class and the right range, (2,)."""
    if observation.prediction is None or not isinstance(network, PerceivingNetwork):
        return np.full(2, np.nan)
    device = observation.prediction.mask_logits.device
    masks, depth = (x[view : view + 1].to(device) for x in (recording.masks, recording.depth))
    correct: Tensor = cells_correct(observation.prediction, masks, depth, network.ranges)
    return correct[0].cpu().double().numpy()
