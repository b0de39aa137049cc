"""A map's labelled points, sorted so that a place touches those in reach and no others.

Points lie in square cells from above, row by row, and each cell knows the box of its points. So the
points near a place are a few runs of contiguous memory, found without a look at the rest.

Computations run in torch on the device of the points.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scmpr_ros.errors import DatasetError, ShapeError
from scmpr_ros.records import PointCloud

CELL_M = 10.0
"""Edge of a cell: some 10,000 points of a map of 10 cm voxels, a hundred cells around a place."""
_SLACK_M = 0.01  # float32 coordinates at 100 km from the origin


@dataclass(frozen=True)
class Runs:
    """R runs of neighbouring points, those of one place after those of the one before.

    place, start, stop: (R,) int64; the run's place and its half-open interval of sorted points.
    """

    place: Tensor
    start: Tensor
    stop: Tensor

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Indices (place, sorted point) of all points in the runs, each (P,) int64."""
        length = self.stop - self.start
        before = length.cumsum(0) - length
        total = int(length.sum())
        shift = (self.start - before).repeat_interleave(length, output_size=total)
        place = self.place.repeat_interleave(length, output_size=total)
        return place, torch.arange(total, device=shift.device) + shift

    def select(self, keep: Tensor | slice) -> Runs:
        """The runs that a mask or a slice keeps."""
        return Runs(self.place[keep], self.start[keep], self.stop[keep])


@dataclass(frozen=True)
class SortedPoints:
    """N labelled points, sorted by the cells that hold them; make one with `of` or `of_cloud`.

    xyz: (3, N) float32, metres, relative to `origin`; label: (N,) uint8 joint class ids.
    number: (N,) int32, a point's number before sorting; rank: (N,) int32, the inverse.
    cell: (C,) int64, the cells with points, sorted; `starts` (C + 1,) int64 their first points.
    low, high: (C, 3) float32, the box of a cell's points.
    corner: (2,) x and y of the first cell; columns: cells in a row.
    """

    xyz: Tensor
    label: Tensor
    number: Tensor
    rank: Tensor
    cell: Tensor
    starts: Tensor
    low: Tensor
    high: Tensor
    corner: Tensor
    columns: int
    origin: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))

    def __len__(self) -> int:
        return len(self.label)

    @property
    def device(self) -> torch.device:
        """Where the points are."""
        return self.xyz.device

    @classmethod
    def of_cloud(
        cls, cloud: PointCloud, device: torch.device | str = "cpu", name: str = "the map"
    ) -> SortedPoints:
        """Sort the points of a labelled cloud; positions are relative to its origin.

        Raises DatasetError, which calls it by `name`, if it has no labels.
        """
        if cloud.label is None:
            raise DatasetError(f"{name} has no labels; label its points first (eq. 5)")
        points, label = torch.from_numpy(cloud.xyz), torch.from_numpy(cloud.label)
        return cls.of(points.to(device), label.to(device), cloud.origin)

    @classmethod
    def of(
        cls, points: Tensor, label: Tensor, origin: NDArray[np.float64] | None = None
    ) -> SortedPoints:
        """Sort points (N, 3) float32 with labels (N,) uint8, N > 0, on their device.

        Raises ShapeError for other shapes, DatasetError if a coordinate is not finite.
        """
        check_points(points, label)
        corner, far = points[:, :2].amin(0), points[:, :2].amax(0)
        if not torch.isfinite(torch.stack([corner, far])).all():
            raise DatasetError("some points have coordinates that are not finite; remove them")
        column, row = _cells_of(points[:, :2], corner).unbind(1)
        columns = int(column.max()) + 1
        keys, number = torch.sort(row * columns + column, stable=True)
        cell, count = torch.unique_consecutive(keys, return_counts=True)
        starts = torch.nn.functional.pad(count.cumsum(0), (1, 0))
        rank = torch.empty_like(number, dtype=torch.int32)
        rank[number] = torch.arange(len(number), dtype=torch.int32, device=number.device)
        xyz = torch.stack([axis[number] for axis in points.unbind(1)])
        low, high = (
            torch.stack([torch.segment_reduce(axis, how, offsets=starts) for axis in xyz], 1)
            for how in ("min", "max")
        )
        return cls(
            xyz, label[number], number.int(), rank, cell, starts, low, high, corner, columns,
            np.zeros(3) if origin is None else origin,
        )  # fmt: skip

    def runs_near(self, positions: Tensor, radius_m: float, inside: Tensor | None = None) -> Runs:
        """Runs that contain every point in reach of positions (B, 3), and few others.

        inside: (B, P, 3) normals of planes through each position; cells that lie wholly behind a
            plane are left out.
        """
        place, cell = self._cells_near(positions, radius_m)
        low, high = self.low[cell], self.high[cell]
        here = positions[place]
        gap = (low - here).clamp_min(0) + (here - high).clamp_min(0)
        keep = gap.norm(dim=1) <= radius_m + _SLACK_M
        if inside is not None:
            middle, half = (low + high) / 2 - here, (high - low) / 2
            normal = inside[place]
            farthest = (normal * middle[:, None]).sum(2) + (normal.abs() * half[:, None]).sum(2)
            keep &= (farthest >= -_SLACK_M).all(1)
        place, cell = place[keep], cell[keep]
        return Runs(place, self.starts[cell], self.starts[cell + 1])

    def _cells_near(self, positions: Tensor, radius_m: float) -> tuple[Tensor, Tensor]:
        """Indices (place, cell with points) in a square of cells around each position."""
        reach = int(radius_m / CELL_M) + 1
        column, row = _cells_of(positions[:, :2], self.corner).unbind(1)
        rows = row[:, None] + torch.arange(-reach, reach + 1, device=self.device)
        first = (column - reach).clamp(0, self.columns)[:, None] + rows * self.columns
        stop = (column + reach + 1).clamp(0, self.columns)[:, None] + rows * self.columns
        found = torch.searchsorted(self.cell, torch.stack([first, stop]))
        place = torch.arange(len(positions), device=self.device)[:, None].expand_as(rows)
        return Runs(place.flatten(), found[0].flatten(), found[1].flatten()).pairs()


def check_points(points: Tensor, label: Tensor) -> None:
    """Raise ShapeError unless there are points (N, 3), N > 0, with labels (N,)."""
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise ShapeError.of("points", "(N, 3) with N > 0", tuple(points.shape))
    if label.shape != points.shape[:1]:
        raise ShapeError.of("label", f"({len(points)},)", tuple(label.shape))


def _cells_of(xy: Tensor, corner: Tensor) -> Tensor:
    """Column and row (N, 2) int64 of the cells of points (N, 2)."""
    return ((xy - corner) / CELL_M).floor().long()
