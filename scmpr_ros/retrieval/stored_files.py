"""Files that are named by their content and never change.

A file is written under a temporary name, flushed to the disk and renamed to `<stem>-<checksum>`.
So a name that can be read is complete, equal names have equal content, and a newer version of the
content never touches the file that a process has mapped.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray

from scmpr_ros.errors import MapFormatError

_DIGEST_BYTES = 16
_BLOCK_BYTES = 1 << 20
_MAX_HEADER_BYTES = 1 << 20
_DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "U8": np.uint8}
_CHECKSUM = re.compile(r"-([0-9a-f]{32})\.[a-z]+$")
_METADATA = "scmpr_ros"
"""The only entry of a file's metadata: safetensors writes several in any order."""


@dataclass(frozen=True)
class StoredFile:
    """A file of a map: its name relative to the map's folder, size and blake2b checksum (hex)."""

    name: str
    num_bytes: int
    checksum: str


def checksum_of(*data: bytes | NDArray[Any]) -> str:
    """The checksum of some bytes, as in the names of files."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for block in data:
        digest.update(block if isinstance(block, bytes) else np.ascontiguousarray(block).data)
    return digest.hexdigest()


def checksum_of_file(path: Path) -> str:
    """The checksum of a file's content."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def store(folder: Path, stem: str, suffix: str, content: bytes) -> StoredFile:
    """Write a file below a map's folder, which must be flushed when all are written.

    stem: its name up to the checksum, such as `tiles/a`.
    """
    checksum = checksum_of(content)
    name = f"{stem}-{checksum}{suffix}"
    with _written(folder / name) as temporary:
        temporary.write_bytes(content)
    return StoredFile(name, len(content), checksum)


def adopt(folder: Path, stem: str, suffix: str, source: Path) -> StoredFile:
    """Take a file that exists elsewhere into a map's folder, as a hard link where possible.

    Raises MapFormatError for a file of another map that is not what its name says: under the name
    of what it is now, nobody would find that it is damaged.
    """
    checksum = checksum_of_file(source)
    named = _CHECKSUM.search(source.name)
    if named is not None and named[1] != checksum:
        raise MapFormatError(f"{source} is damaged (checksum); restore it or build that map again")
    name = f"{stem}-{checksum}{suffix}"
    target = folder / name
    if not (target.exists() and target.samefile(source)):
        with _written(target) as temporary:
            try:
                os.link(source.resolve(), temporary)  # not a link, to a map that may go
            except OSError:  # another disk, or one without links
                shutil.copyfile(source, temporary)
    return StoredFile(name, target.stat().st_size, checksum)


@contextmanager
def durable_write(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; rename it to `path` when it is on the disk for good."""
    with _written(path) as temporary:
        yield temporary
    flush(path.parent)


def flush(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def serialised(arrays: dict[str, NDArray[Any]], metadata: dict[str, Any]) -> bytes:
    """Arrays as the bytes of a safetensors file; the same bytes for the same content."""
    text = json.dumps(metadata, sort_keys=True, allow_nan=False)
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return safetensors.numpy.save(whole, {_METADATA: text})


def mapped_bytes(path: Path, num_bytes: int | None = None) -> NDArray[np.uint8]:
    """A file's bytes, read-only and memory-mapped.

    num_bytes: the size that the file must have; any if None. The mapping keeps the file's content
    when its name is removed. It holds no file descriptor, of which a map of a city would need
    thousands.

    Raises FileNotFoundError, and MapFormatError for a file of another size or one that cannot be
    read.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0 or num_bytes not in (None, size):
                expected = "more" if num_bytes is None else f"{num_bytes}"
                raise MapFormatError(
                    f"{path} is truncated or damaged: {size} bytes, expected {expected}; "
                    "build the map again or restore the file"
                )
            name = f"/dev/fd/{file.fileno()}"  # whoever renames or removes the path meanwhile
            mapped = torch.from_file(name, shared=False, size=size, dtype=torch.uint8).numpy()
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise MapFormatError(f"{path} cannot be read: {reason}") from None
    mapped.flags.writeable = False
    return mapped


def mapped_arrays(
    path: Path, num_bytes: int | None = None
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays of a safetensors file, memory-mapped, and its metadata; errors as above."""
    content = mapped_bytes(path, num_bytes)
    try:
        return _arrays_in(content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MapFormatError(
            f"{path} is damaged or no safetensors file of a place map ({error}); build the map "
            "again or restore the file"
        ) from None


def _arrays_in(content: NDArray[np.uint8]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Parse https://huggingface.co/docs/safetensors, whose reader copies every array."""
    length = int.from_bytes(content[:8].tobytes(), "little")
    if not 2 <= length <= min(_MAX_HEADER_BYTES, len(content) - 8):
        raise ValueError(f"a header of {length} bytes")
    header = json.loads(content[8 : 8 + length].tobytes())
    metadata = json.loads(header.pop("__metadata__")[_METADATA])
    data, arrays, end = content[8 + length :], {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = entry["data_offsets"]
        dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), tuple(entry["shape"])
        num_bytes = dtype.itemsize * int(np.prod(shape, dtype=object))
        if begin != end or stop - begin != num_bytes or min(shape, default=0) < 0:
            raise ValueError(f"the bytes of {name} are not where they should be")
        arrays[name] = data[begin:stop].view(dtype).reshape(shape)
        end = stop
    if end != len(data):
        raise ValueError(f"{len(data)} bytes, expected {end}")
    return arrays, metadata


@contextmanager
def _written(path: Path) -> Iterator[Path]:
    """As `durable_write`, but the new name is on the disk only when its folder is flushed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        flush(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
