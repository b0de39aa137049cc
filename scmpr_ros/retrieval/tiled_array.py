"""Arrays of all places of a map whose tiles lie in different files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray


class TiledArray:
    """Read-only arrays, one after the other along the first axis, as if they were one.

    Only what is asked for is read: `array[7]`, `array[10:20]` and `array[[3, 1]]` copy these
    entries, and `array[places, headings]` one row of each. Further integers and slices apply to the
    copy (`array[7, :, 3]`). `np.asarray(array)` copies everything.
    """

    def __init__(self, parts: Sequence[NDArray[Any]]) -> None:
        """Take the parts, at least one, of the same dtype and of the same shape but for axis 0."""
        self._parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in self._parts])
        self.dtype = self._parts[0].dtype
        self.shape = (int(self._ends[-1]), *self._parts[0].shape[1:])

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all entries."""
        return sum(part.nbytes for part in self._parts)

    @property
    def parts(self) -> tuple[NDArray[Any], ...]:
        """The arrays, in order."""
        return self._parts

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        first, *rest = index if isinstance(index, tuple) else (index,)
        if isinstance(first, (int, np.integer)):
            return self._entry(int(first))[tuple(rest)]
        if isinstance(first, slice):
            inner = (slice(None), *rest)
            return self._gather(np.arange(len(self))[first])[inner]
        positions = self._positions(np.asarray(first))
        pairs = []
        while rest and isinstance(rest[0], (np.ndarray, list)):
            pairs.append(np.broadcast_to(rest.pop(0), positions.shape))
        found = self._gather(positions, pairs)
        return found[(slice(None),) * positions.ndim + tuple(rest)] if rest else found

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("the parts of a TiledArray cannot become one array without a copy")
        whole = np.concatenate(self._parts)
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def _entry(self, position: int) -> NDArray[Any]:
        if not -len(self) <= position < len(self):
            raise IndexError(f"{position} is out of range for {len(self)} entries")
        position %= len(self)
        part = int(np.searchsorted(self._ends, position, side="right"))
        return np.array(self._parts[part][position - self._ends[part]])

    def _positions(self, index: NDArray[Any]) -> NDArray[np.int64]:
        if index.dtype == np.bool_:
            if index.shape != (len(self),):
                raise IndexError(f"a mask of {index.shape} for {len(self)} entries")
            return np.flatnonzero(index)
        positions = index.astype(np.int64)
        if positions.size and not (-len(self) <= positions.min() <= positions.max() < len(self)):
            raise IndexError(f"indices are out of range for {len(self)} entries")
        return positions % len(self)

    def _gather(
        self, positions: NDArray[np.int64], pairs: Sequence[NDArray[Any]] = ()
    ) -> NDArray[Any]:
        """Copy entries at positions (...) in any order, (..., *shape[1:]).

        pairs: indices (...) of the next axes, one for each position.
        """
        flat, rows = positions.ravel(), [pair.ravel() for pair in pairs]
        found = np.empty((len(flat), *self.shape[1 + len(rows) :]), self.dtype)
        part_of = np.searchsorted(self._ends, flat, side="right")
        for part in np.unique(part_of):
            wanted = part_of == part
            values = self._parts[part]
            local = flat[wanted] - (self._ends[part] - len(values))
            inner = (local, *(row[wanted] for row in rows))
            found[wanted] = values[inner]
        return found.reshape(*positions.shape, *found.shape[1:])


PlaceArray: TypeAlias = NDArray[Any] | TiledArray
"""An array with one entry per place, in memory or in the files of a map."""


def joined(parts: Sequence[NDArray[Any]]) -> PlaceArray:
    """One array of several, without copying any."""
    return parts[0] if len(parts) == 1 else TiledArray(parts)
