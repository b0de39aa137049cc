"""Read the maps of format 4: one `.npy` file for each array, with names that do not change.

`verify_map --migrate` writes them anew. Other programs overwrite such files in place, and a process
that has one memory-mapped would be killed with SIGBUS: everything is read into memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError, MapFormatError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.retrieval.place_map.arrays import PLACE_ARRAYS, SHARED_ARRAYS, first_fault
from scmpr_ros.retrieval.place_map.manifest import MANIFEST

_OF_PLACES = ("positions", "axes", "descriptors", "panorama_labels", "panorama_ranges")
_ARRAYS = {name: PLACE_ARRAYS[name] for name in _OF_PLACES} | SHARED_ARRAYS
FILES_4 = tuple(f"{name}.npy" for name in _ARRAYS)
"""Names of the files beside the metadata."""


def read_format_4(folder: Path, metadata: dict[str, Any]) -> dict[str, Any]:
    """The fields of a `PlaceMap`, by name.

    metadata: content of the folder's metadata.json.

    Raises MapFormatError, naming file and cause, for a missing or damaged file and for invalid
    values.
    """
    path = folder / MANIFEST
    missing = {"fingerprint", "grid", "shapes"} - metadata.keys()
    if missing:
        raise MapFormatError(f"{path}: lacks {', '.join(sorted(missing))}; build the map again")
    try:
        grid = AngularGrid(**metadata["grid"])
        shapes = {name: tuple(metadata["shapes"][name]) for name in _ARRAYS}
    except (ConfigError, KeyError, TypeError) as error:
        raise MapFormatError(f"{path}: damaged content ({error}); build the map again") from None
    fields: dict[str, Any] = {
        name: _read_array(folder / f"{name}.npy", name, shape) for name, shape in shapes.items()
    }
    fields["headings_rad"] = fields.pop("headings")
    return {**fields, "grid": grid, "fingerprint": str(metadata["fingerprint"])}


def _read_array(path: Path, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    ndim, dtype = _ARRAYS[name]
    try:
        with path.open("rb") as file:
            array, surplus = _read(file)
    except FileNotFoundError:
        raise MapFormatError(f"{path} is missing; build the map again") from None
    except (ValueError, OSError, EOFError, MemoryError) as error:
        raise MapFormatError(f"{path} is truncated or damaged ({error}); build it again") from error
    if array.ndim != ndim or array.dtype != dtype or array.shape != shape or surplus:
        found = f"{array.dtype} {array.shape}" + (" and more bytes" if surplus else "")
        raise MapFormatError(
            f"{path}: {found}, expected {np.dtype(dtype)} {shape}; build the map again"
        )
    fault = first_fault({name: array})
    if fault:
        raise MapFormatError(f"{path}: {fault.split(': ', 1)[1]}; build the map again")
    return array


def _read(file: BinaryIO) -> tuple[NDArray[Any], bool]:
    """The array of an open `.npy` file, and whether more bytes follow."""
    array = np.lib.format.read_array(file, allow_pickle=False)
    return array, bool(file.read(1))
