"""Augmentation keeps what it must and can be switched off."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from tiny_runs import TINY
from torch.utils.data import default_collate

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import AngularGrid, rotation_z
from scmpr_ros.lidar.panorama import RenderConfig, render
from scmpr_ros.training.alignment import Alignment
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


def panoramas() -> dict[str, torch.Tensor]:
    range_m = torch.rand(4, 6, 30) * 20 + 1
    range_m[:, :2] = 0
    seen = (range_m > 0).float()
    label = (torch.randint(1, 9, (4, 6, 30)) * seen).to(torch.uint8)
    return {
        "range_m": range_m,
        "height_m": torch.randn(4, 6, 30) * seen,
        "normal": torch.randn(4, 3, 6, 30) * seen[:, None],
        "label": label,
        "segmented": label,
    }


def test_strength_zero_changes_panoramas_not_at_all() -> None:
    before = panoramas()
    after = augment_panoramas(before, OFF)
    for name in after:
        torch.testing.assert_close(after[name], before[name], check_dtype=False)


def test_empty_cells_stay_empty_in_every_channel() -> None:
    torch.manual_seed(0)
    before = panoramas()
    after = augment_panoramas(before, AugmentationConfig())
    empty = after["range_m"] == 0
    assert empty.sum() > (before["range_m"] == 0).sum()
    assert after["label"][empty].sum() == 0 and after["height_m"][empty].abs().sum() == 0
    assert after["normal"].movedim(1, -1)[empty].abs().sum() == 0


def test_images_stay_images_and_differ_from_each_other() -> None:
    torch.manual_seed(0)
    views = torch.rand(1, 3, 32, 64).expand(6, -1, -1, -1)
    after = augment_views(views, AugmentationConfig(), GRID)
    assert after.shape == views.shape and after.min() >= 0 and after.max() <= 1
    assert len({round(float(image.mean()), 5) for image in after}) == 6


def test_negative_strength_is_refused() -> None:
    with pytest.raises(ConfigError, match="noise"):
        AugmentationConfig(noise=-0.1)


def test_strength_zero_changes_images_not_at_all() -> None:
    views = torch.rand(3, 3, 32, 64)
    torch.testing.assert_close(augment_views(views, OFF, GRID), views)


def test_turning_the_world_turns_headings_with_it() -> None:
    """What was seen at an azimuth before is seen at that azimuth plus the turn afterwards."""
    torch.manual_seed(0)
    width = 30
    azimuth = torch.pi - (torch.arange(width) + 0.5) * (2 * torch.pi / width)
    panorama = {"range_m": azimuth.expand(4, 6, width), "label": torch.ones(4, 6, width)}
    turned, angle = turn_panoramas(panorama, share=1.0)
    expected = torch.remainder(turned["range_m"][:, 0] + angle[:, None] - azimuth, 2 * torch.pi)
    assert torch.minimum(expected, 2 * torch.pi - expected).max() < 1e-4
    assert len(set(angle.tolist())) > 1
    still, angle = turn_panoramas(panorama, share=0.0)
    assert torch.equal(still["range_m"], panorama["range_m"]) and not angle.any()


def pairs() -> dict[str, torch.Tensor]:
    """Four pairs as `PairDataset` gives them."""
    shown = {name: torch.rand(4, 8, 16) for name in ("mask", "depth", "seen")}
    return {
        "view": torch.rand(4, 3, 32, 64), **shown, **panoramas(),
        "yaw_rad": torch.rand(4), "recording": torch.arange(4),
        "view_position": torch.randn(4, 3), "place_position": torch.randn(4, 3),
        "view_axes": torch.eye(3).repeat(4, 1, 1), "place_axes": torch.eye(3).repeat(4, 1, 1),
    }  # fmt: skip


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
    batch = {name: x[:1] for name, x in pairs().items()}
    batch |= {name: getattr(seen, name) for name in ("range_m", "height_m", "normal", "label")}
    mirrored = mirror_worlds(batch, share=1.0)
    same = torch.isclose(mirrored["range_m"], other.range_m, atol=1e-4)
    assert same.float().mean() > 0.98  # points on the edge of a cell fall to either side
    inner = -torch.nn.functional.max_pool2d(-same.float(), 3, 1, 1) > 0
    for name in ("height_m", "label"):
        torch.testing.assert_close(
            mirrored[name][same], getattr(other, name)[same], atol=1e-3, rtol=0
        )
    torch.testing.assert_close(
        mirrored["normal"].movedim(1, -1)[inner], other.normal.movedim(1, -1)[inner],
        atol=1e-2, rtol=0,
    )  # fmt: skip


def test_mirroring_twice_gives_the_pairs_back_and_once_another_town() -> None:
    before = pairs()
    once = mirror_worlds(before, share=1.0)
    for name, value in mirror_worlds(once, share=1.0).items():
        torch.testing.assert_close(value, before[name])
    assert not set(once["recording"].tolist()) & set(before["recording"].tolist())
    torch.testing.assert_close(once["yaw_rad"], -before["yaw_rad"])
    for name in ("view", "mask", "depth", "seen", "segmented"):
        torch.testing.assert_close(once[name][..., 0], before[name][..., -1])
    for name in ("view_position", "place_position"):
        (x, y, z), mirrored = before[name].unbind(1), once[name]
        torch.testing.assert_close(mirrored, torch.stack([x, -y, z], dim=1))
    some = mirror_worlds(before, share=0.0)
    assert all(torch.equal(some[name], before[name]) for name in before)


def test_a_mirrored_pair_shows_the_same_points_as_before(dataset: PairDataset) -> None:
    """View, heading, positions and panorama agree as they did; in another direction they do not."""
    views = range(0, len(dataset), max(1, len(dataset) // 8))
    batch = default_collate([dataset[Draw(view, 0.5)] for view in views])
    align = Alignment(TINY.view, TINY.panorama)

    def shown(batch: dict[str, torch.Tensor]) -> int:
        count, still = len(batch["view"]), torch.zeros(len(batch["view"]))
        image = torch.ones(count, 1, *batch["depth"].shape[-2:])
        place = torch.ones(count, 1, *batch["range_m"].shape[-2:])
        found = align(image, place, batch["depth"], batch["range_m"], batch, still, 10**6)
        return len(found.pixels)

    mirrored = mirror_worlds(batch, share=1.0)
    assert shown(batch) > 500 and shown(mirrored) == pytest.approx(shown(batch), rel=0.03)
    for turned in (mirrored, batch):
        aside = torch.from_numpy(rotation_z(0.7)).float() @ turned["view_axes"]
        assert shown({**turned, "view_axes": aside}) < 0.9 * shown(batch)


def test_a_pitched_camera_moves_rows_and_brings_in_black() -> None:
    torch.manual_seed(0)
    rows = torch.linspace(0.2, 0.9, 32)[:, None].expand(8, 3, 32, 64)
    pitched = augment_views(rows, replace(OFF, pitch_deg=2.0), GRID)
    black = {int((image[0] == 0).any(-1).sum()) for image in pitched}
    assert len(black) > 1 and max(black) <= 3  # two degrees are 2.4 rows
    assert (pitched.amax((1, 2, 3)) <= rows.max()).all()


def test_segmented_classes_take_the_place_of_the_true_ones() -> None:
    before = panoramas()
    before["segmented"] = torch.full_like(before["label"], 7) * (before["range_m"] > 0)
    after = augment_panoramas(before, replace(OFF, segmented=1.0))
    assert set(after["label"].unique().tolist()) == {0, 7}


def test_draws_where_the_batch_is() -> None:
    """On another device than the CPU; `meta` is one that every machine has."""
    device = torch.device("meta")
    config = AugmentationConfig()
    with device:
        views = augment_views(torch.rand(4, 3, 32, 64, device=device), config, GRID)
        there = {name: image.to(device) for name, image in panoramas().items()}
        turned, angle_rad = turn_panoramas(augment_panoramas(there, config), config.turn)
    assert views.device == turned["label"].device == angle_rad.device == device
