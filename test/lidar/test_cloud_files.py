"""Point cloud files: round trips, label sets, and an error message for each bad file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.lidar.cloud_files import CloudConfig, open_cloud, read_cloud, write_cloud
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import NUM_CLASSES, class_id

ROAD, BUILDING, CAR = class_id("road"), class_id("building"), class_id("car")
PLY_OF_NUMPY = {"f4": "float", "f8": "double", "u1": "uchar", "u2": "ushort", "i4": "int"}
SKY = NUM_CLASSES - 1


def write_binary_ply(path: Path, rows: np.ndarray, order: str = "<", count: int | None = None):
    types = {name: PLY_OF_NUMPY[rows.dtype[name].str[1:]] for name in rows.dtype.names}
    form = "binary_little_endian" if order == "<" else "binary_big_endian"
    header = [f"ply\nformat {form} 1.0\ncomment made by a test"]
    header += [f"element vertex {len(rows) if count is None else count}"]
    header += [f"property {kind} {name}" for name, kind in types.items()]
    data = rows.astype(rows.dtype.newbyteorder(order)).tobytes()
    path.write_bytes("\n".join([*header, "end_header\n"]).encode() + data)


def rows_of(**columns) -> np.ndarray:
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    dtype = [(name, array.dtype.str) for name, array in arrays.items()]
    rows = np.empty(len(next(iter(arrays.values()))), dtype)
    for name, array in arrays.items():
        rows[name] = array
    return rows


def xyz_rows(**more) -> np.ndarray:
    xyz = np.arange(12, dtype="f4").reshape(4, 3)
    return rows_of(x=xyz[:, 0], y=xyz[:, 1], z=xyz[:, 2], **more)


def write_pcd(path: Path, data: str, points: int) -> None:
    path.write_text(
        "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z intensity label\nSIZE 4 4 4 4 2\nTYPE F F F F U\n"
        f"COUNT 1 1 1 1 1\nWIDTH {points}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {points}\n"
        f"DATA ascii\n{data}"
    )


@pytest.mark.parametrize("order", ["<", ">"])
def test_kitti360_ply_keeps_semantic_and_intensity(tmp_path: Path, order: str) -> None:
    path = tmp_path / "0000000002_0000000385.ply"
    rows = xyz_rows(
        red=np.zeros(4, "u1"), semantic=np.array([7, 11, 26, -1], "i4"),
        visible=np.ones(4, "u1"), reflectance=np.array([0.1, 0.2, 0.3, 0.4], "f4"),
    )  # fmt: skip
    write_binary_ply(path, rows, order)
    cloud = read_cloud(path)
    np.testing.assert_array_equal(cloud.xyz, np.arange(12).reshape(4, 3))
    assert cloud.xyz.dtype == np.float32
    np.testing.assert_array_equal(cloud.label, [ROAD, BUILDING, CAR, 0])
    np.testing.assert_allclose(cloud.intensity, [0.1, 0.2, 0.3, 0.4], rtol=1e-6)


def test_label_field_holds_semantickitti_ids_with_instances(tmp_path: Path) -> None:
    instance = 17 << 16
    write_binary_ply(
        tmp_path / "m.ply", xyz_rows(label=np.array([40, 50, 252, instance + 10], "i4"))
    )
    assert read_cloud(tmp_path / "m.ply").label.tolist() == [ROAD, BUILDING, CAR, CAR]


def test_given_label_set_has_precedence_over_the_field_name(tmp_path: Path) -> None:
    write_binary_ply(tmp_path / "m.ply", xyz_rows(label=np.array([7, 11, 26, 23], "u2")))
    assert read_cloud(tmp_path / "m.ply", "cityscapes").label.tolist() == [ROAD, BUILDING, CAR, SKY]


def test_unknown_label_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="label_set 'nuscenes'"):
        read_cloud(tmp_path / "m.ply", "nuscenes")


def test_ascii_ply_with_faces_after_the_points(tmp_path: Path) -> None:
    path = tmp_path / "m.ply"
    path.write_text(
        "ply\nformat ascii 1.0\nelement vertex 2\nproperty double x\nproperty double y\n"
        "property double z\nproperty int semantic\nelement face 1\n"
        "property list uchar int vertex_indices\nend_header\n1 2 3 7\n4 5 6 11\n3 0 1 1\n"
    )
    cloud = read_cloud(path)
    np.testing.assert_array_equal(cloud.xyz, [[1, 2, 3], [4, 5, 6]])
    assert cloud.label.tolist() == [ROAD, BUILDING]


def test_large_coordinates_get_an_origin(tmp_path: Path) -> None:
    xyz = np.array([[613180.25, 4116330.5, 115.125], [613181.25, 4116331.5, 116.125]])
    write_binary_ply(tmp_path / "m.ply", rows_of(x=xyz[:, 0], y=xyz[:, 1], z=xyz[:, 2]))
    cloud = read_cloud(tmp_path / "m.ply")
    assert np.abs(cloud.xyz).max() < 200
    np.testing.assert_allclose(cloud.xyz + cloud.origin, xyz, atol=1e-4)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 40),
    labelled=st.booleans(),
    with_intensity=st.booleans(),
    origin=st.sampled_from([0.0, 4116300.0]),
)
def test_ply_round_trip(tmp_path: Path, count, labelled, with_intensity, origin) -> None:
    rng = np.random.default_rng(count)
    cloud = PointCloud(
        rng.uniform(-90, 90, (count, 3)).astype(np.float32),
        rng.integers(0, SKY, count).astype(np.uint8) if labelled else None,
        rng.uniform(0, 1, count).astype(np.float32) if with_intensity else None,
        np.array([origin, origin, 0.0]),
    )
    write_cloud(tmp_path / "new" / "map.ply", cloud)
    read = read_cloud(tmp_path / "new" / "map.ply")
    np.testing.assert_allclose(read.xyz + read.origin, cloud.xyz + cloud.origin, atol=1e-4)
    np.testing.assert_array_equal(read.label, cloud.label)
    np.testing.assert_array_equal(read.intensity, cloud.intensity)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["map.ply"]


def test_pcd_keeps_intensity_and_label(tmp_path: Path) -> None:
    write_pcd(tmp_path / "m.pcd", "1 2 3 0.5 40\n4 5 6 0.25 50\n", points=2)
    cloud = read_cloud(tmp_path / "m.pcd")
    np.testing.assert_array_equal(cloud.xyz, [[1, 2, 3], [4, 5, 6]])
    assert cloud.label.tolist() == [ROAD, BUILDING]
    assert cloud.intensity.tolist() == [0.5, 0.25]


def test_kitti_bin(tmp_path: Path) -> None:
    np.array([[1, 2, 3, 0.5], [4, 5, 6, 0.25]], "<f4").tofile(tmp_path / "000000.bin")
    cloud = read_cloud(tmp_path / "000000.bin")
    np.testing.assert_array_equal(cloud.xyz, [[1, 2, 3], [4, 5, 6]])
    assert cloud.intensity.tolist() == [0.5, 0.25]
    assert cloud.label is None


def test_non_finite_points_are_dropped_with_a_warning(tmp_path: Path, caplog) -> None:
    rows = xyz_rows(label=np.array([40, 50, 40, 50], "i4"))
    rows["y"][1] = np.nan
    write_binary_ply(tmp_path / "m.ply", rows)
    cloud = read_cloud(tmp_path / "m.ply")
    assert cloud.label.tolist() == [ROAD, ROAD, BUILDING]
    assert "dropped 1 points" in caplog.text


@pytest.mark.parametrize("whole", [True, False])
def test_intensity_that_is_not_finite(tmp_path: Path, whole: bool, caplog) -> None:
    intensity = np.full(4, np.nan if whole else 0.5, "f4")
    intensity[0] = np.inf
    write_binary_ply(tmp_path / "m.ply", xyz_rows(intensity=intensity))
    cloud = read_cloud(tmp_path / "m.ply")
    if whole:
        assert cloud.intensity is None
        assert "intensity of 4 points is not finite, so it has no intensity" in caplog.text
    else:
        assert cloud.intensity is not None
        assert cloud.intensity.tolist() == [0, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("prefix", ["scalar_", "Scalar_", ""])
@pytest.mark.parametrize("upper", [True, False])
def test_names_of_cloudcompare(tmp_path: Path, prefix: str, upper: bool, caplog) -> None:
    caplog.set_level("INFO")
    names = [name.capitalize() if upper else name for name in ("intensity", "label")]
    columns = {prefix + names[0]: np.ones(4, "f4"), prefix + names[1]: np.full(4, 50, "f4")}
    columns["scalar_Mine"] = np.ones(4, "u1")
    write_binary_ply(tmp_path / "m.ply", xyz_rows(**columns))
    cloud = read_cloud(tmp_path / "m.ply")
    assert cloud.intensity is not None
    assert cloud.label is not None
    assert cloud.label.tolist() == [BUILDING] * 4
    assert f"labels from {prefix}{names[1]} (semantickitti), intensity from" in caplog.text
    assert "fields not used: scalar_Mine" in caplog.text


def test_label_sets_of_field_names_and_settings(tmp_path: Path) -> None:
    write_binary_ply(tmp_path / "m.ply", xyz_rows(classification=np.full(4, 6, "u1")))
    path = tmp_path / "m.ply"
    assert set(read_cloud(path).label.tolist()) == {BUILDING}
    assert read_cloud(path, "none").label is None
    (tmp_path / "own.yaml").write_text("6: car")
    assert set(read_cloud(path, str(tmp_path / "own.yaml")).label.tolist()) == {CAR}


@pytest.mark.parametrize("value", [40.5, 1e30])
def test_labels_that_are_no_whole_numbers(tmp_path: Path, value: float) -> None:
    write_binary_ply(tmp_path / "m.ply", xyz_rows(label=np.full(4, value, "f4")))
    with pytest.raises(DatasetError, match=r"field label holds numbers such as"):
        read_cloud(tmp_path / "m.ply")


def test_a_large_cloud_is_read_in_blocks_and_as_often_as_wanted(tmp_path: Path) -> None:
    """More points than are kept in memory after the check."""
    rng = np.random.default_rng(0)
    xyz = rng.uniform((-300, -300, 0), (300, 300, 0.1), (1_200_000, 3)).astype("f4")
    label = np.where(np.arange(len(xyz)) % 2, 40, 50).astype("u2")
    path = tmp_path / "m.ply"
    write_binary_ply(path, rows_of(x=xyz[:, 0], y=xyz[:, 1], z=xyz[:, 2], label=label))
    cloud = open_cloud(path, CloudConfig(up="+z", unit_m=1.0))
    for _ in range(2):
        blocks = list(cloud.blocks())
        assert [len(block) for block in blocks] == [500_000, 500_000, 200_000]
        np.testing.assert_array_equal(np.concatenate([block.xyz for block in blocks]), xyz)
    np.testing.assert_array_equal(cloud.read().label == ROAD, label == 40)
    np.testing.assert_array_equal(cloud.bounds, [xyz.min(axis=0), xyz.max(axis=0)])


@pytest.mark.parametrize("suffix", ["bag", "mcap", "db3", "gz", "zip", "db"])
def test_files_that_are_no_clouds_say_what_they_are(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"m.{suffix}").touch()
    with pytest.raises(DatasetError, match=rf"m\.{suffix} is (a|an|compressed)\b"):
        read_cloud(tmp_path / f"m.{suffix}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("<!DOCTYPE html>\n<html>", "a web page"),
    ],
)
@pytest.mark.parametrize("suffix", ["ply", "laz", "bin"])
def test_what_stands_in_place_of_a_download(
    tmp_path: Path, content: str, message: str, suffix: str
) -> None:
    (tmp_path / f"m.{suffix}").write_text(content)
    with pytest.raises(DatasetError, match=rf"m\.{suffix} is .*{message}"):
        read_cloud(tmp_path / f"m.{suffix}")


@pytest.mark.parametrize("suffix", ["pcd", "las", "bin", "npz", "xyz", ""])
def test_a_wrong_suffix_is_said(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / (f"m.{suffix}" if suffix else "m")
    write_binary_ply(path, xyz_rows())
    with pytest.raises(
        DatasetError, match=r"is a PLY file with the suffix .*: rename it to m\.ply"
    ):
        read_cloud(path)


@pytest.mark.parametrize("suffix", ["ply", "pcd", "las", "laz", "e57", "npz", "npy", "bin"])
def test_an_empty_file(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"m.{suffix}").touch()
    with pytest.raises(DatasetError, match=rf"m\.{suffix} is empty and holds no points"):
        read_cloud(tmp_path / f"m.{suffix}")


class TestBadFiles:
    def expect(self, path: Path, message: str) -> None:
        with pytest.raises(DatasetError, match=message) as caught:
            read_cloud(path)
        assert path.name in str(caught.value)

    def test_missing(self, tmp_path: Path) -> None:
        self.expect(tmp_path / "none.ply", "no point cloud file")

    def test_unsupported_suffix(self, tmp_path: Path) -> None:
        (tmp_path / "m.obj").write_bytes(b"v 0 0 0")
        self.expect(tmp_path / "m.obj", "found suffix '.obj'")

    def test_truncated_ply(self, tmp_path: Path) -> None:
        write_binary_ply(tmp_path / "m.ply", xyz_rows(), count=9)
        self.expect(tmp_path / "m.ply", "truncated: its header promises 9 points, it has 4")

    def test_truncated_ascii_ply(self, tmp_path: Path) -> None:
        (tmp_path / "m.ply").write_text(
            "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\n"
            "property float z\nend_header\n1 2 3\n4 5\n"
        )
        self.expect(tmp_path / "m.ply", "promises 3 points, it has 1")

    def test_empty_ply(self, tmp_path: Path) -> None:
        write_binary_ply(tmp_path / "m.ply", xyz_rows()[:0])
        self.expect(tmp_path / "m.ply", "holds no points")

    def test_ply_without_a_header(self, tmp_path: Path) -> None:
        (tmp_path / "m.ply").write_bytes(b"\x00" * 64)
        self.expect(tmp_path / "m.ply", "not a PLY file")

    def test_ply_without_points(self, tmp_path: Path) -> None:
        (tmp_path / "m.ply").write_text("ply\nformat ascii 1.0\nelement camera 1\nend_header\n")
        self.expect(tmp_path / "m.ply", "with the elements camera holds no points")

    def test_ply_with_a_list_per_point(self, tmp_path: Path) -> None:
        (tmp_path / "m.ply").write_text(
            "ply\nformat ascii 1.0\nelement vertex 1\nproperty list uchar int x\nend_header\n"
        )
        self.expect(tmp_path / "m.ply", "unsupported vertex property 'list uchar int x'")

    def test_ply_without_z(self, tmp_path: Path) -> None:
        write_binary_ply(tmp_path / "m.ply", rows_of(x=np.zeros(2, "f4"), y=np.zeros(2, "f4")))
        self.expect(tmp_path / "m.ply", "no field z")

    def test_all_nan(self, tmp_path: Path) -> None:
        rows = xyz_rows()
        rows["x"] = np.nan
        write_binary_ply(tmp_path / "m.ply", rows)
        self.expect(tmp_path / "m.ply", "none of its 4 points is finite")

    def test_labels_that_are_not_finite(self, tmp_path: Path) -> None:
        write_binary_ply(tmp_path / "m.ply", xyz_rows(label=np.full(4, np.nan, "f4")))
        self.expect(tmp_path / "m.ply", "field label holds values that are not finite")

    def test_truncated_bin(self, tmp_path: Path) -> None:
        (tmp_path / "000000.bin").write_bytes(b"\x00" * 40)
        self.expect(tmp_path / "000000.bin", "40 bytes, not a multiple of 16")

    def test_empty_bin(self, tmp_path: Path) -> None:
        (tmp_path / "000000.bin").touch()
        self.expect(tmp_path / "000000.bin", "holds no points")

    @pytest.mark.parametrize(
        ("points", "message"), [(0, "holds no points"), (5, "promises 5 points, it has 1")]
    )
    def test_empty_or_truncated_pcd(self, tmp_path: Path, points: int, message: str) -> None:
        write_pcd(tmp_path / "m.pcd", "1 2 3 0.5 40\n" if points else "", points)
        self.expect(tmp_path / "m.pcd", message)


def test_real_map(shared_data: Path) -> None:
    cloud = read_cloud(shared_data / "kitti_drive_0005" / "map.ply")
    assert len(cloud) == 586_783
    assert cloud.label is None
    assert cloud.intensity is not None
    assert 0 <= cloud.intensity.min() < cloud.intensity.max() <= 1
