"""PCD, the format of the Point Cloud Library: ascii, binary and binary_compressed.

https://pointclouds.org/documentation/tutorials/pcd_file_format.html
"""

from __future__ import annotations

import logging
import mmap
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import DatasetError
from scmpr_ros.lidar.clouds.formats import lzf
from scmpr_ros.lidar.clouds.formats.point_table import Columns, PointTable, block_rows
from scmpr_ros.text_rows import text_rows, whole_numbers

_log = logging.getLogger(__name__)

_TYPES = {
    "I1": "i1", "I2": "<i2", "I4": "<i4", "I8": "<i8", "U1": "u1", "U2": "<u2", "U4": "<u4",
    "U8": "<u8", "F4": "<f4", "F8": "<f8",
}  # fmt: skip
_PADDING = "_"
_UNMOVED = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
_MAX_HEADER_BYTES = 1 << 16
_MAX_RECORD_BYTES = 1 << 16
_COMPRESSED_HEADER = struct.Struct("<II")


@dataclass(frozen=True)
class _Field:
    name: str
    dtype: np.dtype
    count: int
    offset: int  # in the record, bytes
    column: int  # of its first number in a line of text

    @property
    def is_column(self) -> bool:
        """Whether it is one number a point: padding and descriptors are not."""
        return self.name != _PADDING and self.count == 1


@dataclass(frozen=True)
class _Header:
    path: Path
    fields: tuple[_Field, ...]
    count: int
    data: str
    start: int  # of the points, bytes

    @property
    def record_bytes(self) -> int:
        return sum(field.dtype.itemsize * field.count for field in self.fields)

    def truncated(self, found: int) -> DatasetError:
        return DatasetError(
            f"{self.path} is truncated: its header promises {self.count} points, it has {found}; "
            "copy it again"
        )


def open_table(path: Path) -> PointTable:
    """Open a PCD; DatasetError if its header is none, or promises more than the file can hold."""
    with path.open("rb") as file:
        header = _read_header(path, file)
        size = file.seek(0, 2) - header.start
    readers = {"ascii": _read_ascii, "binary": _read_binary}
    reader = readers.get(header.data) or _Unpacked().read
    if header.data == "binary":
        there = size // header.record_bytes
        if there < header.count:
            raise header.truncated(there)
        if there > header.count:
            _log.warning("%s: ignored what follows its %d points", path, header.count)
    elif header.data == "ascii" and size < header.count:
        raise header.truncated(size)
    columns = {field.name: field for field in header.fields if field.is_column}

    def read(names: Sequence[str]) -> Iterator[Columns]:
        return reader(header, {name: columns[name] for name in names})

    return PointTable(path, tuple(columns), header.count, read)


def _read_ascii(header: _Header, wanted: Mapping[str, _Field]) -> Iterator[Columns]:
    found, width = 0, sum(field.count for field in header.fields)
    with header.path.open("rb") as file:
        file.seek(header.start)
        for rows in text_rows(file, header.path, width, header.count):
            found += len(rows)
            yield {name: _text_column(header, rows, field) for name, field in wanted.items()}
    if found < header.count:
        raise header.truncated(found)


def _text_column(header: _Header, rows: NDArray[np.float64], field: _Field) -> NDArray:
    values = rows[:, field.column]
    if field.dtype.kind == "f":
        return values
    return whole_numbers(values, field.dtype, header.path, field.name)


