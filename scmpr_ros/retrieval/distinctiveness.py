"""How well the descriptors of places tell them apart from places elsewhere."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from scmpr_ros.retrieval.place_map import PlaceMap

_HEADINGS = 6
"""Compared of each place; each with all headings of the others."""
_BLOCK_PLACES = 32


def distinctiveness(
    place_map: PlaceMap, places: NDArray[np.int64], beyond_m: float = 20.0
) -> NDArray[np.float32]:
    """1 - phi between each of some places and the place elsewhere that is most like it.

    places: (K,) indices; only these are compared with each other. beyond_m: how far away, in x
    and y, a place must be to be elsewhere.

    Returns (K,), the mean over headings: 0 if a place looks the same as one elsewhere, NaN if
    none is that far away.
    """
    positions = torch.from_numpy(np.asarray(place_map.positions[places, :2]))
    descriptors = torch.from_numpy(np.array(place_map.descriptors[places]))
    count, headings, dim = descriptors.shape
    everything = descriptors.reshape(-1, dim).float().T.contiguous()
    chosen = descriptors[:, np.linspace(0, headings, min(_HEADINGS, headings), False).astype(int)]
    nearest = []
    for begin in range(0, count, _BLOCK_PLACES):
        block = slice(begin, begin + _BLOCK_PLACES)
        phi = (chosen[block].float() @ everything).unflatten(-1, (count, headings)).amax(-1)
        near = torch.cdist(positions[block], positions) <= beyond_m
        phi.masked_fill_(near[:, None], -torch.inf)
        nearest.append(phi.amax(-1).mean(-1))
    result = 1 - torch.cat(nearest)
    return torch.where(result.isfinite(), result, torch.nan).numpy()
