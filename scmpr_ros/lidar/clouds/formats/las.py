"""LAS, LAZ and COPC, by laspy and lazrs (`pip install "scmpr_ros[maps]"`).

Coordinates are float64. What a header claims is compared with the file's size first, because the
libraries allocate as they are told. https://www.asprs.org/ has LAS 1.4 R15; copc.io has COPC.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from scmpr_ros.errors import DatasetError
from scmpr_ros.lidar.clouds.formats.point_table import (
    Columns,
    PointTable,
    block_rows,
    first_line,
)

_log = logging.getLogger(__name__)

NOISE = (7, 18)
"""ASPRS classes of returns from nothing that stands there."""
_MUCH_NOISE = 0.05
_PROJECTION = "LASF_Projection"
_WKT_RECORD = 2112
_GEOKEY_RECORD = 34735
_GEOKEYS = {3072: "projected", 2048: "geographic", 3076: "unit", 4099: "height unit"}
_USER_DEFINED = 32767
_UNITS = {
    9001: 'UNIT["metre",1]',
    9002: 'UNIT["foot",0.3048]',
    9003: 'UNIT["US survey foot",0.30480060960121924]',
}
_VLR_BYTES, _EVLR_BYTES = 54, 60
_LASZIP_RECORD, _LAYERED = 22204, 3
_LAYERS = {10: 9, 11: 1, 12: 2, 13: 1}
"""Layers of compressed items: POINT14, RGB14, RGBNIR14, WAVEPACKET14; of BYTE14, one a byte."""
_BYTE14 = 14
_CHUNK_TABLE = struct.Struct("<II")


@dataclass(frozen=True)
class _Header:
    """What of the public header block is checked before laspy reads it."""

    size: int
    points_at: int
    vlrs: int
    point_bytes: int
    count: int
    compressed: bool
    evlrs_at: int
    evlrs: int


def open_table(path: Path, noise: Collection[int] = NOISE) -> PointTable:
    """Open a LAS, LAZ or COPC file.

    Withheld points and those of the classes `noise` are left out. Raises DatasetError for a damaged
    file, and if laspy or, for compressed points, lazrs is not installed.
    """
    laspy = _import_laspy(path)
    header = _check(path)
    with path.open("rb") as file, _as_dataset_error(path):
        reader = laspy.open(file, closefd=False, read_evlrs=False)
        names = list(reader.header.point_format.dimension_names)
        vlrs = [(v.user_id, v.record_id, v.record_data_bytes()) for v in reader.header.vlrs
                if v.user_id == _PROJECTION]  # fmt: skip
        vlrs += list(_extended_wkt(file, header))
    fields = ("x", "y", "z", *(name for name in names if name not in ("X", "Y", "Z")))

    def read(wanted: Sequence[str]) -> Iterator[Columns]:
        with path.open("rb") as file, _as_dataset_error(path):
            reader = laspy.open(file, closefd=False, read_evlrs=False,
                                laz_backend=laspy.LazBackend.Lazrs)  # fmt: skip
            if header.compressed and header.count:
                _check_layers(file, header, reader.header.vlrs)
            yield from _read(path, reader, wanted, header, noise)

    return PointTable(path, fields, header.count, read, _georeference(vlrs))


def _read(
    path: Path, reader: Any, wanted: Sequence[str], header: _Header, noise: Collection[int]
) -> Iterator[Columns]:
    found = left_out = 0
    for points in reader.chunk_iterator(block_rows(header.point_bytes)):
        found += len(points)
        keep = ~np.isin(np.asarray(points.classification), list(noise))
        keep &= np.asarray(points.withheld) == 0
        left_out += int(np.sum(~keep))
        with np.errstate(over="ignore"):  # of absurd scales, whose points are not finite
            columns = {name: np.asarray(getattr(points, name) if name in "xyz" else points[name])
                       for name in wanted}  # fmt: skip
        yield {name: values[keep] for name, values in columns.items()}
    if found < header.count:
        raise DatasetError(
            f"{path} is truncated: its header promises {header.count} points, it has {found}; "
            "copy it again"
        )
    if left_out > _MUCH_NOISE * found:
        _log.warning(
            "%s: left out %d of %d points, which are withheld or of the noise classes 7 and 18; if "
            "those are other classes, map them in a YAML file and set cloud.label_set to it",
            path, left_out, found,
        )  # fmt: skip
    elif left_out:
        _log.info("%s: left out %d points that are withheld or noise", path, left_out)


class _as_dataset_error:  # noqa: N801 - used like a function
    """Turn whatever laspy, lazrs and their parsers raise for damaged files into a DatasetError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, (DatasetError, GeneratorExit, KeyboardInterrupt)):
            return
        # A panic of lazrs is no Exception.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise DatasetError(
                f"{self.path} is damaged, truncated or no LAS file: {first_line(error)}; copy it "
                "again"
            ) from error


def _import_laspy(path: Path) -> Any:
    try:
        import laspy
        import lazrs  # noqa: F401 - laspy's decompressor
    except ImportError as error:
        raise DatasetError(
            f'reading {path} needs laspy and lazrs: pip install "scmpr_ros[maps]" ({error})'
        ) from error
    return laspy


