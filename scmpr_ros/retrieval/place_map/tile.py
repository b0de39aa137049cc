"""Part of a place map: the places of one area, in one file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import MapFormatError
from scmpr_ros.retrieval.place_map.arrays import PLACE_ARRAYS, first_fault
from scmpr_ros.retrieval.stored_files import (
    durable_write,
    mapped_arrays,
    serialised,
)

TILE_FORMAT = "scmpr_ros place tile/1"
_KEY = re.compile(r"[A-Za-z0-9_+.-]{1,100}")


@dataclass(frozen=True)
class PlaceTile:
    """The n places of one area, with V headings of D numbers and panoramas of H x W cells.

    key: name of the area, part of the file's name. A map's tiles are sorted by it.
    positions: (n, 3) float64, map frame, metres. axes: (n, 3, 3) float64, forward, left and up as
        columns. descriptors: (n, V, D) float16, of unit length.
    panorama_labels: (n, H, W) uint8 joint ids. panorama_ranges: (n, H, W) float16, metres; 0
        without a return.
    token_sums: (n, S, C) float32, token_weights: (n, S) float32: what the places add to the
        semantic context of the map (eq. 7); (n, 0, 0) and (n, 0) if there is none.

    n may be 0: a map leaves such a tile out. Raises MapFormatError for other shapes or dtypes.
    """

    key: str
    positions: NDArray[np.float64]
    axes: NDArray[np.float64]
    descriptors: NDArray[np.float16]
    panorama_labels: NDArray[np.uint8]
    panorama_ranges: NDArray[np.float16]
    token_sums: NDArray[np.float32]
    token_weights: NDArray[np.float32]

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key) or self.key.startswith("."):
            raise MapFormatError(
                f"the key {self.key!r} of a tile cannot be part of a file's name: use letters, "
                "digits and _+.-"
            )
        for name, (ndim, dtype) in PLACE_ARRAYS.items():
            array = getattr(self, name)
            if array.ndim != ndim or array.dtype != dtype:
                raise MapFormatError(
                    f"tile {self.key}: {name} is {array.dtype} {array.shape}, expected "
                    f"{np.dtype(dtype)} with {ndim} axes"
                )
        n, grid = len(self.positions), self.panorama_labels.shape[1:]
        for name, shape in {
            "positions": (n, 3), "axes": (n, 3, 3), "descriptors": (n, *self.descriptors.shape[1:]),
            "panorama_labels": (n, *grid), "panorama_ranges": (n, *grid),
            "token_sums": (n, *self.token_sums.shape[1:]),
            "token_weights": (n, self.token_sums.shape[1]),
        }.items():  # fmt: skip
            if getattr(self, name).shape != shape:
                raise MapFormatError(
                    f"tile {self.key}: {name} is {getattr(self, name).shape}, expected {shape}"
                )

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)[1:]}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one place's entry in each array."""
        return {name: array.shape[1:] for name, array in self.arrays.items()}

    def select(self, chosen: NDArray[np.bool_]) -> PlaceTile:
        """The same tile with some of its places. chosen: (n,)."""
        arrays = {name: array[chosen] for name, array in self.arrays.items()}
        return PlaceTile(self.key, **arrays)

    def check_values(self) -> None:
        """Read everything; raise MapFormatError if a value is invalid.

        Invalid is a number that is not finite, a descriptor longer than 1 or of length zero, an
        unknown label or a negative range.
        """
        fault = first_fault(self.arrays)
        if fault:
            raise MapFormatError(f"tile {self.key}: {fault}")

    def to_bytes(self) -> bytes:
        """The content of the tile's file."""
        return serialised(self.arrays, {"format": TILE_FORMAT, "key": self.key})

    def save(self, path: Path) -> None:
        """Write a file that `load` and `write_place_map` take; it appears whole or not at all.

        Raises MapFormatError if a value is invalid.
        """
        self.check_values()
        with durable_write(Path(path)) as temporary:
            temporary.write_bytes(self.to_bytes())

    @classmethod
    def load(cls, path: Path, num_bytes: int | None = None) -> PlaceTile:
        """Map a tile's file into memory; values are not read.

        num_bytes: size that the file must have.

        Raises FileNotFoundError, and MapFormatError for a damaged or foreign file.
        """
        arrays, metadata = mapped_arrays(Path(path), num_bytes)
        found = metadata.get("format") if isinstance(metadata, dict) else None
        if found != TILE_FORMAT:
            raise MapFormatError(
                f"{path}: format {found!r}, expected {TILE_FORMAT!r}; build the map again"
            )
        if arrays.keys() != PLACE_ARRAYS.keys():
            raise MapFormatError(
                f"{path}: arrays {sorted(arrays)}, expected {sorted(PLACE_ARRAYS)}; build the map "
                "again"
            )
        try:
            return cls(key=str(metadata.get("key")), **arrays)
        except MapFormatError as error:
            raise MapFormatError(f"{path}: {error}; build the map again") from None


def without_tokens(places: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The arrays of a tile that adds nothing to a map's context, by name."""
    yield "token_sums", np.zeros((places, 0, 0), np.float32)
    yield "token_weights", np.zeros((places, 0), np.float32)
