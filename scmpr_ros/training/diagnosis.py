"""What a checkpoint loses where: Recall@1 by part of the descriptor, with readings made true.

A view is found by what is read from it. If true masks in the place of the predicted find it, the
masks are at fault; if true masks and depth do not, what is described is. Images made grey or soft
tell whether colours or fine texture mislead it, as where one that learned in towns sees a street.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.metrics import (
    Tolerance,
    bootstrap_interval,
    recall_at,
    within,
)
from scmpr_ros.networks.depth import range_ids
from scmpr_ros.networks.place_network import PlaceNetwork
from scmpr_ros.networks.scmpr import ScmprNetwork
from scmpr_ros.networks.shares import one_hot
from scmpr_ros.semantics import NUM_CLASSES
from scmpr_ros.training.towns import Town, TownConfig, find_towns, load_towns, seen_cells
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
    town: TownConfig = field(default_factory=TownConfig)

    def __post_init__(self) -> None:
        if not self.recordings:
            raise ConfigError("name at least one recording")


class Change(NamedTuple):
    """What is made different: the image, or what is read from it."""

    name: str
    view: Callable[[Tensor], Tensor] = lambda view: view
    true_masks: bool = False
    true_depth: bool = False


CHANGES = (
    Change("as it is"),
    Change("image grey", lambda view: view.mean(1, keepdim=True).expand_as(view)),
    Change("image soft", lambda view: functional.avg_pool2d(
        view, 3, 1, 1, count_include_pad=False)),
    Change("true depth", true_depth=True),
    Change("true masks", true_masks=True),
    Change("true masks and depth", true_masks=True, true_depth=True),
)  # fmt: skip


def diagnose(network: PlaceNetwork, config: DiagnosisConfig) -> list[dict[str, Any]]:
    """Recall@1 of all recordings together for each change and each part of the descriptor.

    By descriptors alone, without psi. Raises DatasetError where there is no recording, and
    ConfigError for networks whose descriptors have no parts.
    """
    if not isinstance(network, ScmprNetwork):
        raise ConfigError("only SCM-PR's descriptors have parts to look at")
    sources = [source for folder in config.recordings for source in find_towns(folder)]
    if not sources:
        raise DatasetError(f"no recording with images and a map or scans in {config.recordings}")
    network.eval()
    found: dict[str, list[Tensor]] = {}
    towns = load_towns(
        sources, network.config, config.town, config.prepared, config.jobs, "recordings"
    )
    for town in tqdm(towns, desc="diagnosing", unit="recording"):
        for change, hits in zip(CHANGES, _town_hits(network, town, config.tolerance), strict=True):
            found.setdefault(change.name, []).append(hits)
    return [_row(name, network, torch.cat(hits)) for name, hits in found.items()]


def _row(name: str, network: ScmprNetwork, hits: Tensor) -> dict[str, Any]:
    """One change; hits: (Q, 1 + parts) of the whole descriptor and of each part alone."""
    columns = zip(["all", *network.part_sizes], hits.unbind(1), strict=True)
    return {
        "change": name, "num_queries": len(hits),
        "recall_at_1": {part: recall_at(1, hit[:, None].numpy()) for part, hit in columns},
        "recall_at_1_interval": bootstrap_interval(hits[:, 0].numpy()),
    }  # fmt: skip


@torch.no_grad()
def _town_hits(network: ScmprNetwork, town: Town, tolerance: Tolerance) -> list[Tensor]:
    """For each change, which views (Q, 1 + parts) are found."""

    def whole_and_parts(descriptors: Tensor) -> list[Tensor]:
        parts = (descriptors, *descriptors.split(list(network.part_sizes.values()), dim=-1))
        return [functional.normalize(part, dim=-1) for part in parts]

    places, context = describe_places(network, town)
    windows = whole_and_parts(places.flatten(0, 1))
    result = []
    for change in CHANGES:
        queries = whole_and_parts(torch.cat(_described(network, town, context, change)))
        best = [(q @ w.T).argmax(1) for q, w in zip(queries, windows, strict=True)]
        errors = [locate(viewpoints, network.headings_rad, town)[2:] for viewpoints in best]
        hits = [within(*error, tolerance) for error in errors]
        result.append(torch.from_numpy(np.stack(hits, axis=1)))
    return result


def _described(network: ScmprNetwork, town: Town, context: Tensor, change: Change) -> list[Tensor]:
    """Descriptors of a town's views, batch by batch. Of a reading made true the features stay, so
    that NetVLAD goes on describing what was read."""
    result = []
    batches = zip(*(x.split(BATCH) for x in (town.views, town.masks, town.depth)), strict=True)
    for views, masks, depth in batches:
        reading = network.read_image(change.view(views.float() / 255))
        if change.true_masks:
            reading = reading._replace(mask_logits=_SURE * one_hot(masks, NUM_CLASSES))
        if change.true_depth and reading.range_logits is not None:
            config = network.config.depth
            ranges = one_hot(range_ids(depth, config), config.num_ranges + 1)
            reading = reading._replace(range_logits=_SURE * ranges)
        result.append(network.describe_image(reading, seen_cells(views), context))
    return result
