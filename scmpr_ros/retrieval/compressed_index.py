"""Search of the descriptors of a large map, from coarse to fine.

A FAISS index sorts all viewpoints (place, heading) into lists by descriptor, and ranks those of the
lists nearest to the image by short codes. The best of them are compared exactly, with their
descriptors in the files of the map. So phi is exact, and memory holds only the codes.
"""

from __future__ import annotations

import re
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
_ROWS_PER_LIST = 40
"""Descriptors from which the middle of a list is learnt."""
_TRAINING_ROWS = 80_000
_PCA_ROWS = 50_000
_PCA_DIM = 96
_SCANNED, _MIN_PROBES = 65_536, 64
"""Codes that a search reads, about: all of small maps. At least so many lists are read."""
_REFINED = 200
"""Viewpoints that are compared exactly, at least."""
_REFINED_PER_RESULT = 5
_BLOCK_PLACES = 512
_BLOCK_ROWS = 16_384


def index_spec(index: str, viewpoints: int, dim: int) -> str:
    """Resolve the setting `auto` for a map: `exact`, or a FAISS factory string.

    dim: of the descriptors.
    """
    if index != AUTO:
        return index
    if viewpoints <= _EXACT_VIEWPOINTS:
        return EXACT
    lists = 2 ** round(np.log2(2 * np.sqrt(viewpoints)))
    reduced = f"PCA{_PCA_DIM}," if dim > _PCA_DIM else ""
    return f"{reduced}IVF{lists},SQ8"


