"""Place maps built tile by tile: like in one piece, in any order, after interruptions, in parts."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from scmpr_ros.cancellation import Cancelled, cancellable
from scmpr_ros.errors import ConfigError, DatasetError, MapFormatError
from scmpr_ros.lidar.cloud_files import read_cloud, write_cloud
from scmpr_ros.lidar.places import PlacesConfig
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.methods.checkpoint import load_checkpoint, save_checkpoint
from scmpr_ros.methods.scmpr.network import ScmprConfig, ScmprNetwork
from scmpr_ros.pipeline.build_config import MapBuildConfig
from scmpr_ros.pipeline.map_build import BuildReport, BuildRequest, build_place_map
from scmpr_ros.pipeline.map_builder import MapBuilderConfig, build_map
from scmpr_ros.pipeline.map_directory import check_reusable
from scmpr_ros.pipeline.viewer_points import read_viewer_points
from scmpr_ros.records import PointCloud
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.retrieval.place_map.manifest import read_manifest
from scmpr_ros.retrieval.place_map.operations import box, crop_place_map
from scmpr_ros.retrieval.place_map.verification import faults_of
from scmpr_ros.semantics import class_id

BUILDER = MapBuilderConfig(places=PlacesConfig(spacing_m=5.0), device="cpu", batch_size=4)
ONE_TILE = MapBuildConfig(builder=BUILDER, max_points=1000)
TILES = replace(ONE_TILE, builder=replace(BUILDER, tile_m=50.0, whole_up_to_points=0))


def street_cloud(length_m: float = 200.0, wall_m: float = 8.0) -> PointCloud:
    """A labelled road along x between two walls with poles at irregular distances."""
    generator = np.random.default_rng(3)
    x, y = np.meshgrid(np.arange(-20, length_m - 20, 0.25), np.arange(-wall_m, wall_m, 0.25))
    road = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    x, z = np.meshgrid(np.arange(-20, length_m - 20, 0.25), np.arange(0, 6, 0.25))
    walls = [np.stack([x.ravel(), np.full(x.size, s), z.ravel()], 1) for s in (-wall_m, wall_m)]
    poles = [np.array([[at, 5.5, z] for z in np.arange(0, 4, 0.1)])
             for at in generator.uniform(-20, length_m - 20, 12)]  # fmt: skip
    parts = [(road, "road"), *((w, "building") for w in walls), *((p, "pole") for p in poles)]
    label = np.concatenate([np.full(len(p), class_id(name), np.uint8) for p, name in parts])
    return PointCloud(np.concatenate([p for p, _ in parts]).astype(np.float32), label)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "network.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_checkpoint(ScmprNetwork(ScmprConfig()), path)
    return path


@pytest.fixture(scope="module")
def cloud_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cloud") / "street.ply"
    write_cloud(path, street_cloud())
    return path


@pytest.fixture(scope="module")
def tiled(cloud_file: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The street's map in tiles."""
    out = tmp_path_factory.mktemp("tiled") / "map"
    build(cloud_file, out, checkpoint, TILES)
    return out


