"""The network's view of a camera image: the image resampled to equal steps of angle.

Cameras differ in resolution, focal length and tilt. Every image is therefore resampled, by its
intrinsics, to one `AngularGrid`, in which an object has the same shape as in the map's panoramas
for any camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from scmpr_ros.geometry import R_BODY_OPTICAL, AngularGrid
from scmpr_ros.records import CameraModel


@dataclass(frozen=True)
class ViewSampler:
    """Where each cell of a grid lies in a camera's image.

    coordinates: (H, W, 2) float32, (u, v) in [-1, 1] from image edge to image edge.
    seen: (H, W) bool, cells inside the camera's image.
    shrink: factor by which images are scaled down first, to avoid aliasing.
    """

    coordinates: Tensor
    seen: Tensor
    shrink: float

    @classmethod
    def of(
        cls,
        camera: CameraModel,
        grid: AngularGrid,
        R_level_body: NDArray[np.float64] | None = None,
    ) -> ViewSampler:
        """Build the sampler of a camera.

        R_level_body: (3, 3) roll and pitch of the camera's body axes relative to the horizon;
            None for a level camera.
        """
        directions = grid.directions()
        if R_level_body is not None:
            directions = directions @ R_level_body  # d_body = R_level_body^T d_level
        optical = directions @ R_BODY_OPTICAL
        uv, seen = camera.project(optical.reshape(-1, 3))
        size = np.array([camera.width, camera.height])
        normalised = (uv + 0.5) / size * 2 - 1
        normalised[~seen] = 2.0  # outside the image
        shrink = min(1.0, 1.0 / (camera.fx * min(grid.column_rad, grid.row_rad)))
        shape = (grid.height, grid.width)
        return cls(
            torch.from_numpy(normalised.reshape(*shape, 2)).float(),
            torch.from_numpy(seen.reshape(shape)),
            shrink,
        )

    def to(self, device: torch.device | str) -> ViewSampler:
        """Move the sampler to a device."""
        return ViewSampler(self.coordinates.to(device), self.seen.to(device), self.shrink)

    def image(self, image: Tensor) -> Tensor:
        """Resample images (B, 3, h, w), uint8 or in [0, 1], to (B, 3, H, W) in [0, 1].

        Unseen cells are zero.
        """
        if image.is_cuda:  # torch scales uint8 down on CPUs only, where it is the fastest
            image = in_unit_range(image)
        if self.shrink < 1:
            size = [max(1, round(side * self.shrink)) for side in image.shape[-2:]]
            image = functional.interpolate(image, size, mode="bilinear", antialias=True)
        return self._sample(in_unit_range(image), "bilinear")

    def labels(self, labels: Tensor) -> Tensor:
        """Resample class ids (B, h, w) to (B, H, W) by nearest neighbour; unseen: `ignore`."""
        return self._sample(labels[:, None].float(), "nearest")[:, 0].to(labels.dtype)

    def _sample(self, image: Tensor, mode: str) -> Tensor:
        grid = self.coordinates.expand(len(image), -1, -1, -1)
        return functional.grid_sample(image, grid, mode=mode, align_corners=False)


def in_unit_range(image: Tensor) -> Tensor:
    """Images in [0, 1], float32, of uint8 ones or of ones in that range."""
    return image.float() / 255 if image.dtype == torch.uint8 else image
