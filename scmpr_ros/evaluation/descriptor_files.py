"""Files of descriptors that another program computed for the images and places of a recording.

`queries.npz`:
    descriptor  (N, D) float, one row for each image
    frame       (N,) int, frame numbers of the recording; or
    stamp_s     (N,) float, seconds since the start of the drive, to 10 ms
    drive       (N,) or scalar string, name of each image's drive; may be left out if the recording
                has only one

`places.npz`:
    descriptor   (P, V, D) float, V headings of each place; or (P, D) for one
    position     (P, 3) float, metres in the recording's world frame; for protocol `map`
    heading_rad  (V,) of all places or (P, V) of each, float: heading of a camera with that view,
                 counter-clockwise from x. Left out by methods that give no heading
    frame or stamp_s, drive   (P,) the scan at each place, as above; for all other protocols, whose
                 places are the drive's own scans
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile
from zlib import error as ZlibError

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.drive import Drive
from scmpr_ros.errors import DatasetError

_STAMP_TOLERANCE_S = 0.01


@dataclass(frozen=True)
class DescriptorFile:
    """The arrays of one file, each None if absent; R is the number of queries or places.

    descriptor: (R, V, D). frame, stamp_s, drive: (R,). position: (R, 3).
    heading_rad: (V,) or (R, V).
    """

    path: Path
    descriptor: NDArray[np.float32]
    frame: NDArray[np.int64] | None
    stamp_s: NDArray[np.float64] | None
    drive: NDArray[np.str_] | None
    position: NDArray[np.float64] | None = None
    heading_rad: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.descriptor)

    @classmethod
    def load(cls, path: Path) -> DescriptorFile:
        """Read and check a file; raises DatasetError that names the array at fault."""
        arrays = _read(path)
        if "descriptor" not in arrays:
            raise DatasetError(f"{path}: array 'descriptor' is missing")
        descriptor = _numbers(path, "descriptor", arrays).astype(np.float32)
        if descriptor.ndim == 2:
            descriptor = descriptor[:, None]
        if descriptor.ndim != 3 or 0 in descriptor.shape:
            raise _shape(path, "descriptor", "(N, D) or (P, V, D)", arrays)
        rows, views = descriptor.shape[:2]
        headings: list[tuple[int, ...]] = [(views,), (rows, views)]
        allowed: dict[str, list[tuple[int, ...]]] = {
            "frame": [(rows,)], "stamp_s": [(rows,)], "position": [(rows, 3)],
            "heading_rad": headings + [(rows,)] * (views == 1),
        }  # fmt: skip
        for name, shapes in allowed.items():
            if name in arrays and arrays[name].shape not in shapes:
                raise _shape(path, name, " or ".join(map(str, shapes)), arrays)
        found = {name: _numbers(path, name, arrays) for name in allowed if name in arrays}
        frame, heading = found.get("frame"), found.get("heading_rad")
        if frame is not None and not np.issubdtype(frame.dtype, np.integer):
            raise DatasetError(f"{path}: array 'frame' is {frame.dtype}, not whole numbers")
        if heading is not None and heading.shape != (views,):
            heading = heading.reshape(rows, views)
        return cls(
            path, descriptor, frame, found.get("stamp_s"), _drive_names(path, arrays, rows),
            found.get("position"), heading,
        )  # fmt: skip

    def rows_by_frame(
        self, drive: Drive, frames: Sequence[int], only_drive: bool
    ) -> Mapping[int, int]:
        """Row of each frame of a drive that the file describes.

        frames: those that may be described; stamps are matched with theirs.
        only_drive: the recording has no other drive, so array `drive` is optional.
        """
        rows = np.arange(len(self))
        if self.drive is not None:
            rows = rows[self.drive == drive.name]
        elif not only_drive:
            raise DatasetError(
                f"{self.path}: array 'drive' is missing, but the recording has several drives"
            )
        if self.frame is not None:
            numbers = self.frame[rows]
        elif self.stamp_s is not None:
            numbers = self._nearest_frames(drive, np.asarray(frames), self.stamp_s[rows])
        else:
            raise DatasetError(f"{self.path}: array 'frame' or 'stamp_s' is missing")
        if len(np.unique(numbers)) < len(numbers):
            raise DatasetError(f"{self.path}: two rows describe one frame of drive {drive.name}")
        return dict(zip(numbers.tolist(), rows.tolist(), strict=True))

    def _nearest_frames(
        self, drive: Drive, frames: NDArray[np.int64], stamps_s: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        known_s = np.array([drive.stamp_s(int(frame)) for frame in frames])
        gaps_s = np.abs(stamps_s[:, None] - known_s)
        foreign = stamps_s[~(gaps_s <= _STAMP_TOLERANCE_S).any(axis=1)]
        if len(foreign):
            raise DatasetError(
                f"{self.path}: drive {drive.name} has no frame at stamp_s {foreign[0]:.3f}"
            )
        return np.asarray(frames[gaps_s.argmin(axis=1)])


def _read(path: Path) -> dict[str, NDArray]:
    try:
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, TypeError, EOFError, BadZipFile, ZlibError) as error:
        raise DatasetError(f"{path} is not an npz file of plain arrays: {error}") from error


def _numbers(path: Path, name: str, arrays: Mapping[str, NDArray]) -> NDArray:
    values = arrays[name]
    if not (np.issubdtype(values.dtype, np.number) and np.isrealobj(values)):
        raise DatasetError(f"{path}: array '{name}' holds {values.dtype}, not numbers")
    if not np.isfinite(values).all():
        raise DatasetError(f"{path}: array '{name}' holds NaN or infinity")
    return values


def _drive_names(path: Path, arrays: Mapping[str, NDArray], rows: int) -> NDArray[np.str_] | None:
    if "drive" not in arrays:
        return None
    names = arrays["drive"]
    if names.dtype.kind not in "US" or names.shape not in ((), (rows,)):
        raise DatasetError(f"{path}: array 'drive' must hold one name or {rows} names")
    return np.broadcast_to(names.astype(str), (rows,))


def _shape(path: Path, name: str, expected: str, arrays: Mapping[str, NDArray]) -> DatasetError:
    return DatasetError(
        f"{path}: array '{name}' has shape {arrays[name].shape}, expected {expected}"
    )
