"""Scans accumulated into tiles give the map that they give in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from scmpr_ros.errors import DatasetError
from scmpr_ros.geometry import make_transform, voxel_centres, voxel_keys
from scmpr_ros.lidar import accumulation
from scmpr_ros.lidar.accumulation import AccumulationConfig, ClassifiedScan, accumulate_classes
from scmpr_ros.lidar.point_tiles import TileGrid
from scmpr_ros.lidar.tiled_accumulation import accumulate_tiles
from scmpr_ros.records import PointCloud

CONFIG = AccumulationConfig(voxel_m=0.3, min_hits=2)


def scans(labelled: bool) -> list[ClassifiedScan]:
    """Thirty scans of random returns, far from the origin of the world."""
    generator = np.random.default_rng(0)
    found = []
    for number in range(30):
        xyz = generator.uniform(-12, 12, (4000, 3)).astype(np.float32)
        label = generator.integers(1, 8, len(xyz)).astype(np.uint8) if labelled else None
        intensity = generator.random(len(xyz)).astype(np.float32)
        pose = make_transform(np.eye(3), np.array([50_000.0 + number, 7.0, 0.0]))
        found.append(ClassifiedScan(PointCloud(xyz, label, intensity), pose, None))
    return found


@pytest.mark.parametrize("labelled", [True, False])
def test_tiles_hold_the_voxels_of_the_map_in_memory(
    tmp_path: Path, labelled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accumulation, "_FOLD_EVERY_POINTS", 10_000)
    whole, _ = accumulate_classes(scans(labelled), CONFIG)
    tiles = accumulate_tiles(scans(labelled), CONFIG, tmp_path / "tiles", TileGrid(10.0))
    found = tiles.points_in(tiles.bounds.grown(1.0))
    assert len(tiles.tiles) > 6 and len(found) == len(whole) > 1000
    assert_array_equal(found.origin, whole.origin)
    one, other = (np.argsort(voxel_keys(c.xyz, CONFIG.voxel_m)) for c in (found, whole))
    assert_allclose(found.xyz[one], whole.xyz[other], atol=1e-5)
    assert found.intensity is not None and whole.intensity is not None
    assert_allclose(found.intensity[one], whole.intensity[other], atol=1e-5)
    assert (found.label is not None) == labelled
    if found.label is not None and whole.label is not None:
        assert_array_equal(found.label[one], whole.label[other])
    assert not list((tmp_path / "tiles").glob("*.sums"))


def test_scans_that_make_no_map(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no scans to build a map from"):
        accumulate_tiles([], CONFIG, tmp_path / "none", TileGrid(10.0))
    with pytest.raises(DatasetError, match=r"no voxel of 0.3 m was hit 99 times"):
        accumulate_tiles(
            scans(False), AccumulationConfig(0.3, 99), tmp_path / "few", TileGrid(10.0)
        )


def test_scans_with_different_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a batch of some is followed by a batch of others."""
    monkeypatch.setattr(accumulation, "_FOLD_EVERY_POINTS", 10_000)
    mixed = [*scans(True)[:9], *scans(False)[9:]]  # batches are of three
    with pytest.raises(DatasetError, match="some scans have labels or intensity and some do not"):
        accumulate_tiles(mixed, CONFIG, tmp_path / "mixed", TileGrid(10.0))


def test_centres_of_voxels() -> None:
    xyz = np.random.default_rng(1).uniform(-3000, 3000, (500, 3))
    centres = voxel_centres(voxel_keys(xyz, 0.15), 0.15)
    assert np.abs(centres - xyz).max() <= 0.075 + 1e-9
