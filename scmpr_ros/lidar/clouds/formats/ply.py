"""PLY, see `scmpr_ros.ply`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from scmpr_ros.lidar.clouds.formats.point_table import BLOCK_POINTS, Columns, PointTable
from scmpr_ros.ply import open_ply


def open_table(path: Path) -> PointTable:
    """Open the vertices of a PLY."""
    ply = open_ply(path)

    def read(names: Sequence[str]) -> Iterator[Columns]:
        for rows in ply.blocks(BLOCK_POINTS):
            yield {name: rows[name] for name in names}

    return PointTable(path, ply.dtype.names or (), ply.count, read)
