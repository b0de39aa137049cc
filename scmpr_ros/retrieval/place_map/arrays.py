"""The arrays of a place map: dtypes, shapes, and which values are valid."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.semantics import NUM_CLASSES

PLACE_ARRAYS: dict[str, tuple[int, type[np.generic]]] = {
    "positions": (2, np.float64),
    "axes": (3, np.float64),
    "descriptors": (3, np.float16),
    "panorama_labels": (3, np.uint8),
    "panorama_ranges": (3, np.float16),
    "token_sums": (3, np.float32),
    "token_weights": (2, np.float32),
}
"""Number of axes and dtype of the arrays with one entry per place."""
SHARED_ARRAYS: dict[str, tuple[int, type[np.generic]]] = {
    "headings": (1, np.float64),
    "confusion": (2, np.float32),
    "context": (2, np.float32),
}
"""The same of those that all places share."""

_NORM_TOLERANCE = 0.01  # rounding to float16 changes a unit length by 0.0005 at most
_BLOCK_VALUES = 1 << 22  # checked at a time: float32 copies of all descriptors would be large


def first_fault(arrays: dict[str, NDArray[Any]], names: Iterable[str] | None = None) -> str | None:
    """Describe the first invalid value of some arrays; None if all are valid."""
    for name in arrays if names is None else names:
        fault = _fault(name, arrays[name])
        if fault:
            return f"{name}: {fault}"
    return None


def _fault(name: str, array: NDArray[Any]) -> str | None:
    size = max(1, _BLOCK_VALUES // max(1, array[:1].size))
    for begin in range(0, len(array), size):
        valid, requirement = _valid_entries(name, array[begin : begin + size])
        if not valid.all():
            entry = "place" if name in PLACE_ARRAYS else "row"
            return f"{entry} {begin + int(valid.argmin())} is invalid ({requirement})"
    return None


def _valid_entries(name: str, array: NDArray[Any]) -> tuple[NDArray[np.bool_], str]:
    """Which entries along the first axis are valid, (N,), and what is required of them."""
    axes = tuple(range(1, array.ndim))
    if name == "panorama_labels":
        return array.max(axes, initial=0) < NUM_CLASSES, f"labels end at {NUM_CLASSES - 1}"
    if name in ("panorama_ranges", "token_weights"):
        valid = (array >= 0).all(axes) & np.isfinite(array).all(axes)
        return valid, f"{name.split('_')[1]} must be finite and cannot be negative"
    if name == "descriptors":
        norm = np.linalg.norm(array.astype(np.float32), axis=2)  # NaN and infinity fail as well
        # shorter ones are valid: parts of a descriptor are zero if nothing is seen in a window
        valid = (norm > 0) & (norm <= 1 + _NORM_TOLERANCE)
        return valid.all(1), "descriptors must be finite and at most of unit length"
    return np.isfinite(array).all(axes), "numbers must be finite"
