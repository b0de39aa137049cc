"""Read the files of KITTI's layouts: calibrations, poses, stamps, scans, labels and images.

Errors are DatasetErrors (CalibrationErrors for calibrations) that name the file and the problem.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scmpr_ros.errors import CalibrationError, DatasetError
from scmpr_ros.geometry import make_transform

_POINT_BYTES, _LABEL_BYTES = 16, 4
_ROTATION_TOLERANCE = 1e-3  # far above rounding in the files, far below a wrong file's error


@dataclass(frozen=True)
class FrameFiles:
    """Files of one kind, one per frame, named by the frame number."""

    folder: Path
    digits: int
    suffix: str

    def path(self, frame: int) -> Path:
        """Path of a frame's file, whether it exists or not."""
        return self.folder / f"{frame:0{self.digits}d}{self.suffix}"

    def numbers(self) -> list[int]:
        """Frames that have a file, in order."""
        return sorted(int(p.stem) for p in self.folder.glob(f"*{self.suffix}") if p.stem.isdigit())


class CalibrationFile:
    """A file of rows `key: numbers`; numbers without a key have the key ''."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise CalibrationError(f"missing {path}: it is part of the data set's calibration")
        self.path = path
        lines = [line for line in path.read_text().splitlines() if line.strip()]
        parts = [line.rpartition(":") for line in lines]
        self._rows = {key.strip(): numbers.split() for key, _, numbers in parts}

    def matrix(self, key: str, rows: int, columns: int) -> NDArray[np.float64]:
        """Matrix (rows, columns) of a key; all numbers must be finite."""
        if key not in self._rows:
            name = f"row '{key}:'" if key else "row"
            raise CalibrationError(f"{self.path} has no {name} of {rows * columns} numbers")
        try:
            matrix = np.array(self._rows[key], dtype=np.float64)
        except ValueError as error:
            raise CalibrationError(f"{self.path}, row {key}: {error}") from error
        if matrix.size != rows * columns or not np.isfinite(matrix).all():
            raise CalibrationError(
                f"{self.path}, row {key}: expected {rows * columns} finite numbers, found "
                f"{self._rows[key]}"
            )
        return matrix.reshape(rows, columns)

    def rotation(self, key: str) -> NDArray[np.float64]:
        """Rotation (3, 3) of a key."""
        return self._checked_rotation(key, self.matrix(key, 3, 3))

    def rigid(self, key: str) -> NDArray[np.float64]:
        """Rigid transform (4, 4) of a key, stored as its upper 3x4."""
        matrix = self.matrix(key, 3, 4)
        return make_transform(self._checked_rotation(key, matrix[:, :3]), matrix[:, 3])

    def pinhole(self, key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Camera matrix K (3, 3) and T_camera_reference (4, 4) of a projection P (3, 4).

        P projects points of the reference camera. Rectification leaves a translation between the
        two cameras: K^-1 P[:, 3].
        """
        P = self.matrix(key, 3, 4)
        K = P[:, :3]
        if not (K[0, 0] > 0 and K[1, 1] > 0 and K[2, 2] == 1):
            raise CalibrationError(
                f"{self.path}: {key} is not a pinhole projection: its left 3x3 is\n{K}"
            )
        return K, make_transform(np.eye(3), np.linalg.solve(K, P[:, 3]))

    def _checked_rotation(self, key: str, R: NDArray[np.float64]) -> NDArray[np.float64]:
        if not are_rotations(R):
            raise CalibrationError(f"{self.path}: the left 3x3 of {key} is not a rotation")
        return R


