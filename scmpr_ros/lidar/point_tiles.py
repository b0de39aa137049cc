"""Point clouds of any size: square tiles, on disk where memory would not do.

A `CloudSource` gives the points inside a horizontal box; whoever builds a map asks for boxes and
never for all points. `PointTiles` keeps a file for each tile:

    tiles.json           grid, origin and fields of the tiles
    +0003_-0012.points   records of one tile, see `_RECORD`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.atomic_files import atomic_write, write_json
from scmpr_ros.errors import DatasetError
from scmpr_ros.geometry import voxel_keys
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import NUM_CLASSES

_RECORD = np.dtype([("xyz", "<f4", 3), ("label", "u1"), ("intensity", "<f4")])
_HEADER = "tiles.json"
_SUFFIX = ".points"
_MAX_TILES = 1_000_000
_THIN_ABOVE = 1.5  # points per occupied voxel; clouds of voxel means have fewer


class Box(NamedTuple):
    """Horizontal rectangle, low <= (x, y) < high, in metres relative to a cloud's origin."""

    low: tuple[float, float]
    high: tuple[float, float]

    def grown(self, margin_m: float) -> Box:
        """The box with a margin on all sides."""
        return Box(
            (self.low[0] - margin_m, self.low[1] - margin_m),
            (self.high[0] + margin_m, self.high[1] + margin_m),
        )

    def contains(self, xy: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which positions (N, 2|3) lie inside, (N,)."""
        inside: NDArray[np.bool_] = np.ones(len(xy), bool)
        for axis in (0, 1):
            inside &= (xy[:, axis] >= self.low[axis]) & (xy[:, axis] < self.high[axis])
        return inside

    def overlaps(self, other: Box) -> bool:
        """Whether the two share an area."""
        return all(
            self.low[axis] < other.high[axis] and other.low[axis] < self.high[axis]
            for axis in (0, 1)
        )

    @classmethod
    def around(cls, xy: NDArray[np.floating]) -> Box:
        """The smallest box that contains positions (N, 2|3), N > 0."""
        low, high = xy[:, :2].min(axis=0), np.nextafter(xy[:, :2].max(axis=0), np.inf)
        return cls((float(low[0]), float(low[1])), (float(high[0]), float(high[1])))


class Tile(NamedTuple):
    """A square of a tiling: its place in the grid, x first."""

    x: int
    y: int

    @property
    def key(self) -> str:
        """Name of the tile in files; in the order of the keys, x comes first."""
        return f"{self.x:+06d}_{self.y:+06d}"

    @classmethod
    def of_key(cls, key: str) -> Tile:
        """The tile with a key. Raises ValueError for other texts."""
        x, _, y = key.partition("_")
        return cls(int(x), int(y))


@dataclass(frozen=True)
class TileGrid:
    """Squares of `edge_m`; `anchor` is the lower corner of tile (0, 0), relative to the origin."""

    edge_m: float
    anchor: tuple[float, float] = (0.0, 0.0)

    def box(self, tile: Tile) -> Box:
        """The area that a tile covers."""
        x, y = (self.anchor[axis] + tile[axis] * self.edge_m for axis in (0, 1))
        return Box((x, y), (x + self.edge_m, y + self.edge_m))

    def index(self, xy: NDArray[np.floating]) -> NDArray[np.int64]:
        """Tiles (N, 2) that positions (N, 2|3) lie in."""
        relative = xy[:, :2].astype(np.float64) - self.anchor
        return np.floor(relative / self.edge_m).astype(np.int64)

    def tiles_of(self, box: Box) -> list[Tile]:
        """The tiles that a box overlaps, in order."""
        corners = self.index(np.array([box.low, np.nextafter(box.high, -np.inf)]))
        (x0, y0), (x1, y1) = corners.tolist()
        return [Tile(x, y) for x in range(x0, x1 + 1) for y in range(y0, y1 + 1)]


class CloudSource(Protocol):
    """A cloud that is asked for its points box by box."""

    @property
    def origin(self) -> NDArray[np.float64]:
        """(3,) to be added to the coordinates."""

    @property
    def bounds(self) -> Box:
        """A box that contains all points."""

    @property
    def has_label(self) -> bool:
        """Whether points have classes."""

    def points_in(self, box: Box) -> PointCloud:
        """The points inside a box, in an order that depends on the cloud alone."""


class PointTiles:
    """A folder of tiles as a `CloudSource`.

    tiles: those with points, in order.

    Raises DatasetError if the folder holds no complete tiles.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        try:
            header = json.loads((self.folder / _HEADER).read_text())
            self.grid = TileGrid(
                float(header["edge_m"]), (float(header["anchor"][0]), float(header["anchor"][1]))
            )
            self.origin: NDArray[np.float64] = np.array(header["origin"], np.float64)
            self.has_label = bool(header["has_label"])
            self.has_intensity = bool(header["has_intensity"])
            self.georeference = str(header["georeference"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise DatasetError(f"{self.folder} holds no complete tiles of points") from error

    @classmethod
    def spread(
        cls, blocks: Iterable[PointCloud], folder: Path, grid: TileGrid, voxel_m: float = 0.0,
        georeference: str = "",
    ) -> PointTiles:  # fmt: skip
        """Write the points of a stream into the tiles of an empty folder.

        blocks: clouds with one origin and the same fields.
        voxel_m: thin dense tiles to one point for each voxel of this size, see `thinned`; 0 keeps
            all points.
        georeference: of the coordinates; empty if unknown.

        Raises DatasetError if there are no points.
        """
        folder.mkdir(parents=True, exist_ok=True)
        first: PointCloud | None = None
        for block in blocks:
            first = block if first is None else first
            for tile, rows in _by_tile(block, grid):
                with _path(folder, tile).open("ab") as file:
                    file.write(_records(block.select(rows)).tobytes())
        tiles = _tiles_of(folder)
        if first is None or not tiles:
            raise DatasetError("the cloud has no points")
        if len(tiles) > _MAX_TILES:
            raise DatasetError(
                f"the cloud covers {len(tiles)} tiles of {grid.edge_m} m: are its units metres?"
            )
        cls.finish(folder, grid, first, georeference)
        point_tiles = cls(folder)
        if voxel_m > 0:
            for tile in tiles:
                point_tiles.write(tile, thinned(point_tiles.points_of(tile), voxel_m))
        return point_tiles

    @staticmethod
    def finish(folder: Path, grid: TileGrid, like: PointCloud, georeference: str = "") -> None:
        """Declare the tiles of a folder complete; their origin and fields are those of `like`."""
        header = {
            "edge_m": grid.edge_m,
            "anchor": list(grid.anchor),
            "origin": like.origin.tolist(),
            "has_label": like.label is not None,
            "has_intensity": like.intensity is not None,
            "georeference": georeference,
        }
        write_json(folder / _HEADER, header)

    @cached_property
    def tiles(self) -> list[Tile]:
        """Tiles that have points, in order."""
        return _tiles_of(self.folder)

    @property
    def bounds(self) -> Box:
        """The box of all tiles."""
        boxes = np.array([self.grid.box(tile) for tile in self.tiles])
        low, high = boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)
        return Box((float(low[0]), float(low[1])), (float(high[0]), float(high[1])))

    def num_points(self) -> int:
        """Number of points of all tiles."""
        return sum(_path(self.folder, tile).stat().st_size for tile in self.tiles) // (
            _RECORD.itemsize
        )

    def points_of(self, tile: Tile) -> PointCloud:
        """All points of one tile; none if it has no file."""
        path = _path(self.folder, tile)
        if not path.is_file():
            return self._cloud(np.empty(0, _RECORD))
        return self._cloud(np.fromfile(path, _RECORD))

    def points_in(self, box: Box) -> PointCloud:
        """The points inside a box, tile by tile."""
        clouds = [self.points_of(tile) for tile in self.tiles if self.grid.box(tile).overlaps(box)]
        selected = [cloud.select(box.contains(cloud.xyz)) for cloud in clouds]
        return joined(selected) if selected else self._cloud(np.empty(0, _RECORD))

    def write(self, tile: Tile, cloud: PointCloud) -> None:
        """Replace the points of a tile."""
        write_tile(self.folder, tile, cloud)

    def digest(self, tile: Tile) -> bytes:
        """Checksum of a tile's points; empty without points."""
        path = _path(self.folder, tile)
        return (
            hashlib.blake2b(path.read_bytes(), digest_size=16).digest() if path.is_file() else b""
        )

    def _cloud(self, records: NDArray[np.void]) -> PointCloud:
        return PointCloud(
            np.ascontiguousarray(records["xyz"]),
            np.ascontiguousarray(records["label"]) if self.has_label else None,
            np.ascontiguousarray(records["intensity"]) if self.has_intensity else None,
            self.origin,
        )


def write_tile(folder: Path, tile: Tile, cloud: PointCloud) -> None:
    """Write the file of a tile, atomically."""
    with atomic_write(_path(folder, tile)) as temporary:
        temporary.write_bytes(_records(cloud).tobytes())


def thinned(cloud: PointCloud, voxel_m: float) -> PointCloud:
    """Replace the points of each voxel by their mean, with the majority of their labels.

    A cloud with few points in each voxel, as maps of voxel means have, is returned as it is.
    """
    _, first, voxel, count = np.unique(
        voxel_keys(cloud.xyz, voxel_m), return_index=True, return_inverse=True, return_counts=True
    )
    if len(cloud) <= _THIN_ABOVE * len(count):
        return cloud
    # Relative to one of the voxel's points: sums of coordinates would lose digits.
    offset = cloud.xyz - cloud.xyz[first][voxel]
    mean = np.stack([np.bincount(voxel, axis) / count for axis in offset.T], axis=1)
    intensity, label = cloud.intensity, cloud.label
    return PointCloud(
        (cloud.xyz[first] + mean).astype(np.float32),
        None if label is None else _majority(label, voxel, len(count)),
        None if intensity is None
        else (np.bincount(voxel, intensity) / count).astype(np.float32),
        cloud.origin,
    )  # fmt: skip


def joined(clouds: Sequence[PointCloud]) -> PointCloud:
    """Concatenate clouds with one origin and the same fields."""

    def join(name: str) -> NDArray[Any] | None:
        values = [getattr(cloud, name) for cloud in clouds]
        return None if values[0] is None else np.concatenate(values)

    xyz = np.concatenate([cloud.xyz for cloud in clouds])
    return PointCloud(xyz, join("label"), join("intensity"), clouds[0].origin)


def _majority(label: NDArray[np.uint8], voxel: NDArray[np.int64], voxels: int) -> NDArray[np.uint8]:
    """Most frequent label of each voxel, (V,); the smallest of equally frequent ones."""
    pairs, votes = np.unique(voxel * NUM_CLASSES + label, return_counts=True)
    order = np.lexsort((pairs % NUM_CLASSES, -votes, pairs // NUM_CLASSES))
    owner, best = np.unique(pairs[order] // NUM_CLASSES, return_index=True)
    assert len(owner) == voxels
    return (pairs[order][best] % NUM_CLASSES).astype(np.uint8)


def _by_tile(cloud: PointCloud, grid: TileGrid) -> Iterator[tuple[Tile, NDArray[np.int64]]]:
    """The tiles of a cloud, each with the rows of its points in their order."""
    tiles, tile = np.unique(grid.index(cloud.xyz), axis=0, return_inverse=True)
    order = np.argsort(tile.ravel(), kind="stable")
    starts = np.searchsorted(tile.ravel()[order], np.arange(len(tiles) + 1))
    for number, (x, y) in enumerate(tiles.tolist()):
        yield Tile(x, y), order[starts[number] : starts[number + 1]]


def _records(cloud: PointCloud) -> NDArray[np.void]:
    records = np.zeros(len(cloud), _RECORD)
    records["xyz"] = cloud.xyz
    if cloud.label is not None:
        records["label"] = cloud.label
    if cloud.intensity is not None:
        records["intensity"] = cloud.intensity
    return records


def _path(folder: Path, tile: Tile) -> Path:
    return folder / f"{tile.key}{_SUFFIX}"


def _tiles_of(folder: Path) -> list[Tile]:
    files = (path for path in folder.glob(f"*{_SUFFIX}") if path.stat().st_size)
    return sorted(Tile.of_key(path.stem) for path in files)
