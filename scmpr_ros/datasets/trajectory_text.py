"""Trajectories in text files: TUM, KITTI, EuRoC, and CSV with named columns."""

from __future__ import annotations

import codecs
import csv
import re
from array import array
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.trajectory_arrays import homogeneous
from scmpr_ros.datasets.trajectory_columns import (
    column_kind,
    in_seconds,
    poses_of_columns,
    rotations,
)
from scmpr_ros.errors import DatasetError

QuaternionOrder = Literal["xyzw", "wxyz"]
TextFormat = Literal["auto", "tum", "kitti", "euroc", "csv"]

_MATRIX_COLUMNS = {12: (0, 3), 13: (1, 3), 16: (0, 4), 17: (1, 4)}
"""First column and rows of matrices by number of columns; KITTI-360 puts the frame first."""
_LAYOUTS = (
    "a line of TUM has 8 columns (stamp x y z qx qy qz qw), of KITTI 12, and other files need a "
    "line with the names of their columns (x, y, z, and stamp, qx, qy, qz, qw or yaw)"
)
_EUROC = ("x", "y", "z", "qw", "qx", "qy", "qz")
_FAST_LIO = (0, 4, 5, 6)
"""Columns of stamp and position in the `pos_log.txt` of FAST-LIO and Point-LIO, which write the
rotation between them in ways of their own, and gravity last."""
_FAST_LIO_COLUMNS, _GRAVITY = 25, (9.0, 10.5)
_NANOSECONDS = 1e14
"""Larger stamps are no seconds: this is three million years."""
_ROTATION_TOLERANCE = 1e-2
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_DATE = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?)(Z|[+-]00:?00)?")
"""A stamp as text, in UTC."""
_FIRST_STAMP = 1e9
"""Less is the number of a frame."""

_Poses = tuple[NDArray[np.float64] | None, NDArray[np.float64]]


def read_text_poses(path: Path, wanted: TextFormat, quaternion: QuaternionOrder) -> _Poses:
    """Stamps (N,) in seconds if there are some, and poses (N, 4, 4) as they are in the file.

    quaternion: order of the last four columns of TUM.
    Raises DatasetError, with the line, for what is not a number or not a trajectory.
    """
    table = _Table.read(path)
    columns = table.values.shape[1]
    if wanted == "euroc" or (wanted == "auto" and table.is_euroc):
        table.require(columns >= 8, "EuRoC has at least 8 columns: ns, x, y, z, qw, qx, qy, qz")
        return 1e-9 * table.values[:, 0], _from_quaternions(path, table.values[:, 1:8], "wxyz")
    if wanted == "csv" or (wanted == "auto" and table.names):
        table.require(bool(table.names), "a CSV needs a line with the names of its columns")
        return poses_of_columns(path, table.names, table.values)
    if wanted == "tum" or (wanted == "auto" and columns == 8):
        table.require(columns == 8, "TUM has 8 columns: stamp x y z qx qy qz qw")
        stamps_s = in_seconds(table.values[:, 0])
        table.require(
            not np.abs(stamps_s).max() > _NANOSECONDS,
            f"the first stamp is {stamps_s[0]:g}, but the stamps of TUM are in seconds",
        )
        return stamps_s, _from_quaternions(path, table.values[:, 1:], quaternion)
    if wanted == "auto" and table.is_fast_lio:
        return poses_of_columns(path, ("stamp", "x", "y", "z"), table.values[:, _FAST_LIO])
    table.require(columns in _MATRIX_COLUMNS, _LAYOUTS)
    first, rows = _MATRIX_COLUMNS[columns]
    is_stamped = first == 1 and table.values[0, 0] >= _FIRST_STAMP
    return (
        in_seconds(table.values[:, 0]) if is_stamped else None,
        homogeneous(table.values[:, first:].reshape(-1, rows, 4)),
    )


def _from_quaternions(
    path: Path, rows: NDArray[np.float64], order: QuaternionOrder
) -> NDArray[np.float64]:
    """Poses of rows (N, 7): position and quaternion."""
    q = rows[:, 3:] if order == "xyzw" else rows[:, [4, 5, 6, 3]]
    return homogeneous(np.dstack([rotations(path, q), rows[:, :3, None]]))


