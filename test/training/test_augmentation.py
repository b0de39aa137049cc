"""Augmentation keeps what it must and can be switched off."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.training.augmentation import (
    AugmentationConfig,
    augment_panoramas,
    augment_views,
)

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
