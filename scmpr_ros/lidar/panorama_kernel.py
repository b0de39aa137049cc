"""Panoramas drawn by a C++ kernel (`panorama.cpp`), compiled on first use: the fast way on CPUs."""

from __future__ import annotations

import ctypes
import math
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scmpr_ros.compilation import CompilationError, load_library
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.ray_sampling import Rays
from scmpr_ros.lidar.sorted_points import Runs, SortedPoints
from scmpr_ros.lidar.splatting import RANGE_STEPS_PER_M, RenderConfig

SOURCE = Path(__file__).with_name("panorama.cpp")
FLAGS = ("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
"""Each operation rounds once, as in torch; square roots and roundings become vectors."""
_FEW = 4096


class _Settings(ctypes.Structure):
    """As `Settings` in the source."""

    _fields_ = [
        *((name, ctypes.c_float) for name in (
            "min_range_m", "max_range_m", "splat_radius_m", "cell_rad", "fov_up_rad", "row_rad",
            "column_rad", "splat_radius2_m2",
        )),
        *((name, ctypes.c_int32) for name in (
            "height", "width", "is_circle", "max_splat_cells", "surface_mm",
        )),
    ]  # fmt: skip

    @classmethod
    def of(cls, grid: AngularGrid, config: RenderConfig) -> _Settings:
        return cls(
            config.min_range_m, config.max_range_m, config.splat_radius_m,
            max(grid.row_rad, grid.column_rad), math.radians(grid.fov_up_deg), grid.row_rad,
            grid.column_rad, config.splat_radius_m**2, grid.height, grid.width, grid.is_circle,
            config.max_splat_cells, round(config.surface_m * RANGE_STEPS_PER_M),
        )  # fmt: skip


class _Scene(ctypes.Structure):
    """As `Scene` in the source; `arrays` keeps alive what it points to."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in (
            "xyz", "number", "runs", "first_run", "positions", "axes",
        )),
        *((name, ctypes.c_int64) for name in ("points", "num_runs", "places")),
    ]  # fmt: skip

    @classmethod
    def of(cls, points: SortedPoints, runs: Runs, positions: Tensor, axes: Tensor) -> _Scene:
        places = len(positions)
        first_run = torch.searchsorted(runs.place, torch.arange(places + 1))
        ends = torch.stack([runs.start, runs.stop])
        tensors = (points.xyz, points.number, ends, first_run, positions, axes)
        arrays = [tensor.contiguous() for tensor in tensors]
        scene = cls(*map(_pointer, arrays), len(points), len(runs.place), places)
        scene.arrays = arrays
        return scene


def unavailable(device_type: str) -> str | None:
    """Reason why the kernel cannot draw on a device type; None if it can."""
    if device_type != "cpu":
        return "runs on CPUs only"
    return _library()[1]


def draw_splats(
    points: SortedPoints, runs: Runs, positions: Tensor, axes: Tensor, grid: AngularGrid,
    config: RenderConfig, nearest: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Draw the points of runs into pictures `nearest`, all but those next to the edge of a cell.

    Returns the indices (place, sorted point) of the points that are not drawn.
    """
    scene, settings = _Scene.of(points, runs, positions, axes), _Settings.of(grid, config)
    capacity = _FEW + int((runs.stop - runs.start).sum()) // 100
    while True:
        unsure = torch.empty((2, capacity), dtype=torch.int64)
        count = _kernel("draw_splats", ctypes.c_int64)(
            ctypes.byref(scene), ctypes.byref(settings), _pointer(nearest), _pointer(unsure),
            ctypes.c_int64(capacity), torch.get_num_threads(),
        )  # fmt: skip
        if count <= capacity:
            place, index = unsure[:, :count]
            return place, index
        capacity = count


def draw_rays(
    points: SortedPoints, runs: Runs, positions: Tensor, axes: Tensor, grid: AngularGrid,
    config: RenderConfig, nearest: Tensor,
) -> None:  # fmt: skip
    """Draw what rays meet of the points of runs into pictures `nearest`."""
    scene, settings = _Scene.of(points, runs, positions, axes), _Settings.of(grid, config)
    directions = vars(Rays.of(grid, points.device)).values()
    rays = (ctypes.c_void_p * len(directions))(*(x.data_ptr() for x in directions))
    _kernel("draw_rays", None)(
        ctypes.byref(scene), ctypes.byref(settings), rays, _pointer(nearest),
        torch.get_num_threads(),
    )  # fmt: skip


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _kernel(name: str, result: Any) -> Any:
    library = _library()[0]
    assert library is not None
    function = library[name]
    function.restype = result
    return function


@cache
def _library() -> tuple[ctypes.CDLL | None, str | None]:
    """The compiled kernel, or the reason why there is none; tried once per process."""
    try:
        return load_library(SOURCE, flags=FLAGS), None
    except CompilationError as error:
        return None, str(error)
