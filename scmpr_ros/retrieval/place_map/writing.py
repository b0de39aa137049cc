"""Write the files of a place map, and make them the map in one step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.atomic_files import exclusive_lock
from scmpr_ros.errors import MapFormatError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.retrieval.compressed_index import EXACT, build_index, index_spec
from scmpr_ros.retrieval.place_map.arrays import first_fault
from scmpr_ros.retrieval.place_map.format_4 import FILES_4
from scmpr_ros.retrieval.place_map.manifest import (
    FORMAT,
    MANIFEST,
    IndexEntry,
    Manifest,
    TileEntry,
    is_own_manifest,
    read_format,
    read_manifest,
)
from scmpr_ros.retrieval.place_map.reading import open_shared, open_tile
from scmpr_ros.retrieval.place_map.tile import PlaceTile
from scmpr_ros.retrieval.stored_files import (
    StoredFile,
    adopt,
    checksum_of,
    flush,
    serialised,
    store,
)
from scmpr_ros.retrieval.tiled_array import PlaceArray, joined

_SHARED_FORMAT = "scmpr_ros place map shared/1"
_STORED = re.compile(r"[^/]+-[0-9a-f]{32}\.(safetensors|faiss)")
_TEMPORARY = re.compile(r"\.([^/]+-[0-9a-f]{32}\.(safetensors|faiss)|metadata\.json)\.\d+")


@dataclass(frozen=True)
class MapHeader:
    """What all tiles of a map share.

    context: (S, C) semantic context; None to compute it from the tokens of the tiles. The other
    fields: see `PlaceMap`.
    """

    fingerprint: str
    grid: AngularGrid
    headings_rad: NDArray[np.float64]
    confusion: NDArray[np.float32]
    context: NDArray[np.float32] | None = None
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    georeference: str = ""
    sensor_height_m: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


def write_place_map(
    directory: Path,
    header: MapHeader,
    tiles: Iterable[PlaceTile | Path],
    index: str = "auto",
) -> Manifest:
    """Write a map of tiles, in any order; an existing map is replaced as a whole or not at all.

    Only one tile is held in memory. The same tiles in another order give the same files, byte by
    byte. While another process writes the same map, wait for it.

    Args:
        directory: of the map; files of others in it are left alone.
        header: of the map.
        tiles: with different keys; a path is that of a file of `PlaceTile.save`, which is linked
            or copied. Empty tiles are left out.
        index: `auto` chooses by the number of viewpoints; `exact`, or a FAISS factory string.

    Raises MapFormatError, and leaves what was there, if the directory is something else, if tiles
    do not fit together, or if a value is invalid.
    """
    with replacing(Path(directory)) as folder:
        return commit(folder, header, store_tiles(folder, tiles), index)


@contextmanager
def replacing(directory: Path) -> Iterator[Path]:
    """Lock a map's directory while its files are written; remove those that no manifest names.

    Raises MapFormatError for a directory that is something else.
    """
    if not is_map_folder(directory):
        raise MapFormatError(f"{directory} exists and is not a place map: it is left alone")
    try:
        with exclusive_lock(directory, wait=True):
            try:
                yield directory
            finally:
                _remove_unreferenced(directory)
    except MapFormatError as error:
        raise MapFormatError(f"{directory} is not written: {error}") from None
    finally:
        for folder in (directory / "tiles", directory):
            with suppress(OSError):  # not empty
                folder.rmdir()


def is_map_folder(directory: Path) -> bool:
    """Whether a directory is a map, or what a killed process left of one, or empty, or missing."""
    if not directory.exists():
        return not directory.is_symlink()  # a link to nowhere cannot become a folder
    if not directory.is_dir():
        return False
    names = {path.name for path in directory.iterdir()}
    if MANIFEST in names:
        # Other programs, such as Potree, name files of theirs so; a damaged one has our files.
        return is_own_manifest(directory) or any(map(_is_ours, names)) or names >= set(FILES_4)
    return all(name == "tiles" or _is_ours(name) for name in names)


def store_tiles(folder: Path, tiles: Iterable[PlaceTile | Path]) -> list[TileEntry]:
    """Write the files of tiles, without those that are empty."""
    entries = []
    for given in tiles:
        tile = given if isinstance(given, PlaceTile) else _load(given)
        if len(tile) == 0:
            continue
        tile.check_values()
        stem = f"tiles/{tile.key}"
        if isinstance(given, PlaceTile):
            file = store(folder, stem, ".safetensors", tile.to_bytes())
        else:
            file = adopt(folder, stem, ".safetensors", Path(given))
        lower, upper = (
            tuple(extreme(tile.positions, axis=0).tolist()) for extreme in (np.min, np.max)
        )
        poses = checksum_of(tile.positions, tile.axes)
        entries.append(TileEntry(tile.key, len(tile), lower, upper, poses, file))
    return entries


def commit(folder: Path, header: MapHeader, entries: Sequence[TileEntry], index: str) -> Manifest:
    """Write what the tiles share and the index of all, and then the manifest."""
    entries = sorted(entries, key=lambda entry: entry.key)
    keys = [entry.key for entry in entries]
    if not entries:
        raise MapFormatError("it would have no places")
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise MapFormatError(f"two tiles have the key {twice}: give each its own")
    first = _load(folder / entries[0].file.name)
    sums, classes = first.token_sums.shape[2], first.token_sums.shape[1]
    manifest = Manifest(
        fingerprint=header.fingerprint, grid=header.grid,
        places=sum(entry.places for entry in entries), headings=len(header.headings_rad),
        descriptor_dim=first.descriptors.shape[2], tokens=(classes, sums), origin=header.origin,
        georeference=header.georeference, sensor_height_m=header.sensor_height_m,
        shared=entries[0].file, index=IndexEntry(index, EXACT), tiles=tuple(entries),
        provenance=header.provenance,
    )  # fmt: skip
    tiles = [open_tile(folder, manifest, entry) for entry in entries]
    manifest = replace(
        manifest,
        shared=_store_shared(folder, header, tiles),
        index=_store_index(folder, index, joined([tile.descriptors for tile in tiles])),
    )
    for names in (folder / "tiles", folder):
        flush(names)
    manifest.write(folder)
    return manifest


def _store_shared(folder: Path, header: MapHeader, tiles: Sequence[PlaceTile]) -> StoredFile:
    context = mean_tokens(tiles) if header.context is None else header.context
    shared: dict[str, NDArray[Any]] = {
        "headings": np.asarray(header.headings_rad, np.float64),
        "confusion": np.asarray(header.confusion, np.float32),
        "context": np.asarray(context, np.float32),
    }
    fault = first_fault(shared)
    if fault:
        raise MapFormatError(fault)
    return store(folder, "shared", ".safetensors", serialised(shared, {"format": _SHARED_FORMAT}))


def _store_index(folder: Path, setting: str, descriptors: PlaceArray) -> IndexEntry:
    places, headings, dim = descriptors.shape
    spec = index_spec(setting, places * headings, dim)
    content = build_index(descriptors, spec)
    file = None if content is None else store(folder, "index", ".faiss", content)
    return IndexEntry(setting, spec, file)


def header_of(folder: Path, manifest: Manifest) -> MapHeader:
    """The header of a map on disk; its context is kept only if the tiles have no tokens."""
    shared = open_shared(folder, manifest)
    return MapHeader(
        manifest.fingerprint, manifest.grid, shared["headings"], shared["confusion"],
        None if all(manifest.tokens) else shared["context"], manifest.origin,
        manifest.georeference, manifest.sensor_height_m, manifest.provenance,
    )  # fmt: skip


def _load(path: Path) -> PlaceTile:
    try:
        return PlaceTile.load(path)
    except FileNotFoundError:
        raise MapFormatError(f"{path}: no such tile") from None


def mean_tokens(tiles: Sequence[PlaceTile]) -> NDArray[np.float32]:
    """SemanticContext(P_LiDAR) of eq. 7: unit tokens (S, C) of the static classes of a map.

    Classes that do not occur get a zero token.
    """
    sums = sum(tile.token_sums.sum(0, dtype=np.float64) for tile in tiles)
    weights = sum(tile.token_weights.sum(0, dtype=np.float64) for tile in tiles)
    mean = sums / np.maximum(weights, 1e-6)[:, None]
    length = np.linalg.norm(mean, axis=-1, keepdims=True)
    return np.asarray(mean / np.maximum(length, 1e-12), np.float32)


def _is_ours(name: str) -> bool:
    return bool(_STORED.fullmatch(name) or _TEMPORARY.fullmatch(name))


def _remove_unreferenced(folder: Path) -> None:
    """Remove files of an older or unfinished map, and the folder of tiles if it is empty."""
    version = MANIFEST in {path.name for path in folder.iterdir()} and _format(folder)
    if version is None:  # damaged: whatever can be saved of that map stays
        return
    files = set()
    if version == FORMAT:
        files = {file.name for file in read_manifest(folder).files}
        for name in FILES_4:
            (folder / name).unlink(missing_ok=True)
    for path in (*folder.iterdir(), *folder.glob("tiles/*")):
        if _is_ours(path.name) and path.relative_to(folder).as_posix() not in files:
            path.unlink(missing_ok=True)


def _format(folder: Path) -> str | None:
    """The format of a map; None if its manifest is damaged."""
    try:
        version, _ = read_format(folder)
        if version == FORMAT:
            read_manifest(folder)
        return version
    except MapFormatError:
        return None
