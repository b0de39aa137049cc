"""Cross-batch memory (Wang et al. 2020): descriptors of earlier batches as further negatives.

Weights move slowly, so the descriptors of recent batches are nearly what they would be now. They
carry no gradient, and cost little memory.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scmpr_ros.methods.contrast import Viewpoints, ambiguous_pairs, cosines

NO_RECORDING = torch.iinfo(torch.int64).min
"""Number in empty slots; mirrored recordings have the numbers from -1 downwards."""


class DescriptorMemory(nn.Module):
    """The last `size` places with all their windows, saved and resumed with a run's state."""

    def __init__(self, size: int, headings: int, dim: int) -> None:
        super().__init__()
        self.descriptors: Tensor
        self.positions: Tensor
        self.recordings: Tensor
        self.turned_rad: Tensor
        self.register_buffer("descriptors", torch.zeros(size, headings, dim))
        self.register_buffer("positions", torch.zeros(size, 3))
        self.register_buffer("recordings", torch.full((size,), NO_RECORDING))
        self.register_buffer("turned_rad", torch.zeros(size))

    def similarity(
        self, descriptors: Tensor, images: Viewpoints, headings_rad: Tensor, radius_m: float,
        angle_rad: float,
    ) -> Tensor:  # fmt: skip
        """Cosines (B, size * V) of images (B, D) with the remembered windows.

        -1 for empty slots and for places that are ambiguous, see `ambiguous_pairs`.
        """
        if len(self.recordings) == 0:
            return descriptors.new_zeros(len(descriptors), 0)
        # Copied, because `remember` overwrites the buffer before the backward pass.
        similarity = cosines(descriptors, self.descriptors.clone())
        places = Viewpoints(self.positions, self.recordings, self.turned_rad)
        ambiguous = ambiguous_pairs(images, places, headings_rad, radius_m, angle_rad)
        ambiguous = ambiguous | (self.recordings == NO_RECORDING)[None, :, None]
        return similarity.masked_fill(ambiguous, -1.0).flatten(1)

    @torch.no_grad()
    def remember(self, descriptors: Tensor, places: Viewpoints) -> None:
        """Store places (B, V, D) and forget the oldest."""
        size = len(self.recordings)
        for kept, new in (
            (self.descriptors, descriptors), (self.positions, places.position),
            (self.recordings, places.recording), (self.turned_rad, places.yaw_rad),
        ):  # fmt: skip
            kept.copy_(torch.cat([new.detach().to(kept), kept])[:size])
