"""Which places belong to a view, what a batch holds, and what was mistaken for what."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import pytest
import torch
from tiny_runs import PAIRS, TINY

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.methods.scmpr.network import ScmprNetwork
from scmpr_ros.training.mining import HardNegatives
from scmpr_ros.training.pairs import Draw, NeighbourhoodSampler, PairDataset, PairsConfig, overlap
from scmpr_ros.training.preparation import PreparedRecording


def test_pairs_are_close_but_never_the_same_pose(dataset: PairDataset) -> None:
    for item, share in product(range(len(dataset)), (0.0, 0.5, 0.999)):
        pair = dataset[Draw(item, share)]
        apart = (pair.view_position - pair.place_position)[0, :2].norm()
        assert 0 < apart < PAIRS.reach_m


def test_batches_are_neighbourhoods_and_repeatable(dataset: PairDataset) -> None:
    sampler = NeighbourhoodSampler(dataset, 6, batches=5, seed=1)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 5 and all(len(b) == 6 for b in batches)
    assert batches == list(NeighbourhoodSampler(dataset, 6, batches=5, seed=1))
    assert batches[3:] == list(NeighbourhoodSampler(dataset, 6, batches=5, seed=1, skip=3))
    recordings = [{dataset.index[draw.view][0] for draw in batch[:3]} for batch in batches]
    assert all(len(group) == 1 for group in recordings)


def test_processes_share_a_batch(dataset: PairDataset) -> None:
    whole = list(NeighbourhoodSampler(dataset, 6, batches=3, seed=1))
    parts = [
        list(NeighbourhoodSampler(dataset, 6, batches=3, seed=1, process=(rank, 2)))
        for rank in (0, 1)
    ]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole


def _level(count: int) -> torch.Tensor:
    return torch.eye(3, dtype=torch.float64).repeat(count, 1, 1)


def one_view(depth_m: float, range_m: float, places: list[list[float]]) -> PreparedRecording:
    """A view along +x that sees the map at one depth; places that see it at one range."""
    grid, count = TINY.panorama, len(places)
    height, width = TINY.mask_grid.height, TINY.mask_grid.width
    pose = torch.eye(4, dtype=torch.float64)[None]
    pose[0, :3, :3] = torch.tensor([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # optical, along +x
    seen = torch.full((count, grid.height, grid.width), range_m)
    nothing = torch.zeros(count, grid.height, grid.width, dtype=torch.uint8)
    return PreparedRecording(
        torch.ones(1, 3, 4 * height, 4 * width, dtype=torch.uint8),
        torch.zeros(1, height, width, dtype=torch.uint8), torch.full((1, height, width), depth_m),
        pose, torch.tensor(places, dtype=torch.float64), _level(count), seen, 0 * seen,
        torch.zeros(count, 3, grid.height, grid.width), nothing, nothing,
    )  # fmt: skip


def test_overlap_is_what_both_see() -> None:
    places = torch.arange(2)
    recording = one_view(20.0, 22.0, [[1.0, 0, 0], [-1.0, 0, 0]])
    shared = overlap(recording, 0, places, TINY.mask_grid, TINY.panorama)
    assert shared.tolist() == [1, 1]  # nothing stands before what the view sees
    walled = one_view(20.0, 5.0, [[1.0, 0, 0], [-1.0, 0, 0]])
    assert overlap(walled, 0, places, TINY.mask_grid, TINY.panorama).tolist() == [0, 0]
    empty = one_view(0.0, 5.0, [[1.0, 0, 0], [-1.0, 0, 0]])
    assert overlap(empty, 0, places, TINY.mask_grid, TINY.panorama).tolist() == [1, 1]


def test_overlap_knows_how_a_place_and_a_camera_stand() -> None:
    """On a slope of 40 deg one looks at the sky: what is ahead of a level camera is below that."""
    level = one_view(20.0, 22.0, [[1.0, 0, 0]])
    c, s = math.cos(math.radians(40)), math.sin(math.radians(40))
    nose_up = torch.tensor([[c, 0, -s], [0, 1, 0], [s, 0, c]], dtype=torch.float64)
    sloping = replace(level, axes=nose_up[None])
    places, grids = torch.arange(1), (TINY.mask_grid, TINY.panorama)
    depth = torch.zeros_like(level.depth)
    depth[:, TINY.mask_grid.height // 2, TINY.mask_grid.width // 2] = 20.0
    assert overlap(replace(level, depth=depth), 0, places, *grids).tolist() == [1]
    assert overlap(replace(sloping, depth=depth), 0, places, *grids).tolist() == [0]
    poses = level.poses.clone()
    poses[0, :3, :3] = nose_up @ poses[0, :3, :3]
    assert overlap(replace(sloping, depth=depth, poses=poses), 0, places, *grids).tolist() == [1]


def test_a_place_behind_a_wall_is_no_positive() -> None:
    walled = one_view(20.0, 5.0, [[1.0, 0, 0], [-1.0, 0, 0]])
    with pytest.raises(DatasetError, match=r"sees 0\.5 of what it sees"):
        PairDataset([walled], PAIRS, TINY.mask_grid, TINY.panorama)
    anyhow = replace(PAIRS, min_overlap=0.0)
    assert len(PairDataset([walled], anyhow, TINY.mask_grid, TINY.panorama)) == 1


def test_mistakes_are_wrong_places_of_the_same_town(dataset: PairDataset) -> None:
    torch.manual_seed(0)
    mistakes = HardNegatives(every_steps=2, accumulate=1, radius_m=6.0)
    mistakes.dataset = dataset
    module = torch.nn.Module()
    module.network = ScmprNetwork(TINY)
    for step in (1, 2):
        mistakes.on_train_batch_end(SimpleNamespace(global_step=step), module, None, None, 0)
    assert list(mistakes.found) == [2] and module.training
    assert mistakes.of(0, batch=3) == []  # that batch was drawn before the search
    for view in range(len(dataset)):
        recording, number = dataset.index[view]
        for other in mistakes.of(view, batch=4):
            other_town, _ = dataset.index[other]
            places = dataset.recordings[recording].positions[dataset.reachable[other], :2]
            apart = (places - dataset.recordings[recording].poses[number, :2, 3]).norm(dim=1).max()
            assert other_town == recording and apart > 6.0
    again = HardNegatives(every_steps=2, accumulate=1, radius_m=6.0)
    again.load_state_dict(mistakes.state_dict())
    assert again.of(0, batch=9) == mistakes.of(0, batch=9) != []

    config = replace(PAIRS, hard_negatives=2)
    dataset_of_mistakes = PairDataset(dataset.recordings, config, TINY.mask_grid, TINY.panorama)
    sampler = NeighbourhoodSampler(dataset_of_mistakes, 6, 8, seed=1, mistakes=mistakes)
    for batch in list(sampler)[4:]:
        anchor, *hard = (draw.view for draw in batch[:3])
        assert hard == mistakes.of(anchor, batch=4)[:2]


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="min_overlap"):
        PairsConfig(min_overlap=1.0)
    with pytest.raises(ConfigError, match="hard_negatives"):
        PairsConfig(neighbours=2, hard_negatives=2)
    assert math.isclose(PairsConfig().reach_m, 4.5)
