"""Training pairs: a view and a place near it, but never exactly at it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.grid_cells import rows_and_columns
from scmpr_ros.lidar.panorama import Panoramas
from scmpr_ros.methods.pair_batch import PairBatch, map_tensors
from scmpr_ros.semantics import NUM_CLASSES
from scmpr_ros.training.label_noise import geometric_mask_confusion
from scmpr_ros.training.preparation import PreparedRecording, in_single_precision

_log = logging.getLogger(__name__)

_OCCLUSION_RATIO = 0.15  # a surface this fraction of the range nearer hides what lies behind it
_OCCLUSION_M = 0.5  # plus this distance


@dataclass(frozen=True)
class PairsConfig:
    """Which places are paired with a view, and which views form a batch.

    reach_m: largest distance between a view and its place; the other lane is 3 to 4 m away. Heading
        is not limited: a place is described in all headings, and the view's heading is the target.
    min_overlap: smallest fraction of the map's surface in a view that the place must see as well.
    neighbourhood_m, neighbours: radius and size of the groups in a batch.
    hard_negatives: largest number of mined hard negatives in a group, see `mining`.
    mine_every_steps: optimiser steps between searches for hard negatives; 0 never searches.
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
    """A drawn pair: number of the view, and in [0, 1) which of the places in its reach."""

    view: int
    choice: float


FindNegatives = Callable[[int, int], list[int]]
"""Views that are hard negatives of a view, hardest first, for a batch of this number."""


