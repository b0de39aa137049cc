"""From a reader's answer, on the image's pixels, to the cells of the mask grid."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from scmpr_ros.geometry import R_BODY_OPTICAL, AngularGrid
from scmpr_ros.networks.readers.input import Placement
from scmpr_ros.networks.view import ViewSampler
from scmpr_ros.records import CameraModel

_SUBDIVISION = 8
"""Samples to a side of each cell: a pole of two pixels is met in images of KITTI's size."""


class Cells:
    """The mask grid, each cell divided into samples that are averaged.

    seen: (h, w) bool, cells of which the image shows at least a part.
    axial: (8h, 8w) float32, component along the optical axis of each sample's unit ray.
    directions: (8h, 8w, 3) float32, unit rays in the camera's levelled body frame.
    """

    def __init__(
        self,
        camera: CameraModel,
        grid: AngularGrid,
        R_level_camera: NDArray[np.float64],
        device: torch.device,
    ) -> None:
        """R_level_camera: as for `ViewSampler.of`."""
        fine = grid.resized(grid.height * _SUBDIVISION, grid.width * _SUBDIVISION)
        sampler = ViewSampler.of(camera, fine, R_level_camera).to(device)
        directions = fine.directions()
        optical = directions @ R_level_camera @ R_BODY_OPTICAL
        self.directions = torch.from_numpy(directions).float().to(device)
        self.axial = torch.from_numpy(optical[..., 2]).float().to(device)
        self.seen_samples = sampler.seen
        self._coordinates = sampler.coordinates
        self._weight = sampler.seen[None, None].float()
        self._part_seen = functional.avg_pool2d(self._weight, _SUBDIVISION)
        self.seen = self._part_seen[0, 0] > 0

    def sample_image(self, answer: Tensor, placement: Placement) -> Tensor:
        """Nearest value (1, C, 8h, 8w) of an answer (1, C, ., .) that covers a reader's input."""
        offset = answer.new_tensor([placement.left, placement.top])
        extent = answer.new_tensor([placement.width, placement.height])
        where = 2 * offset + extent * (self._coordinates + 1) - 1
        return functional.grid_sample(
            answer, where[None], "nearest", padding_mode="border", align_corners=False
        )

    def sample_view(self, answer: Tensor) -> Tensor:
        """Nearest value (1, C, 8h, 8w) of an answer (1, C, ., .) that covers the view."""
        return functional.interpolate(answer, self._coordinates.shape[:2], mode="nearest")

    def average(self, samples: Tensor) -> Tensor:
        """Mean over each cell (1, C, h, w) of the samples (1, C, 8h, 8w) that the image shows."""
        total = functional.avg_pool2d(samples * self._weight, _SUBDIVISION)
        return total / self._part_seen.clamp_min(1e-6)

    def to_samples(self, cells: Tensor) -> Tensor:
        """Repeat values of cells (1, C, h, w) for their samples: (1, C, 8h, 8w)."""
        return functional.interpolate(cells, scale_factor=_SUBDIVISION, mode="nearest")