def _read_binary(header: _Header, wanted: Mapping[str, _Field]) -> Iterator[Columns]:
    record = np.dtype(
        {
            "names": list(wanted),
            "formats": [field.dtype for field in wanted.values()],
            "offsets": [field.offset for field in wanted.values()],
            "itemsize": header.record_bytes,
        }
    )
    step = block_rows(record.itemsize)
    with header.path.open("rb") as file:
        file.seek(header.start)
        for first in range(0, header.count, step):
            count = min(step, header.count - first)
            data = file.read(count * record.itemsize)
            if len(data) < count * record.itemsize:  # since it was opened
                raise header.truncated(first + len(data) // record.itemsize)
            rows = np.frombuffer(data, record)
            yield {name: rows[name] for name in wanted}


class _Unpacked:
    """Compressed points, decompressed once into a temporary file: one field behind the other."""

    def __init__(self) -> None:
        self._file: BinaryIO | None = None

    def read(self, header: _Header, wanted: Mapping[str, _Field]) -> Iterator[Columns]:
        if self._file is None:
            self._file = _unpack(header)
        yield from _columns_of(self._file, header, wanted)


def _unpack(header: _Header) -> BinaryIO:
    size = header.count * header.record_bytes
    plain = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the table
    with header.path.open("rb") as file:
        file.seek(header.start)
        sizes = file.read(_COMPRESSED_HEADER.size)
        packed, unpacked = (
            _COMPRESSED_HEADER.unpack(sizes) if len(sizes) == _COMPRESSED_HEADER.size else (0, 0)
        )
        start = header.start + _COMPRESSED_HEADER.size
        there = max(0, file.seek(0, 2) - start)
        if there < packed or unpacked != size or unpacked > lzf.MAX_RATIO * packed:
            raise DatasetError(
                f"{header.path} is truncated or damaged: its {header.count} points take {size} "
                f"bytes, but it says {unpacked} bytes packed in {packed}, of which it has "
                f"{min(there, packed)}; copy it again"
            )
        if size == 0:
            return plain
        try:
            with mmap.mmap(file.fileno(), start + packed, access=mmap.ACCESS_READ) as data:
                written = lzf.decompress(data, start, plain, size)
        except ValueError as error:
            raise DatasetError(f"{header.path} is damaged: {error}; copy it again") from error
    if written != size:
        raise DatasetError(
            f"{header.path} is damaged: {written} of {size} bytes unpacked; copy it again"
        )
    return plain


def _columns_of(file: BinaryIO, header: _Header, wanted: Mapping[str, _Field]) -> Iterator[Columns]:
    step = block_rows(header.record_bytes)
    for first in range(0, header.count, step):
        count, columns = min(step, header.count - first), {}
        for name, field in wanted.items():
            file.seek(header.count * field.offset + first * field.dtype.itemsize)
            columns[name] = np.frombuffer(file.read(count * field.dtype.itemsize), field.dtype)
        yield columns


def _read_header(path: Path, file: BinaryIO) -> _Header:
    lines: dict[str, list[str]] = {}
    while file.tell() < _MAX_HEADER_BYTES and "DATA" not in lines:
        line = file.readline(_MAX_HEADER_BYTES)
        if not line:
            break
        words = line.split(b"#")[0].decode("ascii", errors="replace").split()
        if words:
            lines[words[0].upper()] = words[1:]
    names = lines.get("FIELDS") or lines.get("COLUMNS")
    if not names or not lines.get("DATA"):
        raise DatasetError(
            f"{path} is not a PCD file: it has no header from FIELDS to DATA; export it again"
        )
    data = lines["DATA"][0].lower()
    if data not in ("ascii", "binary", "binary_compressed"):
        raise DatasetError(
            f"{path}: DATA {data!r} is unknown: expected ascii, binary or binary_compressed"
        )
    _warn_of_viewpoint(path, lines.get("VIEWPOINT", []))
    return _Header(path, _fields(path, names, lines), _count(path, lines), data, file.tell())


def _fields(
    path: Path, names: Sequence[str], lines: Mapping[str, Sequence[str]]
) -> tuple[_Field, ...]:
    sizes = lines.get("SIZE", ["4"] * len(names))
    types = lines.get("TYPE", ["F"] * len(names))
    counts = lines.get("COUNT", ["1"] * len(names))
    fields: list[_Field] = []
    offset = column = 0
    if not len(names) == len(sizes) == len(types) == len(counts):
        raise DatasetError(
            f"{path}: its header has {len(names)} FIELDS but {len(sizes)} SIZE, {len(types)} TYPE "
            f"and {len(counts)} COUNT; export it again"
        )
    taken: set[str] = set()
    for name, size, kind, text in zip(names, sizes, types, counts, strict=True):
        count = int(text) if text.isdecimal() and len(text) < 8 else -1
        if kind.upper() + size not in _TYPES or count < 0:
            raise DatasetError(
                f"{path}: field {name} of TYPE {kind}, SIZE {size}, COUNT {text} is none that PCD "
                "knows; export it again"
            )
        if name in taken:
            raise DatasetError(f"{path} has two fields {name}: export it with one of them")
        taken |= {name} - {_PADDING}
        dtype = np.dtype(_TYPES[kind.upper() + size])
        fields.append(_Field(name, dtype, count, offset, column))
        offset, column = offset + dtype.itemsize * count, column + count
    if not 0 < offset <= _MAX_RECORD_BYTES:
        raise DatasetError(
            f"{path}: its fields take {offset} bytes a point, which no point cloud does; export "
            "it again"
        )
    return tuple(fields)


def _count(path: Path, lines: Mapping[str, Sequence[str]]) -> int:
    """POINTS, or WIDTH times HEIGHT where it is missing."""

    def number(key: str) -> int | None:
        words = lines.get(key)
        if not words:
            return None
        if not words[0].isdecimal() or len(words[0]) > 15:
            raise DatasetError(f"{path}: {key} {words[0]!r} is no count; export it again")
        return int(words[0])

    points, width, height = number("POINTS"), number("WIDTH"), number("HEIGHT")
    area = None if width is None else width * (1 if height is None else height)
    if points is None and area is None:
        raise DatasetError(f"{path} does not say how many POINTS it has: export it again")
    if points is not None and area is not None and points != area:
        raise DatasetError(
            f"{path} contradicts itself: POINTS {points}, but WIDTH {width} times HEIGHT {height}; "
            "export it again"
        )
    return points if points is not None else area or 0


def _warn_of_viewpoint(path: Path, words: Sequence[str]) -> None:
    """PCL does not apply a viewpoint when it reads; some writers mean it to be."""
    try:
        viewpoint = tuple(map(float, words))
    except ValueError:
        return
    if viewpoint and viewpoint != _UNMOVED:
        _log.warning("%s: its VIEWPOINT %s is not applied to its points, as in PCL", path,
                     " ".join(words))  # fmt: skip
