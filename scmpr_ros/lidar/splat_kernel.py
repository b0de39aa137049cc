"""Splats drawn by a C++ kernel (`splats.cpp`), compiled on first use: the fast way on CPUs."""

from __future__ import annotations

import ctypes
import math
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from scmpr_ros.compilation import CompilationError, load_library
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.sorted_points import Runs, SortedPoints
from scmpr_ros.lidar.splatting import RenderConfig

SOURCE = Path(__file__).with_name("splats.cpp")
FLAGS = ("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
"""Each operation rounds once, as in torch; square roots and roundings become vectors."""
_FEW = 4096


class _Settings(ctypes.Structure):
    """As `Settings` in the source."""

    _fields_ = [
        *((name, ctypes.c_float) for name in (
            "min_range_m", "max_range_m", "splat_radius_m", "cell_rad", "fov_rad", "fov_up_rad",
            "row_rad", "column_rad",
        )),
        *((name, ctypes.c_int32) for name in ("height", "width", "is_circle", "max_splat_cells")),
    ]  # fmt: skip

    @classmethod
    def of(cls, grid: AngularGrid, config: RenderConfig) -> _Settings:
        return cls(
            config.min_range_m, config.max_range_m, config.splat_radius_m,
            max(grid.row_rad, grid.column_rad), grid.fov_rad, math.radians(grid.fov_up_deg),
            grid.row_rad, grid.column_rad, grid.height, grid.width, grid.is_circle,
            config.max_splat_cells,
        )  # fmt: skip


def unavailable(device_type: str) -> str | None:
    """Reason why the kernel cannot draw on a device type; None if it can."""
    if device_type != "cpu":
        return "runs on CPUs only"
    return _library()[1]


def draw(
    points: SortedPoints, runs: Runs, positions: Tensor, axes: Tensor, grid: AngularGrid,
    config: RenderConfig, nearest: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Draw the points of runs into pictures `nearest`, all but those next to the edge of a cell.

    Returns the indices (place, sorted point) of the points that are not drawn.
    """
    library = _library()[0]
    assert library is not None
    places = len(positions)
    first_run = torch.searchsorted(runs.place, torch.arange(places + 1))
    ends = torch.stack([runs.start, runs.stop])
    positions, axes = positions.contiguous(), axes.contiguous()
    settings = _Settings.of(grid, config)
    capacity = _FEW + int((runs.stop - runs.start).sum()) // 100
    while True:
        unsure = torch.empty((2, capacity), dtype=torch.int64)
        count = library.draw(
            *map(_pointer, (points.xyz, points.number)), ctypes.c_int64(len(points)),
            *map(_pointer, (ends, first_run)), ctypes.c_int64(places),
            *map(_pointer, (positions, axes)), ctypes.byref(settings),
            *map(_pointer, (nearest, unsure)), ctypes.c_int64(capacity), torch.get_num_threads(),
        )  # fmt: skip
        if count <= capacity:
            place, index = unsure[:, :count]
            return place, index
        capacity = count


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    assert tensor.is_contiguous()
    return ctypes.c_void_p(tensor.data_ptr())


@cache
def _library() -> tuple[ctypes.CDLL | None, str | None]:
    """The compiled kernel, or the reason why there is none; tried once per process."""
    try:
        library = load_library(SOURCE, flags=FLAGS)
    except CompilationError as error:
        return None, str(error)
    library.draw.restype = ctypes.c_int64
    return library, None
