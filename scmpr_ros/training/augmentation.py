"""Random changes that a network must tolerate: what may differ between map and image.

Images: exposure, darkness, contrast, colour, greyscale, fog, rain, blur, noise, a covered patch, a
pitched camera, a narrower field of view. Panoramas: viewpoint height, range noise, missing cells,
missing or confused classes, a map built without labels, the low ceiling of maps whose LiDAR looked
down, the direction of north. Both: mirroring, which gives further recordings.
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
    """Strengths; zero switches an augmentation off.

    Probabilities for each image or panorama: greyscale, darkness, fog, rain, blur, covered,
    narrow_view, low_ceiling, segmented, missing_classes, all_classes_missing, turn; for each pair:
    mirror. Largest fractions of cells: missing_cells, confused_cells. Largest offsets: pitch_deg,
    height_m.

    narrow_view: keep only part of the view, as a camera with a narrower field of view would.
    class_colour, class_texture: repaint the objects of each class, so that no town's foliage,
        render or tarmac is learned by heart: largest change of their colour channels, and of their
        brightness by a random pattern, as logarithms.
    segmented: use the panorama of the map that would be built without labels.
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
    narrow_view: float = 0.2
    class_colour: float = 0.0
    class_texture: float = 0.0
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
    sideways = torch.tensor([1.0, -1.0, 1.0])  # normals are (away, left, up), positions (x, y, z)
    flip_axes = sideways * sideways[:, None]  # left stays left

    def choose(value: Tensor, other: Tensor) -> Tensor:
        return torch.where(mirrored.view(-1, *[1] * (other.ndim - 1)), other, value)

    def flip(image: Tensor) -> Tensor:
        return choose(image, image.flip(-1))

    def flip_panoramas(panoramas: Panoramas) -> Panoramas:
        normal = choose(panoramas.normal, panoramas.normal.flip(-1) * sideways[:, None, None])
        return replace(map_tensors(flip, panoramas), normal=normal)

    return replace(
        batch,
        view=flip(batch.view),
        mask=flip(batch.mask),
        depth=flip(batch.depth),
        seen=flip(batch.seen),
        seen_pixels=flip(batch.seen_pixels),
        yaw_rad=choose(batch.yaw_rad, -batch.yaw_rad),
        view_position=choose(batch.view_position, batch.view_position * sideways),
        view_axes=choose(batch.view_axes, batch.view_axes * flip_axes),
        place_position=choose(batch.place_position, batch.place_position * sideways),
        place_axes=choose(batch.place_axes, batch.place_axes * flip_axes),
        recording=choose(batch.recording, -1 - batch.recording),
        panorama=flip_panoramas(batch.panorama),
        segmented=flip_panoramas(batch.segmented),
        turned_rad=choose(batch.turned_rad, -batch.turned_rad),
    )


def augment_views(batch: PairBatch, config: AugmentationConfig, grid: AngularGrid) -> PairBatch:
    """Augment the views of a batch, each independently. grid: of the views."""
    view = _repaint(batch.view, batch.mask.long(), config)
    batch = replace(batch, view=_change_light(view, config))
    batch = _pitch(batch, config.pitch_deg, grid)
    batch = _narrow(batch, config.narrow_view)
    noise = torch.rand(len(batch), 1, 1, 1) * config.noise
    view = _cover(batch.view + torch.randn_like(batch.view) * noise, config.covered)
    return replace(batch, view=view.clamp(0, 1) * batch.seen_pixels[:, None])


