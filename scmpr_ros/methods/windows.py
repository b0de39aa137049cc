"""Methods that describe a place window by window: what a camera there would see in each heading.

SCM-PR encodes a panorama once for all headings. These methods crop the part that a camera would
see and encode each crop, as their papers do, so a place takes as many passes as there are headings.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scmpr_ros.geometry import AngularGrid
from scmpr_ros.methods.network import PlaceDescription, PlaceNetwork
from scmpr_ros.methods.views import PlaceView, QueryView


class WindowNetwork(PlaceNetwork):
    """Describes one heading window of each place at a time."""

    @property
    def descriptor_dim(self) -> int:
        """D of the descriptors."""
        raise NotImplementedError

    def describe_window(self, window: PlaceView) -> Tensor:
        """Describe B windows, see `PlaceView.window`, by unit descriptors (B, D)."""
        raise NotImplementedError

    def describe_pairs(self, view: QueryView, window: PlaceView) -> tuple[Tensor, Tensor]:
        """Describe B images and B windows, (B, D) each, to learn from.

        Networks that encode both by the same layers encode them together: batch norms would
        otherwise take statistics of one modality at a time, and use those of both later.
        """
        context = view.pixels.new_zeros(0, 0)
        return self.describe_query(view, context).descriptor, self.describe_window(window)

    def describe_place(self, place: PlaceView) -> PlaceDescription:
        """Describe the windows of all headings."""
        count, fov_rad = len(place.panoramas.range_m), self.config.view.fov_rad
        headings = self.headings_rad.to(place.panoramas.range_m)
        windows = (place.window(yaw.expand(count), fov_rad) for yaw in headings)
        return PlaceDescription(torch.stack([self.describe_window(x) for x in windows], dim=1))

    def grey_ranges(self, window: PlaceView) -> Tensor:
        """Ranges of B windows as grey images (B, 1, H, W) of the view's size, white at
        `max_range_m`; black where nothing returns."""
        reach_m = self.config.max_range_m
        return ranges_in_view(window, self.config.view)[:, None].clamp_max(reach_m) / reach_m

    def nearest_heading(self, yaw_rad: Tensor) -> Tensor:
        """The heading nearest to each yaw among those that places are described in, radians."""
        step = 2 * math.pi / self.config.num_headings
        return torch.round(yaw_rad / step) * step


def ranges_in_view(window: PlaceView, view: AngularGrid) -> Tensor:
    """Ranges (B, H, W) of B windows in the directions of a view's cells, metres; 0 for no return.

    So an object has the same place and size in the image of a camera and in that of a window.
    """
    rows = torch.from_numpy(window.grid.rows(view.elevations())).floor().long()
    columns = torch.from_numpy(window.grid.columns(view.azimuths())).floor().long()
    range_m = window.panoramas.range_m
    rows, columns = (
        index.clamp(0, size - 1).to(range_m.device)
        for index, size in ((rows, window.grid.height), (columns, window.grid.width))
    )
    return range_m[:, rows[:, None], columns]
