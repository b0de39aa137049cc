"""E57, the format of terrestrial scanners, by pye57 (`pip install "scmpr_ros[maps]"`).

ASTM E2807. A file holds scans, each with a pose; their points are placed by it and joined.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from scmpr_ros.errors import DatasetError
from scmpr_ros.lidar.clouds.formats.point_table import (
    BLOCK_POINTS,
    Columns,
    PointTable,
    first_line,
)

_log = logging.getLogger(__name__)

_CARTESIAN = ("cartesianX", "cartesianY", "cartesianZ")
_SPHERICAL = ("sphericalRange", "sphericalAzimuth", "sphericalElevation")
_INVALID = ("cartesianInvalidState", "sphericalInvalidState")
_PAGE_BYTES = 1024


def open_table(path: Path) -> PointTable:
    """Open all scans of an E57; points that a scan calls invalid are left out.

    Raises DatasetError for a damaged file, and if pye57 is not installed.
    """
    pye57 = _import_pye57(path)
    _check_signature(path)
    try:
        with pye57.E57(str(path)) as file:
            headers = [file.get_header(k) for k in range(file.scan_count)]
            count = sum(header.point_count for header in headers)
            unmoved = sum(map(_is_unmoved, headers))
            has_intensity = all("intensity" in header.point_fields for header in headers)
            georeference = _text(file.root, "coordinateMetadata")
    except Exception as error:  # libE57 has errors of its own, and XML's
        raise _damaged(path, error) from error

    if unmoved > 1:
        _log.warning(
            "%s: %d of its %d scans have no pose, so they are taken to be in the frame of the "
            "map; if they are not, register them first", path, unmoved, len(headers),
        )  # fmt: skip

    def read(names: Sequence[str]) -> Iterator[Columns]:
        try:
            with pye57.E57(str(path)) as file:
                for index in range(file.scan_count):
                    yield from _read_scan(pye57, file, index, "intensity" in names)
        except DatasetError:
            raise
        except Exception as error:
            raise _damaged(path, error) from error

    fields = ("x", "y", "z", "intensity") if has_intensity and count else ("x", "y", "z")
    return PointTable(path, fields, count, read, georeference)


def _read_scan(pye57: Any, file: Any, index: int, with_intensity: bool) -> Iterator[Columns]:
    header = file.get_header(index)
    fields = header.point_fields
    axes = next((axes for axes in (_CARTESIAN, _SPHERICAL) if set(axes) <= set(fields)), None)
    if axes is None:
        raise DatasetError(
            f"{file.path}: scan {index} has neither cartesian nor spherical coordinates, only "
            f"{', '.join(fields)}; export it again"
        )
    names = [*axes, *(name for name in _INVALID if name in fields)]
    names += ["intensity"] if with_intensity else []
    capacity = max(1, min(BLOCK_POINTS, header.point_count))
    data, buffers = file.make_buffers(names, capacity)
    reader = header.points.reader(buffers)
    R, t = _pose(header)
    try:
        while count := reader.read():
            valid = np.ones(count, bool)
            for name in set(names) & set(_INVALID):
                valid &= data[name][:count] == 0
            xyz = np.stack([data[name][:count][valid] for name in axes], axis=1)
            xyz = (_to_cartesian(xyz) if axes is _SPHERICAL else xyz) @ R.T + t
            columns = {axis: xyz[:, k] for k, axis in enumerate("xyz")}
            if with_intensity:
                columns["intensity"] = data["intensity"][:count][valid]
            yield columns
    finally:
        reader.close()


def _pose(header: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation (3, 3) and translation (3,) of a scan; the identity if it has none."""
    if not header.has_pose():
        return np.eye(3), np.zeros(3)
    w, x, y, z = (float(v) for v in header.rotation)
    R = Rotation.from_quat([x, y, z, w]).as_matrix() if any((w, x, y, z)) else np.eye(3)
    return R, np.asarray(header.translation, np.float64)


def _is_unmoved(header: Any) -> bool:
    R, t = _pose(header)
    return not t.any() and np.array_equal(R, np.eye(3))


def _to_cartesian(spherical: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (N, 3) of ranges, azimuths and elevations in radians."""
    r, azimuth, elevation = spherical.T
    flat = r * np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), r * np.sin(elevation)], axis=1)


def _text(root: Any, name: str) -> str:
    return str(root[name].value()).strip() if root.isDefined(name) else ""


def _check_signature(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(48)
    if head[:8] != b"ASTM-E57" or len(head) < 48:
        raise DatasetError(f"{path} is not an E57 file: export it again")
    promised = int.from_bytes(head[16:24], "little")
    if promised != size or size % _PAGE_BYTES:
        raise DatasetError(
            f"{path} is truncated: its header promises {promised} bytes, it has {size}; copy it "
            "again"
        )


def _import_pye57(path: Path) -> Any:
    try:
        import pye57
    except ImportError as error:
        raise DatasetError(
            f'reading {path} needs pye57: pip install "scmpr_ros[maps]" ({error}), or convert it '
            "to LAS or PLY"
        ) from error
    return pye57


def _damaged(path: Path, error: Exception) -> DatasetError:
    return DatasetError(f"{path} is damaged or no E57 file: {first_line(error)}; copy it again")
