"""What may differ between the day of the map and the day of the image, drawn at random.

Images: exposure, darkness, contrast, colour, greyscale, fog, rain, blur, noise, a covered patch, a
camera that pitches. Panoramas: a wrong viewpoint height, noise of the ranges, missing cells,
classes that the segmenter missed or confused, the low ceiling of maps whose LiDAR looked down, and
where north is. Both together: the mirrored world, which is another recording for nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.panorama import Panoramas
from scmpr_ros.methods.pair_batch import PairBatch, map_tensors
from scmpr_ros.semantics import IGNORE, NUM_CLASSES


@dataclass(frozen=True)
class AugmentationConfig:
    """Strengths; zero switches a thing off.

    Shares of the images or panoramas: greyscale, darkness, fog, rain, blur, covered, low_ceiling,
    missing_classes, all_classes_missing, turn; mirror is that of the pairs. Cells lost or confused:
    up to missing_cells and confused_cells. segmented: share of the panoramas whose classes come
    from the geometry of the map alone, as those of maps without labels do.
    """

    brightness: float = 0.5
    darkness: float = 0.1
    fog: float = 0.1
    rain: float = 0.1
    pitch_deg: float = 0.7
    contrast: float = 0.4
    colour: float = 0.25
    greyscale: float = 0.1
    blur: float = 0.3
    noise: float = 0.04
    covered: float = 0.3
    height_m: float = 0.15
    range_noise: float = 0.02
    turn: float = 1.0
    mirror: float = 0.5
    segmented: float = 0.3
    missing_cells: float = 0.1
    missing_classes: float = 0.1
    all_classes_missing: float = 0.1
    confused_cells: float = 0.1
    low_ceiling: float = 0.3

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise ConfigError(f"augmentation.{name} is {value}; it cannot be negative")


def augment(batch: PairBatch, config: AugmentationConfig, grid: AngularGrid) -> PairBatch:
    """Augment views and places of a batch. grid: of the views."""
    batch = augment_views(mirror_worlds(batch, config.mirror), config, grid)
    return turn_panoramas(augment_panoramas(batch, config), config.turn)


def mirror_worlds(batch: PairBatch, share: float) -> PairBatch:
    """Mirror a share of the pairs at the plane y = 0, view and place alike.

    Left becomes right: traffic drives on the other side and signs read backwards. A mirrored
    recording counts as a different recording, number -1 - n.
    """
    mirrored = torch.rand(len(batch)) < share

    def choose(value: Tensor, other: Tensor) -> Tensor:
        return torch.where(mirrored.view(-1, *[1] * (other.ndim - 1)), other, value)

    def flip(image: Tensor) -> Tensor:
        return choose(image, image.flip(-1))

    sideways = torch.tensor([1.0, -1.0, 1.0])  # normals are (away, left, up), positions (x, y, z)
    flip_axes = sideways * sideways[:, None]  # left stays left
    panorama = batch.panorama
    normal = choose(panorama.normal, panorama.normal.flip(-1) * sideways[:, None, None])
    return replace(
        batch,
        view=flip(batch.view),
        mask=flip(batch.mask),
        depth=flip(batch.depth),
        seen=flip(batch.seen),
        yaw_rad=choose(batch.yaw_rad, -batch.yaw_rad),
        view_position=choose(batch.view_position, batch.view_position * sideways),
        view_axes=choose(batch.view_axes, batch.view_axes * flip_axes),
        place_position=choose(batch.place_position, batch.place_position * sideways),
        place_axes=choose(batch.place_axes, batch.place_axes * flip_axes),
        recording=choose(batch.recording, -1 - batch.recording),
        panorama=replace(map_tensors(flip, panorama), normal=normal),
        segmented=flip(batch.segmented),
        turned_rad=choose(batch.turned_rad, -batch.turned_rad),
    )


def augment_views(batch: PairBatch, config: AugmentationConfig, grid: AngularGrid) -> PairBatch:
    """Augment the views of a batch, each independently. grid: of the views."""
    return replace(batch, view=_augment_images(batch.view, config, grid))


def augment_panoramas(batch: PairBatch, config: AugmentationConfig) -> PairBatch:
    """Augment the panoramas of a batch, each independently.

    Some get the labels `segmented`, which classify points by geometry alone.
    """
    range_m, height_m = batch.panorama.range_m, batch.panorama.height_m
    normal, label = batch.panorama.normal, batch.panorama.label
    size = len(batch)
    range_m = range_m * (1 + torch.randn_like(range_m) * config.range_noise)

    def some(share: float) -> Tensor:
        return torch.rand(size, 1, 1) < share

    height_m = height_m + (torch.rand(size, 1, 1) * 2 - 1) * config.height_m
    ceiling = torch.where(some(config.low_ceiling), 1.5 + 4 * torch.rand(size, 1, 1), torch.inf)
    lost = torch.rand_like(range_m) < torch.rand(size, 1, 1) * config.missing_cells
    keep = (range_m > 0) & (height_m < ceiling) & ~lost
    label = torch.where(some(config.segmented), batch.segmented, label)
    confused = torch.rand_like(range_m) < torch.rand(size, 1, 1) * config.confused_cells
    label = torch.where(confused, torch.roll(label, 1, 0), label)
    missing = torch.rand(size, NUM_CLASSES) < config.missing_classes
    missing |= some(config.all_classes_missing)[:, 0]
    unlabelled = torch.gather(missing, 1, label.flatten(1).long()).view_as(label)
    label = torch.where(unlabelled, IGNORE, label)
    panorama = Panoramas(range_m * keep, height_m * keep, normal * keep[:, None], label * keep)
    return replace(batch, panorama=panorama)


def turn_panoramas(batch: PairBatch, share: float) -> PairBatch:
    """Turn the world of a share of the panoramas by whole columns, so north cannot be learned."""
    size, width = len(batch), batch.panorama.label.shape[-1]
    columns = torch.randint(width, (size,)) * (torch.rand(size) < share)
    source = (torch.arange(width) + columns[:, None]) % width  # (B, W)

    def turn(image: Tensor) -> Tensor:
        index = source.view(size, *[1] * (image.ndim - 2), width).expand_as(image)
        return torch.gather(image, -1, index)

    return replace(
        batch,
        panorama=map_tensors(turn, batch.panorama),
        segmented=turn(batch.segmented),
        turned_rad=batch.turned_rad + columns * (2 * math.pi / width),
    )


def _augment_images(views: Tensor, config: AugmentationConfig, grid: AngularGrid) -> Tensor:
    """Augment images (B, 3, H, W) in [0, 1] on a view's grid, each independently."""
    batch, lit = len(views), views.amax(1, keepdim=True) > 0

    def draw(amount: float) -> Tensor:
        return (torch.rand(batch, 1, 1, 1) * 2 - 1) * amount

    mean = views.mean((1, 2, 3), keepdim=True)
    views = (views - mean) * torch.exp(draw(config.contrast)) + mean
    views = views * torch.exp(draw(config.brightness))
    views = views * torch.exp((torch.rand(batch, 3, 1, 1) * 2 - 1) * config.colour)
    grey = views.mean(1, keepdim=True).expand_as(views)
    saturation = torch.where(
        torch.rand(batch, 1, 1, 1) < config.greyscale, 0.0, 1 + draw(1.6 * config.colour)
    )
    views = grey + (views - grey) * saturation
    soft = functional.avg_pool2d(views, 3, 1, 1, count_include_pad=False)
    views = torch.where(torch.rand(batch, 1, 1, 1) < config.blur, soft, views)
    views = _darken(_rain(_fog(views, config.fog), config.rain), config.darkness)
    views = _pitch(views, config.pitch_deg / math.degrees(grid.row_rad))
    views = views + torch.randn_like(views) * torch.rand(batch, 1, 1, 1) * config.noise
    return _cover(views, config.covered).clamp(0, 1) * lit  # black is where no camera looks


