"""Folders of point cloud tiles: Autoware's `pointcloud_map`, and grids of files of one format."""

from __future__ import annotations

import logging
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scmpr_ros.errors import DatasetError
from scmpr_ros.lidar.clouds.formats.registry import TILE_SUFFIXES, cloud_suffix

_log = logging.getLogger(__name__)

METADATA = "pointcloud_map_metadata.yaml"
_PROJECTION = "map_projector_info.yaml"
_MAP_FOLDERS = ("pointcloud_map", "pointcloud_map.pcd")
_RESOLUTIONS = ("x_resolution", "y_resolution")
_WHOLE_MAPS = ("globalmap", "cloudglobal", "finalcloud")
"""Names by which LIO-SAM, LVI-SAM and LeGO-LOAM save the map, beside its corners and surfaces."""
_POSES = re.compile(r"trajectory|transformations|(.*_)?poses")
"""Names by which they save poses as clouds, and KISS-ICP as an array."""
_DUMPS = {
    "graph.bin": "GLIM, whose offline_viewer exports the map as PLY",
    "graph.g2o": "hdl_graph_slam, whose service save_map saves the map as PCD",
}
"""Files in the folders of programs that keep the parts of a map, not the map."""


@dataclass(frozen=True)
class CloudTiles:
    """Files that make one map together, and its coordinate system if the folder says it."""

    paths: tuple[Path, ...]
    georeference: str = ""


def is_tile_folder(folder: Path) -> bool:
    """Whether a folder holds point clouds: Autoware's map, or cloud files or scans side by side."""
    return (
        _metadata_file(folder) is not None
        or _map_folder(folder) is not None
        or len(_cloud_files(folder)) > 0
        or any(folder.glob("*.bin"))
    )


def find_tiles(folder: Path) -> CloudTiles:
    """List the tiles of a map: those that Autoware's metadata name, else all files of one format.

    Raises DatasetError if there are none, if some are missing, or if formats are mixed.
    """
    metadata = _metadata_file(folder)
    place = _map_folder(folder) or folder
    georeference = _georeference(folder)
    if metadata is not None:
        return CloudTiles(_listed_tiles(metadata, place), georeference)
    if place.is_file():
        return CloudTiles((place,), georeference)
    files = _map_files(place)
    if not files:
        check_no_dump(place)
        scans = len(list(place.glob("*.bin")))
        if scans:
            raise DatasetError(
                f"{folder} holds {scans} scans (.bin) without poses, which make no map: give the "
                "recording with its poses, such as the KITTI folder that holds sequences/ and "
                "poses/, or a single scan"
            )
        raise DatasetError(
            f"{folder} holds no point clouds: looked for {', '.join(sorted(TILE_SUFFIXES))} and "
            f"{METADATA}"
        )
    kinds = Counter(TILE_SUFFIXES[cloud_suffix(file)] for file in files)
    if len(kinds) > 1:
        found = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        raise DatasetError(
            f"{folder} holds clouds of several formats ({found}): give one file, or a folder of "
            "tiles in one format"
        )
    names = Counter(file.name[: -len(cloud_suffix(file))] for file in files)
    name, times = names.most_common(1)[0]
    if times > 1:
        raise DatasetError(f"{folder} holds the tile {name} {times} times: keep one of its files")
    return CloudTiles(tuple(files), georeference)


def find_cloud_folders(folder: Path) -> list[Path]:
    """The folders within a folder that hold point clouds."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and is_tile_folder(path))


def check_no_dump(folder: Path) -> None:
    """Raise DatasetError for the folder of a program that keeps the parts of a map there."""
    for name, program in _DUMPS.items():
        if (folder / name).is_file():
            raise DatasetError(
                f"{folder} holds {name}, but no map: it is a dump of {program}; give that file"
            )


def holds_clouds(folder: Path) -> bool:
    """Whether cloud files lie in a folder, apart from scans (`.bin`)."""
    return len(_cloud_files(folder)) > 0


def _map_files(folder: Path) -> list[Path]:
    """The clouds of a folder that make its map: not its poses, nor parts of a map that is whole."""
    files = _cloud_files(folder)
    whole = [file for file in files if file.stem.lower() in _WHOLE_MAPS]
    chosen = whole[:1] or [file for file in files if not _POSES.fullmatch(file.stem.lower())]
    others = sorted({file.name for file in files} - {file.name for file in chosen})
    if chosen and others:
        read = ", ".join(file.name for file in chosen[:3])
        _log.warning("%s: read %s as the map, and left out what are parts of it or poses: %s",
                     folder, read, ", ".join(others))  # fmt: skip
    return chosen


def _cloud_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if cloud_suffix(path) in TILE_SUFFIXES
        and path.is_file()
        and not path.name.startswith((".", "~"))
    )


def _map_folder(folder: Path) -> Path | None:
    """Autoware's `pointcloud_map` in a folder of maps: tiles, or one file of that name."""
    names = [folder / name for name in _MAP_FOLDERS]
    return next((path for path in names if path.exists()), None)


def _metadata_file(folder: Path) -> Path | None:
    """The metadata of a map: in its folder, or beside the folder of its tiles."""
    inner = _map_folder(folder)
    places = [folder, *([inner] if inner is not None else [])]
    if folder.name in _MAP_FOLDERS:
        places.append(folder.parent)
    return next((place / METADATA for place in places if (place / METADATA).is_file()), None)


def _listed_tiles(metadata: Path, place: Path) -> tuple[Path, ...]:
    content = _read_yaml(metadata)
    names = [str(name) for name in content if name not in _RESOLUTIONS]
    if not names:
        raise DatasetError(f"{metadata} names no tiles: write it again with its map")
    if place.is_file():  # an undivided map, which the metadata describe all the same
        return (place,)
    files = [_tile(metadata, place, name) for name in names]
    missing = [name for name, file in zip(names, files, strict=True) if file is None]
    if missing:
        raise DatasetError(
            f"{metadata} names {len(names)} tiles, but {len(missing)} of them are not in {place}, "
            f"such as {missing[0]}: copy the whole map again"
        )
    tiles = tuple(file for file in files if file is not None)
    others = set(_cloud_files(place)) - set(tiles)
    if others:
        _log.warning("%s: left out %d clouds that %s does not list, such as %s",
                     place, len(others), metadata.name, min(others).name)  # fmt: skip
    return tiles


def _tile(metadata: Path, place: Path, name: str) -> Path | None:
    file = Path(name).name
    return next((f for f in (place / file, metadata.parent / file) if f.is_file()), None)


def _georeference(folder: Path) -> str:
    """What Autoware's projector file says, on one line."""
    for place in (folder, folder.parent if folder.name in _MAP_FOLDERS else folder):
        path = place / _PROJECTION
        if path.is_file():
            content = _read_yaml(path)
            known = {key: content[key] for key in sorted(content, key=str) if content[key] != ""}
            return ", ".join(f"{key}: {value}" for key, value in known.items())
    return ""


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise DatasetError(f"{path}: cannot read it as YAML: {error}") from None
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: expected a mapping, found {type(content).__name__}")
    return content
