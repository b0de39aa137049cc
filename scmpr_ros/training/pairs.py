"""Training pairs: a view, and a place within reach of it but never at the identical pose."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.panorama import Panoramas
from scmpr_ros.methods.pair_batch import PairBatch, map_tensors
from scmpr_ros.training.mining import HardNegatives
from scmpr_ros.training.preparation import PreparedRecording, seen_cells

_log = logging.getLogger(__name__)

_SAME_SURFACE = 0.15  # share of the range by which a place may see it nearer
_SLACK_M = 0.5


@dataclass(frozen=True)
class PairsConfig:
    """Which places belong to a view, and which views to a batch.

    reach_m: distance of the farthest place that a view is paired with; the other lane is 3 to 4 m
    away. Heading needs no limit: a place is described in all headings, and the one that the view
    has is its target.
    min_overlap: least share of what the map shows in a view that the place must see, too.
    neighbourhood_m, neighbours: size of the groups in a batch. hard_negatives: how many of a group
    are views of the places that were last mistaken for the first view's, see `mining`.
    mine_every_steps: how often mistakes are looked for; 0 never.
    """

    reach_m: float = 4.5
    min_overlap: float = 0.5
    neighbourhood_m: float = 35.0
    neighbours: int = 4
    hard_negatives: int = 2
    mine_every_steps: int = 0

    def __post_init__(self) -> None:
        if min(self.reach_m, self.neighbourhood_m) <= 0:
            raise ConfigError("reach_m and neighbourhood_m must be positive")
        if not 0 <= self.min_overlap < 1:
            raise ConfigError(f"min_overlap is {self.min_overlap}; it must lie in [0, 1)")
        if self.neighbours < 1:
            raise ConfigError(f"neighbours is {self.neighbours}; a group needs at least one view")
        if not 0 <= self.hard_negatives < self.neighbours or self.mine_every_steps < 0:
            raise ConfigError("hard_negatives must be fewer than neighbours, and none negative")


class Draw(NamedTuple):
    """What a sampler draws: a view, and where in [0, 1) among the places in its reach."""

    view: int
    share: float


class PairDataset(Dataset[PairBatch]):
    """All pairs of all recordings. The sampler draws, so that a pair depends on its draw alone.

    Items are batches of one.

    view, panorama: the grids of masks (and depth) and of panoramas.
    """

    def __init__(
        self,
        recordings: list[PreparedRecording],
        config: PairsConfig,
        view: AngularGrid,
        panorama: AngularGrid,
    ) -> None:
        self.recordings = recordings
        self.config = config
        self.index: list[tuple[int, int]] = []
        self.reachable: list[Tensor] = []
        for number, recording in enumerate(recordings):
            distance = torch.cdist(recording.poses[:, :2, 3], recording.positions[:, :2])
            for view_number, row in enumerate(distance):
                within = (row < config.reach_m).nonzero().squeeze(1)
                if config.min_overlap > 0 and len(within):
                    shared = overlap(recording, view_number, within, view, panorama)
                    within = within[shared >= config.min_overlap]
                if len(within):
                    self.index.append((number, view_number))
                    self.reachable.append(within)
        if not self.index:
            raise DatasetError(
                f"no view lies within {config.reach_m} m of a place that sees {config.min_overlap} "
                "of what it sees: were the images and the map recorded in different frames?"
            )
        dropped = sum(len(recording.views) for recording in recordings) - len(self.index)
        _log.info(
            "%d pairs in %d recordings, %d views without place", len(self), len(recordings), dropped
        )

    def __len__(self) -> int:
        return len(self.index)

    def of_recording(self, number: int) -> tuple[Tensor, Tensor]:
        """Numbers (N,) of a recording's pairs, and of their views in it."""
        pairs = [
            (item, view) for item, (recording, view) in enumerate(self.index) if recording == number
        ]
        items, views = torch.tensor(pairs, dtype=torch.long).view(-1, 2).unbind(1)
        return items, views

    def __getitem__(self, draw: Draw) -> PairBatch:
        number, view = self.index[draw.view]
        recording = self.recordings[number]
        choices = self.reachable[draw.view]
        place = int(choices[int(draw.share * len(choices))])
        origin = recording.positions[0]
        pair = PairBatch(
            view=recording.views[view].float() / 255,
            mask=recording.masks[view],
            depth=recording.depth[view].float(),
            seen=seen_cells(recording.views[view]),
            yaw_rad=recording.yaw_rad[view].float(),
            view_position=(recording.poses[view, :3, 3] - origin).float(),
            view_axes=recording.view_axes[view].float(),
            place_position=(recording.positions[place] - origin).float(),
            place_axes=recording.axes[place].float(),
            recording=torch.tensor(number),
            panorama=Panoramas(
                range_m=recording.range_m[place].float(),
                height_m=recording.height_m[place].float(),
                normal=recording.normal[place].float(),
                label=recording.label[place],
            ),
            segmented=recording.segmented[place],
            turned_rad=torch.tensor(0.0),
        )
        return map_tensors(lambda tensor: tensor[None], pair)


