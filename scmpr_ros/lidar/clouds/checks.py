"""Notice coordinates that are not metres in a z-up frame, by a sample of a cloud's points.

Each check refuses with what was found and what to set; none changes anything. Streets look alike in
every unit and on every side, so the checks ask what only real ones do: points are less than metres
apart, and the ground is what the sky looks at.
"""

from __future__ import annotations

import logging
import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scmpr_ros.errors import DatasetError
from scmpr_ros.geometry import upright_axes

_log = logging.getLogger(__name__)

FEWEST_POINTS = 1000
"""Smaller clouds are not judged: anything may look like anything."""

_SPACING_POINTS = 50_000
_FARTHEST_SPACING_M = 3.0
_WIDE_SPACING_M, _HIGH_RELIEF_M, _HIGHEST_RELIEF_M = 0.7, 400.0, 1000.0
_SMALLEST_EXTENT = 3.0
_USUAL_SPACING_M, _USUAL_RELIEF_M = 0.15, 6.0
_UNITS = {"millimetres": 0.001, "centimetres": 0.01}

_LARGE_M = 4096.0
"""Nearer to zero, a step is that of a grid of voxels or pixels, and harmless."""
_COARSE_STEP_M = 0.05
_COARSE_EVERYWHERE_M = 0.9
_FLOAT32_STEPS = 1 << 22
"""A float32 is at most 2^24 of its steps from zero; no other grid is so fine at its distance."""

_FEWEST_IN_CELL = 4
_CELL_POINTS = 6
_SMALLEST_CELL_M = 1.0
"""In smaller cells, noise is as high as a slope."""
_LEVEL_M, _LEVEL_SLOPE = 0.3, 0.12
_TALL_M = 1.5
_FEWEST_CELLS = 20
_MUCH_MORE = 4.0
"""A tall wall along a narrow street may well be larger than the ground."""
_CLEARLY = 3.0
"""On real maps, 4 to 7 times as much rises from the ground as falls below it."""
_VIEW_POINTS = 100_000
_FINE_CELL_M = 2.0
_STEEP_DEG = 10.0
_ROW_COLUMN = np.array([1 << 32, 1])
_EARTH_RADIUS_M = (6.33e6, 6.40e6)

_UNIT = re.compile(
    r'\b(?:LENGTH)?UNIT\s*\[\s*"(?!deg|rad|gr)([^"]*)"\s*,\s*([\d.]+(?:e[-+]?\d+)?)', re.IGNORECASE
)
_VERTICAL = re.compile(r"VERT_CS|VERTCRS|VERTICALCRS", re.IGNORECASE)
_UNIT_TOLERANCE_M = 1e-4


@dataclass(frozen=True)
class CloudSample:
    """Random points of a cloud.

    xyz: (S, 3) float64, all the same chance. count: number of points of the whole cloud. label:
    (S,) ids of their classes, if all blocks had some.
    """

    xyz: NDArray[np.float64]
    count: int
    label: NDArray[np.int64] | None = None


def check_georeference(georeference: str, where: str) -> None:
    """Refuse a coordinate system in degrees or another unit than metres; `where` names the file."""
    if _is_geographic(georeference):
        raise _geographic(where, f"{georeference[:40]}; if they are metres, set cloud.unit_m to 1")
    if "GEOCCS" in georeference.upper():
        raise _earth_centred(where)
    (across, across_m), (height, height_m) = _units(georeference)
    if abs(float(across_m) - float(height_m)) > _UNIT_TOLERANCE_M:
        raise DatasetError(
            f"{where} has positions in {across} and heights in {height}, says its coordinate "
            "system: transform it to one unit, such as by PDAL"
        )
    if abs(float(across_m) - 1) > _UNIT_TOLERANCE_M:
        unit = "feet" if "f" in across.lower() else across
        raise DatasetError(
            f"{where} is in {unit}, says its coordinate system: set cloud.unit_m to {across_m}"
        )


def check_units(sample: CloudSample, where: str) -> None:
    """Refuse degrees, and units that are clearly no metres; `where` names the file."""
    low, high = np.percentile(sample.xyz, [0.5, 99.5], axis=0)
    extent = high - low
    if max(extent[:2]) < _SMALLEST_EXTENT:
        degrees = np.abs(low[0]) <= 180 and np.abs(low[1]) <= 90 and np.abs(low[:2]).max() > 0.5
        if degrees and extent[2] > max(extent[:2]):
            raise _geographic(where, f"x from {low[0]:.4f} to {high[0]:.4f}")
        raise DatasetError(
            f"{where} spans {extent[0]:.3g} x {extent[1]:.3g} x {extent[2]:.3g} m, if its unit is "
            "metres, too little for a map: set cloud.unit_m to the metres of its unit (1000 for "
            "kilometres, 1 if these are metres)"
        )
    spacing, relief = _spacing_m(sample), _relief_m(sample)
    if (
        spacing > _FARTHEST_SPACING_M
        or relief > _HIGHEST_RELIEF_M
        or (spacing > _WIDE_SPACING_M and relief > _HIGH_RELIEF_M)
    ):
        name = min(_UNITS, key=lambda unit: _oddness(_UNITS[unit], spacing, relief))
        raise DatasetError(
            f"{where}: if its unit is metres, points are {spacing:.3g} m apart and walls "
            f"{relief:.3g} m high: either it is too sparse for a map, or these are {name}; set "
            f"cloud.unit_m to {_UNITS[name]}, or to 1 if they are metres"
        )


