"""The record that a training step works on: camera views paired with nearby places of the map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from torch import Tensor

from scmpr_ros.lidar.panorama import Panoramas

Record = TypeVar("Record")


@dataclass(frozen=True)
class PairBatch:
    """B pairs of a view and a place. A single pair is a batch of one.

    Positions and axes are in the frame of the pair's map, translated by a constant offset for each
    recording. (H, W) is the view's size, (h, w) the panorama's. Mask cells are 4 pixels wide.

    view: (B, 3, H, W) float32 RGB in [0, 1], black where the camera does not look.
    mask: (B, H/4, W/4) uint8 joint class ids, `ignore` where the camera does not look.
    mask_confusion: (B, NUM_CLASSES, NUM_CLASSES) float32, probability of each label (column) in
        `mask` given the true class (row); the identity for masks that are correct.
    depth: (B, H/4, W/4) float32, metres to the surface of the map, 0 where the map is empty or the
        camera does not look.
    seen: (B, H/4, W/4) bool, cells inside the camera's image.
    seen_pixels: (B, H, W) bool, pixels of `view` inside the camera's image.
    yaw_rad: (B,) float32, heading of the view, counter-clockwise from +x of the map.
    view_position, place_position: (B, 3) float32, metres.
    view_axes, place_axes: (B, 3, 3) float32, forward, left and up as columns.
    recording: (B,) int64, number of the recording; -1 - n for the mirrored recording n.
    panorama: B panoramas of the places, float32 and uint8.
    segmented: the same places in the map that would be built without labels.
    turned_rad: (B,) float32, angle by which the world of the panorama was turned
        counter-clockwise: a view with heading `yaw_rad` looks along `yaw_rad + turned_rad` in it.
    """

    view: Tensor
    mask: Tensor
    mask_confusion: Tensor
    depth: Tensor
    seen: Tensor
    seen_pixels: Tensor
    yaw_rad: Tensor
    view_position: Tensor
    view_axes: Tensor
    place_position: Tensor
    place_axes: Tensor
    recording: Tensor
    panorama: Panoramas
    segmented: Panoramas
    turned_rad: Tensor

    def __len__(self) -> int:
        return len(self.view)

    def to(self, device: torch.device | str) -> PairBatch:
        """Return a copy on another device."""
        return map_tensors(lambda tensor: tensor.to(device), self)


def collate(pairs: Sequence[PairBatch]) -> PairBatch:
    """Concatenate batches; the `collate_fn` of a DataLoader."""
    return map_tensors(lambda *tensors: torch.cat(tensors), *pairs)


def map_tensors(function: Callable[..., Tensor], *records: Record) -> Record:
    """Apply a function to the tensors of equal name in dataclasses of one type, nested ones too."""

    def apply(values: Sequence[Any]) -> Any:
        return (
            function(*values) if isinstance(values[0], Tensor) else map_tensors(function, *values)
        )

    names = [field.name for field in fields(records[0])]  # type: ignore[arg-type]
    return type(records[0])(
        **{name: apply([getattr(record, name) for record in records]) for name in names}
    )
