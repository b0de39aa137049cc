"""Nearest-neighbour search of descriptors.

Exact by FAISS on the CPU, or by a matrix product on a GPU; maps that are too large for that have a
compressed index.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scmpr_ros.errors import ScmprError, ShapeError
from scmpr_ros.retrieval.compressed_index import (
    AUTO,
    EXACT,
    CompressedSearch,
    SavedIndex,
    build_index,
    index_spec,
    read_index,
)
from scmpr_ros.retrieval.tiled_array import PlaceArray

_BLOCK_PLACES = 512
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Neighbours:
    """The K nearest viewpoints of a query, best first.

    place, heading: (K,) int64 indices. phi: (K,) float32, cosine of the descriptors.
    """

    place: Tensor
    heading: Tensor
    phi: Tensor

    def __add__(self, other: Neighbours) -> Neighbours:
        """Both, these first."""
        return Neighbours(
            torch.cat([self.place, other.place]), torch.cat([self.heading, other.heading]),
            torch.cat([self.phi, other.phi]),
        )  # fmt: skip


class DescriptorIndex:
    """Search by inner product, which is the cosine phi as descriptors have unit length.

    For exact search, descriptors are copied in the float16 of the place map. Products are summed
    in float32.
    """

    def __init__(
        self,
        descriptors: PlaceArray,
        device: torch.device | str = "cpu",
        compressed: faiss.Index | None = None,
    ) -> None:
        """Index descriptors (P, V, D) for queries on `device`.

        compressed: index of these descriptors; None to search exactly.
        """
        self._places, self._headings, self._dim = descriptors.shape
        self._search: _Search
        if compressed is not None:
            self._search = CompressedSearch(compressed, descriptors)
        elif torch.device(device).type == "cpu":
            self._search = _FaissSearch(descriptors)
        else:
            self._search = _TorchSearch(descriptors, device)

    @classmethod
    def of(
        cls,
        descriptors: PlaceArray,
        setting: str = AUTO,
        saved: SavedIndex | None = None,
        device: torch.device | str = "cpu",
    ) -> DescriptorIndex:
        """Open the index that a map was saved with, or make another.

        Args:
            descriptors: (P, V, D) of the map.
            setting: `exact`, a FAISS factory string, or `auto`: that of the map, and `exact` on a
                GPU.
            saved: index of the map.
            device: of the queries.

        Raises MapFormatError if the saved index is damaged, and ConfigError for an unknown setting.
        """
        places, headings, dim = descriptors.shape
        if setting == AUTO and torch.device(device).type != "cpu":
            setting = EXACT
        if saved is not None and setting in (AUTO, saved.spec):
            content = saved.checked_content()
            index = None if content is None else read_index(content, descriptors.shape, saved.name)
            return cls(descriptors, device, index)
        spec = index_spec(setting, places * headings, dim)
        if spec != EXACT:
            _log.info("making the index %s of %d viewpoints; `edit_map index` saves it",
                      spec, places * headings)  # fmt: skip
        made = build_index(descriptors, spec)
        if made is None:
            return cls(descriptors, device)
        return cls(descriptors, device, read_index(made, descriptors.shape, spec))

    def search(
        self, descriptor: Tensor, k: int, allowed: NDArray[np.bool_] | None = None
    ) -> Neighbours:
        """Find the k nearest viewpoints of a descriptor (D,), or all if there are fewer.

        allowed: (P,) places to search; None for all.

        Raises ShapeError for arguments of another shape, and ScmprError if the descriptor is not
        finite.
        """
        if descriptor.shape != (self._dim,):
            raise ShapeError.of("descriptor", f"({self._dim},)", tuple(descriptor.shape))
        if not descriptor.isfinite().all():
            raise ScmprError(
                "the descriptor of the image is not finite: check the network's weights, or set "
                "precision to float32"
            )
        if allowed is not None:
            if allowed.shape != (self._places,) or allowed.dtype != np.bool_:
                raise ShapeError.of("allowed", f"({self._places},) bool", allowed.shape)
            k = min(k, int(allowed.sum()) * self._headings)
        phi, row = self._search(descriptor.float(), k, allowed)
        place = torch.div(row, self._headings, rounding_mode="floor")
        return Neighbours(place, row % self._headings, phi)

    @property
    def bytes_read(self) -> int:
        """Bytes of descriptors or of their codes that a search reads, about."""
        return self._search.bytes_read

    def compare(
        self, descriptor: Tensor, place: NDArray[np.int64], heading: NDArray[np.int64]
    ) -> Neighbours:
        """Compare a descriptor (D,) with given viewpoints (M,), in their order."""
        rows = self._search.rows(place * self._headings + heading)
        phi = rows.to(descriptor.device) @ descriptor.float()
        return Neighbours(
            torch.from_numpy(place).to(phi.device), torch.from_numpy(heading).to(phi.device), phi
        )


class _Search(Protocol):
    """Returns phi (K,) float32 and indices (K,) int64 of the rows nearest to a descriptor (D,).

    allowed: (P,) places to search, with at least k viewpoints; None for all.
    """

    def __call__(
        self, descriptor: Tensor, k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[Tensor, Tensor]: ...

    @property
    def bytes_read(self) -> int:
        """Bytes that a call reads, about."""

    def rows(self, indices: NDArray[np.int64]) -> Tensor:
        """Descriptors (M, D) float32 of some rows."""


class _FaissSearch:
    """FAISS on one thread.

    Shards would use several threads, but FAISS's idle threads spin and slow the network's threads
    down by twice the time that shards save.
    """

    def __init__(self, descriptors: PlaceArray) -> None:
        _, self._headings, dim = descriptors.shape
        half = faiss.ScalarQuantizer.QT_fp16
        self._index = faiss.IndexScalarQuantizer(dim, half, faiss.METRIC_INNER_PRODUCT)
        # avoids a float32 copy of the whole map
        for begin in range(0, len(descriptors), _BLOCK_PLACES):
            block = np.asarray(descriptors[begin : begin + _BLOCK_PLACES], np.float32)
            self._index.add(np.ascontiguousarray(block.reshape(-1, dim)))

    def __call__(
        self, descriptor: Tensor, k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[Tensor, Tensor]:
        query = np.ascontiguousarray(descriptor[None].numpy())
        parameters = None
        if allowed is not None:
            rows = np.repeat(allowed, self._headings)
            bits = np.packbits(rows, bitorder="little")  # must outlive the search
            selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
            parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        phi, row = self._index.search(query, min(k, self._index.ntotal), params=parameters)
        return torch.from_numpy(phi[0]), torch.from_numpy(row[0])

    @property
    def bytes_read(self) -> int:
        return int(self._index.ntotal * self._index.sa_code_size())

    def rows(self, indices: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self._index.reconstruct_batch(indices))


class _TorchSearch:
    """One matrix-vector product, the fastest exact search on a GPU."""

    def __init__(self, descriptors: PlaceArray, device: torch.device | str) -> None:
        _, self._headings, dim = descriptors.shape
        rows = np.array(descriptors, np.float16).reshape(-1, dim)
        self._rows = torch.from_numpy(rows).to(device)

    def __call__(
        self, descriptor: Tensor, k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[Tensor, Tensor]:
        k = min(k, len(self._rows))
        # A float16 product is rounded to float16: score more than k rows again in float32.
        coarse = self._rows @ descriptor.half()
        count = len(self._rows)
        if allowed is not None:
            rows = torch.from_numpy(np.repeat(allowed, self._headings)).to(coarse.device)
            coarse[~rows] = -torch.inf
            count = int(rows.sum())
        shortlist = coarse.topk(min(4 * k, count)).indices
        phi, best = (self._rows[shortlist].float() @ descriptor).topk(k)
        return phi, shortlist[best]

    @property
    def bytes_read(self) -> int:
        return self._rows.nbytes

    def rows(self, indices: NDArray[np.int64]) -> Tensor:
        return self._rows[torch.from_numpy(indices).to(self._rows.device)].float()
