"""Recordings are prepared as they were recorded, once, and anew when they change."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from camera_poses import level_camera_pose
from circle_drive import CircleDrive
from PIL import Image
from recording import (
    add_wall_like_lorry,
    pitch_camera,
    write_labelled_scans,
    write_recording,
)
from tiny_runs import PAIRS, TINY, TOWN

from scmpr_ros.datasets.bags.writer import write_drive_bag
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.geometry import make_transform
from scmpr_ros.lidar.cloud_files import read_cloud
from scmpr_ros.records import CameraModel, Mount, PointCloud
from scmpr_ros.semantics import class_id, to_joint
from scmpr_ros.training.pairs import PairDataset
from scmpr_ros.training.preparation import (
    PreparationConfig,
    PreparedRecording,
    RecordingSource,
    find_recordings,
    load_recording,
    load_recordings,
)


def tensors(record: object) -> Iterator[torch.Tensor]:
    for value in vars(record).values():
        yield from [value] if isinstance(value, torch.Tensor) else tensors(value)


def prepare(folder: Path, config: PreparationConfig = TOWN) -> PreparedRecording:
    return load_recording(RecordingSource(folder), TINY, config, folder / ".prepared")


def test_a_prepared_recording_holds_views_and_places(dataset: PairDataset) -> None:
    recording = dataset.recordings[0]
    assert recording.views.shape == (12, 3, 32, 64) and recording.masks.shape == (12, 8, 16)
    np.testing.assert_allclose(
        recording.poses[3].numpy(), level_camera_pose(np.array([6.0, -0.4, 0.0]), 0.0), atol=1e-9
    )
    assert set(recording.masks.unique().tolist()) <= {0, 1, 3}  # ignore, road, building
    panorama = recording.panorama
    assert panorama.label.shape[1:] == (8, 120) and (panorama.range_m > 0).any()
    assert recording.seen_by(slice(2, 5)).shape == (3, 8, 16)


def test_several_processes_prepare_the_same(recordings: Path, tmp_path: Path) -> None:
    one, several = (
        load_recordings(find_recordings(recordings), TINY, TOWN, cache, jobs, "recordings")
        for cache, jobs in ((recordings / ".prepared", 1), (tmp_path, 2))
    )
    for a, b in zip(one, several, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(tensors(a), tensors(b), strict=True))


def test_preparing_draws_no_random_numbers_of_the_training(tmp_path: Path) -> None:
    """Otherwise weights depend on whether the cache was filled."""
    folder = write_recording(tmp_path / "0000", seed=0, images=2)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    prepare(folder)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_recording_is_prepared_anew_when_it_changed(tmp_path: Path) -> None:
    folder = write_recording(tmp_path / "0000", seed=0, images=4)
    cache, source = tmp_path / "prepared", RecordingSource(folder)
    before = load_recording(source, TINY, TOWN, cache)
    load_recording(source, TINY, TOWN, cache)
    assert len(list(cache.iterdir())) == 1
    image = folder / "sequences/01/image_2/000002.png"
    Image.new("RGB", Image.open(image).size, (255, 0, 0)).save(image)
    after = load_recording(source, TINY, TOWN, cache)
    same = (before.views == after.views).flatten(1).all(1)
    assert same.tolist() == [True, True, False, True]


def test_damaged_frames_can_be_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_recording(tmp_path / "0000", seed=0, images=4)
    (folder / "sequences/01/mask_2/000001.png").unlink()
    with pytest.raises(DatasetError, match="01: frame 1 has no mask, unlike other frames"):
        prepare(folder)
    recording = prepare(folder, replace(TOWN, skip_bad=True))
    assert len(recording.views) == 3
    assert "frame 1: " in caplog.text


def test_finding_recordings(recordings: Path, tmp_path: Path) -> None:
    assert [source.name for source in find_recordings(recordings)] == ["0000", "0001"]
    assert find_recordings(recordings / "0001") == [RecordingSource(recordings / "0001")]
    assert find_recordings(tmp_path / "nowhere") == []
    started = write_recording(tmp_path / "0007", seed=0, images=4)
    (started / "town.started.yaml").write_text("")
    assert find_recordings(tmp_path) == []
    (started / "town.yaml").write_text("")
    assert find_recordings(tmp_path) == [RecordingSource(started)]
    (
        started / "map.ply"
    ).unlink()  # then each drive has its own frame, and none has scans and images
    assert find_recordings(tmp_path) == []


def test_cells_of_black_images_are_seen(tmp_path: Path) -> None:
    """A camera narrower than the view, by night."""
    folder = write_recording(tmp_path / "0000", seed=0, images=2)
    for image in folder.glob("sequences/01/image_2/*.png"):
        Image.new("RGB", Image.open(image).size).save(image)
    calibration = folder / "sequences/01/calib.txt"
    calibration.write_text(calibration.read_text().replace("75.0", "110.0"))
    recording = prepare(folder)
    columns = recording.seen_by(slice(None)).any(1)
    assert not recording.views.any()
    assert columns[:, 4:-4].all() and not columns[:, :2].any() and not columns[:, -2:].any()
    centre_of_cells = recording.seen_pixels[:, 2::4, 2::4] & recording.seen_pixels[:, 1::4, 1::4]
    assert (centre_of_cells == recording.seen).float().mean() > 0.95


def test_each_view_has_the_seen_cells_of_its_own_camera(tmp_path: Path) -> None:
    folder = write_recording(tmp_path / "0000", seed=0, images=2)
    other = folder / "sequences/02"
    (other / "image_2").mkdir(parents=True)
    for file in (folder / "sequences/01").rglob("*.*"):
        target = other / file.relative_to(folder / "sequences/01")
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(file.read_bytes())
    calibration = other / "calib.txt"
    calibration.write_text(calibration.read_text().replace("75.0", "110.0"))
    (folder / "poses/02.txt").write_bytes((folder / "poses/01.txt").read_bytes())
    recording = prepare(folder)
    assert recording.camera.tolist() == [0, 0, 1, 1]
    wide, _, narrow, _ = recording.seen_by(slice(None)).flatten(1).sum(1).tolist()
    assert narrow < 0.8 * wide


def test_views_of_a_tilted_camera_are_levelled(tmp_path: Path) -> None:
    """A camera pitched down by its mount: views, masks and poses are those of a level one."""
    level = write_recording(tmp_path / "level", seed=0, images=2)
    tilted = write_recording(tmp_path / "tilted", seed=0, images=2)
    pitch_rad = math.radians(6.0)
    pitch_camera(tilted, pitch_rad)
    mount = Mount(rpy=(0.0, pitch_rad, 0.0))
    expected, levelled = prepare(level), prepare(tilted, replace(TOWN, mount=mount))
    torch.testing.assert_close(levelled.poses, expected.poses, atol=1e-6, rtol=0)
    torch.testing.assert_close(levelled.depth, expected.depth, atol=0.05, rtol=0.05)
    both = levelled.seen & expected.seen
    assert (levelled.masks == expected.masks)[both.expand_as(expected.masks)].float().mean() > 0.95
    not_levelled = prepare(tilted)
    assert (not_levelled.masks == expected.masks).float().mean() < 0.9


def test_mounts_are_finite() -> None:
    with pytest.raises(ConfigError, match="finite"):
        Mount(rpy=(0.0, math.nan, 0.0))


def test_segmented_panoramas_are_those_of_a_map_without_labels(tmp_path: Path) -> None:
    """A lorry that looks like a wall stays in such a map; its true label would remove it."""
    folder = write_recording(tmp_path / "0000", seed=0, images=2)
    write_labelled_scans(folder, add_wall_like_lorry(read_cloud(folder / "map.ply")))
    recording = prepare(folder)
    ahead = (slice(None), slice(3, 5), 60)  # columns around azimuth 0
    last = int(recording.positions[:, 0].argmax())
    labelled, segmented = (p.range_m[last][ahead[1:]].float() for p in
                           (recording.panorama, recording.segmented))  # fmt: skip
    distance_m = 30.0 - float(recording.positions[last, 0])
    torch.testing.assert_close(segmented, torch.full((2,), distance_m), atol=1.0, rtol=0)
    assert (labelled == 0).all()
    dynamic = [class_id(name) for name in ("car", "other_vehicle", "two_wheeler", "person")]
    assert not set(recording.segmented.label.unique().tolist()) & set(dynamic)


class StreetDrive(CircleDrive):
    """A straight street between two walls, with images and labelled scans, but no masks."""

    name = "street"
    camera = CameraModel(32, 24, 20.0, 20.0, 15.5, 11.5)
    image_frames = scan_frames = frames = tuple(range(12))

    def T_world_lidar(self, frame: int) -> np.ndarray:
        return make_transform(np.eye(3), np.array([1.5 * frame, 0.0, 0.0]))

    def mask(self, frame: int, sparse: bool = True) -> None:
        return None

    def scan(self, frame: int) -> PointCloud:
        x, across = np.meshgrid(np.arange(-15, 15, 0.5), np.arange(-5, 5, 0.5))
        road = np.stack([x, across, np.full_like(x, -1.7)], -1).reshape(-1, 3)
        wall = np.stack([x, np.full_like(x, 5.0), across * 0.4], -1).reshape(-1, 3)
        return PointCloud(
            np.concatenate([road, wall]).astype(np.float32),
            to_joint(self.point_labels(frame), "semantickitti"),
        )

    def point_labels(self, frame: int) -> np.ndarray:
        return np.repeat(np.array([40, 50], np.uint32), 60 * 20)


def test_the_map_serves_as_mask_of_a_bag_without_masks(tmp_path: Path) -> None:
    """One drive with scans and images."""
    write_drive_bag(StreetDrive(), tmp_path / "bags" / "street")
    (source,) = find_recordings(tmp_path / "bags")
    assert source[:2] == (tmp_path / "bags" / "street", "street")
    recording = load_recording(source, TINY, TOWN, tmp_path / "prepared")
    assert (recording.depth > 0).any()
    assert len(PairDataset([recording], PAIRS, TINY.mask_grid, TINY.panorama)) > 0
    shown = set(recording.masks.unique().tolist())
    assert {class_id("road")} < shown <= set(recording.panorama.label.unique().tolist()) | {0}
