"""Augmentation keeps views, labels and geometry consistent, and can be switched off."""

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
from scmpr_ros.semantics import NUM_CLASSES
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


def random_panoramas(count: int) -> Panoramas:
    """Panoramas whose upper rows are empty."""
    range_m = torch.rand(count, 6, 30) * 20 + 1
    range_m[:, :2] = 0
    hit = (range_m > 0).float()
    label = (torch.randint(1, 9, (count, 6, 30)) * hit).to(torch.uint8)
    normal = torch.randn(count, 3, 6, 30) * hit[:, None]
    return Panoramas(range_m, torch.randn(count, 6, 30) * hit, normal, label)


def batch_of(count: int = 4) -> PairBatch:
    axes = torch.eye(3).repeat(count, 1, 1)
    return PairBatch(
        view=torch.rand(count, 3, 32, 64),
        mask=torch.randint(1, 9, (count, 8, 16), dtype=torch.uint8),
        mask_confusion=torch.eye(NUM_CLASSES).repeat(count, 1, 1),
        depth=torch.rand(count, 8, 16) + 5,
        seen=torch.ones(count, 8, 16, dtype=torch.bool),
        seen_pixels=torch.ones(count, 32, 64, dtype=torch.bool),
        yaw_rad=torch.rand(count),
        view_position=torch.randn(count, 3),
        view_axes=axes,
        place_position=torch.randn(count, 3),
        place_axes=axes,
        recording=torch.arange(count),
        panorama=random_panoramas(count),
        segmented=random_panoramas(count),
        turned_rad=torch.zeros(count),
    )


def with_view(view: torch.Tensor) -> PairBatch:
    return replace(batch_of(len(view)), view=view)


def tensors(record: object) -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in vars(record).items():
        yield from tensors(value) if isinstance(value, Panoramas) else [(name, value)]


def test_strength_zero_changes_nothing() -> None:
    before = batch_of()
    after = augment_panoramas(augment_views(before, OFF, GRID), OFF)
    for (name, value), (_, expected) in zip(tensors(after), tensors(before), strict=True):
        torch.testing.assert_close(value, expected, msg=name)


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
    for name in ("view", "mask", "depth", "seen", "seen_pixels"):
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
        place = torch.ones(len(batch), 1, *batch.panorama.label.shape[-2:])
        return len(align(image, place, batch, 10**6).pixels)

    count, mirrored = shared_points(batch), mirror_worlds(batch, share=1.0)
    assert count > 500 and shared_points(mirrored) == pytest.approx(count, rel=0.03)
    for pairs in (mirrored, batch):
        aside = torch.from_numpy(rotation_z(0.7)).float() @ pairs.view_axes
        assert shared_points(replace(pairs, view_axes=aside)) < 0.9 * count


