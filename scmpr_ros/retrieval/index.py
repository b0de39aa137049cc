"""Nearest descriptors of a place map: FAISS on the CPU, one product on a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scmpr_ros.errors import ShapeError

_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class Neighbours:
    """The K nearest (place, heading) of a query: indices (K,) int64 and phi (K,), best first."""

    place: Tensor
    heading: Tensor
    phi: Tensor


class DescriptorIndex:
    """Exact inner-product search; descriptors have unit length, so phi is their cosine.

    They stay in the float16 in which a map holds them; products are summed in float32.
    """

    def __init__(
        self, descriptors: NDArray[np.floating], device: torch.device | str = "cpu"
    ) -> None:
        """Index descriptors (P, V, D) for queries on a device."""
        self._places, self._headings, self._dim = descriptors.shape
        rows = descriptors.reshape(-1, self._dim)
        on_cpu = torch.device(device).type == "cpu"
        self._search: _Search = _FaissSearch(rows) if on_cpu else _TorchSearch(rows, device)

    def search(
        self, descriptor: Tensor, k: int, allowed: NDArray[np.bool_] | None = None
    ) -> Neighbours:
        """Find the k nearest of a descriptor (D,); fewer where there are less than k.

        allowed: (P,) places to look in; all where it is None.
        """
        if descriptor.shape != (self._dim,):
            raise ShapeError.of("descriptor", f"({self._dim},)", tuple(descriptor.shape))
        rows = None
        if allowed is not None:
            if allowed.shape != (self._places,) or allowed.dtype != np.bool_:
                raise ShapeError.of("allowed", f"({self._places},) bool", allowed.shape)
            rows = np.repeat(allowed, self._headings)
            k = min(k, int(rows.sum()))
        phi, row = self._search(descriptor.float(), k, rows)
        place = torch.div(row, self._headings, rounding_mode="floor")
        return Neighbours(place, row % self._headings, phi)


class _Search(Protocol):
    """phi (K,) and row numbers (K,) of the K rows nearest to a descriptor (D,), best first.

    allowed: (P * V,) rows to look at; k is not more than there are of them.
    """

    def __call__(
        self, descriptor: Tensor, k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[Tensor, Tensor]: ...


class _FaissSearch:
    """FAISS, on one thread.

    Rows could be spread over shards, one a thread. But FAISS's threads are not torch's: they wait
    by spinning, and the network, which comes next, then takes twice the time that shards save.
    """

    def __init__(self, rows: NDArray[np.floating]) -> None:
        half = faiss.ScalarQuantizer.QT_fp16
        self._index = faiss.IndexScalarQuantizer(rows.shape[1], half, faiss.METRIC_INNER_PRODUCT)
        for begin in range(0, len(rows), _ROWS_AT_ONCE):  # in float32 a map is twice as large
            block = rows[begin : begin + _ROWS_AT_ONCE]
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


class _TorchSearch:
    """One matrix-vector product: for a GPU no search is faster that is exact."""

    def __init__(self, rows: NDArray[np.floating], device: torch.device | str) -> None:
        self._rows = torch.from_numpy(np.ascontiguousarray(rows)).half().to(device)

    def __call__(
        self, descriptor: Tensor, k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[Tensor, Tensor]:
        k = min(k, len(self._rows))
        # A product of halves is rounded to a half, so more than k are scored again in float32.
        coarse = self._rows @ descriptor.half()
        most = len(self._rows)
        if allowed is not None:
            coarse[~torch.from_numpy(allowed).to(coarse.device)] = -torch.inf
            most = int(allowed.sum())
        shortlist = coarse.topk(min(4 * k, most)).indices
        phi, best = (self._rows[shortlist].float() @ descriptor).topk(k)
        return phi, shortlist[best]
