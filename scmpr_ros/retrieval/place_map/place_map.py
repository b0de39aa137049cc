"""A place map in memory, or as much of it as is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import MapFormatError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.retrieval.compressed_index import EXACT, SavedIndex
from scmpr_ros.retrieval.place_map.format_4 import read_format_4
from scmpr_ros.retrieval.place_map.manifest import (
    FORMAT_4,
    Manifest,
    read_format,
    read_manifest,
)
from scmpr_ros.retrieval.place_map.reading import open_shared, open_tile
from scmpr_ros.retrieval.place_map.tile import PlaceTile, without_tokens
from scmpr_ros.retrieval.place_map.writing import MapHeader, mean_tokens, write_place_map
from scmpr_ros.retrieval.stored_files import mapped_bytes
from scmpr_ros.retrieval.tiled_array import PlaceArray, joined
from scmpr_ros.semantics import STATIC_IDS

_PLACES_A_TILE = 4096
"""Of a map that was made in memory, about 300 MB."""


@dataclass(frozen=True)
class PlaceMap:
    """Descriptors and panoramas of P places with V headings each.

    axes: see `geometry.upright_axes`; panoramas and headings are relative to them.
    fingerprint: of the checkpoint that made the descriptors; only that checkpoint can match them.
    confusion: probability of each label (column) given the static class of an object (row) in the
        panoramas; the identity where the labels are manual.
    grid: cells of the panoramas.
    origin: (3,) point of the source's coordinates that is zero in the map frame, metres.
    georeference: what those coordinates are (EPSG code or WKT); empty if unknown.
    sensor_height_m: of places above the ground; None if unknown.
    provenance: how the map was made, as JSON.
    saved_index: how it is searched; None if that is chosen by its size.

    Descriptors and panoramas of a loaded map are memory-mapped and, if it has several tiles, a
    `TiledArray`: index it, or copy everything by `np.asarray`.
    """

    positions: NDArray[np.float64]
    axes: NDArray[np.float64]
    headings_rad: NDArray[np.float64]
    descriptors: PlaceArray
    panorama_labels: PlaceArray
    panorama_ranges: PlaceArray
    confusion: NDArray[np.float32]
    context: NDArray[np.float32]
    grid: AngularGrid
    fingerprint: str
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    georeference: str = ""
    sensor_height_m: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    saved_index: SavedIndex | None = None

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

    @classmethod
    def of_tile(cls, tile: PlaceTile, header: MapHeader) -> PlaceMap:
        """The map of a single tile, in memory."""
        return cls(
            tile.positions, tile.axes, header.headings_rad, tile.descriptors, tile.panorama_labels,
            tile.panorama_ranges, header.confusion,
            mean_tokens([tile]) if header.context is None else header.context,
            header.grid, header.fingerprint, header.origin, header.georeference,
            header.sensor_height_m, header.provenance,
        )  # fmt: skip

    def save(self, directory: Path, index: str = "auto") -> None:
        """Write the map; an existing map is replaced as a whole or not at all.

        index: see `write_place_map`.

        Raises MapFormatError if the directory exists and is not a place map, or if a value is
        invalid, see `PlaceTile.check_values`.
        """
        header = MapHeader(
            self.fingerprint, self.grid, self.headings_rad, self.confusion, self.context,
            self.origin, self.georeference, self.sensor_height_m, self.provenance,
        )  # fmt: skip
        write_place_map(directory, header, self._tiles(), index)

    @classmethod
    def load(cls, directory: Path) -> PlaceMap:
        """Open a map: read its manifest, poses and small arrays, and map the rest into memory.

        Of descriptors and panoramas only names, sizes, dtypes and shapes are checked; `verify_map`
        reads them. Maps of format 4 are read into memory.

        Raises MapFormatError, naming file and cause, if a file is missing, damaged or of another
        format, or if a value is invalid.
        """
        directory = Path(directory)
        while True:
            version, content = read_format(directory)
            if version == FORMAT_4:
                fields = read_format_4(directory, content)
                break
            manifest = read_manifest(directory)
            try:
                fields = _open(directory, manifest)
                break
            except FileNotFoundError as error:
                if read_manifest(directory) == manifest:
                    raise MapFormatError(
                        f"{error.filename} is missing; build the map again or restore the file"
                    ) from None
                # Replaced since: its old files are gone.
        try:
            return cls(**fields)
        except MapFormatError as error:
            raise MapFormatError(f"{directory}: {error}; build the map again") from None

    def _tiles(self) -> Iterator[PlaceTile]:
        for begin in range(0, len(self), _PLACES_A_TILE):
            part = slice(begin, begin + _PLACES_A_TILE)
            yield PlaceTile(
                f"part{begin // _PLACES_A_TILE:06d}",
                np.asarray(self.positions[part], np.float64),
                np.asarray(self.axes[part], np.float64),
                np.asarray(self.descriptors[part], np.float16),
                np.asarray(self.panorama_labels[part], np.uint8),
                np.asarray(self.panorama_ranges[part], np.float16),
                **dict(without_tokens(len(self.positions[part]))),
            )


def _open(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """The fields of a map; raises FileNotFoundError if another process has replaced it."""
    shared = open_shared(folder, manifest)
    tiles = [open_tile(folder, manifest, entry) for entry in manifest.tiles]
    saved, index = None, manifest.index.file
    if manifest.index.setting == EXACT:
        saved = SavedIndex(EXACT)
    if index is not None:
        path = folder / index.name
        content = mapped_bytes(path, index.num_bytes)
        saved = SavedIndex(manifest.index.spec, str(path), content, index.checksum)
    if not tiles:
        raise MapFormatError(f"{folder}: place map: no places; build the map again")
    return {
        "positions": np.concatenate([tile.positions for tile in tiles]),
        "axes": np.concatenate([tile.axes for tile in tiles]),
        "descriptors": joined([tile.descriptors for tile in tiles]),
        "panorama_labels": joined([tile.panorama_labels for tile in tiles]),
        "panorama_ranges": joined([tile.panorama_ranges for tile in tiles]),
        "headings_rad": shared["headings"],
        "confusion": shared["confusion"],
        "context": shared["context"],
        "grid": manifest.grid,
        "fingerprint": manifest.fingerprint,
        "origin": manifest.origin,
        "georeference": manifest.georeference,
        "sensor_height_m": manifest.sensor_height_m,
        "provenance": manifest.provenance,
        "saved_index": saved,
    }
