"""What every reader of a point cloud format gives: the points' columns by name, in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import NDArray

BLOCK_POINTS = 500_000
"""Most points in a block."""
BLOCK_BYTES = 1 << 26
"""Most bytes of a file read at once: records may be long."""

Columns = Mapping[str, NDArray]
"""Columns (N,) of consecutive points by the file's own names."""


@dataclass(frozen=True)
class PointTable:
    """An opened point cloud file, read as often as needed and never held as a whole.

    fields: names of its columns. count: number of points, as far as the header says.
    read: yields blocks of the named columns; raises DatasetError where the file is damaged.
    georeference: the coordinate system, as the file says it; empty if it does not.
    """

    path: Path
    fields: tuple[str, ...]
    count: int | None
    read: Callable[[Sequence[str]], Iterator[Columns]]
    georeference: str = ""


def block_rows(record_bytes: int) -> int:
    """Rows of a block of records of this size: at most `BLOCK_POINTS` and `BLOCK_BYTES`."""
    return max(1, min(BLOCK_POINTS, BLOCK_BYTES // max(1, record_bytes)))


def first_line(error: BaseException) -> str:
    """What a library's error says, short enough for a sentence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:120]
