"""What a checkpoint loses where: Recall@1 by part of the descriptor, with readings made true.

A view is found by what is read from it. If true masks in the place of the predicted find it, the
masks are at fault; if true masks and depth do not, what is described is. Images made grey or soft
tell whether colours or fine texture mislead it, as may happen to weights trained in towns on a real
street.
Another map's context tells whether the attention of eq. 7 listens to the map at all.
How much of the images is read right is told beside: it varies far less with their number.
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

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.intervals import recall_interval
from scmpr_ros.evaluation.metrics import Tolerance, recall_at, within
from scmpr_ros.networks.depth import range_ids
from scmpr_ros.networks.place_network import PlaceNetwork
from scmpr_ros.networks.saff import ImagePrediction
from scmpr_ros.networks.scmpr import ScmprNetwork
from scmpr_ros.networks.shares import one_hot
from scmpr_ros.semantics import IGNORE, NUM_CLASSES
from scmpr_ros.training.preparation import (
    PreparationConfig,
    PreparedRecording,
    find_recordings,
    load_recordings,
    seen_cells,
)
from scmpr_ros.training.validation import BATCH, describe_places, locate

_SURE = 20.0  # logit of what is known


@dataclass(frozen=True)
class DiagnosisConfig:
    """What is looked at.

    recordings: folders of recordings with a map or scans, or of some, as for `train`.
    prepared: cache of views and rendered places, which training may share; jobs: processes that
        fill it.
    """

    recordings: list[Path]
    prepared: Path = Path("data/prepared")
    jobs: int = 2
    tolerance: Tolerance = field(default_factory=Tolerance)
    preparation: PreparationConfig = field(default_factory=PreparationConfig)

    def __post_init__(self) -> None:
        if not self.recordings:
            raise ConfigError("name at least one recording")


class Change(NamedTuple):
    """What is made different: the image, what is read from it, or what the attention is told."""

    name: str
    view: Callable[[Tensor], Tensor] = lambda view: view
    true_masks: bool = False
    true_depth: bool = False
    other_map: bool = False


CHANGES = (
    Change("as it is"),
    Change("image grey", lambda view: view.mean(1, keepdim=True).expand_as(view)),
    Change("image soft", lambda view: functional.avg_pool2d(
        view, 3, 1, 1, count_include_pad=False)),
    Change("true depth", true_depth=True),
    Change("true masks", true_masks=True),
    Change("true masks and depth", true_masks=True, true_depth=True),
    Change("another map's context", other_map=True),
)  # fmt: skip


def diagnose(network: PlaceNetwork, config: DiagnosisConfig) -> list[dict[str, Any]]:
    """Recall@1 of all recordings together for each change and each part of the descriptor.

    By descriptors alone, without psi. `read_right` are the shares of mask cells whose class, and
    whose range among those that show some of the map, is the true one; what is not read, or has no
    truth, is left out. The other map is that of the recording before; a single one has none, and
    lacks that change. Raises DatasetError where there is no recording, and ConfigError for networks
    whose descriptors have no parts.
    """
    if not isinstance(network, ScmprNetwork):
        raise ConfigError("only SCM-PR's descriptors have parts to look at")
    sources = [source for folder in config.recordings for source in find_recordings(folder)]
    if not sources:
        raise DatasetError(f"no recording with images and a map or scans in {config.recordings}")
    network.eval()
    found: dict[str, list[_Found]] = {}
    recordings = load_recordings(
        sources, network.config, config.preparation, config.prepared, config.jobs, "recordings"
    )
    changes = [change for change in CHANGES if len(recordings) > 1 or not change.other_map]
    maps = [
        describe_places(network, recording)
        for recording in tqdm(recordings, "describing places", unit="map")
    ]
    for number, recording in enumerate(tqdm(recordings, desc="diagnosing", unit="recording")):
        windows = _whole_and_parts(network, maps[number][0].flatten(0, 1))
        contexts = [maps[number - change.other_map][1] for change in changes]
        views = _look_for_views(network, recording, windows, changes, contexts, config.tolerance)
        for change in views:
            found.setdefault(change.name, []).append(change)
    return [_row(network, parts) for parts in found.values()]


class _Found(NamedTuple):
    """What a change made of a recording's Q views.

    hits: (Q, 1 + parts), whether the whole descriptor and each part alone found them.
    right: (Q, 2), share of the cells whose class and whose range were read right; NaN for none.
    xy_m: (Q, 2), where the views were taken.
    """

    name: str
    hits: Tensor
    right: Tensor
    xy_m: Tensor


def _row(network: ScmprNetwork, found: Sequence[_Found]) -> dict[str, Any]:
    """One change, over all recordings."""
    hits = torch.cat([recording.hits for recording in found])
    shares = torch.cat([recording.right for recording in found]).nanmean(0).tolist()
    right = zip(("classes", "ranges"), shares, strict=True)
    columns = zip(["all", *network.part_sizes], hits.unbind(1), strict=True)
    return {
        "change": found[0].name, "num_queries": len(hits),
        "recall_at_1": {part: recall_at(1, hit[:, None].numpy()) for part, hit in columns},
        "recall_at_1_interval": recall_interval(
            hits[:, 0].numpy(),
            torch.cat([recording.xy_m for recording in found]).numpy(),
            np.repeat([str(n) for n in range(len(found))], [len(r.hits) for r in found]),
        ),
        "read_right": {name: share for name, share in right if not math.isnan(share)},
    }  # fmt: skip


@torch.no_grad()
def _look_for_views(
    network: ScmprNetwork, recording: PreparedRecording, windows: Sequence[Tensor],
    changes: Sequence[Change], contexts: Sequence[Tensor], tolerance: Tolerance,
) -> Iterator[_Found]:  # fmt: skip
    """Retrieve a recording's views among its windows, for each change.

    contexts: what the attention is told, for each change.
    """
    batches = zip(*_described(network, recording, changes, contexts), strict=True)
    for change, told in zip(changes, batches, strict=True):
        described, right = zip(*told, strict=True)
        queries = _whole_and_parts(network, torch.cat(described))
        best = [(q @ w.T).argmax(1) for q, w in zip(queries, windows, strict=True)]
        errors = [locate(viewpoints, network.headings_rad, recording)[2:] for viewpoints in best]
        hits = [within(*error, tolerance) for error in errors]
        yield _Found(change.name, torch.from_numpy(np.stack(hits, axis=1)), torch.cat(right),
                     recording.poses[:, :2, 3])  # fmt: skip


def _whole_and_parts(network: ScmprNetwork, descriptors: Tensor) -> list[Tensor]:
    """Descriptors (N, D), and each of their parts alone, of unit length."""
    parts = (descriptors, *descriptors.split(list(network.part_sizes.values()), dim=-1))
    return [functional.normalize(part, dim=-1) for part in parts]


def _described(
    network: ScmprNetwork,
    recording: PreparedRecording,
    changes: Sequence[Change],
    contexts: Sequence[Tensor],
) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Descriptors of a recording's views, and what was read right, of each change, batch by batch.

    What is alike in several changes is read once.
    """
    batches = zip(
        *(x.split(BATCH) for x in (recording.views, recording.masks, recording.depth)), strict=True
    )
    for views, masks, depth in batches:
        pixels, seen = views.float() / 255, seen_cells(views)
        looks = dict.fromkeys(change.view for change in changes)
        readings = {look: network.predict(look(pixels)) for look in looks}
        told = []
        for change, context in zip(changes, contexts, strict=True):
            prediction = _made_true(network, readings[change.view], change, masks, depth)
            descriptors = network.describe_image(prediction, seen, context)
            told.append((descriptors, _read_right(network, prediction, masks, depth)))
        yield told