def build(
    source: Path, out: Path, checkpoint: Path, config: MapBuildConfig, update: bool = False,
    **options: object,
) -> BuildReport:  # fmt: skip
    request = BuildRequest(source, out, checkpoint, config, update)
    return build_place_map(request, **({"workers": 1} | options))  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes]:
    """Content by relative name, without the manifest, which names the source."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*.*")
        if path.suffix != ".json"
    }


def test_one_tile_is_the_map_in_memory(cloud_file: Path, checkpoint: Path, tmp_path: Path) -> None:
    report = build(cloud_file, tmp_path / "map", checkpoint, ONE_TILE)
    expected = build_map(
        PointCloudMap.of(read_cloud(cloud_file)), load_checkpoint(checkpoint), BUILDER, False
    )
    found = PlaceMap.load(tmp_path / "map")
    assert len(report.manifest.tiles) == 1 and len(found) == len(expected) > 50
    for name in ("positions", "axes", "descriptors", "panorama_labels", "context", "confusion"):
        assert_array_equal(np.asarray(getattr(found, name)), getattr(expected, name), name)
    assert not list(tmp_path.glob(".*")), "the build's folder is removed"
    points = read_viewer_points(tmp_path / "map")
    assert points is not None and len(points) == 1000
    check_reusable(tmp_path / "map", cloud_file, ONE_TILE, found.fingerprint)
    with pytest.raises(ConfigError, match="settings have changed"):
        check_reusable(tmp_path / "map", cloud_file, TILES, found.fingerprint)
    with pytest.raises(MapFormatError, match="made by checkpoint"):
        check_reusable(tmp_path / "map", cloud_file, ONE_TILE, "another")


def test_tiles_together_are_the_map(
    tiled: Path, cloud_file: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """Every place sees as far as in one piece, also those at the borders of tiles."""
    build(cloud_file, tmp_path / "map", checkpoint, ONE_TILE)
    whole, parts = PlaceMap.load(tmp_path / "map"), PlaceMap.load(tiled)
    order, also = (np.lexsort(np.round(m.positions, 3).T) for m in (whole, parts))
    np.testing.assert_allclose(parts.positions[also], whole.positions[order], atol=0.02)
    labels, expected = (
        np.asarray(m.panorama_labels)[o] for m, o in ((parts, also), (whole, order))
    )
    assert np.mean(labels == expected) > 0.999
    assert len(list((tiled / "tiles").iterdir())) >= 4


def test_processes_give_the_same_bytes(
    tiled: Path, cloud_file: Path, checkpoint: Path, tmp_path: Path
) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed: the extra `cluster`")
    before = dict(os.environ)
    build(cloud_file, tmp_path / "map", checkpoint, TILES, workers=2)
    assert files(tmp_path / "map") == files(tiled)
    assert dict(os.environ) == before


@pytest.mark.slow
def test_a_killed_worker_costs_its_task_only(
    tiled: Path, cloud_file: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """One of two workers dies while places are described; its tile is done again."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed: `cluster`")
    with (
        patch.dict(os.environ),  # which Dask changes for good
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=None
        ) as cluster,
    ):
        killed: list[int] = []

        def kill_one(what: str, done: int, total: int) -> None:
            if what == "describing places" and done == 1 and not killed:
                killed.append(next(iter(cluster.workers.values())).process.pid)
                os.kill(killed[0], signal.SIGKILL)

        out, address = tmp_path / "map", cluster.scheduler_address
        build(cloud_file, out, checkpoint, TILES, scheduler=address, progress=kill_one)
    assert killed and files(out) == files(tiled)


def test_a_cancelled_build_goes_on(
    tiled: Path, cloud_file: Path, checkpoint: Path, tmp_path: Path
) -> None:
    seen: list[tuple[str, int]] = []

    def report(what: str, done: int, total: int) -> None:
        seen.append((what, done))
        assert done <= total

    with (
        cancellable(lambda: ("describing places", 2) in seen),
        pytest.raises(Cancelled),
    ):
        build(cloud_file, tmp_path / "map", checkpoint, TILES, progress=report)
    assert not (tmp_path / "map").exists()
    (described,) = (tmp_path / ".map.build").glob("*/described")
    before = {path.name: path.stat().st_mtime_ns for path in described.iterdir()}
    assert len(before) == 4
    first = len(seen)
    build(cloud_file, tmp_path / "map", checkpoint, TILES, progress=report)
    again = [what for what, _ in seen[first:]]
    assert again.count("labelling points") == 0, "all points were labelled"
    assert files(tmp_path / "map") == files(tiled)


def test_other_settings_start_anew(cloud_file: Path, checkpoint: Path, tmp_path: Path) -> None:
    with cancellable(lambda: True), pytest.raises(Cancelled):
        build(cloud_file, tmp_path / "map", checkpoint, TILES)
    (former,) = (tmp_path / ".map.build").iterdir()
    other = replace(TILES, max_points=10)
    with cancellable(lambda: True), pytest.raises(Cancelled):
        build(cloud_file, tmp_path / "map", checkpoint, other)
    (now,) = (tmp_path / ".map.build").iterdir()
    assert now != former, "a task of the former build cannot write into this one"
    build(cloud_file, tmp_path / "map", checkpoint, other)
    points = read_viewer_points(tmp_path / "map")
    assert points is not None and len(points) == 10


