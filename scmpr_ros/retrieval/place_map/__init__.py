"""The place map: everything the localizer needs of a LiDAR map, as a directory.

    metadata.json                    the manifest: format, checkpoint, grid, and all other files
    tiles/<key>-<hash>.safetensors   the places of one area, see `PlaceTile`
    shared-<hash>.safetensors        what all places share:
        headings   (V,) float64      yaw of the heading windows, radians
        confusion  (S, S) float32    label given a static class, see `PlaceMap`
        context    (S, C) float32    semantic context, eq. 7
    index-<hash>.faiss               of the descriptors; large maps only

The manifest is the map: it names every other file with size and checksum, and is replaced in one
step when all of them are on the disk; then the files that it no longer names are removed. So a
process that is killed at any moment leaves the old map or the new one, and a reader who misses a
file reads the manifest again.

The other files are memory-mapped, and a process that maps a file which another truncates dies of
SIGBUS. Therefore they never change: `<hash>` is the checksum of the content, so a newer version
has another name, and copying a new map over an old one (`cp`, `rsync`) does not touch the old
files. Where both maps share a tile, `cp` writes the same bytes over themselves, which truncates
the file for a moment; such copies are safe with `rsync` (without `--inplace`) or
`cp --remove-destination`.
"""

from __future__ import annotations

from scmpr_ros.retrieval.place_map.place_map import PlaceMap
from scmpr_ros.retrieval.place_map.tile import PlaceTile
from scmpr_ros.retrieval.place_map.writing import MapHeader, is_map_folder, write_place_map
from scmpr_ros.retrieval.tiled_array import PlaceArray, TiledArray

__all__ = [
    "MapHeader",
    "PlaceArray",
    "PlaceMap",
    "PlaceTile",
    "TiledArray",
    "is_map_folder",
    "write_place_map",
]
