"""The place map: everything the localizer needs of a LiDAR map, as a directory.

    metadata.json       format, checkpoint fingerprint, panorama grid, array shapes
    positions.npy       (P, 3) float64         viewpoints, map frame, metres
    axes.npy            (P, 3, 3) float64      columns: forward, left and up at each place
    headings.npy        (V,) float64           yaw of the heading windows, radians
    descriptors.npy     (P, V, D) float16      unit length
    panorama_labels.npy (P, H, W) uint8        semantic panoramas, joint ids
    panorama_ranges.npy (P, H, W) float16      range of each cell, metres; 0 without a return
    confusion.npy       (S, S) float32         label given a static class, see `PlaceMap`
    context.npy         (S, C) float32         semantic context, eq. 7

`save` replaces a map as a whole, but other programs (`cp`, `rsync --inplace`) overwrite files in
place, and a process that has such a file memory-mapped is killed with SIGBUS. So `load` reads
everything into memory.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.atomic_files import atomic_directory
from scmpr_ros.errors import ConfigError, MapFormatError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.semantics import NUM_CLASSES, STATIC_IDS

FORMAT = "scmpr_ros place map/4"
_ARRAYS = {
    "positions": (2, np.float64),
    "axes": (3, np.float64),
    "headings": (1, np.float64),
    "descriptors": (3, np.float16),
    "panorama_labels": (3, np.uint8),
    "panorama_ranges": (3, np.float16),
    "confusion": (2, np.float32),
    "context": (2, np.float32),
}
_OF_PLACES = ("positions", "axes", "descriptors", "panorama_labels", "panorama_ranges")
"""Arrays with one entry per place."""

_NORM_TOLERANCE = 0.01  # rounding to float16 changes a unit length by 0.0005 at most
_BLOCK_VALUES = 1 << 22  # checked at a time: float32 copies of all descriptors would be large


@dataclass(frozen=True)
class PlaceMap:
    """Descriptors and panoramas of P places with V headings each.

    axes: see `geometry.upright_axes`; panoramas and headings are relative to them.
    fingerprint: of the checkpoint that made the descriptors; only that checkpoint can match them.
    confusion: probability of each label (column) given the static class of an object (row) in the
        panoramas; the identity where the labels are manual.
    grid: cells of the panoramas.
    """

    positions: NDArray[np.float64]
    axes: NDArray[np.float64]
    headings_rad: NDArray[np.float64]
    descriptors: NDArray[np.float16]
    panorama_labels: NDArray[np.uint8]
    panorama_ranges: NDArray[np.float16]
    confusion: NDArray[np.float32]
    context: NDArray[np.float32]
    grid: AngularGrid
    fingerprint: str

    def __post_init__(self) -> None:
        places, headings = len(self.positions), len(self.headings_rad)
        expected = {
            "positions": (places, 3),
            "axes": (places, 3, 3),
            "descriptors": (places, headings, self.descriptors.shape[-1]),
            "panorama_labels": (places, self.grid.height, self.grid.width),
            "panorama_ranges": (places, self.grid.height, self.grid.width),
            "confusion": (len(STATIC_IDS), len(STATIC_IDS)),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise MapFormatError(
                    f"place map: {name} is {getattr(self, name).shape}, expected {shape}"
                )
        if places == 0:
            raise MapFormatError("place map: no places")

    def __len__(self) -> int:
        return len(self.positions)

    def check_made_by(self, fingerprint: str) -> None:
        """Raise MapFormatError unless the checkpoint with this fingerprint made the map."""
        if fingerprint != self.fingerprint:
            raise MapFormatError(
                f"the place map was made by checkpoint {self.fingerprint[:12]}, but the network "
                f"is {fingerprint[:12]}: build the map again with this checkpoint"
            )

    def save(self, directory: Path) -> None:
        """Write the map; an existing map is replaced as a whole or not at all.

        Raises MapFormatError if the directory exists and is not a place map, or if a value is
        invalid, see `load`.
        """
        directory = Path(directory)
        if directory.exists() and not (directory / "metadata.json").is_file():
            raise MapFormatError(f"{directory} exists and is not a place map: it is left alone")
        for name in _ARRAYS:
            fault = _fault(name, self._array(name))
            if fault:
                raise MapFormatError(f"{directory} is not written: {name} of the new map: {fault}")
        with atomic_directory(directory, replace=True) as temporary:
            temporary.mkdir()
            for name, (_, dtype) in _ARRAYS.items():
                np.save(temporary / f"{name}.npy", np.asarray(self._array(name), dtype=dtype))
            (temporary / "metadata.json").write_text(json.dumps(self._metadata(), indent=2))

    @classmethod
    def load(cls, directory: Path) -> PlaceMap:
        """Read a map into memory.

        Raises MapFormatError, naming file and cause, if a file is missing, damaged, of another
        format or changed while being read, or if a value is invalid: a number that is not finite,
        a descriptor that is not of unit length, or an unknown label.
        """
        directory = Path(directory)
        with ExitStack() as stack:
            files = _open_files(directory, stack)
            metadata = _read_metadata(files["metadata.json"], directory / "metadata.json")
            arrays = {
                name: _read_array(files[f"{name}.npy"], directory / f"{name}.npy", name, metadata)
                for name in _ARRAYS
            }
        arrays["headings_rad"] = arrays.pop("headings")
        try:
            return cls(**arrays, grid=metadata["grid"], fingerprint=metadata["fingerprint"])
        except MapFormatError as error:
            raise MapFormatError(f"{directory}: {error}; build the map again") from None

    def _array(self, name: str) -> NDArray[Any]:
        return self.headings_rad if name == "headings" else getattr(self, name)

    def _metadata(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "grid": asdict(self.grid),
            "shapes": {name: list(self._array(name).shape) for name in _ARRAYS},
        }


def _open_files(directory: Path, stack: ExitStack) -> dict[str, BinaryIO]:
    """Open all files, by name, of one version of the map.

    Another process may replace the map meanwhile. Files are therefore opened relative to the
    folder; once open, they stay readable when that folder is removed.
    """
    while True:
        try:
            folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise MapFormatError(
                f"{directory}: no place map there ({error.strerror}); build one first"
            ) from error
        try:
            return {
                name: stack.enter_context(
                    os.fdopen(os.open(name, os.O_RDONLY, dir_fd=folder), "rb")
                )
                for name in ("metadata.json", *(f"{name}.npy" for name in _ARRAYS))
            }
        except FileNotFoundError as error:
            if directory.is_dir() and os.path.samestat(os.fstat(folder), directory.stat()):
                name = error.filename
                raise MapFormatError(
                    f"{directory / name} is missing; build the map again"
                ) from error
        except OSError as error:
            raise MapFormatError(
                f"{directory / error.filename} cannot be read: {error.strerror}"
            ) from error
        finally:
            os.close(folder)


def _read_metadata(file: BinaryIO, path: Path) -> dict[str, Any]:
    """The content of metadata.json, with `grid` as an `AngularGrid` and shapes as tuples."""
    try:
        metadata = json.load(file)
    except ValueError as error:
        raise MapFormatError(f"{path}: not valid JSON ({error}); build the map again") from error
    version = metadata.get("format") if isinstance(metadata, dict) else None
    if version != FORMAT:
        raise MapFormatError(
            f"{path}: format {version!r}, expected {FORMAT!r}; build the map again"
        )
    missing = {"fingerprint", "grid", "shapes"} - metadata.keys()
    if missing:
        raise MapFormatError(f"{path}: lacks {', '.join(sorted(missing))}; build the map again")
    try:
        grid = AngularGrid(**metadata["grid"])
        shapes = {name: tuple(metadata["shapes"][name]) for name in _ARRAYS}
    except (ConfigError, KeyError, TypeError) as error:
        raise MapFormatError(f"{path}: damaged content ({error}); build the map again") from error
    return {"fingerprint": str(metadata["fingerprint"]), "grid": grid, "shapes": shapes}


def _read_array(file: BinaryIO, path: Path, name: str, metadata: dict[str, Any]) -> NDArray[Any]:
    ndim, dtype = _ARRAYS[name]
    before = os.fstat(file.fileno())
    try:
        array = np.lib.format.read_array(file, allow_pickle=False)
        surplus = len(file.read(1))
    except (ValueError, OSError, EOFError, MemoryError) as error:
        raise MapFormatError(f"{path} is truncated or damaged ({error}); build it again") from error
    after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise MapFormatError(f"{path} changed while it was read; load the map again")
    shape = metadata["shapes"][name]
    if array.ndim != ndim or array.dtype != dtype or array.shape != shape or surplus:
        found = f"{array.dtype} {array.shape}" + (" and more bytes" if surplus else "")
        raise MapFormatError(
            f"{path}: {found}, expected {np.dtype(dtype)} {shape}; build the map again"
        )
    fault = _fault(name, array)
    if fault:
        raise MapFormatError(f"{path}: {fault}; build the map again")
    return array


def _fault(name: str, array: NDArray[Any]) -> str | None:
    """Describe the first invalid entry of an array; None if all are valid."""
    size = max(1, _BLOCK_VALUES // max(1, array[:1].size))
    for begin in range(0, len(array), size):
        valid, requirement = _valid_entries(name, array[begin : begin + size])
        if not valid.all():
            entry = "place" if name in _OF_PLACES else "row"
            return f"{entry} {begin + int(valid.argmin())} is invalid ({requirement})"
    return None


def _valid_entries(name: str, array: NDArray[Any]) -> tuple[NDArray[np.bool_], str]:
    """Which entries along the first axis are valid, (N,), and what is required of them."""
    axes = tuple(range(1, array.ndim))
    if name == "panorama_labels":
        return array.max(axes, initial=0) < NUM_CLASSES, f"labels end at {NUM_CLASSES - 1}"
    if name == "panorama_ranges":
        return (array >= 0).all(axes) & np.isfinite(array).all(axes), "ranges cannot be negative"
    if name == "descriptors":
        norm = np.linalg.norm(array.astype(np.float32), axis=2)  # NaN and infinity fail as well
        # shorter ones are valid: parts of a descriptor are zero if nothing is seen in a window
        valid = (norm > 0) & (norm <= 1 + _NORM_TOLERANCE)
        return valid.all(1), "descriptors must be finite and at most of unit length"
    return np.isfinite(array).all(axes), "numbers must be finite"
