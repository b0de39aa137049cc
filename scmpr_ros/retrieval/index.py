"""Nearest descriptors of a place map, by FAISS."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ShapeError


@dataclass(frozen=True)
class Neighbours:
    """The K nearest (place, heading) of a query: indices (K,) and phi (K,), best first."""

    place: NDArray[np.int64]
    heading: NDArray[np.int64]
    phi: NDArray[np.float32]


class DescriptorIndex:
    """Exact inner-product search; descriptors have unit length, so phi is their cosine."""

    def __init__(self, descriptors: NDArray[np.floating]) -> None:
        """Index descriptors (P, V, D)."""
        self._headings = descriptors.shape[1]
        self._index = faiss.IndexFlatIP(descriptors.shape[2])
        self._index.add(np.ascontiguousarray(descriptors, np.float32).reshape(-1, self._index.d))

    def search(self, descriptor: NDArray[np.floating], k: int) -> Neighbours:
        """Find the k nearest of a descriptor (D,); fewer where the map is smaller than k."""
        if descriptor.shape != (self._index.d,):
            raise ShapeError.of("descriptor", f"({self._index.d},)", descriptor.shape)
        query = np.ascontiguousarray(descriptor[None], np.float32)
        phi, row = self._index.search(query, min(k, self._index.ntotal))
        return Neighbours(row[0] // self._headings, row[0] % self._headings, phi[0])