def overlap(
    recording: PreparedRecording,
    view: int,
    places: Tensor,
    grid: AngularGrid,
    panorama: AngularGrid,
) -> Tensor:
    """Share (N,) of what the map shows in a view that each of N places sees, too.

    A point of the map is seen from a place if its panorama shows nothing nearer in that direction.
    A view in which the map shows nothing shares all: nothing speaks against it.
    """
    depth = recording.depth[view].double()
    points = (torch.from_numpy(grid.directions()) * depth[..., None])[depth > 0]
    if len(points) == 0:
        return torch.ones(len(places))
    there = points @ recording.view_axes[view].T + recording.poses[view, :3, 3]
    offset = (there - recording.positions[places][:, None]) @ recording.axes[
        places
    ]  # (N, points, 3)
    distance = offset.norm(dim=-1).clamp_min(1e-6)
    azimuth = torch.atan2(offset[..., 1], offset[..., 0])
    row = (math.radians(panorama.fov_up_deg) - torch.asin(offset[..., 2] / distance)).div(
        panorama.row_rad
    )
    column = (panorama.fov_rad / 2 - azimuth).div(panorama.column_rad).long() % panorama.width
    inside = (row >= 0) & (row < panorama.height)
    row = row.long().clamp(0, panorama.height - 1)
    shown = recording.range_m[places[:, None], row, column].double()
    hidden = (shown > 0) & (shown < distance * (1 - _SAME_SURFACE) - _SLACK_M)
    return ((inside & ~hidden).sum(1) / inside.sum(1).clamp_min(1)).float()


class NeighbourhoodSampler(Sampler[list[Draw]]):
    """Batches of groups: each group is an anchor view and others within the neighbourhood.

    Views down the same street are the hard negatives; a batch of strangers teaches little. Where
    mistakes have been mined, some of a group are views of the places that were mistaken for the
    anchor's. The n-th batch is the same however often a run was stopped before it; `skip` leaves
    the first out. Of several processes, number `process` gets its part of each batch.
    """

    def __init__(
        self,
        dataset: PairDataset,
        batch_size: int,
        batches: int,
        seed: int,
        skip: int = 0,
        mistakes: HardNegatives | None = None,
        process: tuple[int, int] = (0, 1),
    ) -> None:
        self.batch_size, self.batches, self.seed, self.skip = batch_size, batches, seed, skip
        self.config = dataset.config
        self.mistakes, self.process = mistakes, process
        self.near: list[Tensor] = []
        for number, recording in enumerate(dataset.recordings):
            items, views = dataset.of_recording(number)
            position = recording.poses[views, :2, 3]
            close = torch.cdist(position, position) < self.config.neighbourhood_m
            self.near.extend(items[row] for row in close)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[Draw]]:
        generator = torch.Generator().manual_seed(self.seed)
        number, of = self.process
        part = self.batch_size // of
        for count in range(self.batches):
            batch = self._batch(generator, count)
            if count >= self.skip:
                yield batch[number * part : (number + 1) * part]

    def _batch(self, generator: torch.Generator, count: int) -> list[Draw]:
        batch: list[int] = []
        while len(batch) < self.batch_size:
            anchor = int(torch.randint(len(self.near), (), generator=generator))
            near = self.near[anchor]
            group = near[torch.randperm(len(near), generator=generator)].tolist()
            if self.mistakes is not None:
                hard = self.mistakes.of(anchor, count)[: self.config.hard_negatives]
                group = [anchor, *hard, *group] if hard else group
            batch.extend(group[: self.config.neighbours])
        shares = torch.rand(self.batch_size, generator=generator, dtype=torch.float64).tolist()
        return [Draw(*drawn) for drawn in zip(batch, shares, strict=False)]
