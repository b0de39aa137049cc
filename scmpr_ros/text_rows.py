"""Read rows of numbers from text files in blocks, as ASCII PLY and PCD files hold them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import DatasetError

_BLOCK_BYTES = 1 << 23
_MAX_LINE_BYTES = 1 << 20
_NAN_OF_WINDOWS = re.compile(r"[-+]?(nan\(\w+\)|1\.#\w+)")


def text_rows(
    file: BinaryIO, path: Path, columns: int, count: int
) -> Iterator[NDArray[np.float64]]:
    """Yield blocks (n, columns) of the next `count` lines that are not blank.

    Lines after them stay unread or are ignored. If the file ends earlier, so do the blocks, without
    a last line that is cut off. Raises DatasetError, naming `path`, for a line that is not
    `columns` numbers.
    """
    while count > 0:
        text = file.read(_BLOCK_BYTES)
        text += file.readline(_MAX_LINE_BYTES)
        if not text:
            return
        at_end = len(text) < _BLOCK_BYTES
        if not (at_end or text.endswith(b"\n")):
            raise DatasetError(f"{path} has a line of more than {_MAX_LINE_BYTES} bytes: it is "
                               "damaged, or no text; export it again")  # fmt: skip
        lines = [line for line in text.decode("latin-1").split("\n") if line.strip()][:count]
        if at_end and lines and len(lines[-1].split()) < columns:
            lines.pop()  # cut off in the middle of a line
        if lines:
            yield _parse(lines, path, columns)
        count -= len(lines)


def whole_numbers(
    values: NDArray[np.float64], dtype: np.dtype, path: Path, name: str
) -> NDArray[np.integer]:
    """Convert a column of text that its header calls integer; refuse what is no such number."""
    limits = np.iinfo(dtype)
    wrong = ~((values >= limits.min) & (values <= limits.max) & (np.floor(values) == values))
    if wrong.any():
        raise DatasetError(
            f"{path}: field {name} should hold {dtype.name} numbers but holds "
            f"{values[np.argmax(wrong)]:g}: export it again"
        )
    return values.astype(dtype)


def _parse(lines: Sequence[str], path: Path, columns: int) -> NDArray[np.float64]:
    try:
        rows = np.loadtxt(lines, dtype=np.float64, comments=None, ndmin=2)
    except ValueError:
        if any(map(_NAN_OF_WINDOWS.search, lines)):
            return _parse([_NAN_OF_WINDOWS.sub("nan", line) for line in lines], path, columns)
        _refuse(lines, path, columns)
    if rows.shape != (len(lines), columns):
        _refuse(lines, path, columns)
    return rows


def _refuse(lines: Sequence[str], path: Path, columns: int) -> NoReturn:
    """Raise the error about the first line that is not `columns` numbers."""
    for line in lines:
        shown = line.strip()[:60]
        if "," in line:
            problem = "columns separated by commas" if "." in line else "decimal commas"
            raise DatasetError(
                f"{path} has {problem} ({shown!r}): export it again with decimal points and spaces "
                "between numbers"
            )
        if len(line.split()) != columns or not all(map(_is_number, line.split())):
            raise DatasetError(
                f"{path}: the line {shown!r} is not {columns} numbers, as the header promises; "
                "export it again"
            )
    raise DatasetError(f"{path} has lines that are not {columns} numbers: export it again")


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True
