"""Trajectories in text files: TUM, KITTI, EuRoC, and CSV with named columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.trajectory_arrays import homogeneous
from scmpr_ros.datasets.trajectory_columns import poses_of_columns, rotations
from scmpr_ros.errors import DatasetError

QuaternionOrder = Literal["xyzw", "wxyz"]
TextFormat = Literal["auto", "tum", "kitti", "euroc", "csv"]

_MATRIX_COLUMNS = {12: (0, 3), 13: (1, 3), 16: (0, 4), 17: (1, 4)}
"""First column and rows of matrices by number of columns; KITTI-360 puts the frame first."""
_LAYOUTS = (
    "a line of TUM has 8 columns (stamp x y z qx qy qz qw), of KITTI 12, and other files need a "
    "line with the names of their columns (x, y, z, and stamp, qx, qy, qz, qw or yaw)"
)
_NANOSECONDS = 1e14
"""Larger stamps are no seconds: this is three million years."""

_Poses = tuple[NDArray[np.float64] | None, NDArray[np.float64]]


def read_text_poses(path: Path, wanted: TextFormat, quaternion: QuaternionOrder) -> _Poses:
    """Stamps (N,) in seconds if there are some, and poses (N, 4, 4) as they are in the file.

    quaternion: order of the last four columns of TUM.
    Raises DatasetError, with the line, for what is not a number or not a trajectory.
    """
    table = _Table.read(path)
    columns = table.values.shape[1]
    is_euroc = table.comma and columns >= 8 and table.values[0, 0] > _NANOSECONDS
    if wanted == "euroc" or (wanted == "auto" and is_euroc):
        table.require(columns >= 8, "EuRoC has at least 8 columns: ns, x, y, z, qw, qx, qy, qz")
        return 1e-9 * table.values[:, 0], _from_quaternions(path, table.values[:, 1:8], "wxyz")
    if wanted == "csv" or (wanted == "auto" and table.names):
        table.require(bool(table.names), "a CSV needs a line with the names of its columns")
        return poses_of_columns(path, table.names, table.values)
    if wanted == "tum" or (wanted == "auto" and columns == 8):
        table.require(columns == 8, "TUM has 8 columns: stamp x y z qx qy qz qw")
        stamps_s = table.values[:, 0]
        table.require(
            not np.abs(stamps_s).max() > _NANOSECONDS,
            f"the first stamp is {stamps_s[0]:g}, but the stamps of TUM are in seconds",
        )
        return stamps_s, _from_quaternions(path, table.values[:, 1:], quaternion)
    table.require(columns in _MATRIX_COLUMNS, _LAYOUTS)
    first, rows = _MATRIX_COLUMNS[columns]
    return None, homogeneous(table.values[:, first:].reshape(-1, rows, 4))


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

    @classmethod
    def read(cls, path: Path) -> _Table:
        lines = _lines(path)
        data = [(n, line) for n, line in lines if not line.startswith(("#", "%"))]
        if not data:
            raise DatasetError(f"{path}: the file has no lines with poses")
        separator = _separator(path, data[-1][1])
        rows = [(n, _split(line, separator)) for n, line in data]
        names: list[str] = []
        if not all(map(_is_number, rows[0][1])) and any(map(_is_name, rows[0][1])):
            names = rows.pop(0)[1]
        else:
            names = _names_in_comment(lines, separator, len(rows[0][1]))
        if not rows:
            raise DatasetError(f"{path}: the file has no lines with poses")
        if names and len(names) != len(rows[0][1]):
            raise DatasetError(
                f"{path}: {len(names)} columns have names, but line {rows[0][0]} has "
                f"{len(rows[0][1])} columns"
            )
        return cls(path, names, _numbers(path, rows), separator == ",")


def _lines(path: Path) -> list[tuple[int, str]]:
    """Lines that are not empty, with their numbers."""
    content = path.read_bytes()
    if b"\0" in content[:4096]:
        raise DatasetError(f"{path}: this is not a text file: a trajectory is text, .npy or .pcd")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: this is not a text file: {error}") from None
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
    return [token.strip().strip('"') for token in line.rstrip(separator).split(separator)]


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


def _numbers(path: Path, rows: list[tuple[int, list[str]]]) -> NDArray[np.float64]:
    columns = len(rows[0][1])
    for number, row in rows:
        if len(row) != columns:
            raise DatasetError(
                f"{path}: line {number} has {len(row)} columns, and the first one {columns}: the "
                "file is damaged, or not a trajectory"
            )
        for token in row:
            if not _is_number(token):
                raise DatasetError(f"{path}: line {number}: {token[:40]!r} is not a number")
    return np.array([[float(token) for token in row] for _, row in rows])
