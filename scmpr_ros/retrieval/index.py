"""Exact nearest-neighbour search of descriptors: FAISS on the CPU, a matrix product on a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scmpr_ros.errors import ConfigError, ScmprError, ShapeError

EXACT = "exact"
_BLOCK_ROWS = 16_384


def index_spec(index: str, viewpoints: int) -> str:
    """Resolve `auto` for a map of some viewpoints: `exact`, or a FAISS factory string."""
    return EXACT if index == "auto" else index


def build_index(descriptors: Any, spec: str) -> bytes | None:
    """The file of an index of descriptors (P, V, D); None if `exact`, which needs none."""
    if spec == EXACT:
        return None
    raise ConfigError(f"index {spec!r}: only exact is available")


def read_index(content: Any, shape: tuple[int, int, int], name: str) -> Any:
    raise ConfigError(name)


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
    """Exact search by inner product, which is the cosine phi as descriptors have unit length.

    Descriptors are copied in the float16 of the place map; products are summed in float32.
    """

    def __init__(
        self, descriptors: NDArray[np.floating], device: torch.device | str = "cpu"
    ) -> None:
        """Index descriptors (P, V, D) for queries on `device`."""
        self._places, self._headings, self._dim = descriptors.shape
        rows = descriptors.reshape(-1, self._dim)
        on_cpu = torch.device(device).type == "cpu"
        self._search: _Search = _FaissSearch(rows) if on_cpu else _TorchSearch(rows, device)

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
        rows = None
        if allowed is not None:
            if allowed.shape != (self._places,) or allowed.dtype != np.bool_:
                raise ShapeError.of("allowed", f"({self._places},) bool", allowed.shape)
            rows = np.repeat(allowed, self._headings)
            k = min(k, int(rows.sum()))
        phi, row = self._search(descriptor.float(), k, rows)
        place = torch.div(row, self._headings, rounding_mode="floor")
        return Neighbours(place, row % self._headings, phi)

    def compare(
        self, descriptor: Tensor, place: NDArray[np.int64], heading: NDArray[np.int64]
    ) -> Neighbours:
        """Compare a descriptor (D,) with given viewpoints (M,), in their order."""
        phi = self._search.rows(place * self._headings + heading) @ descriptor.float()
        return Neighbours(
            torch.from_numpy(place).to(phi.device), torch.from_numpy(heading).to(phi.device), phi
        )


class _Search(Protocol):
    """Returns phi (K,) float32 and indices (K,) int64 of the rows nearest to a descriptor (D,).

    allowed: (P * V,) rows to search, at least k; None for all.
    """

    def __call__(
        self, descriptor: Tensor, k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[Tensor, Tensor]: ...

    def rows(self, indices: NDArray[np.int64]) -> Tensor:
        """Descriptors (M, D) float32 of some rows."""


class _FaissSearch:
    """FAISS on one thread.

    Shards would use several threads, but FAISS's idle threads spin and slow the network's threads
    down by twice the time that shards save.
    """

    def __init__(self, rows: NDArray[np.floating]) -> None:
        half = faiss.ScalarQuantizer.QT_fp16
        self._index = faiss.IndexScalarQuantizer(rows.shape[1], half, faiss.METRIC_INNER_PRODUCT)
        for begin in range(0, len(rows), _BLOCK_ROWS):  # avoids a float32 copy of the whole map
            block = rows[begin : begin + _BLOCK_ROWS]
            self._index.add(np.ascontiguousarray(block, np.float32))

    def __call__(
        self, descriptor: Tensor, k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[Tensor, Tensor]:
        query = np.ascontiguousarray(descriptor[None].numpy())
        parameters = None
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")  # must outlive the search
            selector = faiss.IDSelectorBitmap(len(allowed), faiss.swig_ptr(bits))
            parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        phi, row = self._index.search(query, min(k, self._index.ntotal), params=parameters)
        return torch.from_numpy(phi[0]), torch.from_numpy(row[0])

    def rows(self, indices: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self._index.reconstruct_batch(indices))


class _TorchSearch:
    """One matrix-vector product, the fastest exact search on a GPU."""

    def __init__(self, rows: NDArray[np.floating], device: torch.device | str) -> None:
        self._rows = torch.from_numpy(np.ascontiguousarray(rows)).half().to(device)

    def __call__(
        self, descriptor: Tensor, k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[Tensor, Tensor]:
        k = min(k, len(self._rows))
        # A float16 product is rounded to float16: score more than k rows again in float32.
        coarse = self._rows @ descriptor.half()
        count = len(self._rows)
        if allowed is not None:
            coarse[~torch.from_numpy(allowed).to(coarse.device)] = -torch.inf
            count = int(allowed.sum())
        shortlist = coarse.topk(min(4 * k, count)).indices
        phi, best = (self._rows[shortlist].float() @ descriptor).topk(k)
        return phi, shortlist[best]

    def rows(self, indices: NDArray[np.int64]) -> Tensor:
        return self._rows[torch.from_numpy(indices).to(self._rows.device)].float()