@dataclass(frozen=True)
class _Table:
    """Numbers (N, C) of a text file, and the names of its columns if it has some.

    comma: whether commas separate the columns.
    """

    path: Path
    names: Sequence[str]
    values: NDArray[np.float64]
    comma: bool

    def require(self, condition: bool, expected: str) -> None:
        """Raise DatasetError, with the number of columns, unless the condition holds."""
        if not condition:
            raise DatasetError(f"{self.path}: found {self.values.shape[1]} columns: {expected}")

    @property
    def is_euroc(self) -> bool:
        """Whether columns are those of EuRoC, which names of columns must not contradict."""
        columns = self.values.shape[1]
        if not self.comma or columns < 8 or not self.values[0, 0] > _NANOSECONDS:
            return False
        kinds = map(column_kind, self.names[1:8])
        if any(kind not in ("", expected) for kind, expected in zip(kinds, _EUROC, strict=False)):
            return False
        return columns != 13 or not _are_rotations(self.values[:, 1:].reshape(-1, 3, 4))

    @property
    def is_fast_lio(self) -> bool:
        """Whether columns are those of a log of states, which ends with gravity."""
        if self.values.shape[1] != _FAST_LIO_COLUMNS:
            return False
        gravity = np.linalg.norm(self.values[:, -3:], axis=1)
        return bool(((gravity > _GRAVITY[0]) & (gravity < _GRAVITY[1])).all())

    @classmethod
    def read(cls, path: Path) -> _Table:
        lines = _lines(path)
        data = [(n, line) for n, line in lines if not line.startswith(("#", "%"))]
        if not data:
            raise DatasetError(f"{path}: the file has no lines with poses: {_LAYOUTS}")
        separator = _separator(path, data[-1][1])
        first = _split(data[0][1], separator)
        if any(map(_is_name, first)) and not any(map(_is_number, first)):
            names, data = first, data[1:]
        else:
            names = _names_in_comment(lines, separator, len(first))
        if not data:
            raise DatasetError(f"{path}: the file has no lines with poses: {_LAYOUTS}")
        number, columns = data[0][0], len(_split(data[0][1], separator))
        if names and len(names) != columns:
            raise DatasetError(
                f"{path}: {len(names)} columns have names, but line {number} has {columns} "
                f"columns: {_LAYOUTS}"
            )
        return cls(path, names, _numbers(path, data, separator, names), separator == ",")


def _lines(path: Path) -> list[tuple[int, str]]:
    """Lines that are not empty, with their numbers."""
    content = path.read_bytes()
    encoding = "utf-16" if content.startswith(_UTF16) else "utf-8-sig"
    if encoding != "utf-16" and b"\0" in content[:4096]:
        raise DatasetError(f"{path}: this is not a text file: a trajectory is text, .npy or .pcd")
    text = content.decode(encoding, errors="replace")  # of comments: numbers are ASCII
    stripped = ((n, line.strip()) for n, line in enumerate(text.splitlines(), start=1))
    return [(n, line) for n, line in stripped if line]


def _separator(path: Path, line: str) -> str:
    """What separates columns: a semicolon, a comma, or white space ('')."""
    tokens = line.split(";") if ";" in line else line.split()
    if any(re.fullmatch(r"\s*[-+]?\d+,\d+(e[-+]?\d+)?\s*", token) for token in tokens) and (
        ";" in line or len(tokens) > 2
    ):
        raise DatasetError(
            f"{path}: {tokens[0].strip()!r} has a decimal comma: write numbers with decimal points"
        )
    return next((mark for mark in ";," if mark in line), "")


def _split(line: str, separator: str) -> list[str]:
    if not separator:
        return line.split()
    fields = line.rstrip(separator).split(separator)
    if '"' in line:
        with suppress(csv.Error):  # of fields that are too long for it
            quoted = csv.reader(
                [line.rstrip(separator)], delimiter=separator, skipinitialspace=True
            )
            fields = next(quoted)
    return [field.strip() for field in fields]


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def _is_name(token: str) -> bool:
    return re.search(r"[a-zA-Z_]", token) is not None and not _is_number(token)


def _names_in_comment(lines: list[tuple[int, str]], separator: str, columns: int) -> list[str]:
    """Names in the last comment before the numbers, if it has one for each column."""
    names: list[str] = []
    for _, line in lines:
        if not line.startswith(("#", "%")):
            break
        tokens = _split(line.lstrip("#% "), separator)
        names = tokens if len(tokens) == columns and all(map(_is_name, tokens)) else []
    return names


def _numbers(
    path: Path, lines: Sequence[tuple[int, str]], separator: str, names: Sequence[str]
) -> NDArray[np.float64]:
    """Numbers (N, C); text is NaN where the name of its column says that it does not matter."""
    columns = len(_split(lines[0][1], separator))
    kinds = [column_kind(name) for name in names] or ["number"] * columns
    values = array("d")  # of the rows one by one, whose text takes much more memory
    for number, line in lines:
        row = _split(line, separator)
        if len(row) != columns:
            raise DatasetError(
                f"{path}: line {number} has {len(row)} columns, and the first one {columns}: the "
                "file is damaged, or not a trajectory"
            )
        try:
            numbers = [_number(token, kind) for token, kind in zip(row, kinds, strict=True)]
        except ValueError as error:
            advice = "" if names else f": {_LAYOUTS}"
            raise DatasetError(f"{path}: line {number}: {error}{advice}") from None
        values.extend(numbers)
    return np.frombuffer(values).reshape(-1, columns)


def _number(token: str, kind: str) -> float:
    """A number, or a date as seconds; NaN for other text in a column of no known kind."""
    try:
        return float(token)
    except ValueError:
        number = _seconds(token) if kind == "stamp" else np.nan
        if np.isnan(number) and kind:
            raise ValueError(f"{token[:40]!r} is not a number") from None
        return number


def _seconds(text: str) -> float:
    """Seconds since 1970 of a date; NaN for other text."""
    date = _DATE.fullmatch(text)
    try:
        stamp_ns = np.datetime64(date[1].replace(" ", "T"), "ns") if date else None
    except ValueError:  # of a month 13
        stamp_ns = None
    return np.nan if stamp_ns is None else 1e-9 * float(stamp_ns.astype(np.int64))


def _are_rotations(matrices: NDArray[np.float64]) -> bool:
    """Whether the left parts of matrices (N, 3, 4) are rotations."""
    R = matrices[:, :, :3]
    return bool(np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max() < _ROTATION_TOLERANCE)