def augment_panoramas(batch: PairBatch, config: AugmentationConfig) -> PairBatch:
    """Augment the panoramas of a batch, each independently."""
    size = len(batch)

    def drawn(share: float) -> Tensor:
        return torch.rand(size, 1, 1) < share

    panorama = _choose(drawn(config.segmented), batch.segmented, batch.panorama)
    label, range_m = panorama.label, panorama.range_m
    range_m = range_m * (1 + torch.randn_like(range_m) * config.range_noise)
    height_m = panorama.height_m + (torch.rand(size, 1, 1) * 2 - 1) * config.height_m
    ceiling = torch.where(drawn(config.low_ceiling), 1.5 + 4 * torch.rand(size, 1, 1), torch.inf)
    lost = torch.rand_like(range_m) < torch.rand(size, 1, 1) * config.missing_cells
    keep = (range_m > 0) & (height_m < ceiling) & ~lost
    confused = torch.rand_like(range_m) < torch.rand(size, 1, 1) * config.confused_cells
    label = torch.where(confused, torch.roll(label, 1, 0), label)
    missing = torch.rand(size, NUM_CLASSES) < config.missing_classes
    missing |= drawn(config.all_classes_missing)[:, 0]
    unlabelled = torch.gather(missing, 1, label.flatten(1).long()).view_as(label)
    label = torch.where(unlabelled, IGNORE, label)
    normal = panorama.normal * keep[:, None]
    return replace(batch, panorama=Panoramas(range_m * keep, height_m * keep, normal, label * keep))


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
        segmented=map_tensors(turn, batch.segmented),
        turned_rad=batch.turned_rad + columns * (2 * math.pi / width),
    )


def _choose(condition: Tensor, first: Panoramas, second: Panoramas) -> Panoramas:
    """The first panoramas where the condition (B, 1, 1) holds, else the second."""

    def choose(one: Tensor, other: Tensor) -> Tensor:
        return torch.where(condition.view(-1, *[1] * (one.ndim - 1)), one, other)

    return map_tensors(choose, first, second)


def _change_light(views: Tensor, config: AugmentationConfig) -> Tensor:
    """Change exposure, colours, sharpness and weather of images (B, 3, H, W) in [0, 1]."""
    batch = len(views)

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
    return _darken(_rain(_fog(views, config.fog), config.rain), config.darkness)


def _repaint(views: Tensor, mask: Tensor, config: AugmentationConfig) -> Tensor:
    """Change colour and texture of each class, differently in each image.

    mask: (B, h, w) int64, classes of the views' cells.
    """
    if config.class_colour == config.class_texture == 0:
        return views
    batch, size = len(views), views.shape[-2:]
    image = torch.arange(batch)[:, None, None]

    def of_pixels(of_classes: Tensor) -> Tensor:
        """Values (B, NUM_CLASSES, C) at the pixels, (B, C, H, W)."""
        cells = of_classes[image, mask].permute(0, 3, 1, 2)
        return functional.interpolate(cells, size, mode="bilinear")

    gain = (torch.rand(batch, NUM_CLASSES, 3) * 2 - 1) * config.class_colour
    strength = torch.rand(batch, NUM_CLASSES, 1) ** 2 * config.class_texture
    return views * torch.exp(of_pixels(gain) + _pattern(batch, size) * of_pixels(strength))


