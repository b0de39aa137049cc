"""Read a whole map and compare it with its manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from scmpr_ros.errors import MapFormatError
from scmpr_ros.retrieval.compressed_index import read_index
from scmpr_ros.retrieval.place_map.format_4 import read_format_4
from scmpr_ros.retrieval.place_map.manifest import (
    FORMAT_4,
    Manifest,
    TileEntry,
    read_format,
    read_manifest,
)
from scmpr_ros.retrieval.place_map.place_map import PlaceMap
from scmpr_ros.retrieval.place_map.reading import open_shared, open_tile
from scmpr_ros.retrieval.stored_files import (
    StoredFile,
    checksum_of_file,
    mapped_bytes,
)


def faults_of(directory: Path) -> list[str]:
    """Everything that is wrong with a map on disk, one sentence each; none for a good map.

    Reads all files: checksums, sizes, shapes, values, and whether the index belongs to the
    descriptors.
    """
    directory = Path(directory)
    try:
        version, content = read_format(directory)
        if version == FORMAT_4:
            PlaceMap(**read_format_4(directory, content))
            return []
        manifest = read_manifest(directory)
    except MapFormatError as error:
        return [str(error)]
    return list(_faults(directory, manifest))


def _faults(folder: Path, manifest: Manifest) -> Iterator[str]:
    checks: list[tuple[StoredFile, Callable[[], object]]] = [
        (manifest.shared, partial(open_shared, folder, manifest))
    ]
    for entry in manifest.tiles:
        checks.append((entry.file, partial(_check_tile, folder, manifest, entry)))
    if manifest.index.file is not None:
        checks.append((manifest.index.file, partial(_check_index, folder, manifest)))
    for file, check in checks:
        path = folder / file.name
        try:
            if checksum_of_file(path) != file.checksum:
                yield f"{path} is damaged (checksum); restore the file or build the map again"
            else:
                check()
        except OSError as error:
            yield f"{path} cannot be read: {error.strerror}; build the map again or restore it"
        except MapFormatError as error:
            yield str(error)


def _check_tile(folder: Path, manifest: Manifest, entry: TileEntry) -> None:
    tile = open_tile(folder, manifest, entry)
    try:
        tile.check_values()
    except MapFormatError as error:
        raise MapFormatError(f"{folder / entry.file.name}: {error}") from None


def _check_index(folder: Path, manifest: Manifest) -> None:
    file = manifest.index.file
    assert file is not None
    path = folder / file.name
    shape = (manifest.places, manifest.headings, manifest.descriptor_dim)
    read_index(mapped_bytes(path, file.num_bytes), shape, str(path))
