"""NumPy files: `.npz` of columns by name or of an array (N, 3) or (N, 4), and `.npy` of either."""

from __future__ import annotations

import logging
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from scmpr_ros.errors import DatasetError
from scmpr_ros.lidar.clouds.formats.point_table import (
    BLOCK_POINTS,
    Columns,
    PointTable,
    block_rows,
    first_line,
)

_log = logging.getLogger(__name__)

_POINT_ARRAYS = ("xyz", "points", "positions", "coords", "coordinates", "vertices", "cloud", "pcd",
                 "point_cloud", "pointcloud", "data", "arr_0")  # fmt: skip
_DAMAGE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, struct.error, KeyError,
           NotImplementedError, RuntimeError, SyntaxError, tokenize.TokenError, RecursionError,
           MemoryError, OverflowError)  # fmt: skip
"""What numpy and zipfile raise for damaged files."""
_OBJECTS = "it holds Python objects, which are not read; save plain arrays"
_SKIP_BYTES = 1 << 22
_MAX_ITEM_BYTES = 1 << 16
_MAX_COLUMNS = 1 << 12


@dataclass(frozen=True)
class _Array:
    """An array in a file: how to open it at its first number, and what it is."""

    open: Callable[[], IO[bytes]]
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool

    def read_column(self, file: IO[bytes], count: int) -> NDArray:
        """The next `count` rows of a stream that stands at a row: (count,) or (count, columns)."""
        width = self.shape[1] if len(self.shape) > 1 and not self.fortran else 1
        data = _read_exactly(file, count * width * self.dtype.itemsize)
        values = np.frombuffer(data, self.dtype)
        return values.reshape(count, width) if len(self.shape) > 1 else values


def open_table(path: Path) -> PointTable:
    """Open a `.npy` or `.npz`; DatasetError for objects, and for arrays that are no columns."""
    try:
        arrays = _zip_arrays(path) if zipfile.is_zipfile(path) else {"": _npy_array(path)}
    except _DAMAGE as error:
        raise DatasetError(
            f"{path} is not a NumPy file, or damaged: {first_line(error)}"
        ) from error
    sources = _columns(path, arrays)
    count = next((arrays[array].shape[0] for array, _ in sources.values()), 0)

    def read(names: Sequence[str]) -> Iterator[Columns]:
        try:
            yield from _read(arrays, {name: sources[name] for name in names}, count)
        except _DAMAGE as error:
            raise DatasetError(
                f"{path} is truncated or damaged: {first_line(error)}; copy it again"
            ) from error

    return PointTable(path, tuple(sources), count, read)


def _read(
    arrays: Mapping[str, _Array], wanted: Mapping[str, tuple[str, int | str]], count: int
) -> Iterator[Columns]:
    """Read all arrays side by side; a column of a Fortran array is a stream of its own."""
    with ExitStack() as stack:
        streams = {}
        for array, column in wanted.values():
            source = arrays[array]
            key = (array, column if source.fortran else "")
            if key not in streams:
                streams[key] = stack.enter_context(source.open())
                if source.fortran:
                    assert isinstance(column, int)
                    _skip(streams[key], column * source.shape[0] * source.dtype.itemsize)
        sizes = [arrays[array].dtype.itemsize * max(1, *arrays[array].shape[1:], 1)
                 for array, _ in streams]  # fmt: skip
        step = min(BLOCK_POINTS, block_rows(max(sizes, default=1)))
        for first in range(0, count, step):
            rows = {key: arrays[key[0]].read_column(file, min(step, count - first))
                    for key, file in streams.items()}  # fmt: skip
            yield {
                name: _pick(rows, arrays[array], array, column)
                for name, (array, column) in wanted.items()
            }


def _pick(rows: Mapping, source: _Array, array: str, column: int | str) -> NDArray:
    if source.fortran:
        return rows[array, column].reshape(-1)
    values = rows[array, ""]
    if isinstance(column, str):
        return values[column] if column else values
    return values[:, column]