def _pattern(batch: int, size: torch.Size) -> Tensor:
    """Noise (B, 1, H, W) of unit deviation, its details from one pixel to sixteen in size."""
    height, width = size
    octaves = [
        functional.interpolate(
            torch.randn(batch, 1, height // scale, width // scale), size, mode="bilinear"
        ) * torch.rand(batch, 1, 1, 1)
        for scale in (1, 2, 4, 8, 16)
    ]  # fmt: skip
    pattern = torch.stack(octaves).sum(0)
    return pattern / pattern.std((1, 2, 3), keepdim=True)


def _pitch(batch: PairBatch, largest_deg: float, grid: AngularGrid) -> PairBatch:
    """Pitch each camera: shift its rows, labels included, and tilt its axes.

    A shift by rows equals a rotation about the left axis at the view's centre.
    """
    rows = largest_deg / math.degrees(grid.row_rad)
    shift = ((torch.rand(len(batch)) * 2 - 1) * rows).round()
    angle_rad = shift * grid.row_rad  # downwards: row r now shows what row r + shift showed
    c, s, zero = torch.cos(angle_rad), torch.sin(angle_rad), torch.zeros_like(angle_rad)
    rotation = [[c, zero, s], [zero, zero + 1, zero], [-s, zero, c]]
    pitch = torch.stack([torch.stack(row, -1) for row in rotation], -2)
    in_cells = (shift * batch.mask.shape[-2] / batch.view.shape[-2]).round()
    return replace(
        batch,
        view=_shift_rows(batch.view, shift),
        seen_pixels=_shift_rows(batch.seen_pixels, shift),
        mask=_shift_rows(batch.mask, in_cells),
        depth=_shift_rows(batch.depth, in_cells),
        seen=_shift_rows(batch.seen, in_cells),
        view_axes=batch.view_axes @ pitch,
    )


def _shift_rows(images: Tensor, rows: Tensor) -> Tensor:
    """Move images (B, ..., H, W) up by `rows` (B,) whole rows; zeros enter."""
    height = images.shape[-2]
    source = torch.arange(height) + rows.long()[:, None]
    index = source.clamp(0, height - 1)
    shape = (len(images), *[1] * (images.ndim - 3), height, 1)
    inside = (source == index).view(shape)
    return torch.gather(images, -2, index.view(shape).expand_as(images)) * inside


def _narrow(batch: PairBatch, share: float) -> PairBatch:
    """Restrict a share of the views to a random window of columns and rows.

    The window keeps at least half the columns and rows, and contains the view's centre.
    """
    size, (height, width) = len(batch), batch.mask.shape[-2:]
    chosen = torch.rand(size, 1, 1) < share

    def window(cells: int) -> Tensor:
        """Cells (B, cells) inside the window along one side."""
        length = (0.5 + 0.5 * torch.rand(size, 1)) * cells
        start = (cells - length) * torch.rand(size, 1)
        centre = torch.arange(cells) + 0.5
        return (centre >= start) & (centre < start + length)

    columns, rows = window(width), window(height)
    cells = ~chosen | (rows[:, :, None] & columns[:, None, :])
    stride = batch.view.shape[-1] // width
    pixels = cells.repeat_interleave(stride, -1).repeat_interleave(stride, -2)
    return replace(
        batch,
        view=batch.view * pixels[:, None],
        seen_pixels=batch.seen_pixels & pixels,
        mask=torch.where(cells, batch.mask, IGNORE),
        depth=batch.depth * cells,
        seen=batch.seen & cells,
    )


def _fog(views: Tensor, share: float) -> Tensor:
    """Veil some images, most at the horizon, where distances are largest."""
    batch, _, height, _ = views.shape
    row = torch.linspace(-1, 1, height)[:, None]
    depth = torch.exp(-((row / 0.5) ** 2)) * 0.6 + 0.4
    density = torch.rand(batch, 1, 1, 1) * 0.8 * (torch.rand(batch, 1, 1, 1) < share)
    grey = 0.4 + 0.4 * torch.rand(batch, 1, 1, 1)
    return views + (grey - views) * density * depth


def _rain(views: Tensor, share: float) -> Tensor:
    """Draw bright streaks, a few pixels long, over some images."""
    batch, _, height, width = views.shape
    drops = (torch.rand(batch, 1, height, width) < 0.01).float()
    streaks = functional.max_pool2d(drops, (5, 1), 1, (2, 0)) * 0.25
    wet = torch.rand(batch, 1, 1, 1) < share
    return views + streaks * torch.rand(batch, 1, 1, 1) * wet


def _darken(views: Tensor, share: float) -> Tensor:
    """Dim some images as at dusk, dark parts most."""
    batch = len(views)
    dark = torch.rand(batch, 1, 1, 1) < share
    gamma = torch.where(dark, 1 + 2 * torch.rand(batch, 1, 1, 1), 1.0)
    light = torch.where(dark, 0.2 + 0.6 * torch.rand(batch, 1, 1, 1), 1.0)
    return torch.where(dark, views.clamp_min(1e-4) ** gamma * light, views)


def _cover(views: Tensor, share: float) -> Tensor:
    """Fill a rectangle of some images with one colour: a lorry, a raindrop, a finger."""
    batch, _, height, width = views.shape
    x, y = torch.arange(width), torch.arange(height)[:, None]
    size = torch.rand(batch, 2) * 0.25 + 0.05
    corner = torch.rand(batch, 2) * (1 - size)
    left, top = corner[:, :1, None] * width, corner[:, 1:, None] * height
    right, bottom = left + size[:, :1, None] * width, top + size[:, 1:, None] * height
    inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
    chosen = (torch.rand(batch, 1, 1) < share) & inside
    return torch.where(chosen[:, None], torch.rand(batch, 3, 1, 1), views)
