"""Whether a source is the one that a map was built from, wherever it lies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
