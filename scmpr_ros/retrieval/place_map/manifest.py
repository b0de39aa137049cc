"""`metadata.json`, the one file of a place map that changes: which files it consists of."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scmpr_ros.config import from_dict, to_dict
from scmpr_ros.errors import ConfigError, MapFormatError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.retrieval.stored_files import StoredFile, checksum_of, durable_write

FORMAT = "scmpr_ros place map/5"
FORMAT_4 = "scmpr_ros place map/4"
MANIFEST = "metadata.json"
_FAMILY = "scmpr_ros place map/"


@dataclass(frozen=True)
class TileEntry:
    """A tile of a map. lower, upper: bounds of its places, map frame, metres.

    poses_checksum: of positions and axes, which are compared whenever the map is opened.
    """

    key: str
    places: int
    lower: tuple[float, float, float]
    upper: tuple[float, float, float]
    poses_checksum: str
    file: StoredFile


@dataclass(frozen=True)
class IndexEntry:
    """The map's index.

    setting: by which it is chosen again when the map changes, `auto` or a spec.
    spec: `exact`, which needs no file, or a FAISS factory string.
    """

    setting: str
    spec: str
    file: StoredFile | None = None


@dataclass(frozen=True)
class Manifest:
    """Content of a map.

    places, headings, descriptor_dim: P, V and D. tokens: S and C of a tile's token sums.
    origin: point of the source's coordinates that is zero in the map frame, metres.
    georeference: what those coordinates are (EPSG code or WKT); empty if unknown.
    sensor_height_m: of places above the ground; None if unknown.
    provenance: anything JSON that says how the map was made.
    """

    fingerprint: str
    grid: AngularGrid
    places: int
    headings: int
    descriptor_dim: int
    tokens: tuple[int, int]
    origin: tuple[float, float, float]
    georeference: str
    sensor_height_m: float | None
    shared: StoredFile
    index: IndexEntry
    tiles: tuple[TileEntry, ...]
    provenance: dict = field(default_factory=dict)  # type: ignore[type-arg]

    def __post_init__(self) -> None:
        if self.places != sum(tile.places for tile in self.tiles):
            raise ConfigError(f"its tiles do not have {self.places} places")
        for file in self.files:
            name = re.fullmatch(r"(?:tiles/)?[^/]+-([0-9a-f]{32})\.(safetensors|faiss)", file.name)
            if name is None or name[1] != file.checksum or file.num_bytes < 1:
                raise ConfigError(f"{file} is no file of a place map")

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """All files of the map but the manifest."""
        index = () if self.index.file is None else (self.index.file,)
        return (self.shared, *index, *(tile.file for tile in self.tiles))

    def write(self, folder: Path) -> None:
        """Replace the manifest of a map's folder; from now on this is the map."""
        content = to_dict(replace(self, provenance=_plain(self.provenance)))
        whole = {"format": FORMAT, "checksum": _checksum(content), **content}
        with durable_write(folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps(whole, indent=1, allow_nan=False) + "\n")


def has_map(folder: Path) -> bool:
    """Whether a folder holds a map, of any format."""
    return (folder / MANIFEST).is_file()


def is_own_manifest(folder: Path) -> bool:
    """Whether a folder's manifest is one of a map, of whatever format."""
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and str(content.get("format")).startswith(_FAMILY)


def read_format(folder: Path) -> tuple[str, dict[str, Any]]:
    """The format that a folder's manifest names, and its content.

    Raises MapFormatError if there is no manifest or no JSON in it, or if the format is none that
    this version reads.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        if folder.is_dir():
            reason = "is missing" if isinstance(error, FileNotFoundError) else error.strerror
            raise MapFormatError(f"{path} {reason}; build the map again") from None
        raise MapFormatError(
            f"{folder}: no place map there ({error.strerror}); build one first"
        ) from None
    except (ValueError, RecursionError) as error:
        raise MapFormatError(f"{path}: not valid JSON ({error}); build the map again") from None
    version = content.get("format") if isinstance(content, dict) else None
    if version in (FORMAT, FORMAT_4):
        return version, content
    number = str(version).removeprefix(_FAMILY)
    if str(version).startswith(_FAMILY) and number.isdigit() and int(number) > 5:
        raise MapFormatError(
            f"{path}: format {version!r} is newer than {FORMAT!r}: update scmpr_ros, or build the "
            "map with this version"
        )
    raise MapFormatError(f"{path}: format {version!r}, expected {FORMAT!r}; build the map again")


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a map of this format; raises MapFormatError."""
    version, content = read_format(folder)
    path = folder / MANIFEST
    if version != FORMAT:
        raise MapFormatError(
            f"{path}: format {version!r}, expected {FORMAT!r}: run `verify_map --migrate {folder}`"
        )
    del content["format"]
    expected, found = content.pop("checksum", None), _checksum(content)
    if expected != found:
        raise MapFormatError(
            f"{path} was changed or is damaged: its checksum is {found}, not {expected}; restore "
            "the file or build the map again"
        )
    try:
        return from_dict(Manifest, content, source=str(path))
    except ConfigError as error:
        raise MapFormatError(f"{error}; build the map again") from None


def _checksum(content: dict[str, Any]) -> str:
    return checksum_of(json.dumps(content, sort_keys=True, allow_nan=False).encode())


def _plain(provenance: dict[str, Any]) -> dict[str, Any]:
    """Paths and other things that JSON lacks become text."""
    plain = json.loads(json.dumps(provenance, default=str, allow_nan=False))
    assert isinstance(plain, dict)
    return plain