def are_rotations(R: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each (..., 3, 3) is orthonormal and right-handed."""
    error = np.abs(R @ np.swapaxes(R, -1, -2) - np.eye(3)).max(axis=(-2, -1))
    return (error < _ROTATION_TOLERANCE) & (np.linalg.det(R) > 0)


def read_rows(path: Path, columns: int) -> NDArray[np.float64]:
    """Read rows (F, columns) of finite numbers from a text file, which may be gzipped (.gz)."""
    if not path.is_file():
        raise DatasetError(f"missing {path}")
    data = path.read_bytes()
    try:
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is damaged: {error}; copy it again") from error
    rows = [line.split() for line in text.splitlines() if line.strip()]
    for number, row in enumerate(rows, start=1):
        try:
            valid = len(row) == columns and np.isfinite(np.array(row, dtype=np.float64)).all()
        except ValueError:
            valid = False
        if not valid:
            raise DatasetError(
                f"{path}, row {number}: expected {columns} finite numbers, found '{' '.join(row)}'"
            )
    if not rows:
        raise DatasetError(f"{path} is empty")
    return np.array(rows, dtype=np.float64)


def rigid_rows(path: Path, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rigid transforms (F, 4, 4) of rows (F, 12); path: where they were read from, for errors."""
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3] = rows.reshape(-1, 3, 4)
    rigid = are_rotations(poses[:, :3, :3])
    if not rigid.all():
        raise DatasetError(
            f"{path}, row {int(np.argmin(rigid)) + 1}: the left 3x3 is not a rotation"
        )
    return poses


def read_stamps_s(path: Path) -> NDArray[np.float64]:
    """Read a file of dates like 2011-09-26 13:02:25.964389445 as seconds (F,) since the first."""
    if not path.is_file():
        raise DatasetError(f"missing {path}")
    rows = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    try:
        stamps = np.array(["T".join(row.split()) for row in rows], dtype="datetime64[ns]")
    except ValueError as error:
        raise DatasetError(f"{path} has a row that is not a date and time: {error}") from error
    if not rows:
        raise DatasetError(f"{path} is empty")
    return (stamps - stamps[0]) / np.timedelta64(1, "s")


def read_points(path: Path) -> NDArray[np.float32]:
    """Read a scan (N, 4): x, y, z in metres and reflectance."""
    return _read_binary(path, "<f4", _POINT_BYTES).reshape(-1, 4)


def read_labels(path: Path) -> NDArray[np.uint32]:
    """Read SemanticKITTI labels (N,): class in the lower 16 bits, instance in the upper."""
    return _read_binary(path, "<u4", _LABEL_BYTES)


def _read_binary(path: Path, dtype: str, row_bytes: int) -> NDArray:
    if not path.is_file():
        raise DatasetError(f"missing {path}")
    size = path.stat().st_size
    if size == 0 or size % row_bytes:
        raise DatasetError(
            f"{path} has {size} bytes, not a positive multiple of {row_bytes}: it is empty or "
            "truncated; copy it again"
        )
    return np.fromfile(path, dtype=dtype)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an RGB image (H, W, 3)."""
    return _decode(path, "RGB")


def read_ids(path: Path) -> NDArray[np.integer]:
    """Read a mask (H, W) of ids: an image of one channel, or the indices of a palette image."""
    ids = _decode(path, None)
    if ids.ndim != 2:
        raise DatasetError(
            f"{path} has {ids.shape[-1]} channels: expected a mask of ids, not of colours"
        )
    return ids


def read_image_size(path: Path) -> tuple[int, int]:
    """Read width and height without decoding the image."""
    try:
        with Image.open(path) as image:
            return image.size
    except OSError as error:
        raise DatasetError(f"cannot read image {path}: {error}; copy it again") from error


def _decode(path: Path, mode: str | None) -> NDArray:
    """Decode an image to a writable array, in a Pillow mode or as stored."""
    if not path.is_file():
        raise DatasetError(f"missing {path}")
    try:
        with Image.open(path) as image:
            return np.array(image if mode in (None, image.mode) else image.convert(mode))
    except (OSError, SyntaxError) as error:  # Pillow raises it for a broken PNG chunk
        raise DatasetError(f"cannot read image {path}: {error}; copy it again") from error
