"""Methods that describe a place window by window: what a camera there would see in each heading.

SCM-PR encodes a panorama once for all headings. These methods crop the part that a camera would
see and encode each crop, as their papers do, so a place takes as many passes as there are headings.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from scmpr_ros.methods.network import PlaceDescription, PlaceNetwork
from scmpr_ros.methods.views import PlaceView


class WindowNetwork(PlaceNetwork):
    """Describes one heading window of each place at a time."""

    @property
    def descriptor_dim(self) -> int:
        """D of the descriptors."""
        raise NotImplementedError

    def describe_window(self, window: PlaceView) -> Tensor:
        """Describe B windows, see `PlaceView.window`, by unit descriptors (B, D)."""
        raise NotImplementedError

    def describe_place(self, place: PlaceView) -> PlaceDescription:
        """Describe the windows of all headings."""
        count, fov_rad = len(place.panoramas.range_m), self.config.view.fov_rad
        headings = self.headings_rad.to(place.panoramas.range_m)
        windows = (place.window(yaw.expand(count), fov_rad) for yaw in headings)
        return PlaceDescription(torch.stack([self.describe_window(x) for x in windows], dim=1))

    def nearest_heading(self, yaw_rad: Tensor) -> Tensor:
        """The heading nearest to each yaw among those that places are described in, radians."""
        step = 2 * math.pi / self.config.num_headings
        return torch.round(yaw_rad / step) * step


def range_image(window: PlaceView, max_range_m: float, size: tuple[int, int]) -> Tensor:
    """Ranges of B windows as grey levels (B, 1, *size) in [0, 1]; 0 where nothing returns."""
    image = window.panoramas.range_m[:, None].clamp_max(max_range_m) / max_range_m
    return functional.interpolate(image, size, mode="nearest")
