"""Headerless `.bin` scans, as KITTI writes them: the layout is not in the file.

Four float32 (KITTI) are assumed and compared with other layouts by their numbers: a file read with
the wrong number of columns mixes coordinates with intensities.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.bin_rows import likely_rows
from scmpr_ros.errors import ConfigError, DatasetError, ShapeError
from scmpr_ros.lidar.clouds.formats.point_table import Columns, PointTable, block_rows

_log = logging.getLogger(__name__)

_LABEL_SUFFIX = ".label"


@dataclass(frozen=True)
class BinLayout:
    """Names of the columns of a row, all of one type; `_` is skipped."""

    names: tuple[str, ...]
    dtype: np.dtype

    @property
    def row_bytes(self) -> int:
        """Size of a row."""
        return len(self.names) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype.name} {' '.join(self.names)}"


KNOWN_LAYOUTS: Mapping[str, str] = {
    "kitti": "float32 x y z reflectance",
    "nuscenes": "float32 x y z intensity ring",
    "boreas": "float32 x y z intensity ring time",
}


def parse_layout(text: str) -> BinLayout:
    """Layout of a name in `KNOWN_LAYOUTS` or of a text such as "float64 x y z intensity _".

    Raises ConfigError for anything else.
    """
    kind, *names = KNOWN_LAYOUTS.get(text, text).replace(",", " ").split() or [""]
    real = [name for name in names if name != "_"]
    if (kind not in ("float32", "float64") or not {"x", "y", "z"} <= set(names)
            or len(set(real)) < len(real)):  # fmt: skip
        raise ConfigError(
            f"bin_layout {text!r}: expected auto, {', '.join(KNOWN_LAYOUTS)}, or a type and the "
            "columns, such as 'float32 x y z intensity _ _'"
        )
    return BinLayout(tuple(names), np.dtype(kind).newbyteorder("<"))


def open_table(path: Path, layout: str = "auto") -> PointTable:
    """Open a `.bin`, with the labels of a SemanticKITTI `.label` file if one lies beside it.

    layout: see `parse_layout`; "auto" accepts KITTI, and nuScenes in files named `.pcd.bin`.
    Raises DatasetError for a size or for numbers that do not fit.
    """
    size = path.stat().st_size
    chosen = _detect(path, size) if layout == "auto" else parse_layout(layout)
    if size % chosen.row_bytes:
        raise DatasetError(
            f"{path} has {size} bytes, not a multiple of {chosen.row_bytes} ({chosen}): it is "
            "truncated or has another layout; copy it again, or set cloud.bin_layout"
        )
    count = size // chosen.row_bytes
    label_file = _label_file(path)
    if label_file is not None and label_file.stat().st_size != 4 * count:
        raise DatasetError(
            f"{label_file} has {label_file.stat().st_size} bytes but {path.name} {count} points of "
            "4 bytes each: they do not belong together"
        )

    def read(names: Sequence[str]) -> Iterator[Columns]:
        row = np.dtype([(f"_{k}" if n == "_" else n, chosen.dtype)
                        for k, n in enumerate(chosen.names)])  # fmt: skip
        for first in range(0, count, step := block_rows(row.itemsize)):
            rows = _read(path, first, min(step, count - first), row)
            columns = {name: rows[name] for name in names if name != "label"}
            if label_file is not None and "label" in names:
                columns["label"] = _read(label_file, first, len(rows), np.dtype("<u4"))
            yield columns

    fields = tuple(name for name in chosen.names if name != "_")
    if label_file is None:
        return PointTable(path, fields, count, read)
    return PointTable(path, (*fields, "label"), count, read)


def _read(path: Path, first: int, count: int, dtype: np.dtype) -> NDArray:
    rows = np.fromfile(path, dtype, count=count, offset=first * dtype.itemsize)
    if len(rows) < count:
        raise DatasetError(f"{path} is truncated while it is read: copy it again")
    return rows


def _label_file(path: Path) -> Path | None:
    """`labels/NAME.label` of a `velodyne/NAME.bin`, or `NAME.label` in the same folder."""
    name = path.stem + _LABEL_SUFFIX
    beside = [path.with_name(name)]
    if path.parent.name == "velodyne":
        beside.append(path.parent.parent / "labels" / name)
    return next((file for file in beside if file.is_file()), None)


def _detect(path: Path, size: int) -> BinLayout:
    kitti = parse_layout("kitti")
    if size % 4:
        raise DatasetError(
            f"{path} has {size} bytes, not a multiple of 16 (float32 x, y, z, reflectance): it is "
            "truncated or no scan; copy it again"
        )
    best = _likely_layout(path)
    if best is None:
        if size % kitti.row_bytes == 0:
            return kitti
        raise DatasetError(
            f"{path} has {size} bytes, not a multiple of 16 (float32 x, y, z, reflectance): it is "
            "truncated or has another layout; copy it again, or set cloud.bin_layout"
        )
    kind, columns = best
    if best == ("float32", 4):
        return kitti
    if best == ("float32", 5) and path.name.endswith(".pcd.bin"):
        _log.info("%s: read as nuScenes: x, y, z, intensity, ring", path)
        return parse_layout("nuscenes")
    advice = {("float32", 5): "nuscenes", ("float32", 6): "boreas"}.get(best)
    advice = advice or f"{kind} x y z{' intensity' if columns > 3 else ''}{' _' * (columns - 4)}"
    raise DatasetError(
        f"{path} is no KITTI scan of four float32 (x, y, z, reflectance): its numbers look like "
        f"rows of {columns} {kind}; set cloud.bin_layout to '{advice}' if that is so"
    )


def _likely_layout(path: Path) -> tuple[str, int] | None:
    """See `likely_rows`; DatasetError if no type gives plausible numbers."""
    try:
        return likely_rows(path)
    except ShapeError as error:
        raise DatasetError(
            f"{path} {error}; set cloud.bin_layout if you know its columns"
        ) from None
