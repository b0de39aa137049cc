"""The panoramas of a map's places, brought to a device when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scmpr_ros.errors import MapFormatError
from scmpr_ros.retrieval.tiled_array import PlaceArray
from scmpr_ros.semantics import NUM_CLASSES


class Panoramas:
    """What P places show, in memory or in the files of a map."""

    def __init__(
        self, labels: PlaceArray, ranges_m: PlaceArray, device: torch.device | str = "cpu"
    ) -> None:
        """Take the panoramas of a `PlaceMap`.

        labels: (P, H, W) uint8 joint ids. ranges_m: (P, H, W) float16, 0 without a return.
        """
        self._labels, self._ranges_m = labels, ranges_m
        self.device = torch.device(device)

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def num_cells(self) -> int:
        """Cells of all places."""
        return int(np.prod(self._labels.shape))

    def of(self, places: NDArray[np.int64] | Sequence[int] | slice) -> tuple[Tensor, Tensor]:
        """Labels and ranges (K, H, W) of some places, on the device.

        Raises MapFormatError for an unknown label: files that are mapped are not read before.
        """
        labels, ranges_m = (
            torch.from_numpy(_copied(array[places])).to(self.device)
            for array in (self._labels, self._ranges_m)
        )
        if labels.numel() and labels.max() >= NUM_CLASSES:
            raise MapFormatError(
                f"the map's panoramas hold the unknown label {int(labels.max())}: it is damaged; "
                "run `verify_map` and build it again"
            )
        return labels, ranges_m


def _copied(array: NDArray[Any]) -> NDArray[Any]:
    """An array that torch may share: that of a mapped file cannot be written."""
    return array if array.flags.writeable else array.copy()