def _fog(views: Tensor, share: float) -> Tensor:
    """Veil some images, most around the horizon, where one looks farthest."""
    batch, _, height, _ = views.shape
    row = torch.linspace(-1, 1, height)[:, None]
    depth = torch.exp(-((row / 0.5) ** 2)) * 0.6 + 0.4
    density = torch.rand(batch, 1, 1, 1) * 0.8 * (torch.rand(batch, 1, 1, 1) < share)
    grey = 0.4 + 0.4 * torch.rand(batch, 1, 1, 1)
    return views + (grey - views) * density * depth


def _rain(views: Tensor, share: float) -> Tensor:
    """Bright streaks, a few pixels long, over some images."""
    batch, _, height, width = views.shape
    drops = (torch.rand(batch, 1, height, width) < 0.01).float()
    streaks = functional.max_pool2d(drops, (5, 1), 1, (2, 0)) * 0.25
    wet = torch.rand(batch, 1, 1, 1) < share
    return views + streaks * torch.rand(batch, 1, 1, 1) * wet


def _darken(views: Tensor, share: float) -> Tensor:
    """Dusk without headlights: some images lose light, and their dark parts most of it."""
    batch = len(views)
    dark = torch.rand(batch, 1, 1, 1) < share
    gamma = torch.where(dark, 1 + 2 * torch.rand(batch, 1, 1, 1), 1.0)
    light = torch.where(dark, 0.2 + 0.6 * torch.rand(batch, 1, 1, 1), 1.0)
    return torch.where(dark, views.clamp_min(1e-4) ** gamma * light, views)


def _pitch(views: Tensor, rows: float) -> Tensor:
    """Shift each image by up to so many rows up or down; what comes in is black."""
    batch, channels, height, width = views.shape
    shift = ((torch.rand(batch) * 2 - 1) * rows).round().long()
    source = torch.arange(height) + shift[:, None]
    index = source.clamp(0, height - 1).view(batch, 1, height, 1)
    inside = (source == source.clamp(0, height - 1)).view(batch, 1, height, 1)
    return torch.gather(views, 2, index.expand(batch, channels, height, width)) * inside


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
