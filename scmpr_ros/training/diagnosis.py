"""Error analysis of a checkpoint: Recall@1 by part of the descriptor, under interventions.

If true masks in place of the predicted ones find a view, the masks are at fault; if true masks and
depth do not, the descriptor is. Grey and blurred images show whether colour or fine texture
misleads a network, as may happen on real streets to one trained in towns. Another map's context
shows whether the attention of eq. 7 uses the map at all. The fraction of cells predicted correctly
is reported as well: it varies far less with the number of images than recall does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.cells import cells_correct
from scmpr_ros.evaluation.intervals import recall_interval
from scmpr_ros.evaluation.metrics import Tolerance, recall_at, within
from scmpr_ros.methods.network import PerceivingNetwork, PlaceNetwork
from scmpr_ros.networks.depth import range_ids
from scmpr_ros.networks.one_hot import one_hot
from scmpr_ros.networks.saff import ImagePrediction
from scmpr_ros.semantics import NUM_CLASSES
from scmpr_ros.training.preparation import (
    PreparationConfig,
    PreparedRecording,
    find_recordings,
    load_recordings,
)
from scmpr_ros.training.validation import BATCH, describe_places, locate

_CERTAIN = 20.0  # logit of the ground truth


@dataclass(frozen=True)
class DiagnosisConfig:
    """What is looked at.

    recordings: folders of recordings with a map or scans, or of some, as for `train`.
    bag: topics, frames and conventions of the recordings that are bags.
    prepared: cache of views and rendered places, which training may share; jobs: processes that
        fill it.
    """

    recordings: list[Path]
    prepared: Path = Path("data/prepared")
    jobs: int = 2
    tolerance: Tolerance = field(default_factory=Tolerance)
    preparation: PreparationConfig = field(default_factory=PreparationConfig)
    bag: BagReaderConfig = field(default_factory=BagReaderConfig)

    def __post_init__(self) -> None:
        if not self.recordings:
            raise ConfigError("name at least one recording")


class Intervention(NamedTuple):
    """What is replaced: the image, the prediction, or the context that the attention reads."""

    name: str
    view: Callable[[Tensor], Tensor] = lambda view: view
    true_masks: bool = False
    true_depth: bool = False
    other_map: bool = False


INTERVENTIONS = (
    Intervention("unchanged"),
    Intervention("grey image", lambda view: view.mean(1, keepdim=True).expand_as(view)),
    Intervention("blurred image", lambda view: functional.avg_pool2d(
        view, 3, 1, 1, count_include_pad=False)),
    Intervention("true depth", true_depth=True),
    Intervention("true masks", true_masks=True),
    Intervention("true masks and depth", true_masks=True, true_depth=True),
    Intervention("another map's context", other_map=True),
)  # fmt: skip


def diagnose(network: PlaceNetwork, config: DiagnosisConfig) -> list[dict[str, Any]]:
    """Recall@1 of all recordings together, for each intervention and part of the descriptor.

    By descriptors alone, without psi. `cells_correct` holds the fractions of mask cells whose class
    is right, and of cells with a return in the map whose range is right; what the network does not
    predict, or has no truth, is left out. The other map is that of the previous recording, so a
    single recording lacks that intervention.

    Raises DatasetError if there is no recording, ConfigError for methods without predictions.
    """
    if not isinstance(network, PerceivingNetwork):
        raise ConfigError(f"{network.method} predicts no masks and has no parts to diagnose")
    sources = [
        source for folder in config.recordings for source in find_recordings(folder, bag=config.bag)
    ]
    if not sources:
        raise DatasetError(f"no recording with images and a map or scans in {config.recordings}")
    network.eval()
    recordings = load_recordings(
        sources, network.config, config.preparation, config.prepared, config.jobs, "recordings"
    )
    applicable = [i for i in INTERVENTIONS if len(recordings) > 1 or not i.other_map]
    maps = [
        describe_places(network, recording)
        for recording in tqdm(recordings, "describing places", unit="map")
    ]
    results: dict[str, list[_InterventionResult]] = {}
    for number, recording in enumerate(tqdm(recordings, desc="diagnosing", unit="recording")):
        windows = _whole_and_parts(network, maps[number][0].flatten(0, 1))
        contexts = [maps[number - intervention.other_map][1] for intervention in applicable]
        for result in _retrieve_views(
            network, recording, windows, applicable, contexts, config.tolerance
        ):
            results.setdefault(result.name, []).append(result)
    return [_row(network, of_recordings) for of_recordings in results.values()]


class _InterventionResult(NamedTuple):
    """Retrieval of a recording's Q views under one intervention.

    hits: (Q, 1 + parts), whether the whole descriptor and each part alone found them.
    cells_correct: (Q, 2), fractions of cells with the right class and the right range; NaN if
    there are no such cells.
    xy_m: (Q, 2), where the views were taken.
    """

    name: str
    hits: Tensor
    cells_correct: Tensor
    xy_m: Tensor


def _row(network: PerceivingNetwork, results: Sequence[_InterventionResult]) -> dict[str, Any]:
    """One intervention, over all recordings."""
    hits = torch.cat([result.hits for result in results])
    fractions = torch.cat([result.cells_correct for result in results]).nanmean(0).tolist()
    correct = zip(("classes", "ranges"), fractions, strict=True)
    columns = zip(["all", *network.part_sizes], hits.unbind(1), strict=True)
    return {
        "intervention": results[0].name, "num_queries": len(hits),
        "recall_at_1": {part: recall_at(1, hit[:, None].numpy()) for part, hit in columns},
        "recall_at_1_interval": recall_interval(
            hits[:, 0].numpy(),
            torch.cat([result.xy_m for result in results]).numpy(),
            np.repeat([str(n) for n in range(len(results))], [len(r.hits) for r in results]),
        ),
        "cells_correct": {name: x for name, x in correct if not math.isnan(x)},
    }  # fmt: skip


@torch.no_grad()
def _retrieve_views(
    network: PerceivingNetwork, recording: PreparedRecording, windows: Sequence[Tensor],
    interventions: Sequence[Intervention], contexts: Sequence[Tensor], tolerance: Tolerance,
) -> Iterator[_InterventionResult]:  # fmt: skip
    """Search a recording's views among its windows, under each intervention.

    contexts: semantic context for each intervention.
    """
    batches = zip(*_describe_views(network, recording, interventions, contexts), strict=True)
    for intervention, described in zip(interventions, batches, strict=True):
        descriptors, correct = zip(*described, strict=True)
        queries = _whole_and_parts(network, torch.cat(descriptors))
        best = [(q @ w.T).argmax(1) for q, w in zip(queries, windows, strict=True)]
        errors = [locate(viewpoints, network.headings_rad, recording)[2:] for viewpoints in best]
        hits = np.stack([within(*error, tolerance) for error in errors], axis=1)
        yield _InterventionResult(
            intervention.name, torch.from_numpy(hits), torch.cat(correct), recording.poses[:, :2, 3]
        )


def _whole_and_parts(network: PerceivingNetwork, descriptors: Tensor) -> list[Tensor]:
    """Descriptors (N, D), and each of their parts alone, of unit length."""
    parts = (descriptors, *descriptors.split(list(network.part_sizes.values()), dim=-1))
    return [functional.normalize(part, dim=-1) for part in parts]


def _describe_views(
    network: PerceivingNetwork, recording: PreparedRecording,
    interventions: Sequence[Intervention], contexts: Sequence[Tensor],
) -> Iterator[list[tuple[Tensor, Tensor]]]:  # fmt: skip
    """For each batch of views and each intervention: descriptors and fractions of correct cells.

    Images that several interventions share are predicted once.
    """
    all_seen = recording.seen_by(slice(None))
    tensors = (recording.views, all_seen, recording.masks, recording.depth)
    for views, seen, masks, depth in zip(*(x.split(BATCH) for x in tensors), strict=True):
        pixels = views.float() / 255
        images = dict.fromkeys(intervention.view for intervention in interventions)
        predictions = {change: network.predict(change(pixels)) for change in images}
        described = []
        for intervention, context in zip(interventions, contexts, strict=True):
            prediction = _with_ground_truth(
                network, predictions[intervention.view], intervention, masks, depth
            )
            descriptors = network.describe_image(prediction, seen, context)
            described.append((descriptors, cells_correct(prediction, masks, depth, network.ranges)))
        yield described


def _with_ground_truth(
    network: PerceivingNetwork, prediction: ImagePrediction, intervention: Intervention,
    masks: Tensor, depth: Tensor,
) -> ImagePrediction:  # fmt: skip
    """Replace masks and ranges by the truth as the intervention asks; features stay, so NetVLAD's
    part of the descriptor does not change."""
    if intervention.true_masks:
        prediction = prediction._replace(mask_logits=_CERTAIN * one_hot(masks, NUM_CLASSES))
    if intervention.true_depth and prediction.range_logits is not None:
        ranges = one_hot(range_ids(depth, network.ranges), network.ranges.num_ranges + 1)
        prediction = prediction._replace(range_logits=_CERTAIN * ranges)
    return prediction