def build_index(descriptors: PlaceArray, spec: str) -> bytes | None:
    """The file of an index of descriptors (P, V, D), as bytes; None if `exact`.

    The same descriptors give the same bytes. Raises ConfigError if `spec` is no factory string, or
    none that suits that many descriptors.
    """
    if spec == EXACT:
        return None
    places, headings, dim = descriptors.shape
    try:
        index = faiss.index_factory(dim, spec, faiss.METRIC_INNER_PRODUCT)
        lists = _lists(index)
        _check_searches(index, lists)
        wanted = max(_TRAINING_ROWS, 0 if lists is None else _ROWS_PER_LIST * lists.nlist)
        count = min(places, -(-wanted // headings))
        sample = _rows(descriptors, np.linspace(0, places - 1, count).astype(np.int64))
        _centre_at_zero(index, sample)
        index.train(sample)
        for begin in range(0, places, _BLOCK_PLACES):
            index.add(_rows(descriptors, slice(begin, begin + _BLOCK_PLACES)))
    except RuntimeError as error:
        raise ConfigError(
            f"index {spec!r} cannot be made of {places * headings} descriptors of {dim} numbers: "
            f"{_reason(error)}; use auto, exact or another FAISS factory string"
        ) from None
    if lists is not None:
        probes = max(_MIN_PROBES, round(lists.nlist * _SCANNED / (places * headings)))
        lists.nprobe = min(lists.nlist, probes)
    return bytes(faiss.serialize_index(index).tobytes())


def read_index(
    content: bytes | NDArray[np.uint8], shape: tuple[int, int, int], name: str
) -> faiss.Index:
    """The index in a file's bytes, which must have been compared with their checksum.

    shape: of the descriptors, (P, V, D). name: of the file.

    Raises MapFormatError if it is none, or not of that many descriptors.
    """
    try:
        index = faiss.deserialize_index(np.frombuffer(content, np.uint8))
    except RuntimeError as error:
        raise MapFormatError(
            f"{name} is no FAISS index ({_reason(error)}); build it again"
        ) from None
    places, headings, dim = shape
    if (index.ntotal, index.d) != (places * headings, dim):
        raise MapFormatError(
            f"{name} holds {index.ntotal} descriptors of {index.d} numbers, expected "
            f"{places * headings} of {dim}; build it again"
        )
    return index


@dataclass(frozen=True)
class SavedIndex:
    """How a map on disk is searched.

    spec: a FAISS factory string, or `exact`. name: of the file with the index. content: its bytes,
    memory-mapped; None for `exact`, which needs none. checksum: expected, blake2b.
    """

    spec: str
    name: str = ""
    content: NDArray[np.uint8] | None = None
    checksum: str = ""

    def checked_content(self) -> NDArray[np.uint8] | None:
        """Read all of it, as FAISS trusts what it is given; raise MapFormatError if it changed."""
        if self.content is not None and checksum_of(self.content) != self.checksum:
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
        candidates = self._candidates(query, k, allowed)
        blocks = range(0, len(candidates), _BLOCK_ROWS)
        phi = torch.cat([self.rows(candidates[i : i + _BLOCK_ROWS]) @ query for i in blocks])
        phi, best = phi.topk(min(k, len(phi)))
        return phi.to(descriptor.device), torch.from_numpy(candidates)[best].to(descriptor.device)

    @property
    def bytes_read(self) -> int:
        """Bytes of codes that a search reads, about."""
        lists = _lists(self._index)
        if lists is None:
            return int(self._index.ntotal * self._index.sa_code_size())
        return int(self._index.ntotal * lists.code_size * lists.nprobe / lists.nlist)

    def rows(self, indices: NDArray[np.int64]) -> Tensor:
        """Descriptors (M, D) float32 of some viewpoints."""
        place, heading = np.divmod(indices, self._headings)
        return torch.from_numpy(np.asarray(self._descriptors[place, heading], np.float32))

    def _candidates(
        self, query: Tensor, k: int, allowed: NDArray[np.bool_] | None
    ) -> NDArray[np.int64]:
        """Viewpoints (M,) to be compared exactly, sorted as they lie in the map."""
        wanted = max(_REFINED, _REFINED_PER_RESULT * k)
        places = len(self._descriptors) if allowed is None else int(allowed.sum())
        if places * self._headings > wanted:
            rows = self._nearest(query, wanted, allowed)
            if len(rows) >= k:
                return np.sort(rows)
        # Few are allowed, or few of those lie in the lists that were looked through.
        every = np.arange(len(self._descriptors)) if allowed is None else np.flatnonzero(allowed)
        return (every[:, None] * self._headings + np.arange(self._headings)).ravel()

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
        return faiss.SearchParametersPreTransform(index_params=inner)  # type: ignore[call-arg]
    if isinstance(index, faiss.IndexIVF):
        return faiss.SearchParametersIVF(sel=selector, nprobe=index.nprobe)  # type: ignore[call-arg]
    return faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]


def _check_searches(index: faiss.Index, lists: faiss.IndexIVF | None) -> None:
    """Raise RuntimeError for what FAISS makes, and then dies of or finds anything with."""
    index = faiss.downcast_index(index)
    kept = index.index.d if isinstance(index, faiss.IndexPreTransform) else index.d
    if kept < 1:
        raise RuntimeError("it keeps none of the numbers")
    if lists is not None and lists.nlist < 1:
        raise RuntimeError("it has no lists")


def _reason(error: RuntimeError) -> str:
    """What FAISS says, without where in its source."""
    text = str(error).split("Error: ")[-1].splitlines()[0]
    return re.sub(r"^Error in .*?\.(cpp|h):\d+: ", "", text)


def _centre_at_zero(index: faiss.Index, sample: NDArray[np.float32]) -> None:
    """Train the PCA that an index begins with around zero instead of the mean.

    Inner products change by different amounts for different descriptors if a mean is subtracted.
    """
    if isinstance(index, faiss.IndexPreTransform):
        transform = faiss.downcast_VectorTransform(index.chain.at(0))  # type: ignore[attr-defined]
        if isinstance(transform, faiss.PCAMatrix):
            few = sample[:: max(1, len(sample) // _PCA_ROWS)]
            transform.train(np.concatenate([few, -few]))


def _lists(index: faiss.Index) -> faiss.IndexIVF | None:
    """The part of an index that sorts descriptors into lists."""
    try:
        return faiss.extract_index_ivf(index)
    except RuntimeError:
        return None


def _rows(descriptors: PlaceArray, places: Any) -> NDArray[np.float32]:
    rows = np.asarray(descriptors[places], np.float32)
    return np.ascontiguousarray(rows.reshape(-1, rows.shape[-1]))