def check_resolution(sample: CloudSample, where: str) -> None:
    """Refuse coordinates that were rounded, as those of UTM are when written in float32."""
    steps = [_step(sample.xyz[:, axis]) for axis in range(3)]
    uneven = abs(steps[0] - steps[1]) > 0.01 * max(steps[0], steps[1])
    for axis, step, largest in zip("xyz", steps, np.abs(sample.xyz).max(axis=0), strict=True):
        if largest < _LARGE_M or step < _COARSE_STEP_M:
            continue
        is_float32 = largest / step >= _FLOAT32_STEPS and float(np.log2(step)).is_integer()
        if is_float32 or uneven or step > _COARSE_EVERYWHERE_M:
            raise DatasetError(
                f"{where} has {axis} in steps of {step:.3g} m, at {largest:.0f} m from zero: its "
                "coordinates were rounded, as float32 and short text do; export it again with "
                "doubles, or with an offset subtracted"
            )


def check_up(sample: CloudSample, where: str) -> None:
    """Refuse a cloud whose ground lies on another side than below."""
    xyz, cell_m = _thinned(sample)
    position = np.median(sample.xyz, axis=0)
    if _EARTH_RADIUS_M[0] < np.linalg.norm(position) < _EARTH_RADIUS_M[1]:
        _check_not_earth_centred(xyz, position, where)
    views = [_view_along(xyz, axis, cell_m) for axis in range(3)]
    areas = [view.level_cells for view in views]
    up = int(np.argmax(areas))
    is_ground = areas[up] > max(_FEWEST_CELLS, _MUCH_MORE * areas[2], views[2].cells // 2)
    if not is_ground:  # as under a ceiling, where no ground is seen from above
        up = 2
    sign = "-" if views[up].is_reversed else "+"
    if (up, sign) == (2, "+"):
        _warn_of_tilt(xyz, cell_m, where)
        return
    found = f"{sign}{'xyz'[up]}"
    raise DatasetError(
        f"{where}: its ground is level seen along {'xyz'[up]}, and what stands on it rises towards "
        f"{found}, not +z (LOAM and optical frames have y up or down): set cloud.up to {found}, "
        "or to +z if z is up"
    )


def _warn_of_tilt(xyz: NDArray[np.float64], cell_m: float, where: str) -> None:
    """Warn of a ground that rises the same way all over, as in the frame of a tilted sensor."""
    cells, low, _, high = _columns(xyz[:, :2], xyz[:, 2], cell_m)
    is_ground = high - low < _TALL_M
    cells, low = cells[is_ground].astype(np.int64), low[is_ground]
    keys = cells @ _ROW_COLUMN  # sorted: cells are
    rises = []
    for step in _ROW_COLUMN:
        at = np.minimum(np.searchsorted(keys, keys + step), len(keys) - 1)
        beside = keys[at] == keys + step
        if beside.sum() < _FEWEST_CELLS:
            return
        rises.append(float(np.median(low[at[beside]] - low[beside])) / cell_m)
    tilt_deg = math.degrees(math.atan(math.hypot(*rises)))
    if tilt_deg > _STEEP_DEG:
        _log.warning(
            "%s: its ground rises by %.0f deg throughout; if it is level in truth, the map is in "
            "the frame of a tilted sensor: turn it upright, or places will be tilted",
            where, tilt_deg,
        )  # fmt: skip


def _check_not_earth_centred(
    xyz: NDArray[np.float64], position: NDArray[np.float64], where: str
) -> None:
    """Refuse a cloud whose ground is level about its position, as seen from the earth's centre."""
    turned = xyz @ upright_axes(position[None])[0]
    cell_m = _cell_m(turned)
    if _view_along(turned, 2, cell_m).level_cells > _MUCH_MORE * (
        _FEWEST_CELLS + _view_along(xyz, 2, cell_m).level_cells
    ):
        raise _earth_centred(where)


@dataclass(frozen=True)
class _View:
    """A cloud seen along an axis: how much of it is level there, and on which side the rest is."""

    cells: int
    level_cells: int
    is_reversed: bool


def _view_along(xyz: NDArray[np.float64], axis: int, cell_m: float) -> _View:
    across = [other for other in range(3) if other != axis]
    cells, low, middle, high = _columns(xyz[:, across], xyz[:, axis], cell_m)
    level = high - low < max(_LEVEL_M, _LEVEL_SLOPE * cell_m)
    tall = high - low > max(_TALL_M, 2 * _LEVEL_SLOPE * cell_m)
    if level.sum() < _FEWEST_CELLS or tall.sum() < _FEWEST_CELLS:
        return _View(len(cells), int(level.sum()), False)
    distance, nearest = cKDTree(cells[level]).query(cells[tall], distance_upper_bound=6.0)
    near = np.isfinite(distance)
    ground = middle[level][nearest[near]]
    above = np.maximum(high[tall][near] - ground, 0).sum()
    below = np.maximum(ground - low[tall][near], 0).sum()
    return _View(len(cells), int(level.sum()), bool(below > _CLEARLY * above))


def _columns(
    across: NDArray[np.float64], height: NDArray[np.float64], cell_m: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Cells (C, 2) with enough points, and the heights at 10, 50 and 90 % of each one's points."""
    index = np.floor(across / cell_m).astype(np.int64)
    order = np.lexsort((height, index[:, 1], index[:, 0]))
    index, height = index[order], height[order]
    first = np.flatnonzero(np.any(np.diff(index, axis=0, prepend=index[:1] - 1), axis=1))
    count = np.diff(first, append=len(index))
    first, count = first[count >= _FEWEST_IN_CELL], count[count >= _FEWEST_IN_CELL]
    low, middle, high = (height[first + (share * (count - 1)).astype(int)]
                         for share in (0.1, 0.5, 0.9))  # fmt: skip
    return index[first].astype(float), low, middle, high


def _thinned(sample: CloudSample) -> tuple[NDArray[np.float64], float]:
    """Points about their median, fewer where they are dense, and the size of cells for them."""
    few = sample.xyz[:: max(1, len(sample.xyz) // _VIEW_POINTS)]
    middle = np.median(few, axis=0)
    cell_m = _cell_m(few - middle)
    if cell_m <= _FINE_CELL_M or len(few) == len(sample.xyz):
        return few - middle, cell_m
    xyz = sample.xyz - middle
    return xyz, _cell_m(xyz)


def _cell_m(xyz: NDArray[np.float64]) -> float:
    """Cells on the ground that hold a few points each, of those that hold any."""
    cell_m = max(1e-3, float(np.ptp(xyz[:, :2], axis=0).max()) / 16)
    for _ in range(4):
        index = np.floor(xyz[:, :2] / cell_m).astype(np.int64)
        occupied = len(np.unique(index[:, 0] * (1 << 32) + index[:, 1]))
        cell_m = max(_SMALLEST_CELL_M, cell_m * float(np.sqrt(_CELL_POINTS * occupied / len(xyz))))
    return cell_m


def _spacing_m(sample: CloudSample) -> float:
    """Median distance of a point of the whole cloud to the next, taken to lie on surfaces."""
    xyz = sample.xyz[:: max(1, len(sample.xyz) // _SPACING_POINTS)]
    xyz = xyz[xyz.any(axis=1)]  # zeros of no return, a tree of which would take minutes
    if len(xyz) < 2:
        return 0.0
    distance = cKDTree(xyz).query(xyz, k=2)[0][:, 1]
    return float(np.median(distance) * np.sqrt(len(xyz) / sample.count))


def _relief_m(sample: CloudSample) -> float:
    """Height of what stands in the tallest twentieth of the cells of a coarse grid."""
    xyz, cell_m = _thinned(sample)
    _, low, _, high = _columns(xyz[:, :2], xyz[:, 2], 3 * cell_m)
    return max(1e-6, float(np.percentile(high - low, 95))) if len(low) else 1e-6


def _oddness(unit_m: float, spacing: float, relief: float) -> float:
    """How far spacing and relief are from usual ones, if the unit has this length."""
    return float(
        abs(np.log(spacing * unit_m / _USUAL_SPACING_M))
        + abs(np.log(relief * unit_m / _USUAL_RELIEF_M))
    )


def _step(values: NDArray[np.float64]) -> float:
    """Step between the values of a coordinate, if they lie on a grid; 0 if they do not."""
    distinct = np.unique(values[:: max(1, len(values) // 20_000)])
    if len(distinct) < 3:
        return 0.0
    gaps = np.diff(distinct)
    step = float(gaps.min())
    ratio = gaps / step
    on_grid = np.abs(ratio - np.round(ratio)) < 0.01
    return step if bool(np.mean(on_grid) > 0.98) else 0.0


def _is_geographic(georeference: str) -> bool:
    text = georeference.upper()
    is_degrees = any(word in text for word in ("(GEOGRAPHIC)", "GEOGCS", "GEOGCRS", "GEODCRS"))
    return is_degrees and "PROJC" not in text


def _units(georeference: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Names and lengths in metres of the units of positions and of heights in a WKT.

    The unit of a system stands behind those of its parts. What is not said is metres, and of
    heights like the positions.
    """
    horizontal, *vertical = _VERTICAL.split(georeference, maxsplit=1)
    across = (_UNIT.findall(horizontal) or [("metre", "1")])[-1]
    height = (_UNIT.findall(vertical[0]) if vertical else []) or [across]
    return across, height[-1]


def _geographic(where: str, what: str) -> DatasetError:
    return DatasetError(
        f"{where} has geographic coordinates in degrees ({what}): project it to metres, such as "
        "UTM, before building a map"
    )


def _earth_centred(where: str) -> DatasetError:
    return DatasetError(
        f"{where} has earth-centred coordinates (ECEF): transform it to a local frame or to UTM"
    )
