"""Whether a source is the one that a map was built from, wherever it lies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scmpr_ros.pipeline.build_folder import build_folder_of

_MAX_HASHED_BYTES = 2**30


@dataclass(frozen=True)
class SourceDigest:
    """Fingerprints of a source's files, independent of where the source lies.

    listing: of relative names, sizes and modification times.
    content: of relative names and bytes; empty for sources of more than 1 GiB.
    """

    listing: str
    content: str

    @classmethod
    def of(cls, sources: Sequence[Path], directory: Path) -> SourceDigest:
        """Read the source and the files that say how to read it.

        directory: the place map; it and the folder of its build may lie inside a source, and do not
            count.
        """
        files = _source_files(sources, directory)
        return cls(_listing(files), _content(files))

    def matches(self, sources: Sequence[Path], directory: Path) -> bool:
        """Whether the sources have not changed; copied files are compared by content."""
        files = _source_files(sources, directory)
        if _listing(files) == self.listing:
            return True
        return bool(self.content) and _content(files) == self.content


def _source_files(sources: Sequence[Path], directory: Path) -> dict[str, Path]:
    """Return the files of sources by number of the source and relative name."""
    excluded = {directory.resolve(), build_folder_of(directory).resolve()}
    return {
        f"{number}/{path.relative_to(source).as_posix()}": path
        for number, source in enumerate(sources)
        for path in ([source] if not source.is_dir() else sorted(source.rglob("*")))
        if path.is_file() and excluded.isdisjoint(path.resolve().parents)
    }


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