def _check(path: Path) -> _Header:
    """Parse the public header block; DatasetError if it claims more than the file holds."""
    with path.open("rb") as file:
        head = file.read(375)
        size = file.seek(0, 2)
        if len(head) < 227 or head[:4] != b"LASF" or (head[24], head[25] > 4) != (1, False):
            raise DatasetError(f"{path} is not a LAS file of version 1.0 to 1.4: export it again")
        is_14 = head[25] == 4 and len(head) == 375
        header_size, points_at, vlrs = struct.unpack_from("<HII", head, 94)
        kind, point_bytes, count = struct.unpack_from("<BHI", head, 104)
        evlrs_at, evlrs = struct.unpack_from("<QI", head, 235) if is_14 else (0, 0)
        if is_14:
            count = struct.unpack_from("<Q", head, 247)[0] or count
        compressed = bool(kind & 0x80)
        header = _Header(header_size, points_at, vlrs, point_bytes, count, compressed, evlrs_at,
                         evlrs)  # fmt: skip
        problem = _problem(header, size) or (compressed and count and _chunks(file, header, size))
    if problem:
        raise DatasetError(f"{path} is truncated or damaged: {problem}; copy it again")
    return header


def _problem(header: _Header, size: int) -> str:
    if not 227 <= header.size <= header.points_at <= size:
        return f"its points should begin at byte {header.points_at} of {size}"
    if header.size + header.vlrs * _VLR_BYTES > header.points_at:
        return f"it cannot hold {header.vlrs} variable length records"
    if header.evlrs and not header.evlrs_at + header.evlrs * _EVLR_BYTES <= size:
        return f"it cannot hold {header.evlrs} extended records"
    there = (size - header.points_at) // max(1, header.point_bytes)
    if header.point_bytes < 20 or (not header.compressed and there < header.count):
        return f"its header promises {header.count} points, it has {there}"
    return ""


def _chunks(file: BinaryIO, header: _Header, size: int) -> str:
    """What is wrong with the table of compressed chunks: each holds a point as it is, at least."""
    file.seek(header.points_at)
    at = int.from_bytes(file.read(8), "little", signed=True)
    if at == -1:  # written last, by a writer that could not seek
        file.seek(-8, 2)
        at = int.from_bytes(file.read(8), "little", signed=True)
    if not header.points_at + 8 <= at <= size - _CHUNK_TABLE.size:
        return f"its table of chunks should begin at byte {at} of {size}"
    file.seek(at)
    _, chunks = _CHUNK_TABLE.unpack(file.read(_CHUNK_TABLE.size))
    if chunks * header.point_bytes > size:
        return f"it cannot hold {chunks} chunks"
    return ""


def _check_layers(file: BinaryIO, header: _Header, vlrs: Sequence[Any]) -> None:
    """Compare the sizes of the layers of each chunk with the chunk: lazrs allocates what they say.

    Layers are how the point formats of LAS 1.4 are compressed. ValueError if they do not fit.
    """
    import lazrs

    data = next(vlr.record_data for vlr in vlrs if vlr.record_id == _LASZIP_RECORD)
    (items,) = struct.unpack_from("<H", data, 32)
    kinds = [struct.unpack_from("<HHH", data, 34 + 6 * k) for k in range(items)]
    layers = sum(size if kind == _BYTE14 else _LAYERS.get(kind, 0) for kind, size, _ in kinds)
    if struct.unpack_from("<H", data)[0] == _LAYERED:
        file.seek(header.points_at)
        chunks = lazrs.read_chunk_table(file, lazrs.LazVlr(data))
        if sum(count for count, _ in chunks) < header.count:
            raise ValueError(f"{len(chunks)} chunks cannot hold {header.count} points")
        at = header.points_at + 8
        for _, size in chunks:
            file.seek(at + header.point_bytes + 4)
            sizes = np.frombuffer(file.read(4 * layers), "<u4")
            if len(sizes) < layers or int(sizes.sum(dtype=np.uint64)) > size:
                raise ValueError(f"the layers of a chunk of {size} bytes do not fit into it")
            at += size
    file.seek(header.points_at)


def _extended_wkt(file: BinaryIO, header: _Header) -> Iterator[tuple[str, int, bytes]]:
    """A coordinate system in the extended records, behind the points."""
    at = header.evlrs_at
    size = file.seek(0, 2)
    for _ in range(header.evlrs):
        file.seek(at)
        head = file.read(_EVLR_BYTES)
        if len(head) < _EVLR_BYTES:
            return
        user, record, length = struct.unpack_from("<16sHQ", head, 2)
        at += _EVLR_BYTES + length
        if at > size:
            return
        if record == _WKT_RECORD and length < 1 << 20:
            yield user.split(b"\0")[0].decode("latin-1"), record, file.read(length)


def _georeference(vlrs: Sequence[tuple[str, int, bytes]]) -> str:
    """WKT as it stands; for GeoTIFF keys the EPSG code, and in WKT the units if some are feet."""
    for user, record, data in vlrs:
        if user == _PROJECTION and record == _WKT_RECORD:
            return data.split(b"\0")[0].decode("utf-8", errors="replace").strip()
    for user, record, data in vlrs:
        if user == _PROJECTION and record == _GEOKEY_RECORD and len(data) >= 8:
            numbers = struct.unpack(f"<{len(data) // 2}H", data[: len(data) // 2 * 2])
            keys = {_GEOKEYS[numbers[k]]: numbers[k + 3] for k in range(4, len(numbers) - 3, 4)
                    if numbers[k] in _GEOKEYS and numbers[k + 1] == 0}  # fmt: skip
            kind = "" if keys.get("projected") else " (geographic)"
            code = keys.get("projected") or keys.get("geographic") or _USER_DEFINED
            unit, height = (_UNITS.get(keys.get(name, 0), "") for name in ("unit", "height unit"))
            parts = [f"EPSG:{code}{kind}"] if code != _USER_DEFINED else []
            if {unit, height} & {_UNITS[9002], _UNITS[9003]}:
                parts += [unit, f"VERTCRS[{height}]"]
            return ", ".join(part for part in parts if part)
    return ""