def _made_true(
    network: ScmprNetwork, prediction: ImagePrediction, change: Change, masks: Tensor, depth: Tensor
) -> ImagePrediction:
    """A reading with the truth in it that a change asks for. Its features stay, so that NetVLAD
    goes on describing what was read."""
    if change.true_masks:
        prediction = prediction._replace(mask_logits=_SURE * one_hot(masks, NUM_CLASSES))
    if change.true_depth and prediction.range_logits is not None:
        config = network.config.depth
        ranges = one_hot(range_ids(depth, config), config.num_ranges + 1)
        prediction = prediction._replace(range_logits=_SURE * ranges)
    return prediction


def _read_right(
    network: ScmprNetwork, prediction: ImagePrediction, masks: Tensor, depth: Tensor
) -> Tensor:
    """Shares (B, 2) of the cells of B views whose class and whose range are the true ones."""
    classes = _share(prediction.mask_logits.argmax(1) == masks, masks != IGNORE)
    if prediction.range_logits is None:
        return torch.stack([classes, torch.full_like(classes, torch.nan)], 1)
    ranges = prediction.range_logits.argmax(1) == range_ids(depth, network.config.depth)
    return torch.stack([classes, _share(ranges, depth > 0)], 1)


def _share(right: Tensor, among: Tensor) -> Tensor:
    """Share (B,) of the cells (B, h, w) among some that are right; NaN where there are none."""
    return (right & among).sum((1, 2)) / among.sum((1, 2))
