"""What may differ between the day of the map and the day of the image, drawn at random.

Images: exposure, contrast, colour, greyscale, blur, noise, a covered patch. Panoramas: a wrong
viewpoint height, missing cells, classes that the segmenter missed or confused, and the low ceiling
of maps whose LiDAR looked down.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from scmpr_ros.errors import ConfigError
from scmpr_ros.semantics import IGNORE, NUM_CLASSES


@dataclass(frozen=True)
class AugmentationConfig:
    """Strengths; zero switches a thing off."""

    brightness: float = 0.5
    contrast: float = 0.4
    colour: float = 0.25
    greyscale: float = 0.1
    blur: float = 0.3
    noise: float = 0.04
    covered: float = 0.3
    height_m: float = 0.15
    missing_cells: float = 0.1
    missing_classes: float = 0.1
    all_classes_missing: float = 0.1
    confused_cells: float = 0.1
    low_ceiling: float = 0.3

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise ConfigError(f"augmentation.{name} is {value}; it cannot be negative")


def augment_views(views: Tensor, config: AugmentationConfig) -> Tensor:
    """Augment images (B, 3, H, W) in [0, 1], each on its own."""
    batch = len(views)

    def draw(amount: float) -> Tensor:
        return (torch.rand(batch, 1, 1, 1) * 2 - 1) * amount

    mean = views.mean((1, 2, 3), keepdim=True)
    views = (views - mean) * torch.exp(draw(config.contrast)) + mean
    views = views * torch.exp(draw(config.brightness))
    views = views * torch.exp((torch.rand(batch, 3, 1, 1) * 2 - 1) * config.colour)
    grey = views.mean(1, keepdim=True).expand_as(views)
    saturation = torch.where(torch.rand(batch, 1, 1, 1) < config.greyscale, 0.0, 1 + draw(0.4))
    views = grey + (views - grey) * saturation
    soft = functional.avg_pool2d(views, 3, 1, 1, count_include_pad=False)
    views = torch.where(torch.rand(batch, 1, 1, 1) < config.blur, soft, views)
    views = views + torch.randn_like(views) * torch.rand(batch, 1, 1, 1) * config.noise
    return _cover(views, config.covered).clamp(0, 1)


def augment_panoramas(
    panoramas: dict[str, Tensor], config: AugmentationConfig
) -> dict[str, Tensor]:
    """Augment `range_m`, `height_m`, `normal` and `label` of B panoramas, each on its own."""
    range_m, height_m = panoramas["range_m"], panoramas["height_m"]
    normal, label = panoramas["normal"], panoramas["label"]
    batch = len(range_m)

    def some(share: float) -> Tensor:
        return torch.rand(batch, 1, 1) < share

    height_m = height_m + (torch.rand(batch, 1, 1) * 2 - 1) * config.height_m
    ceiling = torch.where(some(config.low_ceiling), 1.5 + 4 * torch.rand(batch, 1, 1), torch.inf)
    lost = torch.rand_like(range_m) < torch.rand(batch, 1, 1) * config.missing_cells
    keep = (range_m > 0) & (height_m < ceiling) & ~lost
    confused = torch.rand_like(range_m) < torch.rand(batch, 1, 1) * config.confused_cells
    label = torch.where(confused, torch.roll(label, 1, 0), label)
    missing = torch.rand(batch, NUM_CLASSES) < config.missing_classes
    missing |= some(config.all_classes_missing)[:, 0]
    unlabelled = torch.gather(missing, 1, label.flatten(1).long()).view_as(label)
    label = torch.where(unlabelled, IGNORE, label)
    return {
        "range_m": range_m * keep,
        "height_m": height_m * keep,
        "normal": normal * keep[:, None],
        "label": label * keep,
    }


def _cover(views: Tensor, share: float) -> Tensor:
    """Grey out one rectangle of some images: a passing lorry, a raindrop, a finger."""
    batch, _, height, width = views.shape
    x, y = torch.arange(width), torch.arange(height)[:, None]
    size = torch.rand(batch, 2) * 0.25 + 0.05
    corner = torch.rand(batch, 2) * (1 - size)
    left, top = corner[:, :1, None] * width, corner[:, 1:, None] * height
    right, bottom = left + size[:, :1, None] * width, top + size[:, 1:, None] * height
    inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
    chosen = (torch.rand(batch, 1, 1) < share) & inside
    return torch.where(chosen[:, None], torch.rand(batch, 3, 1, 1), views)
