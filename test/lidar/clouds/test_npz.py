"""NumPy files: columns by name or an array of points, and nothing that would be unpickled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clouds import columns_of, street_points

from scmpr_ros.errors import DatasetError
from scmpr_ros.lidar.cloud_files import open_cloud, read_cloud
from scmpr_ros.semantics import class_id

XYZ = street_points()
INTENSITY = np.linspace(0, 1, len(XYZ)).astype("f4")
LABEL = np.where(XYZ[:, 2] < -1.4, 40, 50).astype("u1")


def expect_street(path: Path, intensity: bool = False, label: bool = False) -> None:
    cloud = read_cloud(path)
    np.testing.assert_allclose(cloud.xyz, XYZ, atol=1e-5)
    assert (cloud.intensity is not None, cloud.label is not None) == (intensity, label)
    if cloud.intensity is not None:
        np.testing.assert_array_equal(cloud.intensity, INTENSITY)
    if cloud.label is not None:
        assert cloud.label[0] == class_id("road")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_columns_by_name(tmp_path: Path, save) -> None:
    save(tmp_path / "m.npz", **columns_of(XYZ), intensity=INTENSITY, label=LABEL, note=np.int8(3))
    expect_street(tmp_path / "m.npz", intensity=True, label=True)


@pytest.mark.parametrize("name", ["xyz", "points", "arr_0", "anything"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_of_points_and_columns_beside_it(tmp_path: Path, name: str, order) -> None:
    arrays = {name: np.asarray(XYZ, order=order), "labels": LABEL[:, None]}
    np.savez_compressed(tmp_path / "m.npz", **arrays, T=np.eye(4))
    if name == "anything":  # then two arrays could be the points
        with pytest.raises(DatasetError, match="expected arrays x, y and z, or one array"):
            read_cloud(tmp_path / "m.npz")
    else:
        expect_street(tmp_path / "m.npz", label=True)


@pytest.mark.parametrize("order", ["C", "F"])
def test_four_columns_are_x_y_z_intensity(tmp_path: Path, order) -> None:
    np.save(tmp_path / "m.npy", np.asarray(np.column_stack([XYZ, INTENSITY]), order=order))
    expect_street(tmp_path / "m.npy", intensity=True)


def test_more_columns_have_no_names(tmp_path: Path, caplog) -> None:
    np.save(tmp_path / "m.npy", np.column_stack([XYZ, XYZ]))
    expect_street(tmp_path / "m.npy")
    assert "ignored 3 without names" in caplog.text


def test_records(tmp_path: Path) -> None:
    rows = np.zeros(len(XYZ), [("X", "f8"), ("Y", "f8"), ("Z", "f8"), ("Intensity", "f4")])
    rows["X"], rows["Y"], rows["Z"] = XYZ.T
    rows["Intensity"] = INTENSITY
    np.save(tmp_path / "m.npy", rows)
    expect_street(tmp_path / "m.npy", intensity=True)


def test_half_floats(tmp_path: Path) -> None:
    xyz = street_points()
    np.savez(tmp_path / "m.npz", points=xyz.astype("f2"), semantic_labels=np.full(len(xyz), 40))
    cloud = read_cloud(tmp_path / "m.npz")
    np.testing.assert_allclose(cloud.xyz, xyz, atol=0.02)
    assert cloud.label is not None
    np.savez(tmp_path / "m.npz", points=(xyz + 300).astype("f2"))
    with pytest.raises(DatasetError, match=r"coordinates in float16, whose steps are 0\.25 at 360"):
        read_cloud(tmp_path / "m.npz")


def test_objects_beside_the_points_are_left_out(tmp_path: Path, caplog) -> None:
    np.savez(tmp_path / "m.npz", points=XYZ, meta=np.array({"sensor": "HDL-64E"}, dtype=object))
    expect_street(tmp_path / "m.npz")
    assert "left out what holds Python objects: meta" in caplog.text


class TestBadFiles:
    def expect(self, path: Path, message: str) -> None:
        with pytest.raises(DatasetError, match=message) as caught:
            open_cloud(path)
        assert path.name in str(caught.value)

    def test_objects(self, tmp_path: Path) -> None:
        np.save(tmp_path / "m.npy", np.array([{"x": 1}], object), allow_pickle=True)
        self.expect(tmp_path / "m.npy", "Python objects, which are not read")

    def test_a_point_a_column(self, tmp_path: Path) -> None:
        np.save(tmp_path / "m.npy", XYZ.T)
        self.expect(tmp_path / "m.npy", "a point a column .its array .3, .*save it transposed")

    def test_axes_of_different_length(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "m.npz", x=np.zeros(3), y=np.zeros(3), z=np.zeros(4))
        self.expect(tmp_path / "m.npz", "x, y and z differ in length")

    def test_no_points(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "m.npz", a=np.zeros(3))
        self.expect(tmp_path / "m.npz", r"holds a \(3,\) float64: expected arrays x, y and z")

    @pytest.mark.parametrize("name", ["m.npy", "m.npz"])
    @pytest.mark.parametrize("keep", [7, 10, 0.5, 0.99])
    def test_truncated(self, tmp_path: Path, name: str, keep: float) -> None:
        (np.save if name == "m.npy" else np.savez)(tmp_path / name, XYZ)
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
        self.expect(tmp_path / name, "not a NumPy file, or damaged")

    def test_a_shape_beyond_the_file(self, tmp_path: Path) -> None:
        np.save(tmp_path / "m.npy", XYZ)
        data = (tmp_path / "m.npy").read_bytes().replace(b"(%d," % len(XYZ), b"(99999,")
        (tmp_path / "m.npy").write_bytes(data)
        self.expect(tmp_path / "m.npy", "an array of .* bytes where the file has")

    def test_flipped_bits_of_a_compressed_array(self, tmp_path: Path) -> None:
        np.savez_compressed(tmp_path / "m.npz", xyz=XYZ)
        data = bytearray((tmp_path / "m.npz").read_bytes())
        data[len(data) // 2] ^= 1
        (tmp_path / "m.npz").write_bytes(data)
        self.expect(tmp_path / "m.npz", "is truncated or damaged")
