"""Tiles of points: what is spread over them comes back, box by box, thinned where it is dense."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from scmpr_ros.errors import DatasetError
from scmpr_ros.lidar.point_tiles import Box, PointTiles, Tile, TileGrid, thinned
from scmpr_ros.records import PointCloud

ORIGIN = np.array([458_000.0, 5_428_000.0, 100.0])


def cloud(count: int, seed: int = 0, labelled: bool = True) -> PointCloud:
    generator = np.random.default_rng(seed)
    xyz = generator.uniform(-150, 250, (count, 3)).astype(np.float32)
    label = generator.integers(0, 8, count).astype(np.uint8) if labelled else None
    return PointCloud(xyz, label, generator.random(count).astype(np.float32), ORIGIN)


def sorted_rows(points: PointCloud) -> np.ndarray:
    assert points.label is not None and points.intensity is not None
    rows = np.column_stack([points.xyz, points.label, points.intensity])
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize("grid", [TileGrid(100.0), TileGrid(37.0, (-3.0, 8.5))])
def test_points_come_back_by_boxes(tmp_path: Path, grid: TileGrid) -> None:
    whole = cloud(5000)
    blocks = [whole.select(np.arange(begin, begin + 1000)) for begin in range(0, 5000, 1000)]
    tiles = PointTiles.spread(blocks, tmp_path / "tiles", grid)
    again = PointTiles(tmp_path / "tiles")
    assert again.num_points() == 5000 and again.tiles == tiles.tiles == sorted(tiles.tiles)
    assert_array_equal(again.origin, ORIGIN)
    box = Box((-20.0, -33.0), (130.0, 77.5))
    expected, found = whole.select(box.contains(whole.xyz)), again.points_in(box)
    assert 0 < len(expected) < 5000
    assert_array_equal(sorted_rows(found), sorted_rows(expected))
    assert_array_equal(sorted_rows(again.points_in(again.bounds)), sorted_rows(whole))
    assert len(again.points_in(Box((9000, 0), (9001, 1)))) == 0


def test_blocks_do_not_matter(tmp_path: Path) -> None:
    """However a stream is cut, tiles have the same bytes."""
    whole = cloud(2000)
    parts = [whole.select(slice) for slice in np.array_split(np.arange(2000), 7)]
    one = PointTiles.spread([whole], tmp_path / "one", TileGrid(50.0), voxel_m=5.0)
    seven = PointTiles.spread(parts, tmp_path / "seven", TileGrid(50.0), voxel_m=5.0)
    assert [one.digest(t) for t in one.tiles] == [seven.digest(t) for t in seven.tiles]
    assert one.digest(Tile(999, 999)) == b""


def test_clouds_without_labels_or_points(tmp_path: Path) -> None:
    plain = PointCloud(np.zeros((3, 3), np.float32))
    tiles = PointTiles.spread([plain], tmp_path / "plain", TileGrid(10.0))
    found = tiles.points_in(tiles.bounds)
    assert found.label is None and found.intensity is None and len(found) == 3
    with pytest.raises(DatasetError, match="has no points"):
        PointTiles.spread([], tmp_path / "none", TileGrid(10.0))
    with pytest.raises(DatasetError, match="no complete tiles"):
        PointTiles(tmp_path)


def test_dense_clouds_are_thinned() -> None:
    """Two voxels, of three points and one: means, majority labels, ties to the smaller id."""
    xyz = np.array([[0.01, 0, 0], [0.05, 0, 0], [0.09, 0, 0], [7.02, 0, 0], [7.04, 0, 0]])
    label, intensity = np.array([3, 1, 3, 5, 2], np.uint8), np.arange(5, dtype=np.float32)
    thin = thinned(PointCloud(xyz.astype(np.float32), label, intensity, ORIGIN), 0.1)
    assert_allclose(thin.xyz[:, 0], [0.05, 7.03], atol=1e-6)
    assert thin.label is not None and thin.label.tolist() == [3, 2]
    assert thin.intensity is not None and thin.intensity.tolist() == [1.0, 3.5]
    assert_array_equal(thin.origin, ORIGIN)
    sparse = PointCloud(np.arange(30, dtype=np.float32).reshape(10, 3))
    assert thinned(sparse, 0.1) is sparse


@settings(max_examples=50, deadline=None)
@given(
    st.floats(-1e5, 1e5), st.floats(-1e5, 1e5), st.floats(1, 500),
    st.tuples(st.floats(-100, 100), st.floats(-100, 100)),
)  # fmt: skip
def test_each_position_lies_in_the_box_of_its_tile(
    x: float, y: float, edge_m: float, anchor: tuple[float, float]
) -> None:
    grid = TileGrid(edge_m, anchor)
    (index,) = grid.index(np.array([[x, y]]))
    tile = Tile(*index.tolist())
    assert Tile.of_key(tile.key) == tile
    assert grid.box(tile).grown(1e-6).contains(np.array([[x, y]])).all()
    assert tile in grid.tiles_of(Box((x, y), (x + 1, y + 1)))
