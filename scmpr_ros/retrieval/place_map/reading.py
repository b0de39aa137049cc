"""Open the files that a manifest names, and compare them with what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import MapFormatError
from scmpr_ros.retrieval.place_map.arrays import SHARED_ARRAYS, first_fault
from scmpr_ros.retrieval.place_map.manifest import Manifest, TileEntry
from scmpr_ros.retrieval.place_map.tile import PlaceTile
from scmpr_ros.retrieval.stored_files import checksum_of, mapped_arrays, mapped_bytes


def open_shared(folder: Path, manifest: Manifest) -> dict[str, NDArray[Any]]:
    """Read what all places share, `SHARED_ARRAYS`, into memory.

    Raises FileNotFoundError, and MapFormatError if a byte has changed.
    """
    path = folder / manifest.shared.name
    if checksum_of(mapped_bytes(path, manifest.shared.num_bytes)) != manifest.shared.checksum:
        raise MapFormatError(f"{path} is damaged (checksum); build the map again or restore it")
    arrays, _ = mapped_arrays(path)
    expected = {name: (ndim, np.dtype(dtype)) for name, (ndim, dtype) in SHARED_ARRAYS.items()}
    found = {name: (array.ndim, array.dtype) for name, array in arrays.items()}
    if found != expected or arrays["headings"].shape != (manifest.headings,):
        raise MapFormatError(f"{path}: arrays {found}, expected {expected}; build the map again")
    fault = first_fault(arrays)
    if fault:
        raise MapFormatError(f"{path}: {fault}; build the map again")
    return {name: np.array(array) for name, array in arrays.items()}


def open_tile(folder: Path, manifest: Manifest, entry: TileEntry) -> PlaceTile:
    """Map a tile into memory, and compare its poses with the manifest.

    Raises FileNotFoundError, and MapFormatError for a damaged or foreign file.
    """
    path = folder / entry.file.name
    tile = PlaceTile.load(path, entry.file.num_bytes)
    if tile.key != entry.key or len(tile) != entry.places:
        raise MapFormatError(
            f"{path}: tile {tile.key} of {len(tile)} places, expected {entry.key} of "
            f"{entry.places}; build the map again"
        )
    check_fits(tile, manifest, str(path))
    if checksum_of(tile.positions, tile.axes) != entry.poses_checksum:
        raise MapFormatError(
            f"{path} is damaged (checksum of its poses); build the map again or restore the file"
        )
    return tile


def check_fits(tile: PlaceTile, manifest: Manifest, name: str) -> None:
    """Raise MapFormatError unless a tile's arrays have the shapes of the map's.

    name: of the tile, for the message.
    """
    cells = (manifest.grid.height, manifest.grid.width)
    expected = {
        "positions": (3,),
        "axes": (3, 3),
        "descriptors": (manifest.headings, manifest.descriptor_dim),
        "panorama_labels": cells,
        "panorama_ranges": cells,
        "token_sums": manifest.tokens,
        "token_weights": manifest.tokens[:1],
    }
    for array, shape in tile.shapes.items():
        if shape != expected[array]:
            raise MapFormatError(
                f"{name}: {array} has entries of {shape}, those of the map are {expected[array]}; "
                "build the map again"
            )
