"""Read and write PLY files as structured arrays with a field per vertex property.

Open3D is not used, because it drops 16-bit fields (the natural type of SemanticKITTI labels) and
fills missing rows of a truncated file with uninitialised memory.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.atomic_files import write_file
from scmpr_ros.errors import DatasetError
from scmpr_ros.text_rows import text_rows, whole_numbers

_log = logging.getLogger(__name__)

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float": "f4", "double": "f8", "float32": "f4", "float64": "f8",
    "int64": "i8", "uint64": "u8", "long": "i8", "ulong": "u8",
}  # fmt: skip
_NAMES = {kind: name for name, kind in reversed(_TYPES.items())}
_BYTE_ORDER = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
_MAX_HEADER_BYTES = 1 << 20
_MAX_RECORD_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 26


@dataclass(frozen=True)
class _Element:
    """An element of a header: its properties as (type, name); a list has the type 'list'."""

    name: str
    count: int
    properties: tuple[tuple[str, str], ...]

    def record(self, order: str) -> np.dtype:
        """Packed record of its properties; KeyError if one is a list or of an unknown type."""
        return np.dtype([(name, order + _TYPES[kind]) for kind, name in self.properties])


@dataclass(frozen=True)
class PlyFile:
    """The vertices of a PLY file, to be read in blocks.

    count: number of vertices. dtype: their record, in the file's byte order; ASCII floats are
        float64, whatever the header calls them.
    """

    path: Path
    count: int
    dtype: np.dtype
    is_text: bool
    skipped_lines: int
    start: int
    """Offset of the first vertex, or of the lines to skip before it, in bytes."""

    def blocks(self, max_count: int) -> Iterator[NDArray[np.void]]:
        """Yield records of at most `max_count` consecutive vertices.

        Raises DatasetError if the file ends before the last one, or text is not numbers.
        """
        found = 0
        with self.path.open("rb") as file:
            file.seek(self.start)
            for rows in self._text(file) if self.is_text else self._binary(file, max_count):
                found += len(rows)
                yield from (rows[k : k + max_count] for k in range(0, len(rows), max_count))
        if found < self.count:
            raise _truncated(self.path, self.count, found)

    def _binary(self, file: BinaryIO, max_count: int) -> Iterator[NDArray[np.void]]:
        size = self.dtype.itemsize
        left, step = self.count, max(1, min(max_count, _BLOCK_BYTES // size))
        while left > 0:
            data = file.read(min(left, step) * size)
            rows = np.frombuffer(data, self.dtype, count=len(data) // size)
            if len(rows) == 0:
                return
            yield rows
            left -= len(rows)

    def _text(self, file: BinaryIO) -> Iterator[NDArray[np.void]]:
        for _ in range(self.skipped_lines):
            if not file.readline(_MAX_HEADER_BYTES):
                return
        names = self.dtype.names or ()
        for values in text_rows(file, self.path, len(names), self.count):
            rows = np.empty(len(values), self.dtype)
            for column, name in enumerate(names):
                kind = self.dtype[name]
                rows[name] = (
                    values[:, column]
                    if kind.kind == "f"
                    else whole_numbers(values[:, column], kind, self.path, name)
                )
            yield rows


def open_ply(path: Path) -> PlyFile:
    """Read the header of an ASCII or binary PLY.

    Elements other than `vertex` are skipped. Raises DatasetError if the file is not a PLY, is
    shorter than its header promises, or its vertices have list properties.
    """
    with path.open("rb") as file:
        lines, start = _read_header(path, file)
        size = file.seek(0, 2)
    form = next((line[1] for line in lines if len(line) > 1 and line[0] == "format"), "none")
    elements = _elements(path, lines)
    index = next((i for i, element in enumerate(elements) if element.name == "vertex"), None)
    if form not in _BYTE_ORDER or index is None:
        raise DatasetError(
            f"{path}: a PLY of format {form!r} with the elements "
            f"{', '.join(element.name for element in elements) or 'none'} holds no points: it "
            "needs format ascii or binary, and an element vertex; export the points as binary PLY"
        )
    vertex, before = elements[index], elements[:index]
    faces = next((element.count for element in elements if element.name == "face"), 0)
    if faces:
        _log.warning("%s is a mesh: its %d faces are ignored, only their corners are points", path,
                     faces)  # fmt: skip
    order = _BYTE_ORDER[form]
    dtype = _vertex_record(path, vertex, order)
    if form == "ascii":
        floats = [(n, "f8" if dtype[n].kind == "f" else dtype[n]) for n in dtype.names or ()]
        skipped = sum(element.count for element in before)
        return PlyFile(path, vertex.count, np.dtype(floats), True, skipped, start)
    start += _bytes_of(path, before, order)
    there = max(0, size - start) // dtype.itemsize
    if there < vertex.count:
        raise _truncated(path, vertex.count, there)
    return PlyFile(path, vertex.count, dtype, False, 0, start)


def read_ply(path: Path) -> NDArray[np.void]:
    """Read the vertices of an ASCII or binary PLY: (N,) records with the file's fields and types.

    Floats of an ASCII file are float64. Raises DatasetError as `open_ply` and `blocks` do.
    """
    ply = open_ply(path)
    blocks = list(ply.blocks(max(1, ply.count)))
    if len(blocks) == 1:
        return blocks[0]
    return np.concatenate([np.empty(0, ply.dtype), *blocks])


def write_ply(path: Path, rows: NDArray[np.void]) -> None:
    """Write (N,) records atomically as the vertices of a binary PLY."""
    fields = [(name, rows.dtype[name]) for name in rows.dtype.names or ()]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    header += [f"property {_NAMES[kind.str[1:]]} {name}" for name, kind in fields]
    header += ["end_header\n"]
    packed = rows.astype([(name, kind.newbyteorder("<")) for name, kind in fields], copy=False)
    write_file(path, "\n".join(header).encode("ascii") + packed.tobytes())


def _read_header(path: Path, file: BinaryIO) -> tuple[list[list[str]], int]:
    """Words of each line of the header, and the offset of what follows it."""
    lines: list[list[str]] = []
    while file.tell() < _MAX_HEADER_BYTES:
        line = file.readline(_MAX_HEADER_BYTES)
        words = line.decode("ascii", errors="replace").split()
        if not line or (not lines and words != ["ply"]):
            break
        if words == ["end_header"]:
            return lines, file.tell()
        lines.append(words)
    raise DatasetError(f"{path} is not a PLY file: it has no header from 'ply' to 'end_header'")


def _elements(path: Path, lines: Sequence[Sequence[str]]) -> list[_Element]:
    elements: list[_Element] = []
    for line in lines:
        if line[:1] == ["element"]:
            if len(line) != 3 or not line[2].isdecimal() or len(line[2]) > 18:
                raise DatasetError(f"{path} is not a PLY file: its header says {' '.join(line)!r}")
            elements.append(_Element(line[1], int(line[2]), ()))
        elif line[:1] == ["property"] and elements:
            last = elements.pop()
            kind, name = line[1] if len(line) > 1 else "", " ".join(line[2:])
            elements.append(_Element(last.name, last.count, (*last.properties, (kind, name))))
    return elements


def _vertex_record(path: Path, vertex: _Element, order: str) -> np.dtype:
    names = [name for _, name in vertex.properties]
    for kind, name in vertex.properties:
        if kind not in _TYPES or not name or names.count(name) > 1:
            problem = "repeated" if kind in _TYPES and name else "unsupported"
            raise DatasetError(
                f"{path}: {problem} vertex property '{kind} {name}' in a PLY header; export the "
                "points with one number for each property"
            )
    dtype = vertex.record(order)
    if not 0 < dtype.itemsize <= _MAX_RECORD_BYTES:
        raise DatasetError(f"{path} has no field x, y, z: its PLY header has {len(names)} fields")
    return dtype


def _bytes_of(path: Path, elements: Sequence[_Element], order: str) -> int:
    """Size of binary elements; DatasetError if one has lists, whose size only reading finds."""
    try:
        return sum(element.count * element.record(order).itemsize for element in elements)
    except (KeyError, ValueError) as error:
        raise DatasetError(
            f"{path}: its points stand behind the element {elements[-1].name!r}, whose size is not "
            "fixed; export the points alone as binary PLY"
        ) from error


def _truncated(path: Path, promised: int, found: int) -> DatasetError:
    return DatasetError(
        f"{path} is truncated: its header promises {promised} points, it has {found}; copy it again"
    )