class PairDataset(Dataset[PairBatch]):
    """All pairs of all recordings. Items are batches of one, determined by their `Draw` alone.

    view, panorama: grids of the mask cells and of the panoramas.
    index: recording and view of each item. reachable: the places that each may be paired with.
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
        self._confusion = (torch.eye(NUM_CLASSES), geometric_mask_confusion())
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
                f"no view has a place within {config.reach_m} m that sees at least "
                f"{config.min_overlap} of the same surface: do images and map share a frame?"
            )
        dropped = sum(len(recording.views) for recording in recordings) - len(self.index)
        _log.info(
            "%d pairs in %d recordings, %d views without place", len(self), len(recordings), dropped
        )

    def __len__(self) -> int:
        return len(self.index)

    def of_recording(self, number: int) -> tuple[Tensor, Tensor]:
        """Items (N,) of a recording, and the numbers of their views in it."""
        pairs = [
            (item, view) for item, (recording, view) in enumerate(self.index) if recording == number
        ]
        items, views = torch.tensor(pairs, dtype=torch.long).view(-1, 2).unbind(1)
        return items, views

    def __getitem__(self, draw: Draw) -> PairBatch:
        number, view = self.index[draw.view]
        recording = self.recordings[number]
        choices = self.reachable[draw.view]
        place = int(choices[int(draw.choice * len(choices))])
        origin, camera = recording.positions[0], recording.camera[view]
        seen = recording.seen[camera]
        pair = PairBatch(
            view=recording.views[view].float() / 255,
            mask=recording.masks[view],
            mask_confusion=self._confusion[int(recording.geometric_masks[camera])],
            depth=recording.depth[view].float() * seen,
            seen=seen,
            seen_pixels=recording.seen_pixels[camera],
            yaw_rad=recording.yaw_rad[view].float(),
            view_position=(recording.poses[view, :3, 3] - origin).float(),
            view_axes=recording.view_axes[view].float(),
            place_position=(recording.positions[place] - origin).float(),
            place_axes=recording.axes[place].float(),
            recording=torch.tensor(number),
            panorama=_at_place(recording.panorama, place),
            segmented=_at_place(recording.segmented, place),
            turned_rad=torch.tensor(0.0),
        )
        return map_tensors(lambda tensor: tensor[None], pair)


def _at_place(panoramas: Panoramas, place: int) -> Panoramas:
    return in_single_precision(map_tensors(lambda tensor: tensor[place], panoramas))


def overlap(
    recording: PreparedRecording,
    view: int,
    places: Tensor,
    grid: AngularGrid,
    panorama: AngularGrid,
) -> Tensor:
    """Fraction (N,) of the map's surface in a view that each of N places sees as well.

    A place sees a point if its panorama has nothing nearer in that direction. The fraction is 1 for
    a view without any surface.

    grid, panorama: of the view's mask cells and of the panoramas.
    """
    depth = recording.depth[view].double()
    points = (torch.from_numpy(grid.directions()) * depth[..., None])[depth > 0]
    if len(points) == 0:
        return torch.ones(len(places))
    in_map = points @ recording.view_axes[view].T + recording.poses[view, :3, 3]
    offset = in_map - recording.positions[places][:, None]
    offset = offset @ recording.axes[places]  # (N, points, 3) in the axes of the places
    distance = offset.norm(dim=-1)
    row, column = rows_and_columns(offset.unbind(-1), distance, panorama)
    inside = (row >= 0) & (row < panorama.height)
    row, column = row.long().clamp(0, panorama.height - 1), column.long() % panorama.width
    nearest = recording.panorama.range_m[places[:, None], row, column].double()
    hidden = (nearest > 0) & (nearest < distance * (1 - _OCCLUSION_RATIO) - _OCCLUSION_M)
    return ((inside & ~hidden).sum(1) / inside.sum(1).clamp_min(1)).float()


class NeighbourhoodSampler(Sampler[list[Draw]]):
    """Batches of groups: an anchor view and other views of its neighbourhood.

    Views along the same street are hard negatives; random views of other streets teach little. A
    group starts with its anchor, then come its mined hard negatives, if any, then random
    neighbours. No view occurs twice in a group. The n-th batch depends on the seed, n and the mined
    negatives only, so a resumed run draws the same batches.

    skip: number of batches to omit at the start.
    find_negatives: returns hard negatives of a view, see `mining.HardNegatives.negatives_for`.
    process: number of this process and of all processes, which share each batch equally.
    weights: (N,) float64, how often each view is drawn, see `balance`; equally often if None. The
        anchors of a batch are spread evenly over the sum of weights, so that every batch has nearly
        the same share of views from any set of recordings.
    """

    def __init__(
        self,
        dataset: PairDataset,
        batch_size: int,
        batches: int,
        seed: int,
        skip: int = 0,
        find_negatives: FindNegatives | None = None,
        process: tuple[int, int] = (0, 1),
        weights: Tensor | None = None,
    ) -> None:
        self.weights = weights
        self.batch_size, self.batches, self.seed, self.skip = batch_size, batches, seed, skip
        self.config = dataset.config
        self.find_negatives, self.process = find_negatives, process
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
        rank, processes = self.process
        size = self.batch_size // processes
        for number in range(self.batches):
            batch = self._batch(generator, number)
            if number >= self.skip:
                yield batch[rank * size : (rank + 1) * size]

    def _batch(self, generator: torch.Generator, number: int) -> list[Draw]:
        views: list[int] = []
        start = float(torch.rand((), generator=generator)) if self.weights is not None else 0.0
        while len(views) < self.batch_size:
            anchor = self._anchor(generator, start + len(views) / self.batch_size)
            views.extend(self._group(generator, number, anchor))
        choices = torch.rand(self.batch_size, generator=generator, dtype=torch.float64).tolist()
        return [Draw(view, choice) for view, choice in zip(views, choices, strict=False)]

    def _anchor(self, generator: torch.Generator, position: float) -> int:
        """Draw a view: at random, or where a position, modulo 1, falls in the sum of weights."""
        if self.weights is None:
            return int(torch.randint(len(self.near), (), generator=generator))
        sums = self.weights.cumsum(0)
        anchor = int(torch.searchsorted(sums, position % 1.0 * float(sums[-1]), right=True))
        return min(anchor, len(self.near) - 1)

    def _group(self, generator: torch.Generator, batch: int, anchor: int) -> list[int]:
        """Views of an anchor's group for a batch of this number."""
        near = self.near[anchor]
        if self.weights is None:
            order = torch.randperm(len(near), generator=generator)
        else:
            order = self.weights[near].multinomial(len(near), generator=generator)
        neighbours = near[order].tolist()
        mined = self.find_negatives(anchor, batch) if self.find_negatives is not None else []
        hard = [view for view in dict.fromkeys(mined) if view != anchor]
        group = [anchor, *hard[: self.config.hard_negatives], *neighbours]
        return list(dict.fromkeys(group))[: self.config.neighbours]