def test_a_build_does_not_go_on_in_what_is_half_removed(
    tiled: Path, cloud_file: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """The end of a build removes its points; a kill in the middle of that leaves some."""
    rmtree, removed = shutil.rmtree, []

    def remove_some(path: Path, **_: object) -> None:
        removed.extend(sorted(path.rglob("raw/*.points"))[:3])
        if removed:
            for name in ("described", "labelled"):
                for folder in list(path.rglob(name)):
                    rmtree(folder)
            for file in removed:
                file.unlink()
            raise KeyboardInterrupt

    out = tmp_path / "map"
    with (
        patch("scmpr_ros.pipeline.build_folder.shutil.rmtree", side_effect=remove_some),
        pytest.raises(KeyboardInterrupt),
    ):
        build(cloud_file, out, checkpoint, replace(TILES, max_points=999))
    assert removed and (tmp_path / ".map.build").is_dir()
    build(cloud_file, out, checkpoint, replace(TILES, max_points=999))
    assert files(out / "tiles") == files(tiled / "tiles")
    assert not (tmp_path / ".map.build").exists()


def test_threads_give_the_same_bytes(
    tiled: Path, cloud_file: Path, checkpoint: Path, tmp_path: Path
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        build(cloud_file, tmp_path / "map", checkpoint, TILES)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert files(tmp_path / "map") == files(tiled)


def test_places_at_the_border_after_an_interruption(checkpoint: Path, tmp_path: Path) -> None:
    """A map that has no others keeps them, also where that was found out before."""
    yard = tmp_path / "yard.ply"
    write_cloud(yard, street_cloud(40.0))
    build(yard, tmp_path / "whole", checkpoint, TILES)
    assert len(PlaceMap.load(tmp_path / "whole")) > 10
    passes = 0

    def report(what: str, done: int, total: int) -> None:
        nonlocal passes
        passes += what == "describing places" and done == 1

    for interruption in (2, 3):
        with cancellable(lambda at=interruption: passes == at), pytest.raises(Cancelled):
            build(yard, tmp_path / "map", checkpoint, TILES, progress=report)
    build(yard, tmp_path / "map", checkpoint, TILES, progress=report)
    assert passes == 4 and files(tmp_path / "map") == files(tmp_path / "whole")


def test_an_update_replaces_what_has_changed(
    tiled: Path, cloud_file: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """A wall at one end has moved: the tiles that cannot see it keep their files."""
    shuttle = tmp_path / "map"
    build(cloud_file, shuttle, checkpoint, TILES)
    cloud = street_cloud()
    moved = cloud.xyz.copy()
    moved[(moved[:, 0] > 170) & (moved[:, 1] > 7.9), 1] += 2
    write_cloud(tmp_path / "moved.ply", PointCloud(moved, cloud.label))
    before = {tile.key: tile.file.name for tile in build_files(shuttle)}
    report = build(tmp_path / "moved.ply", shuttle, checkpoint, TILES, update=True)
    after = {tile.key: tile.file.name for tile in build_files(shuttle)}
    same = {key for key in before if after.get(key) == before[key]}
    assert 0 < report.kept <= len(same) < len(before)
    build(tmp_path / "moved.ply", tmp_path / "anew", checkpoint, TILES)
    assert files(shuttle / "tiles") == files(tmp_path / "anew" / "tiles")


def test_an_update_appends(cloud_file: Path, checkpoint: Path, tmp_path: Path) -> None:
    cloud = read_cloud(cloud_file)
    for name, keep in (("west", cloud.xyz[:, 0] < 50), ("east", cloud.xyz[:, 0] >= 50)):
        write_cloud(tmp_path / f"{name}.ply", cloud.select(keep))
    out = tmp_path / "map"
    build(tmp_path / "west.ply", out, checkpoint, TILES)
    west, west_tiles = PlaceMap.load(out), build_files(out)
    report = build(tmp_path / "east.ply", out, checkpoint, TILES, update=True)
    both = PlaceMap.load(out)
    assert report.kept == len(west_tiles) > 0 and len(both) > len(west)
    assert both.positions[:, 0].max() > 150 and both.positions[:, 0].min() < 10
    points = read_viewer_points(out)
    assert points is not None and points.xyz[:, 0].min() < 0 and points.xyz[:, 0].max() > 150


def test_an_edited_map_is_neither_reused_nor_updated(
    tiled: Path, cloud_file: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """What was cut off would be missed by none: its tiles are known, and unchanged."""
    made_by = read_manifest(tiled).fingerprint
    check_reusable(tiled, cloud_file, TILES, made_by)
    out = tmp_path / "map"
    crop_place_map(tiled, out, box((0, -50), (90, 50)))
    with pytest.raises(MapFormatError, match="edited since it was built"):
        check_reusable(out, cloud_file, TILES, made_by)
    with pytest.raises(MapFormatError, match=r"as after `edit_map`: build it anew"):
        build(cloud_file, out, checkpoint, TILES, update=True)


def test_what_says_how_a_source_is_read_belongs_to_it(
    cloud_file: Path, checkpoint: Path, tmp_path: Path
) -> None:
    trajectory = tmp_path / "drive.txt"
    rows = [f"{x} {x} 0 1.7 0 0 0 1" for x in range(20, 140)]
    trajectory.write_text("\n".join(rows))
    config = replace(ONE_TILE, source=replace(ONE_TILE.source, trajectory=str(trajectory)))
    made = build(cloud_file, tmp_path / "map", checkpoint, config).manifest
    assert made.sensor_height_m is None, "the trajectory's"
    check_reusable(tmp_path / "map", cloud_file, config, made.fingerprint)
    trajectory.write_text("\n".join(rows[:60]))
    with pytest.raises(ConfigError, match="the source has changed"):
        check_reusable(tmp_path / "map", cloud_file, config, made.fingerprint)


def test_a_trajectory_off_a_map_far_from_the_origin(checkpoint: Path, tmp_path: Path) -> None:
    """It is refused in the coordinates that the user knows."""
    cloud = street_cloud(60.0)
    uneven = np.random.default_rng(0).uniform(0, 0.02, cloud.xyz.shape).astype(np.float32)
    far = replace(cloud, xyz=cloud.xyz + uneven, origin=np.array([500_000.0, 5_400_000.0, 0.0]))
    write_cloud(tmp_path / "street.ply", far)
    trajectory = tmp_path / "drive.txt"
    trajectory.write_text("".join(f"{x} {x} 0 1.7 0 0 0 1\n" for x in range(40)))
    config = replace(ONE_TILE, source=replace(ONE_TILE.source, trajectory=str(trajectory)))
    with pytest.raises(DatasetError, match=r"map: x 4999\d\d to 500\d+ m.*trajectory: x 0 to 35 m"):
        build(tmp_path / "street.ply", tmp_path / "map", checkpoint, config)


def test_what_cannot_be_built(cloud_file: Path, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no LiDAR map .*nowhere"):
        build(tmp_path / "nowhere.ply", tmp_path / "map", checkpoint, TILES)
    with pytest.raises(MapFormatError, match="no place map there"):
        build(cloud_file, tmp_path / "map", checkpoint, TILES, update=True)
    tiny = PointCloud(np.random.default_rng(0).random((50, 3)).astype(np.float32) * 50)
    write_cloud(tmp_path / "tiny.ply", tiny)
    with pytest.raises(
        DatasetError, match=r"tiny\.ply: no open ground of 5.0 m .*give the trajectory"
    ):
        build(tmp_path / "tiny.ply", tmp_path / "map", checkpoint, TILES)
    with pytest.raises(ConfigError, match="no Dask scheduler answers at tcp:"):
        build(cloud_file, tmp_path / "map", checkpoint, TILES, scheduler="tcp://127.0.0.1:1")
    assert not (tmp_path / "map").exists()


def tiles(folder: Path) -> set[str]:
    """Names of the files of a map's tiles, which hold the checksums of their content."""
    return {tile.file.name for tile in build_files(folder)}


def build_process(source: Path, out: Path, checkpoint: Path) -> ForkServerProcess:
    """A process that builds what `TILES` says; it starts with everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["scmpr_ros.pipeline.map_build"])
    request = BuildRequest(source, out, checkpoint, TILES)
    process = context.Process(target=build_place_map, args=(request,), kwargs={"workers": 1})
    process.start()
    return process


def build_files(folder: Path) -> tuple:  # type: ignore[type-arg]
    return read_manifest(folder).tiles


@pytest.mark.slow
def test_builds_killed_at_any_moment(checkpoint: Path, tmp_path: Path) -> None:
    """Twenty kills of one build: it ends with the same map, and the old map stays until then."""
    yard, whole, out = tmp_path / "yard.ply", tmp_path / "whole", tmp_path / "map"
    write_cloud(yard, street_cloud(100.0))
    spacing = replace(BUILDER, places=PlacesConfig(spacing_m=7.0))
    build(yard, out, checkpoint, replace(ONE_TILE, builder=spacing))
    process = build_process(yard, whole, checkpoint)
    started = time.monotonic()
    process.join()
    whole_s = time.monotonic() - started
    old, new = tiles(out), tiles(whole)
    assert len(new) > 1 and len(PlaceMap.load(whole)) > 10
    generator, unfinished = np.random.default_rng(0), 0
    for _ in range(20):
        process = build_process(yard, out, checkpoint)
        time.sleep(generator.uniform(0, 1) * whole_s)
        process.kill()
        process.join()
        unfinished += (tmp_path / ".map.build").is_dir()
        assert faults_of(out) == [] and tiles(out) in (old, new)
    assert unfinished > 0, "never killed in the middle"
    process = build_process(yard, out, checkpoint)
    process.join()
    assert process.exitcode == 0 and tiles(out) == new
    assert not os.path.lexists(tmp_path / ".map.build")