def _columns(path: Path, arrays: Mapping[str, _Array]) -> dict[str, tuple[str, int | str]]:
    """Columns by name: the array of each, and its column or field there."""
    tables = {
        name: a
        for name, a in arrays.items()
        if len(a.shape) == 2 and a.dtype.kind in "fiu" and a.shape[1] <= _MAX_COLUMNS
    }
    found: dict[str, tuple[str, int | str]] = {}
    for name, array in arrays.items():
        if len(array.shape) == 1 and array.dtype.names:
            found |= {field: (name, field) for field in array.dtype.names
                      if array.dtype[field].kind in "fiub"}  # fmt: skip
        elif array.shape[1:] in ((), (1,)) and len(array.shape) > 0 and array.dtype.kind in "fiub":
            found[name] = (name, 0 if len(array.shape) == 2 else "")
    if {"x", "y", "z"} <= {name.lower() for name in found}:
        return _of_one_length(path, arrays, found)
    points = [name for name, a in tables.items() if a.shape[1] >= 3]
    named = [name for wanted in _POINT_ARRAYS for name in points if name.lower() == wanted]
    turned = [f"{name or 'its array'} {a.shape}" for name, a in arrays.items()
              if len(a.shape) == 2 and a.shape[0] in (3, 4) and a.shape[1] > 8]  # fmt: skip
    if turned:
        raise DatasetError(f"{path} has a point a column ({turned[0]}): save it transposed, (N, 3)")
    if not named and len(points) != 1:
        raise DatasetError(
            f"{path} holds {_described(arrays)}: expected arrays x, y and z, or one array (N, 3) "
            "or (N, 4) of x, y, z and intensity"
        )
    table = (named or points)[0]
    shape = arrays[table].shape
    if shape[1] > 4:
        _log.warning("%s: used the first three columns of %s, ignored %d without names", path,
                     table or "its array", shape[1] - 3)  # fmt: skip
    names = ("x", "y", "z", "intensity")[: 3 if shape[1] > 4 else shape[1]]
    found = {name: at for name, at in found.items() if arrays[at[0]].shape[0] == shape[0]}
    if "intensity" in {name.lower() for name in found}:
        names = names[:3]
    return found | {name: (table, column) for column, name in enumerate(names)}


def _of_one_length(path: Path, arrays: Mapping[str, _Array], found: dict) -> dict:
    """Columns as long as x; DatasetError if y or z is not."""
    lengths = {name: arrays[array].shape[0] for name, (array, _) in found.items()}
    axes = {name.lower(): count for name, count in lengths.items() if name.lower() in "xyz"}
    if len(set(axes.values())) > 1:
        raise DatasetError(f"{path}: x, y and z differ in length: {axes}; save it again")
    return {name: at for name, at in found.items() if lengths[name] == axes["x"]}


def _described(arrays: Mapping[str, _Array]) -> str:
    shown = [f"{name or 'an array'} {a.shape} {a.dtype}" for name, a in list(arrays.items())[:5]]
    return ", ".join(shown) or "no arrays"


def _npy_array(path: Path) -> _Array:
    with path.open("rb") as file:
        shape, fortran, dtype = _read_header(file)
        start = file.tell()
        there = file.seek(0, 2) - start
    _check(shape, dtype, there)

    def open_at_start() -> IO[bytes]:
        file = path.open("rb")
        file.seek(start)
        return file

    return _Array(open_at_start, shape, dtype, fortran and len(shape) > 1)


def _zip_arrays(path: Path) -> dict[str, _Array]:
    arrays, objects = {}, []
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                continue
            with archive.open(info) as file:
                shape, fortran, dtype = _read_header(file)
                start = file.tell()
            name = info.filename.removesuffix(".npy")
            if dtype.hasobject:
                objects.append(name)
                continue
            _check(shape, dtype, info.file_size - start)

            def open_at_start(name: str = info.filename, start: int = start) -> IO[bytes]:
                file = zipfile.ZipFile(path).open(name)  # noqa: SIM115 - closed with it
                _skip(file, start)
                return file

            arrays[name] = _Array(open_at_start, shape, dtype, fortran and len(shape) > 1)
    if objects and not arrays:
        raise ValueError(_OBJECTS)
    if objects:
        _log.warning("%s: left out what holds Python objects: %s", path, ", ".join(objects))
    return arrays


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy_format.read_magic(file)
    if version == (1, 0):
        return npy_format.read_array_header_1_0(file)
    if version == (2, 0):
        return npy_format.read_array_header_2_0(file)
    raise ValueError(f"version {version} of the format is not supported")


def _check(shape: Sequence[int], dtype: np.dtype, there: int) -> None:
    """Refuse what would be unpickled, and what the file is too short for."""
    if dtype.hasobject:
        raise ValueError(_OBJECTS)
    if any(side < 0 for side in shape) or not 0 < dtype.itemsize <= _MAX_ITEM_BYTES:
        raise ValueError(f"an array of shape {tuple(shape)} and type {dtype}")
    size = dtype.itemsize
    for side in shape:
        size *= side
    if size > there:
        raise ValueError(f"an array of {size} bytes where the file has {there}")


def _read_exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError("it ends within an array")
    return data


def _skip(file: IO[bytes], size: int) -> None:
    while size > 0:
        step = len(file.read(min(size, _SKIP_BYTES)))
        if step == 0:
            raise EOFError("it ends within an array")
        size -= step
