"""Augmentation keeps what it must and can be switched off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

import pytest
import torch
from tiny_runs import TINY

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import AngularGrid, rotation_z
from scmpr_ros.lidar.panorama import Panoramas, RenderConfig, render
from scmpr_ros.methods.pair_batch import PairBatch, collate
from scmpr_ros.methods.scmpr.alignment import Alignment
from scmpr_ros.training.augmentation import (
    AugmentationConfig,
    augment_panoramas,
    augment_views,
    mirror_worlds,
    turn_panoramas,
)
from scmpr_ros.training.pairs import Draw, PairDataset

GRID = AngularGrid(32, 64, 12.0, -15.0, 80.0)
OFF = AugmentationConfig(**{f.name: 0.0 for f in fields(AugmentationConfig)})


def batch_of(count: int = 4) -> PairBatch:
    """Random pairs, with empty cells in the upper rows of the panoramas."""
    range_m = torch.rand(count, 6, 30) * 20 + 1
    range_m[:, :2] = 0
    hit = (range_m > 0).float()
    label = (torch.randint(1, 9, (count, 6, 30)) * hit).to(torch.uint8)
    panorama = Panoramas(
        range_m,
        torch.randn(count, 6, 30) * hit,
        torch.randn(count, 3, 6, 30) * hit[:, None],
        label,
    )
    axes = torch.eye(3).repeat(count, 1, 1)
    return PairBatch(
        torch.rand(count, 3, 32, 64), *torch.rand(3, count, 8, 16), torch.rand(count),
        torch.randn(count, 3), axes, torch.randn(count, 3), axes, torch.arange(count),
        panorama, label, torch.zeros(count),
    )  # fmt: skip


def with_view(view: torch.Tensor) -> PairBatch:
    return replace(batch_of(len(view)), view=view)


def tensors(record: object) -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in vars(record).items():
        yield from tensors(value) if isinstance(value, Panoramas) else [(name, value)]


def test_strength_zero_leaves_panoramas_unchanged() -> None:
    before = batch_of()
    after = augment_panoramas(before, OFF)
    for (_, value), (_, unchanged) in zip(tensors(after), tensors(before), strict=True):
        torch.testing.assert_close(value, unchanged, check_dtype=False)


def test_empty_cells_stay_empty_in_every_channel() -> None:
    torch.manual_seed(0)
    batch = batch_of()
    before, after = batch.panorama, augment_panoramas(batch, AugmentationConfig()).panorama
    empty = after.range_m == 0
    assert empty.sum() > (before.range_m == 0).sum()
    assert after.label[empty].sum() == 0 and after.height_m[empty].abs().sum() == 0
    assert after.normal.movedim(1, -1)[empty].abs().sum() == 0


def test_images_stay_images_and_differ_from_each_other() -> None:
    torch.manual_seed(0)
    views = torch.rand(1, 3, 32, 64).expand(6, -1, -1, -1)
    after = augment_views(with_view(views), AugmentationConfig(), GRID).view
    assert after.shape == views.shape and after.min() >= 0 and after.max() <= 1
    assert len({round(float(image.mean()), 5) for image in after}) == 6


def test_negative_strength_is_refused() -> None:
    with pytest.raises(ConfigError, match="noise"):
        AugmentationConfig(noise=-0.1)


def test_strength_zero_leaves_images_unchanged() -> None:
    batch = batch_of(3)
    torch.testing.assert_close(augment_views(batch, OFF, GRID).view, batch.view)


def test_turning_the_world_turns_headings_with_it() -> None:
    """What was seen at an azimuth before is seen at that azimuth plus the turn afterwards."""
    torch.manual_seed(0)
    width = 30
    azimuth = torch.pi - (torch.arange(width) + 0.5) * (2 * torch.pi / width)
    batch = batch_of()
    panorama = replace(batch.panorama, range_m=azimuth.expand(4, 6, width))
    batch = replace(batch, panorama=panorama)
    turned = turn_panoramas(batch, share=1.0)
    angle = turned.turned_rad
    expected = torch.remainder(
        turned.panorama.range_m[:, 0] + angle[:, None] - azimuth, 2 * torch.pi
    )
    assert torch.minimum(expected, 2 * torch.pi - expected).max() < 1e-4
    assert len(set(angle.tolist())) > 1
    still = turn_panoramas(batch, share=0.0)
    assert torch.equal(still.panorama.range_m, panorama.range_m) and not still.turned_rad.any()


def test_a_mirrored_map_is_the_map_of_the_mirrored_points() -> None:
    """Rendering and mirroring change places; normals, classes and heights go along."""
    torch.manual_seed(0)
    grid = AngularGrid(24, 90, 16.0, -16.0)
    points = torch.randn(6000, 3) * torch.tensor([9.0, 9.0, 1.5])
    labels = torch.randint(1, 9, (6000,), dtype=torch.uint8)
    here, sideways = torch.zeros(1, 3), torch.tensor([1.0, -1.0, 1.0])
    seen, other = (
        render(x, labels, here, grid, RenderConfig()) for x in (points, points * sideways)
    )
    batch = replace(batch_of(1), panorama=seen)
    mirrored = mirror_worlds(batch, share=1.0).panorama
    same = torch.isclose(mirrored.range_m, other.range_m, atol=1e-4)
    assert same.float().mean() > 0.98  # points on the edge of a cell fall to either side
    inner = -torch.nn.functional.max_pool2d(-same.float(), 3, 1, 1) > 0
    for name in ("height_m", "label"):
        torch.testing.assert_close(
            getattr(mirrored, name)[same], getattr(other, name)[same], atol=1e-3, rtol=0
        )
    torch.testing.assert_close(
        mirrored.normal.movedim(1, -1)[inner], other.normal.movedim(1, -1)[inner],
        atol=1e-2, rtol=0,
    )  # fmt: skip


def test_mirroring_twice_restores_the_pairs_and_once_gives_other_recordings() -> None:
    before = batch_of()
    once = mirror_worlds(before, share=1.0)
    twice, never = mirror_worlds(once, share=1.0), mirror_worlds(before, share=0.0)
    for (_, value), (_, again), (_, kept) in zip(
        tensors(before), tensors(twice), tensors(never), strict=True
    ):
        torch.testing.assert_close(again, value)
        assert torch.equal(kept, value)
    assert not set(once.recording.tolist()) & set(before.recording.tolist())
    torch.testing.assert_close(once.yaw_rad, -before.yaw_rad)
    for name in ("view", "mask", "depth", "seen", "segmented"):
        torch.testing.assert_close(getattr(once, name)[..., 0], getattr(before, name)[..., -1])
    for name in ("view_position", "place_position"):
        x, y, z = getattr(before, name).unbind(1)
        torch.testing.assert_close(getattr(once, name), torch.stack([x, -y, z], dim=1))


def test_a_mirrored_pair_shows_the_same_points(dataset: PairDataset) -> None:
    """View, heading, positions and panorama agree after mirroring; another heading does not."""
    views = range(0, len(dataset), max(1, len(dataset) // 8))
    batch = collate([dataset[Draw(view, 0.5)] for view in views])
    align = Alignment(TINY.view, TINY.panorama)

    def shared_points(batch: PairBatch) -> int:
        image = torch.ones(len(batch), 1, *batch.depth.shape[-2:])
        place = torch.ones(len(batch), 1, *batch.segmented.shape[-2:])
        return len(align(image, place, batch, 10**6).pixels)

    count, mirrored = shared_points(batch), mirror_worlds(batch, share=1.0)
    assert count > 500 and shared_points(mirrored) == pytest.approx(count, rel=0.03)
    for pairs in (mirrored, batch):
        aside = torch.from_numpy(rotation_z(0.7)).float() @ pairs.view_axes
        assert shared_points(replace(pairs, view_axes=aside)) < 0.9 * count


def test_a_pitched_camera_moves_rows_and_brings_in_black() -> None:
    torch.manual_seed(0)
    rows = torch.linspace(0.2, 0.9, 32)[:, None].expand(8, 3, 32, 64)
    pitched = augment_views(with_view(rows), replace(OFF, pitch_deg=2.0), GRID).view
    black = {int((image[0] == 0).any(-1).sum()) for image in pitched}
    assert len(black) > 1 and max(black) <= 3  # two degrees are 2.4 rows
    assert (pitched.amax((1, 2, 3)) <= rows.max()).all()


def test_segmented_labels_replace_the_true_ones() -> None:
    before = batch_of()
    sevens = torch.full_like(before.segmented, 7) * (before.panorama.range_m > 0)
    after = augment_panoramas(replace(before, segmented=sevens), replace(OFF, segmented=1.0))
    assert set(after.panorama.label.unique().tolist()) == {0, 7}


def test_random_numbers_are_drawn_on_the_device_of_the_batch() -> None:
    """`meta` is a device that every machine has."""
    device = torch.device("meta")
    config, batch = AugmentationConfig(), batch_of().to(device)
    with device:
        batch = augment_views(mirror_worlds(batch, config.mirror), config, GRID)
        batch = turn_panoramas(augment_panoramas(batch, config), config.turn)
    assert {value.device for _, value in tensors(batch)} == {device}
