"""What an update keeps of a map and refuses, and what a build that was refused leaves behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scmpr_ros.cli import build_map
from scmpr_ros.errors import ConfigError, DatasetError, MapFormatError
from scmpr_ros.lidar.cloud_files import write_cloud
from scmpr_ros.lidar.places import PlacesConfig
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.methods.checkpoint import save_checkpoint
from scmpr_ros.methods.scmpr.network import ScmprNetwork
from scmpr_ros.pipeline.build_config import MapBuildConfig
from scmpr_ros.pipeline.map_build import BuildReport, BuildRequest, build_place_map
from scmpr_ros.pipeline.map_builder import MapBuilderConfig
from scmpr_ros.retrieval.place_map.manifest import read_manifest
from scmpr_ros.retrieval.place_map.verification import faults_of

CONFIG = MapBuildConfig(
    builder=MapBuilderConfig(
        places=PlacesConfig(spacing_m=10.0), device="cpu", tile_m=25.0, whole_up_to_points=0
    ),
    max_points=1000,
)


@pytest.fixture(scope="module")
def checkpoint(network: ScmprNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "network.safetensors"
    save_checkpoint(network, path)
    return path


@pytest.fixture(scope="module")
def street(point_map: PointCloudMap, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file without a georeference, far from the origin."""
    path = tmp_path_factory.mktemp("clouds") / "street.ply"
    write_cloud(path, point_map.cloud)
    return path


def build(
    source: Path, out: Path, checkpoint: Path, config: MapBuildConfig = CONFIG,
    update: bool = False, workers: int = 1,
) -> BuildReport:  # fmt: skip
    return build_place_map(BuildRequest(source, out, checkpoint, config, update), workers=workers)


def in_frame(georeference: str) -> MapBuildConfig:
    cloud = replace(CONFIG.source.cloud, georeference=georeference)
    return replace(CONFIG, source=replace(CONFIG.source, cloud=cloud))


def test_an_update_keeps_the_georeference(street: Path, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "map"
    build(street, out, checkpoint, in_frame("EPSG:25832"))
    build(street, out, checkpoint, update=True)
    assert read_manifest(out).georeference == "EPSG:25832", "the new file does not say"
    before = read_manifest(out)
    with pytest.raises(DatasetError, match=r"EPSG:32632, the map in .* EPSG:25832: project it"):
        build(street, out, checkpoint, in_frame("EPSG:32632"), update=True)
    assert read_manifest(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["map"]


def test_places_of_two_heights_have_none_in_common(
    street: Path, point_map: PointCloudMap, checkpoint: Path, tmp_path: Path
) -> None:
    out, cloud = tmp_path / "map", point_map.cloud
    build(street, out, checkpoint)
    assert read_manifest(out).sensor_height_m == CONFIG.builder.places.sensor_height_m
    write_cloud(tmp_path / "east.ply", cloud.select(np.flatnonzero(cloud.xyz[:, 0] > 15)))
    higher = replace(CONFIG.builder.places, sensor_height_m=2.5)
    config = replace(CONFIG, builder=replace(CONFIG.builder, places=higher))
    assert build(tmp_path / "east.ply", out, checkpoint, config, update=True).kept > 0
    assert read_manifest(out).sensor_height_m is None
    build(street, out, checkpoint, config, update=True)
    assert read_manifest(out).sensor_height_m == 2.5, "every tile is described anew"


def test_what_is_refused_leaves_nothing(
    street: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MapFormatError, match="no place map there"):
        build(street, tmp_path / "none", checkpoint, update=True)
    potree = tmp_path / "potree"
    potree.mkdir()
    (potree / "metadata.json").write_text('{"version": "2.0"}')
    with pytest.raises(ConfigError, match="potree exists and is no place map"):
        build(street, potree, checkpoint)
    assert build_map.main([str(street), str(tmp_path / "map"), "--workers", "-2"]) == 1
    assert "--workers -2: 0 takes as many" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["potree"]


def test_a_place_map_is_no_source(street: Path, checkpoint: Path, tmp_path: Path) -> None:
    build(street, tmp_path / "map", checkpoint)
    with pytest.raises(DatasetError, match=r"map is a place map, .*: name the point cloud"):
        build(tmp_path / "map", tmp_path / "again", checkpoint)


def test_an_index_that_does_not_suit_costs_no_tile(
    street: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "map"
    unsuited = replace(CONFIG, builder=replace(CONFIG.builder, index="IVF9999,SQ8"))
    with pytest.raises(ConfigError, match="index 'IVF9999,SQ8' cannot be made"):
        build(street, out, checkpoint, unsuited)
    described = {
        path: path.stat().st_mtime_ns for path in tmp_path.glob(".map.build/*/described/*")
    }
    assert described and not (out / "metadata.json").exists()
    seen: list[str] = []
    request = BuildRequest(street, out, checkpoint, CONFIG)
    build_place_map(request, workers=1, progress=lambda what, done, total: seen.append(what))
    assert seen == [] and faults_of(out) == []
    assert read_manifest(out).provenance["config"]["builder"]["index"] == "auto"


def test_the_working_directory_is_a_place_map(
    street: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "map" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "map" / "inner")
    build(street, Path(), checkpoint)
    assert faults_of(tmp_path / "map" / "inner") == []
    assert [path.name for path in (tmp_path / "map").iterdir()] == ["inner"]
