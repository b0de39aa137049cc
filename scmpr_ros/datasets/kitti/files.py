"""Read the files of KITTI's layouts: calibrations, poses, stamps, scans, labels and images.

Errors are DatasetErrors (CalibrationErrors for calibrations) that name the file and the problem.
"""

from __future__ import annotations

import contextlib
import gzip
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scmpr_ros.bin_rows import likely_rows
from scmpr_ros.datasets.pixel_depth import find_white_level, to_8_bit
from scmpr_ros.datasets.rectification import Calibration
from scmpr_ros.errors import CalibrationError, DatasetError, ShapeError
from scmpr_ros.geometry import make_transform

_log = logging.getLogger(__name__)
_POINT_BYTES, _LABEL_BYTES = 16, 4
_ROTATION_TOLERANCE = 1e-3  # far above rounding in the files, far below a wrong file's error


IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_PNG, _PNG_BIT_DEPTH = b"\x89PNG\r\n\x1a\n", 24  # the depth's position in the file


@dataclass(frozen=True)
class FrameFiles:
    """Files of one kind, one per frame, named by the frame number.

    digits: those of the data set; other people's tools write more or fewer, which are read, too.
    suffixes: in lower case; the first is that of the data set.
    """

    folder: Path
    digits: int
    suffixes: tuple[str, ...]

    def path(self, frame: int) -> Path:
        """Path of a frame's file, whether it exists or not."""
        usual = self.folder / f"{frame:0{self.digits}d}{self.suffixes[0]}"
        return self._by_number.get(frame, usual)

    def numbers(self) -> list[int]:
        """Frames that have a file, in order; DatasetError if two files have the same number."""
        return sorted(self._by_number)

    @cached_property
    def _by_number(self) -> dict[int, Path]:
        found: dict[int, Path] = {}
        for path in sorted(self.folder.glob("*")):
            if path.suffix.lower() in self.suffixes and path.stem.isdecimal():
                other = found.setdefault(int(path.stem), path)
                if other != path:
                    raise DatasetError(
                        f"{self.folder}: {other.name} and {path.name} are both frame "
                        f"{int(path.stem)}: remove one of them"
                    )
        return found


def choose_camera(images: Mapping[int, FrameFiles]) -> int:
    """Choose the first camera that has images, or the first of all if none has."""
    first = next(iter(images))
    chosen = next((camera for camera, files in images.items() if files.numbers()), first)
    if chosen != first:
        _log.warning("no images in %s: those of %s are used", images[first].folder,
                     images[chosen].folder)  # fmt: skip
    return chosen


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

    def pinhole(self, key: str, size_key: str = "") -> tuple[Calibration, NDArray[np.float64]]:
        """Calibration and T_camera_reference (4, 4) of a projection P (3, 4).

        P projects points of the reference camera. Rectification leaves a translation between the
        two cameras: K^-1 P[:, 3].
        size_key: of the size of the images; without such a row it is 0 x 0.
        """
        P = self.matrix(key, 3, 4)
        K = P[:, :3]
        if not (K[0, 0] > 0 and K[1, 1] > 0 and K[2, 2] == 1):
            raise CalibrationError(
                f"{self.path}: {key} is not a pinhole projection: its left 3x3 is\n{K}"
            )
        calibration = Calibration(*self.size(size_key), P=tuple(K.ravel().tolist()))
        return calibration, make_transform(np.eye(3), np.linalg.solve(K, P[:, 3]))

    def size(self, key: str) -> tuple[int, int]:
        """Width and height of images, as a key states them; zeros if the file has no such key."""
        if key not in self._rows:
            return 0, 0
        width, height = self.matrix(key, 1, 2)[0]
        return int(width), int(height)

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
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
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


def check_scan_rows(path: Path) -> None:
    """Raise DatasetError if a scan's numbers look like rows of another length than KITTI's."""
    try:
        rows = likely_rows(path)
    except ShapeError as error:
        raise DatasetError(f"{path} {error}") from None
    if rows not in (None, ("float32", 4)):
        kind, columns = rows
        raise DatasetError(
            f"{path} is no KITTI scan of four float32 (x, y, z, reflectance): its numbers look "
            f"like rows of {columns} {kind}: write the scans with these four alone"
        )


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


def read_image(path: Path, white_level: int = 0) -> NDArray[np.uint8]:
    """Read an RGB image (H, W, 3).

    white_level: value of white in 16-bit images; 0: find it, see `find_white_level`.
    """
    deep = read_deep_image(path)
    if deep is None:
        return _decode(path, "RGB")
    try:
        return to_8_bit(deep, white_level or find_white_level([deep], str(path)))
    except ShapeError as error:
        raise DatasetError(f"{path}: {error}") from None


def read_deep_image(path: Path) -> NDArray[np.uint16] | None:
    """Read an RGB image (H, W, 3) of 16 bits; None if the file is not a PNG of so many.

    Pillow would clip grey values and cut colours to their upper 8 bits.
    """
    with contextlib.suppress(OSError), path.open("rb") as file:
        head = file.read(32)
        if head.startswith(_PNG) and head[_PNG_BIT_DEPTH : _PNG_BIT_DEPTH + 1] == b"\x10":
            _decode(path, None)  # a truncated file has the same error as one of 8 bits
            bgr = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
            if bgr is None or bgr.dtype != np.uint16:
                raise DatasetError(f"cannot read image {path}: it is damaged; copy it again")
            return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint16)
    return None


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
