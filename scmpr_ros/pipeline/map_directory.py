"""The directory of a place map as the map loader keeps it, and when it can be reused.

Beside the files of `PlaceMap` it holds

    points.npy         structured array of the map's points, thinned, for viewers
    built_from.yaml    the source and the settings, see `BuiltFrom`; written last
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.config import load_yaml, save_yaml
from scmpr_ros.errors import ConfigError
from scmpr_ros.pipeline.map_builder import MapBuilderConfig
from scmpr_ros.pipeline.map_source import MapSourceConfig
from scmpr_ros.retrieval.place_map import PlaceMap, is_map_folder

_POINTS, _BUILT_FROM = "points.npy", "built_from.yaml"
_MAX_HASHED_BYTES = 2**30
_PROBE_BYTES = 2**16


@dataclass(frozen=True)
class SourceDigest:
    """Fingerprints of a source's files, independent of where the source lies.

    listing: of relative names, sizes and modification times.
    content: of relative names and bytes; empty for sources of more than 1 GiB.
    """

    listing: str
    content: str

    @classmethod
    def of(cls, source: Path, directory: Path) -> SourceDigest:
        """Read the source, except for `directory`, the place map that may lie inside it."""
        files = _source_files(source, directory)
        return cls(_listing(files), _content(files))

    def matches(self, source: Path, directory: Path) -> bool:
        """Whether the source has not changed; copied files are compared by content."""
        files = _source_files(source, directory)
        if _listing(files) == self.listing:
            return True
        return bool(self.content) and _content(files) == self.content


@dataclass(frozen=True)
class BuiltFrom:
    """Origin of a place map.

    source: path it was built from; for people, not compared.
    """

    source: str
    digest: SourceDigest
    max_points: int
    map_source: MapSourceConfig
    builder: MapBuilderConfig


class MapDirectory:
    """Saves a place map with its origin, and loads it again if the origin has not changed."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def check_writable(self) -> None:
        """Raise ConfigError if a map cannot be written: call it before a long build."""
        folder = self.path.parent
        probe = folder / f".{self.path.name}.probe.{os.getpid()}"
        try:
            if not is_map_folder(self.path):
                raise ConfigError(f"{self.path} exists and is no place map: name another directory")
            folder.mkdir(parents=True, exist_ok=True)
            try:
                with probe.open("wb") as file:
                    file.write(bytes(_PROBE_BYTES))
                    file.flush()
                    os.fsync(file.fileno())
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot write a place map to {self.path}: {error}") from None

    def save(self, place_map: PlaceMap, points: NDArray[Any], built_from: BuiltFrom) -> None:
        """Write all files; the origin comes last, so that an incomplete map is not reused."""
        try:
            (self.path / _BUILT_FROM).unlink(missing_ok=True)
            place_map.save(self.path)
            np.save(self.path / _POINTS, points)
            save_yaml(built_from, self.path / _BUILT_FROM)
        except OSError as error:
            raise ConfigError(
                f"cannot write the place map to {self.path}: {error}; is the disk full?"
            ) from None

    def load(
        self,
        source: Path,
        max_points: int,
        map_source: MapSourceConfig,
        builder: MapBuilderConfig,
        fingerprint: str,
    ) -> PlaceMap:
        """Load the map; raises ScmprError if building it again would give another one.

        fingerprint: of the network that would build it.
        """
        origin = load_yaml(BuiltFrom, self.path / _BUILT_FROM)
        if (origin.max_points, origin.map_source, origin.builder) != (
            max_points, map_source, builder,
        ):  # fmt: skip
            raise ConfigError("the settings have changed")
        if not origin.digest.matches(source, self.path):
            raise ConfigError("the source has changed")
        place_map = PlaceMap.load(self.path)
        place_map.check_made_by(fingerprint)
        return place_map

    def points(self) -> NDArray[Any]:
        """Read the points for viewers."""
        return np.load(self.path / _POINTS, allow_pickle=False)


def _source_files(source: Path, directory: Path) -> dict[str, Path]:
    """Return the source's files by relative name, without those of `directory`."""
    if not source.is_dir():
        return {"": source}
    excluded = directory.resolve()
    files = {
        path.relative_to(source).as_posix(): path
        for path in source.rglob("*")
        if path.is_file() and excluded not in path.resolve().parents
    }
    return dict(sorted(files.items()))


def _listing(files: dict[str, Path]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, path in files.items():
        status = path.stat()
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def _content(files: dict[str, Path]) -> str:
    if sum(path.stat().st_size for path in files.values()) > _MAX_HASHED_BYTES:
        return ""
    digest = hashlib.blake2b(digest_size=16)
    for name, path in files.items():
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        for block in _blocks(path):
            digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(2**20):
            yield block