def test_pitch_shifts_views_labels_and_seen_cells_together() -> None:
    """Rows show their own number, so a shift can be read from each image."""
    torch.manual_seed(0)
    count, rows = 16, torch.arange(8)[:, None]
    batch = replace(
        batch_of(count),
        view=(torch.arange(32)[:, None] / 32 + 0.02).expand(count, 3, 32, 64),
        mask=(rows + 1).to(torch.uint8).expand(count, 8, 16),
        depth=(rows + 1.0).expand(count, 8, 16),
    )
    pitched = augment_views(batch, replace(OFF, pitch_deg=8.0), GRID)  # up to 9 rows
    shifts = set()
    for number in range(count):
        row = int(pitched.seen_pixels[number].any(-1).nonzero()[len(batch.view[0, 0]) // 4])
        shift = round(float(pitched.view[number, 0, row, 0] - batch.view[0, 0, row, 0]) * 32)
        shifts.add(shift)
        assert int(pitched.seen_pixels[number, :, 0].sum()) == 32 - abs(shift)
        in_cells = round(shift / 4)
        cells = torch.arange(8) + in_cells
        expected = torch.where((cells >= 0) & (cells < 8), cells + 1, 0)
        assert torch.equal(pitched.mask[number, :, 0].long(), expected)
        assert torch.equal(pitched.depth[number, :, 0].long(), expected)
        assert torch.equal(pitched.seen[number, :, 0], expected > 0)
        assert not pitched.view[number][:, ~pitched.seen_pixels[number]].any()
    assert min(shifts) < -4 and max(shifts) > 4


def test_pitch_tilts_the_axes_by_the_rows_that_are_shifted() -> None:
    """A pixel at the centre column shows the same direction in the map before and after."""
    torch.manual_seed(0)
    row_numbers = (torch.arange(32)[:, None] / 32 + 0.01).expand(8, 3, 32, 64)
    yaw = torch.from_numpy(rotation_z(0.8)).float().repeat(8, 1, 1)
    batch = replace(batch_of(8), view=row_numbers, view_axes=yaw)
    pitched = augment_views(batch, replace(OFF, pitch_deg=8.0), GRID)
    directions = torch.from_numpy(GRID.directions()).float()[:, 32]  # half a column off the centre
    for number in range(8):
        shown = pitched.view[number, 0, :, 32]
        rows = (shown > 0).nonzero().squeeze(1)
        source = (shown[rows] * 32).long()
        expected = directions[source] @ batch.view_axes[number].T
        actual = directions[rows] @ pitched.view_axes[number].T
        torch.testing.assert_close(actual, expected, atol=2e-3, rtol=0)
    assert not torch.allclose(pitched.view_axes, batch.view_axes, atol=0.05)


def test_a_narrow_view_keeps_labels_where_the_camera_looks() -> None:
    torch.manual_seed(0)
    batch = batch_of(64)
    narrow = augment_views(batch, replace(OFF, narrow_view=1.0), GRID)
    unseen = ~narrow.seen
    assert not narrow.mask[unseen].any() and not narrow.depth[unseen].any()
    assert torch.equal(narrow.mask[narrow.seen], batch.mask[narrow.seen])
    assert not narrow.view.movedim(1, -1)[~narrow.seen_pixels].any()
    assert torch.equal(narrow.seen_pixels[:, ::4, ::4], narrow.seen)
    columns, rows = narrow.seen.any(1).sum(1), narrow.seen.any(2).sum(1)
    assert 7 <= columns.min() < 10 and columns.max() == 16
    assert 3 <= rows.min() < 6 and rows.max() == 8
    some = augment_views(batch, replace(OFF, narrow_view=0.3), GRID).seen.flatten(1).all(1)
    assert 0.5 < some.float().mean() < 0.9


def test_repainting_follows_the_classes() -> None:
    """Within a class an image changes alike in colour; between classes and images it differs."""
    batch = with_view(torch.full((2, 3, 32, 64), 0.5))
    mask = torch.ones(2, 8, 16, dtype=torch.uint8)
    mask[..., 8:] = 2
    colour = replace(OFF, class_colour=0.3)
    view = augment_views(replace(batch, mask=mask), colour, GRID).view
    left, right = view[..., :24], view[..., 40:]  # away from the border, which is interpolated
    assert left.std((2, 3)).amax() < 1e-6 and right.std((2, 3)).amax() < 1e-6
    assert (left - right).abs().amin() > 0 and (view[0] - view[1]).abs().amin() > 0
    texture = augment_views(replace(batch, mask=mask), replace(OFF, class_texture=0.3), GRID).view
    assert (texture.std((2, 3)) > 0).all() and torch.equal(texture[:, 0], texture[:, 1])


def test_dark_pixels_inside_the_image_count_as_seen() -> None:
    """At night, black is not outside of the image: noise appears there, and nowhere else."""
    torch.manual_seed(0)
    batch = replace(batch_of(), view=torch.zeros(4, 3, 32, 64))
    outside = torch.zeros(4, 32, 64, dtype=torch.bool)
    outside[:, :, :8] = True
    batch = replace(batch, seen_pixels=~outside)
    view = augment_views(batch, replace(OFF, noise=0.2), GRID).view.amax(1)
    assert (view[~outside] > 0).float().mean() > 0.5 and not view[outside].any()


def test_panoramas_of_the_label_free_map_replace_those_of_the_labelled_one() -> None:
    before = batch_of()
    after = augment_panoramas(before, replace(OFF, segmented=1.0)).panorama
    for (name, value), (_, expected) in zip(tensors(after), tensors(before.segmented), strict=True):
        torch.testing.assert_close(value, expected, msg=name)


def test_random_numbers_are_drawn_on_the_device_of_the_batch() -> None:
    """`meta` is a device that every machine has."""
    device = torch.device("meta")
    config, batch = AugmentationConfig(), batch_of().to(device)
    with device:
        batch = augment_views(mirror_worlds(batch, config.mirror), config, GRID)
        batch = turn_panoramas(augment_panoramas(batch, config), config.turn)
    assert {value.device for _, value in tensors(batch)} == {device}
