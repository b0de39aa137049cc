"""The tower sums what its laterals make of a backbone's stages."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from scmpr_ros.errors import ConfigError
from scmpr_ros.networks.backbones import IMAGE_MEAN, IMAGE_STD
from scmpr_ros.networks.feature_tower import FeatureTower, TowerConfig


@torch.no_grad()
@pytest.mark.parametrize(("stride", "stages"), [(8, 3), (16, 2), (32, 1)])
def test_coarse_stages_are_added_to_that_of_the_stride(stride: int, stages: int) -> None:
    torch.manual_seed(0)
    tower = FeatureTower(TowerConfig("timm/test_resnet", stride, 6)).eval()
    image = torch.rand(2, 3, 64, 96)
    normalised = (image - torch.tensor(IMAGE_MEAN)[:, None, None]) / torch.tensor(IMAGE_STD)[
        :, None, None
    ]
    expected = torch.zeros(2, 6, 64 // stride, 96 // stride)
    used = tower.backbone.forward_features(normalised)[-stages:]
    for lateral, stage in zip(tower.laterals, used, strict=True):
        projected = torch.einsum("dc,bchw->bdhw", lateral.weight[:, :, 0, 0], stage)
        projected = projected + lateral.bias[:, None, None]
        expected += functional.interpolate(
            projected, scale_factor=expected.shape[-1] / stage.shape[-1], mode="bilinear"
        )
    torch.testing.assert_close(tower(image), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_plain_vit_gives_the_tokens_of_its_last_block() -> None:
    tower = FeatureTower(TowerConfig("timm/test_vit", 16, 6)).eval()
    tower.backbone.trunk.norm.weight.uniform_(0.5, 1.5)
    image = torch.rand(2, 3, 64, 96)
    own = tower.backbone.trunk.pretrained_cfg
    pixels = (image - torch.tensor(own["mean"])[:, None, None]) / torch.tensor(own["std"])[
        :, None, None
    ]
    tokens = tower.backbone.trunk.forward_features(pixels)[:, 1:]  # the first is of the class
    (lateral,) = tower.laterals
    expected = tokens @ lateral.weight[:, :, 0, 0].T + lateral.bias
    expected = expected.mT.reshape(2, 6, 4, 6)
    torch.testing.assert_close(tower(image), expected, rtol=1e-4, atol=1e-5)


def test_the_stride_of_a_plain_vit_is_that_of_its_patches() -> None:
    with pytest.raises(ConfigError, match="the stride of its patches, 16, and not 8"):
        FeatureTower(TowerConfig("timm/test_vit", 8, 6))


@torch.no_grad()
def test_one_channel_is_grey() -> None:
    tower = FeatureTower(TowerConfig("timm/test_resnet", 16, 6)).eval()
    grey = torch.rand(1, 1, 32, 64)
    torch.testing.assert_close(tower(grey), tower(grey.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize("wrong", [{"stride": 5}, {"channels": 0}])
def test_other_strides_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="one of the strides"):
        TowerConfig(**wrong)
