"""Pairs of views and places, the batches that the sampler draws, and mined hard negatives."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import pytest
import torch
from tiny_runs import PAIRS, TINY

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.lidar.panorama import Panoramas
from scmpr_ros.methods.scmpr.network import ScmprNetwork
from scmpr_ros.training.mining import HardNegatives
from scmpr_ros.training.pairs import Draw, NeighbourhoodSampler, PairDataset, PairsConfig, overlap
from scmpr_ros.training.preparation import PreparedRecording


def test_places_are_near_their_view_but_not_at_it(dataset: PairDataset) -> None:
    for item, choice in product(range(len(dataset)), (0.0, 0.5, 0.999)):
        pair = dataset[Draw(item, choice)]
        distance_m = (pair.view_position - pair.place_position)[0, :2].norm()
        assert 0 < distance_m < PAIRS.reach_m


def test_batches_are_repeatable_and_skippable(dataset: PairDataset) -> None:
    sampler = NeighbourhoodSampler(dataset, 6, batches=5, seed=1)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 5 and all(len(b) == 6 for b in batches)
    assert batches == list(NeighbourhoodSampler(dataset, 6, batches=5, seed=1))
    assert batches[3:] == list(NeighbourhoodSampler(dataset, 6, batches=5, seed=1, skip=3))


def test_groups_start_with_their_anchor_and_repeat_no_view(dataset: PairDataset) -> None:
    """Mined negatives may name the anchor, a neighbour, or the same view twice."""
    anchors = []

    def find_negatives(view: int, batch: int) -> list[int]:
        anchors.append(view)
        near = [other for other in range(len(dataset)) if other != view]
        return [view, near[0], near[0], near[1]]

    config = replace(PAIRS, neighbours=4, hard_negatives=2)
    dataset = PairDataset(dataset.recordings, config, TINY.mask_grid, TINY.panorama)
    for find in (None, find_negatives):
        sampler = NeighbourhoodSampler(dataset, 8, batches=40, seed=1, find_negatives=find)
        for batch in sampler:
            for group in (batch[:4], batch[4:]):
                views = [draw.view for draw in group]
                assert len(set(views)) == 4
                if find is not None:
                    anchor = anchors.pop(0)
                    hard = [other for other in range(len(dataset)) if other != anchor][:2]
                    assert views[:3] == [anchor, *hard]
                else:
                    (recording,) = {dataset.index[view][0] for view in views}
                    poses = dataset.recordings[recording].poses[:, :2, 3]
                    numbers = [dataset.index[view][1] for view in views]
                    distance_m = (poses[numbers] - poses[numbers[0]]).norm(dim=1)
                    assert distance_m.max() < config.neighbourhood_m


def test_every_group_contains_its_anchor(dataset: PairDataset) -> None:
    near = replace(PAIRS, neighbours=1, hard_negatives=0)
    dataset = PairDataset(dataset.recordings, near, TINY.mask_grid, TINY.panorama)
    sampler = NeighbourhoodSampler(dataset, 1, batches=20, seed=3)
    generator = torch.Generator().manual_seed(3)
    for batch in sampler:
        anchor = int(torch.randint(len(dataset), (), generator=generator))
        torch.randperm(len(sampler.near[anchor]), generator=generator)
        torch.rand(1, generator=generator, dtype=torch.float64)
        assert [draw.view for draw in batch] == [anchor]


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
    """A view along +x of surfaces at one depth, and places that see surfaces at one range."""
    grid, count = TINY.panorama, len(places)
    height, width = TINY.mask_grid.height, TINY.mask_grid.width
    pose = torch.eye(4, dtype=torch.float64)[None]
    pose[0, :3, :3] = torch.tensor([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # optical, along +x
    panorama = Panoramas(
        torch.full((count, grid.height, grid.width), range_m),
        torch.zeros(count, grid.height, grid.width),
        torch.zeros(count, 3, grid.height, grid.width),
        torch.zeros(count, grid.height, grid.width, dtype=torch.uint8),
    )
    return PreparedRecording(
        views=torch.ones(1, 3, 4 * height, 4 * width, dtype=torch.uint8),
        masks=torch.zeros(1, height, width, dtype=torch.uint8),
        depth=torch.full((1, height, width), depth_m),
        poses=pose,
        camera=torch.zeros(1, dtype=torch.long),
        seen=torch.ones(1, height, width, dtype=torch.bool),
        seen_pixels=torch.ones(1, 4 * height, 4 * width, dtype=torch.bool),
        geometric_masks=torch.zeros(1, dtype=torch.bool),
        positions=torch.tensor(places, dtype=torch.float64),
        axes=_level(count),
        panorama=panorama,
        segmented=panorama,
    )


def test_overlap_is_the_fraction_of_the_surface_that_a_place_sees_too() -> None:
    places = torch.arange(2)
    recording = one_view(20.0, 22.0, [[1.0, 0, 0], [-1.0, 0, 0]])
    shared = overlap(recording, 0, places, TINY.mask_grid, TINY.panorama)
    assert shared.tolist() == [1, 1]  # nothing nearer than the surface
    walled = one_view(20.0, 5.0, [[1.0, 0, 0], [-1.0, 0, 0]])
    assert overlap(walled, 0, places, TINY.mask_grid, TINY.panorama).tolist() == [0, 0]
    empty = one_view(0.0, 5.0, [[1.0, 0, 0], [-1.0, 0, 0]])
    assert overlap(empty, 0, places, TINY.mask_grid, TINY.panorama).tolist() == [1, 1]


def test_overlap_respects_the_tilt_of_place_and_camera() -> None:
    """A place pitched up by 40 deg sees sky: what a level camera sees ahead is below its view."""
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


def test_a_place_behind_a_wall_is_not_paired() -> None:
    walled = one_view(20.0, 5.0, [[1.0, 0, 0], [-1.0, 0, 0]])
    with pytest.raises(DatasetError, match=r"at least 0\.5 of the same surface"):
        PairDataset([walled], PAIRS, TINY.mask_grid, TINY.panorama)
    any_overlap = replace(PAIRS, min_overlap=0.0)
    assert len(PairDataset([walled], any_overlap, TINY.mask_grid, TINY.panorama)) == 1


def test_a_pair_has_no_depth_where_the_camera_does_not_look() -> None:
    recording = one_view(20.0, 22.0, [[1.0, 0, 0]])
    seen = recording.seen.clone()
    seen[:, :, :5] = False
    dark = replace(recording, seen=seen, views=torch.zeros_like(recording.views))
    pair = PairDataset([dark], PAIRS, TINY.mask_grid, TINY.panorama)[Draw(0, 0.0)]
    assert torch.equal(pair.seen, seen)  # although all pixels are black
    assert torch.equal(pair.depth > 0, seen)


def test_hard_negatives_are_wrong_places_of_the_same_recording(dataset: PairDataset) -> None:
    torch.manual_seed(0)
    mining = HardNegatives(dataset, every_steps=2, accumulate=1, radius_m=6.0)
    module = torch.nn.Module()
    module.network = ScmprNetwork(TINY)
    for step in (1, 2):
        mining.on_train_batch_end(SimpleNamespace(global_step=step), module, None, None, 0)
    assert list(mining.by_step) == [2] and module.training
    assert mining.negatives_for(0, batch=3) == []  # that batch was drawn before the search
    for view in range(len(dataset)):
        number, view_number = dataset.index[view]
        recording = dataset.recordings[number]
        for other in mining.negatives_for(view, batch=4):
            assert dataset.index[other][0] == number
            places = recording.positions[dataset.reachable[other], :2]
            distance_m = (places - recording.poses[view_number, :2, 3]).norm(dim=1)
            assert distance_m.max() > 6.0
    resumed = HardNegatives(dataset, every_steps=2, accumulate=1, radius_m=6.0)
    resumed.load_state_dict(mining.state_dict())
    assert resumed.negatives_for(0, batch=9) == mining.negatives_for(0, batch=9) != []

    sampler = NeighbourhoodSampler(dataset, 6, 8, seed=1, find_negatives=mining.negatives_for)
    for number, batch in enumerate(sampler):
        anchor, *others = (draw.view for draw in batch[: PAIRS.neighbours])
        hard = list(dict.fromkeys(mining.negatives_for(anchor, number)))
        count = len(hard[: PAIRS.hard_negatives])
        assert others[:count] == hard[:count] and (count > 0 or number < 4)


def test_invalid_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="min_overlap"):
        PairsConfig(min_overlap=1.0)
    with pytest.raises(ConfigError, match="hard_negatives"):
        PairsConfig(neighbours=2, hard_negatives=2)
    assert math.isclose(PairsConfig().reach_m, 4.5)
