"""Tell from the numbers of a headerless file of points what its rows are.

A file read with the wrong number of columns mixes coordinates with intensities, and nothing in it
says so.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ShapeError

_SAMPLE_BYTES = 1 << 22
_FEWEST_ROWS = 64
"""Rows needed to compare layouts."""
_PLAUSIBLE = 1e7
"""Coordinates and intensities in any unit stay below; bytes read as the wrong type do not."""
_CLEARLY_BETTER = 0.15
_COUNTS = (4, 3, 5, 6, 7, 8)


def likely_rows(path: Path) -> tuple[str, int] | None:
    """Type and number of columns that explain a file's numbers best; None if there are too few.

    Columns mixed up by a wrong length of rows all spread like x; the right length has columns that
    spread less. Raises ShapeError if no type gives plausible numbers, or if these are four columns
    one after the other.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        data = file.read(_SAMPLE_BYTES)
    for kind, width in (("float32", 4), ("float64", 8)):
        lengths = [n for n in _COUNTS if size % (n * width) == 0]
        if size < _FEWEST_ROWS * max(_COUNTS) * width or not lengths:
            continue
        with np.errstate(invalid="ignore"):  # whatever the bytes are
            values = np.frombuffer(data[: len(data) // width * width], f"<f{width}").astype("f8")
        if not _is_plausible(values):
            continue
        spread = {n: _spread(_rows(values, n)) for n in lengths}
        least = min(spread.values())
        if size <= _SAMPLE_BYTES and len(values) % 4 == 0:
            _check_not_by_columns(values, least)
        return kind, next(n for n in lengths if spread[n] <= least + _CLEARLY_BETTER)
    if size < _FEWEST_ROWS * max(_COUNTS) * 4:
        return None
    raise ShapeError(
        f"holds {size} bytes that are no scan: neither as float32 nor as float64 are they "
        "coordinates in rows of 3 to 8"
    )


def _is_plausible(values: NDArray[np.float64]) -> bool:
    finite = np.isfinite(values)
    size = np.abs(values[finite])
    usual = (size == 0) | ((size > 1e-12) & (size < _PLAUSIBLE))
    return bool(usual.sum() + np.isnan(values).sum() > 0.98 * len(values) and usual.any())


def _check_not_by_columns(values: NDArray[np.float64], least: float) -> None:
    """Refuse columns one after the other, as Oxford RobotCar has them: they spread less."""
    if _spread(_rows(values, len(values) // 4).T) < least - _CLEARLY_BETTER:
        raise ShapeError(
            "is no KITTI scan of rows x, y, z, reflectance: its numbers look like four columns one "
            "after the other; write them row by row"
        )


def _rows(values: NDArray[np.float64], columns: int) -> NDArray[np.float64]:
    rows = values[: len(values) // columns * columns].reshape(-1, columns)
    return np.clip(np.nan_to_num(rows), -_PLAUSIBLE, _PLAUSIBLE)


def _spread(rows: NDArray[np.float64]) -> float:
    """Mean log spread of the columns of rows."""
    deviation = np.abs(rows - np.median(rows, axis=0)).mean(axis=0)
    return float(np.log(deviation + 1e-3).mean())
