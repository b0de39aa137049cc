"""Change maps on disk tile by tile: update, crop, merge, migrate.

Tiles that stay as they are keep their files; only the index is computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scmpr_ros.errors import ConfigError, MapFormatError
from scmpr_ros.retrieval.place_map.manifest import (
    FORMAT_4,
    Manifest,
    TileEntry,
    read_format,
    read_manifest,
)
from scmpr_ros.retrieval.place_map.place_map import PlaceMap
from scmpr_ros.retrieval.place_map.reading import check_fits, open_shared, open_tile
from scmpr_ros.retrieval.place_map.tile import PlaceTile
from scmpr_ros.retrieval.place_map.writing import (
    MapHeader,
    commit,
    header_of,
    replacing,
    store_tiles,
    write_place_map,
)
from scmpr_ros.retrieval.stored_files import checksum_of_file

Overlap = Literal["refuse", "first", "last"]
Inside = Callable[[NDArray[np.float64]], NDArray[np.bool_]]
"""Which of some positions (n, 3) are inside an area, (n,)."""


def update_place_map(
    directory: Path,
    tiles: Iterable[PlaceTile | Path],
    remove: Collection[str] = (),
    index: str | None = None,
) -> Manifest:
    """Replace the tiles of a map that have the keys of the given ones, and append the others.

    remove: keys of tiles to leave out. index: see `write_place_map`; None for the map's own.
    An empty tile removes the one with its key.

    Raises MapFormatError, and leaves the map, for the reasons of `write_place_map`, or if the map
    has no tile of a key to remove.
    """
    read_manifest(Path(directory))  # before the lock, which creates the folder
    with replacing(Path(directory)) as folder:
        manifest = read_manifest(folder)
        header = header_of(folder, manifest)
        unknown = set(remove) - {entry.key for entry in manifest.tiles}
        if unknown:
            names = ", ".join(repr(key) for key in sorted(unknown))
            raise MapFormatError(f"the map has no tile {names}: see the keys in metadata.json")
        gone = set(remove)

        def given() -> Iterator[PlaceTile]:
            for tile in tiles:
                opened = tile if isinstance(tile, PlaceTile) else PlaceTile.load(tile)
                check_fits(opened, manifest, f"tile {opened.key}")
                gone.add(opened.key)
                yield opened

        new = store_tiles(folder, given())
        header = _edited(header) if gone else header
        kept = [entry for entry in manifest.tiles if entry.key not in gone]
        return commit(folder, header, [*kept, *new], index or manifest.index.setting)


def box(lower: Sequence[float], upper: Sequence[float]) -> Inside:
    """The area between two corners, each (x, y), map frame, metres."""
    low, high = np.asarray(lower, np.float64), np.asarray(upper, np.float64)
    if low.shape != (2,) or high.shape != (2,) or not (low < high).all():
        raise ConfigError(f"a box from {lower} to {upper} is empty: give x and y, lower ones first")
    return lambda xyz: np.all((xyz[:, :2] >= low) & (xyz[:, :2] <= high), axis=1)


def circle(centre: Sequence[float], radius_m: float) -> Inside:
    """The area around a point (x, y), map frame, metres."""
    middle = np.asarray(centre, np.float64)
    if middle.shape != (2,) or not np.isfinite(middle).all() or not radius_m > 0:
        raise ConfigError(f"a circle around {centre} of radius {radius_m} m is none")
    return lambda xyz: np.asarray(np.linalg.norm(xyz[:, :2] - middle, axis=1) <= radius_m)


def crop_place_map(
    source: Path, target: Path, inside: Inside, index: str | None = None
) -> Manifest:
    """Write the part of a map that lies in an area; tiles that lie in it as a whole are linked.

    Raises MapFormatError if no place is inside.
    """
    source = Path(source)
    manifest = read_manifest(source)
    opened = (open_tile(source, manifest, entry) for entry in manifest.tiles)
    if not any(inside(tile.positions).any() for tile in opened):
        raise MapFormatError(f"{source} has no place in that area: {_extent(manifest)}")

    def tiles() -> Iterator[PlaceTile | Path]:
        for entry in manifest.tiles:
            chosen = inside(open_tile(source, manifest, entry).positions)
            if chosen.all():
                yield source / entry.file.name
            elif chosen.any():
                yield _intact_tile(source, manifest, entry).select(chosen)

    header = _edited(header_of(source, manifest))
    return write_place_map(target, header, tiles(), index or manifest.index.setting)


def merge_place_maps(
    sources: Sequence[Path],
    target: Path,
    overlap: Overlap = "refuse",
    same_place_m: float = 1.0,
    index: str = "auto",
) -> Manifest:
    """Write one map of several that share checkpoint, panorama grid, origin and georeference.

    Args:
        sources: the maps. Of a tile key that several have, later ones get a suffix.
        target: directory of the new map.
        overlap: what to do with places of several maps that are the same: refuse to merge, or keep
            those of the first or of the last map.
        same_place_m: places closer than this are the same.
        index: see `write_place_map`.

    Raises MapFormatError if the maps do not fit together or, with `refuse`, overlap, and
    ConfigError for a distance that is none.
    """
    if not same_place_m >= 0:
        raise ConfigError(f"same_place_m is {same_place_m}: give a distance in metres, 0 or more")
    sources = [Path(source) for source in sources]
    manifests = [read_manifest(source) for source in sources]
    for source, manifest in zip(sources[1:], manifests[1:], strict=True):
        _check_same_kind(sources[0], manifests[0], source, manifest)
    keeps = _kept_places(sources, manifests, overlap, same_place_m)

    def tiles() -> Iterator[PlaceTile | Path]:
        known: set[str] = set()
        for source, manifest, keep in zip(sources, manifests, keeps, strict=True):
            for entry, kept in zip(manifest.tiles, keep, strict=True):
                key = _free_key(entry.key, known)
                if key == entry.key and kept.all():
                    yield source / entry.file.name
                elif kept.any():
                    tile = _intact_tile(source, manifest, entry)
                    yield replace(tile.select(kept), key=key)

    heights = {manifest.sensor_height_m for manifest in manifests}
    header = replace(
        header_of(sources[0], manifests[0]),
        sensor_height_m=heights.pop() if len(heights) == 1 else None,
        provenance={"merged": [manifest.provenance for manifest in manifests]},
    )
    return write_place_map(target, header, tiles(), index)


def migrate_place_map(directory: Path) -> bool:
    """Write a map of format 4 in the format of today, in its place; return False if it is.

    Raises MapFormatError for a map of neither.
    """
    version, _ = read_format(Path(directory))
    if version != FORMAT_4:
        return False
    PlaceMap.load(directory).save(directory)
    return True


def _intact_tile(folder: Path, manifest: Manifest, entry: TileEntry) -> PlaceTile:
    """Open a tile whose content gets another checksum, which would hide that it is damaged."""
    path = folder / entry.file.name
    if checksum_of_file(path) != entry.file.checksum:
        raise MapFormatError(f"{path} is damaged (checksum); restore it or build that map again")
    return open_tile(folder, manifest, entry)


def _extent(manifest: Manifest) -> str:
    """Where the places of a map lie."""
    lower = np.min([tile.lower for tile in manifest.tiles], axis=0)
    upper = np.max([tile.upper for tile in manifest.tiles], axis=0)
    x, y = (f"{low:.1f} to {high:.1f}" for low, high in zip(lower[:2], upper[:2], strict=True))
    return f"its places lie at x from {x} and y from {y} m"


def _edited(header: MapHeader) -> MapHeader:
    """The header of a map that no longer is what its provenance says; a build must know."""
    if header.provenance.keys() == {"edited"}:
        return header
    return replace(header, provenance={"edited": header.provenance})


def _check_same_kind(first: Path, expected: Manifest, other: Path, found: Manifest) -> None:
    for name, meaning in {
        "fingerprint": "were made by different checkpoints",
        "grid": "have different panoramas",
        "headings": "have different headings",
        "descriptor_dim": "have descriptors of different length",
        "origin": "have different origins: their coordinates are not the same",
        "georeference": "have different georeferences: their coordinates are not the same",
    }.items():
        if getattr(expected, name) != getattr(found, name):
            raise MapFormatError(
                f"{first} and {other} {meaning} ({getattr(expected, name)} and "
                f"{getattr(found, name)}): build one of them again as the other"
            )
    here, there = open_shared(first, expected), open_shared(other, found)
    if not np.allclose(here["headings"], there["headings"]):
        raise MapFormatError(f"{first} and {other} have different headings: build one again")
    if not np.allclose(here["confusion"], there["confusion"], atol=1e-6):
        raise MapFormatError(
            f"{first} and {other} were labelled in different ways (their confusion differs): label "
            "and build one of them again as the other"
        )
    same_context = np.array_equal(here["context"], there["context"])
    if expected.tokens != found.tokens or not (all(expected.tokens) or same_context):
        raise MapFormatError(
            f"{first} or {other} was written without the tokens of its places, so that no common "
            "context (eq. 7) can be computed: build it again"
        )


def _kept_places(
    sources: Sequence[Path], manifests: Sequence[Manifest], overlap: Overlap, same_place_m: float
) -> list[list[NDArray[np.bool_]]]:
    """Which places of each tile of each map are kept."""
    positions = [
        [open_tile(source, manifest, entry).positions for entry in manifest.tiles]
        for source, manifest in zip(sources, manifests, strict=True)
    ]
    kept = [np.ones(sum(map(len, tiles)), bool) for tiles in positions]
    order = range(len(sources)) if overlap != "last" else range(len(sources))[::-1]
    earlier: NDArray[np.float64] = np.zeros((0, 3))
    for number in order:
        here = np.concatenate(positions[number])
        if len(earlier):
            nearest, _ = cKDTree(earlier).query(here, distance_upper_bound=same_place_m)
            kept[number] = ~np.isfinite(nearest)
        same = int((~kept[number]).sum())
        if same and overlap == "refuse":
            raise MapFormatError(
                f"{same} of {len(here)} places of {sources[number]} lie within {same_place_m} m of "
                "places of the maps before it: keep one of them, the first or the last map's "
                "(overlap)"
            )
        earlier = np.concatenate([earlier, here[kept[number]]])
    return [
        np.split(keep, np.cumsum([len(tile) for tile in tiles])[:-1])
        for keep, tiles in zip(kept, positions, strict=True)
    ]


def _free_key(key: str, known: set[str]) -> str:
    """A key that no tile has yet."""
    number, free = 2, key
    while free in known:
        free, number = f"{key}.{number}", number + 1
    known.add(free)
    return free
