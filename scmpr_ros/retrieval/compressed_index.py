"""Search of the descriptors of a large map: compressed codes first, exact products of few after.

A FAISS index ranks all viewpoints by codes of a few bytes. Heading windows overlap, so neighbouring
headings of a place are alike: the best viewpoints name places, and of these all headings are read
from the map and compared exactly. So phi is exact, and a viewpoint whose code ranks it low is found
beside its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scmpr_ros.errors import ConfigError, MapFormatError
from scmpr_ros.retrieval.stored_files import checksum_of
from scmpr_ros.retrieval.tiled_array import PlaceArray

EXACT = "exact"
"""The index that needs no file: all descriptors, in float16."""
AUTO = "auto"
_EXACT_VIEWPOINTS = 60_000
_TRAINING_ROWS = 100_000
_PCA_DIM = 96
_PROBES = 32
"""Lists of an IVF index that are looked through, at least; or one in so many."""
_BLOCK_PLACES = 512
_SCANNED_VIEWPOINTS = 1000
_REFINED_PLACES = 100
"""Places whose headings are compared exactly, at least."""


def index_spec(index: str, viewpoints: int, dim: int) -> str:
    """Resolve the setting `auto` for a map: `exact`, or a FAISS factory string.

    dim: of the descriptors.
    """
    if index != AUTO:
        return index
    if viewpoints <= _EXACT_VIEWPOINTS:
        return EXACT
    lists = 2 ** round(np.log2(4 * np.sqrt(viewpoints)))
    reduced = f"PCA{_PCA_DIM}," if dim > _PCA_DIM else ""
    return f"{reduced}IVF{lists},SQ8"


def build_index(descriptors: PlaceArray, spec: str) -> NDArray[np.uint8] | None:
    """The file of an index of descriptors (P, V, D), as bytes; None if `exact`.

    The same descriptors give the same bytes. Raises ConfigError if `spec` is no factory string, or
    none that suits that many descriptors.
    """
    if spec == EXACT:
        return None
    places, headings, dim = descriptors.shape
    sample = _rows(descriptors, np.arange(0, places, max(1, places * headings // _TRAINING_ROWS)))
    try:
        index = faiss.index_factory(dim, spec, faiss.METRIC_INNER_PRODUCT)
        _centre_at_zero(index, sample)
        index.train(sample)
        for begin in range(0, places, _BLOCK_PLACES):
            index.add(_rows(descriptors, slice(begin, begin + _BLOCK_PLACES)))
    except RuntimeError as error:
        reason = str(error).split("Error: ")[-1].splitlines()[0]
        raise ConfigError(
            f"index {spec!r} cannot be made of {places * headings} descriptors of {dim} numbers: "
            f"{reason}; use auto, exact or another FAISS factory string"
        ) from None
    _set_probes(index)
    return np.asarray(faiss.serialize_index(index))


def read_index(content: NDArray[np.uint8], shape: tuple[int, int, int], name: str) -> faiss.Index:
    """The index in a file's bytes, which must have been compared with their checksum.

    shape: of the descriptors, (P, V, D). name: of the file.

    Raises MapFormatError if it is none, or not of that many descriptors.
    """
    try:
        index = faiss.deserialize_index(np.array(content))
    except RuntimeError as error:
        reason = str(error).split("Error: ")[-1].splitlines()[0]
        raise MapFormatError(f"{name} is no FAISS index ({reason}); build it again") from None
    places, headings, dim = shape
    if (index.ntotal, index.d) != (places * headings, dim):
        raise MapFormatError(
            f"{name} holds {index.ntotal} descriptors of {index.d} numbers, expected "
            f"{places * headings} of {dim}; build it again"
        )
    return index


@dataclass(frozen=True)
class SavedIndex:
    """The index in a map's folder.

    name: of the file. spec: its FAISS factory string. content: its bytes, memory-mapped.
    checksum: expected, blake2b.
    """

    name: str
    spec: str
    content: NDArray[np.uint8]
    checksum: str

    def checked_content(self) -> NDArray[np.uint8]:
        """Read all of it, as FAISS trusts what it is given; raise MapFormatError if it changed."""
        if checksum_of(self.content) != self.checksum:
            raise MapFormatError(
                f"{self.name} is damaged (checksum): restore it, or run `edit_map index`"
            )
        return self.content


class CompressedSearch:
    """Finds viewpoints by an index, on one thread, and compares their places exactly."""

    def __init__(self, index: faiss.Index, descriptors: PlaceArray) -> None:
        """Take the index of descriptors (P, V, D), which stay where they are."""
        self._index, self._descriptors = index, descriptors
        self._headings = descriptors.shape[1]

    def __call__(
        self, descriptor: Tensor, k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[Tensor, Tensor]:
        """See `index.DescriptorIndex`."""
        query = descriptor.cpu()
        places = self._candidates(query, k, allowed)
        phi = torch.cat(
            [
                torch.from_numpy(_rows(self._descriptors, places[begin : begin + _BLOCK_PLACES]))
                @ query
                for begin in range(0, len(places), _BLOCK_PLACES)
            ]
        )
        phi, best = phi.topk(min(k, len(phi)))
        place = torch.from_numpy(places)[best // self._headings]
        rows = place * self._headings + best % self._headings
        return phi.to(descriptor.device), rows.to(descriptor.device)

    def rows(self, indices: NDArray[np.int64]) -> Tensor:
        """Descriptors (M, D) float32 of some viewpoints."""
        place, heading = np.divmod(indices, self._headings)
        return torch.from_numpy(np.asarray(self._descriptors[place, heading], np.float32))

    def _candidates(
        self, query: Tensor, k: int, allowed: NDArray[np.bool_] | None
    ) -> NDArray[np.int64]:
        """Places to be compared exactly, in the order of their indices."""
        every = np.arange(len(self._descriptors)) if allowed is None else np.flatnonzero(allowed)
        wanted = max(_REFINED_PLACES, k)
        if len(every) <= wanted:
            return every
        rows = self._nearest(query, max(_SCANNED_VIEWPOINTS, 10 * k), allowed)
        places, first = np.unique(rows // self._headings, return_index=True)
        if len(places) * self._headings < k:  # few allowed ones lie where the index looks
            return every
        return np.sort(places[np.argsort(first)[:wanted]])

    def _nearest(
        self, query: Tensor, count: int, allowed: NDArray[np.bool_] | None
    ) -> NDArray[np.int64]:
        """Viewpoints by their codes, best first; none if the index takes no restriction."""
        parameters = None
        if allowed is not None:
            bits = np.packbits(np.repeat(allowed, self._headings), bitorder="little")
            selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))  # keeps no copy
            parameters = _parameters(self._index, selector)
        try:
            count = min(count, self._index.ntotal)
            _, rows = self._index.search(query[None].numpy(), count, params=parameters)
        except RuntimeError:
            if allowed is None:
                raise
            return np.zeros(0, np.int64)
        return rows[0][rows[0] >= 0]


def _parameters(index: faiss.Index, selector: faiss.IDSelector) -> faiss.SearchParameters:
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        inner = _parameters(index.index, selector)
        return faiss.SearchParametersPreTransform(index_params=inner)
    if isinstance(index, faiss.IndexIVF):
        return faiss.SearchParametersIVF(sel=selector, nprobe=index.nprobe)
    return faiss.SearchParameters(sel=selector)


def _centre_at_zero(index: faiss.Index, sample: NDArray[np.float32]) -> None:
    """Train the PCA that an index begins with around zero instead of the mean.

    Inner products change by different amounts for different descriptors if a mean is subtracted.
    """
    if isinstance(index, faiss.IndexPreTransform):
        transform = faiss.downcast_VectorTransform(index.chain.at(0))
        if isinstance(transform, faiss.PCAMatrix):
            transform.train(np.concatenate([sample, -sample]))


def _set_probes(index: faiss.Index) -> None:
    """Choose how many of an index's lists are looked through; it is stored with the index."""
    try:
        lists = faiss.extract_index_ivf(index)
    except RuntimeError:  # it has none
        return
    lists.nprobe = max(_PROBES, lists.nlist // _PROBES)


def _rows(descriptors: PlaceArray, places: Any) -> NDArray[np.float32]:
    rows = np.asarray(descriptors[places], np.float32)
    return np.ascontiguousarray(rows.reshape(-1, rows.shape[-1]))
