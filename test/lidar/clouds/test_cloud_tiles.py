"""Folders of tiles: one cloud of many files, or a sentence that says why not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from clouds import columns_of, street_points, write_pcd, write_ply

from scmpr_ros.errors import DatasetError
from scmpr_ros.lidar.cloud_files import CloudConfig, open_cloud
from scmpr_ros.lidar.clouds.tile_folders import is_tile_folder

XYZ = street_points()
LEFT = XYZ[:, 0] < 20
METADATA = "x_resolution: 20.0\ny_resolution: 20.0\n0_0.pcd: [0, 0]\n20_0.pcd: [20, 0]\n"


def write_tiles(folder: Path, suffix: str = "pcd", **more: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, chosen in (("0_0", LEFT), ("20_0", ~LEFT)):
        columns = columns_of(XYZ[chosen], **{k: v[chosen] for k, v in more.items()})
        path = folder / f"{name}.{suffix}"
        if suffix == "pcd":
            write_pcd(path, list(columns.items()))
        elif suffix == "ply":
            write_ply(path, columns)
        else:
            np.savez(path, **columns)


def expect_street(folder: Path) -> None:
    assert is_tile_folder(folder)
    cloud = open_cloud(folder).read()
    np.testing.assert_allclose(cloud.xyz, np.concatenate([XYZ[LEFT], XYZ[~LEFT]]), atol=1e-5)


@pytest.mark.parametrize("suffix", ["pcd", "ply", "npz"])
def test_a_grid_of_files(tmp_path: Path, suffix: str) -> None:
    write_tiles(tmp_path / "map", suffix)
    (tmp_path / "map" / "readme.txt").touch()
    (tmp_path / "map" / f"._0_0.{suffix}").write_bytes(b"left by a Mac")
    expect_street(tmp_path / "map")


@pytest.mark.parametrize("name", ["pointcloud_map.pcd", "pointcloud_map"])
@pytest.mark.parametrize("beside", [True, False])
def test_autoware(tmp_path: Path, name: str, beside: bool) -> None:
    write_tiles(tmp_path / name)
    (tmp_path / ("" if beside else name) / "pointcloud_map_metadata.yaml").write_text(METADATA)
    (tmp_path / "map_projector_info.yaml").write_text("projector_type: MGRS\nmgrs_grid: 54SUE\n")
    for folder in (tmp_path, tmp_path / name):
        expect_street(folder)
        georeference = open_cloud(folder).georeference
        assert georeference == "mgrs_grid: 54SUE, projector_type: MGRS"


def test_autoware_undivided(tmp_path: Path) -> None:
    write_pcd(tmp_path / "pointcloud_map.pcd", list(columns_of(XYZ).items()))
    assert open_cloud(tmp_path).count == len(XYZ)


def test_autoware_lists_what_belongs_to_the_map(tmp_path: Path, caplog) -> None:
    write_tiles(tmp_path)
    (tmp_path / "pointcloud_map_metadata.yaml").write_text(METADATA)
    shutil.copy(tmp_path / "0_0.pcd", tmp_path / "backup.pcd")
    expect_street(tmp_path)
    assert "left out 1 clouds that pointcloud_map_metadata.yaml does not list" in caplog.text
    (tmp_path / "20_0.pcd").unlink()
    with pytest.raises(DatasetError, match=r"names 2 tiles, but 1 .* such as 20_0\.pcd"):
        open_cloud(tmp_path)


@pytest.mark.parametrize(
    ("whole", "parts"),
    [("GlobalMap", ["CornerMap", "SurfMap"]), ("finalCloud", ["cornerMap", "surfaceMap"]),
     ("cloudGlobal", ["cloudCorner", "cloudSurf"])],
)  # fmt: skip
def test_the_folder_of_a_slam_program(tmp_path: Path, whole: str, parts: list, caplog) -> None:
    zeros = np.zeros(9, "f4")
    for name, chosen in zip([whole, *parts], [LEFT | ~LEFT, LEFT, ~LEFT], strict=True):
        write_pcd(tmp_path / f"{name}.pcd", list(columns_of(XYZ[chosen]).items()))
    for name in ("trajectory", "transformations"):
        write_pcd(tmp_path / f"{name}.pcd", [(axis, zeros) for axis in "xyz"])
    np.testing.assert_allclose(open_cloud(tmp_path).read().xyz, XYZ, atol=1e-5)
    assert f"read {whole}.pcd as the map, and left out" in caplog.text
    (tmp_path / f"{whole}.pcd").unlink()
    expect_street(tmp_path)
    assert "transformations.pcd" in caplog.text


def test_poses_of_kiss_icp_are_no_tile(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    np.save(tmp_path / "drive_poses.npy", np.tile(np.eye(4), (9, 1, 1)))
    expect_street(tmp_path)


@pytest.mark.parametrize("files", [2, 6])
def test_tiles_with_numbers_for_names(tmp_path: Path, files: int) -> None:
    for k, part in enumerate(np.array_split(XYZ[np.argsort(XYZ[:, 0])], files)):
        write_pcd(tmp_path / f"{k:06d}.pcd", list(columns_of(part).items()))
    assert open_cloud(tmp_path).count == len(XYZ)


def test_empty_tiles_are_no_harm(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    write_pcd(tmp_path / "40_0.pcd", [(a, np.zeros(0, "f4")) for a in "xyz"])
    expect_street(tmp_path)


def test_blocks_have_one_origin(tmp_path: Path) -> None:
    for name, offset in (("a", 458000.0), ("b", 458300.0)):
        write_ply(tmp_path / f"{name}.ply", columns_of(XYZ + [offset, 5428000, 0], "f8"))
    cloud = open_cloud(tmp_path)
    assert {tuple(block.origin) for block in cloud.blocks()} == {tuple(cloud.origin)}
    assert np.ptp(cloud.bounds[:, 0]) > 300


class TestRefused:
    def expect(self, folder: Path, message: str, config: CloudConfig | None = None) -> None:
        with pytest.raises(DatasetError, match=message) as caught:
            open_cloud(folder, config)
        assert str(folder) in str(caught.value)

    def test_scans_without_poses(self, tmp_path: Path) -> None:
        (tmp_path / "000000.bin").write_bytes(bytes(160))
        assert is_tile_folder(tmp_path)
        self.expect(tmp_path, r"holds 1 scans \(.bin\) without poses")

    @pytest.mark.parametrize("name", ["{:06d}.pcd", "{}.400001.pcd"])
    def test_scans_in_the_frame_of_their_sensor(self, tmp_path: Path, name: str) -> None:
        for k in range(6):
            write_pcd(tmp_path / name.format(k), list(columns_of(XYZ - [k, 0, 0]).items()))
        self.expect(tmp_path, "holds 6 scans such as 0.*each about its own zero, and no poses")

    def test_a_dump_of_glim(self, tmp_path: Path) -> None:
        (tmp_path / "graph.bin").write_bytes(bytes(160))
        self.expect(tmp_path, r"graph\.bin, but no map: it is a dump of GLIM, whose offline_viewer")

    def test_nothing(self, tmp_path: Path) -> None:
        self.expect(tmp_path, "holds no point clouds: looked for .e57, .las")

    def test_several_formats(self, tmp_path: Path) -> None:
        write_tiles(tmp_path)
        write_tiles(tmp_path, "ply")
        self.expect(tmp_path, r"several formats \(2 PCD, 2 PLY\)")

    def test_one_tile_twice(self, tmp_path: Path) -> None:
        for suffix in ("npz", "npy"):
            (tmp_path / f"0_0.{suffix}").touch()
        self.expect(tmp_path, "several formats")
        (tmp_path / "0_0.npy").unlink()
        (tmp_path / "a.las").touch()
        (tmp_path / "a.laz").touch()
        (tmp_path / "0_0.npz").unlink()
        self.expect(tmp_path, "holds the tile a 2 times")

    def test_labels_in_some_tiles(self, tmp_path: Path) -> None:
        write_tiles(tmp_path, label=np.full(len(XYZ), 40, "u1"))
        write_pcd(tmp_path / "20_0.pcd", list(columns_of(XYZ[~LEFT]).items()))
        self.expect(tmp_path, r"1 of 2 tiles have no labels, such as 20_0\.pcd")
        assert not open_cloud(tmp_path, CloudConfig(label_set="none")).has_label

    def test_labels_of_different_kinds(self, tmp_path: Path) -> None:
        write_tiles(tmp_path, label=np.full(len(XYZ), 40, "u1"))
        columns = columns_of(XYZ[~LEFT], classification=np.full(np.sum(~LEFT), 2, "u1"))
        write_pcd(tmp_path / "20_0.pcd", list(columns.items()))
        self.expect(
            tmp_path, r"different meanings, 0_0\.pcd \(semantickitti\), 20_0\.pcd \(asprs\)"
        )

    def test_a_damaged_tile_is_named(self, tmp_path: Path) -> None:
        write_tiles(tmp_path)
        data = (tmp_path / "20_0.pcd").read_bytes()
        (tmp_path / "20_0.pcd").write_bytes(data[:-5])
        self.expect(tmp_path, r"20_0\.pcd is truncated")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[]", "expected a mapping"),
            ("{", "cannot read it as YAML"),
            ("x_resolution: 2", "names no tiles"),
        ],
    )
    def test_damaged_metadata(self, tmp_path: Path, text: str, message: str) -> None:
        write_tiles(tmp_path)
        (tmp_path / "pointcloud_map_metadata.yaml").write_text(text)
        self.expect(tmp_path, message)
