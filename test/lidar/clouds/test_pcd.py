"""PCD: every published variant is read, and each way to be damaged has its message."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from clouds import lzf_compress, write_pcd
from hypothesis import given
from hypothesis import strategies as st

from scmpr_ros.errors import DatasetError
from scmpr_ros.lidar.cloud_files import read_cloud
from scmpr_ros.lidar.clouds.formats import lzf, pcd

XYZ = np.array([[1.5, 2, 3], [4, 5.25, 6], [7, 8, -9]])
DATA = ("ascii", "binary", "binary_compressed")


def xyz_fields(dtype: str = "f4") -> list[tuple[str, np.ndarray]]:
    return [(axis, XYZ[:, k].astype(dtype)) for k, axis in enumerate("xyz")]


def read_columns(path: Path) -> dict[str, np.ndarray]:
    table = pcd.open_table(path)
    (block,) = table.read(table.fields)
    return dict(block)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"])
def test_every_type_in_every_encoding(tmp_path: Path, data: str, kind: str) -> None:
    label = np.array([0, 40, 120], kind)
    write_pcd(tmp_path / "m.pcd", [*xyz_fields("f8"), ("label", label)], data)
    columns = read_columns(tmp_path / "m.pcd")
    np.testing.assert_array_equal(columns["label"], label)
    np.testing.assert_array_equal(np.stack([columns[a] for a in "xyz"], 1), XYZ)


@pytest.mark.parametrize("data", DATA)
def test_padding_and_descriptors_are_stepped_over(tmp_path: Path, data: str) -> None:
    fields = [
        ("_", np.zeros((3, 4), "u1")),
        *xyz_fields(),
        ("_", np.ones((3, 10), "u1")),
        ("fpfh", np.ones((3, 33), "f4")),
        ("intensity", np.array([1, 2, 3], "f4")),
    ]
    write_pcd(tmp_path / "m.pcd", fields, data)
    cloud = read_cloud(tmp_path / "m.pcd")
    np.testing.assert_array_equal(cloud.xyz, XYZ)
    assert cloud.intensity is not None
    assert cloud.intensity.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "header",
    [
        {"WIDTH": 1, "HEIGHT": 3},
        {"POINTS": None},
        {"COUNT": None, "VERSION": None, "VIEWPOINT": None},
        {"FIELDS": None, "COLUMNS": "x y z"},
        {"WIDTH": None, "HEIGHT": None},
    ],
)
@pytest.mark.parametrize("data", DATA)
def test_headers_of_other_writers(tmp_path: Path, header: dict, data: str) -> None:
    write_pcd(tmp_path / "m.pcd", xyz_fields(), data, **header)
    np.testing.assert_array_equal(read_cloud(tmp_path / "m.pcd").xyz, XYZ)


def test_windows_line_ends(tmp_path: Path) -> None:
    write_pcd(tmp_path / "m.pcd", xyz_fields(), "ascii")
    text = (tmp_path / "m.pcd").read_bytes().replace(b"\n", b"\r\n")
    (tmp_path / "m.pcd").write_bytes(text)
    np.testing.assert_array_equal(read_cloud(tmp_path / "m.pcd").xyz, XYZ)


def test_a_viewpoint_is_not_applied_but_said(tmp_path: Path, caplog) -> None:
    write_pcd(tmp_path / "m.pcd", xyz_fields(), VIEWPOINT="1 2 3 1 0 0 0")
    np.testing.assert_array_equal(read_cloud(tmp_path / "m.pcd").xyz, XYZ)
    assert "VIEWPOINT 1 2 3 1 0 0 0 is not applied" in caplog.text


@pytest.mark.parametrize("nan", ["nan", "NaN", "-nan", "-nan(ind)", "1.#QNAN", "inf", "-Inf"])
def test_every_spelling_of_no_number(tmp_path: Path, nan: str) -> None:
    write_pcd(tmp_path / "m.pcd", xyz_fields(), "ascii")
    text = (tmp_path / "m.pcd").read_text().replace("4.0 5.25 6.0", f"4.0 {nan} {nan}")
    (tmp_path / "m.pcd").write_text(text)
    np.testing.assert_array_equal(read_cloud(tmp_path / "m.pcd").xyz, XYZ[[0, 2]])


def test_text_keeps_its_digits(tmp_path: Path) -> None:
    """Though its header calls them float32, which has none to spare so far from zero."""
    far = XYZ + [458000, 5428000, 100]
    fields = [(axis, far[:, k]) for k, axis in enumerate("xyz")]
    write_pcd(tmp_path / "m.pcd", fields, "ascii", SIZE="4 4 4")
    cloud = read_cloud(tmp_path / "m.pcd")
    np.testing.assert_array_equal(cloud.xyz + cloud.origin, far)


def test_as_open3d_writes_it(tmp_path: Path) -> None:
    o3d = pytest.importorskip("open3d")
    rng = np.random.default_rng(0)
    xyz = np.round(rng.normal(0, 20, (20_000, 3)), 1).astype("f4")  # rounded: worth compressing
    cloud = o3d.t.geometry.PointCloud(o3d.core.Tensor(xyz))
    for name, options in {"c": {"compressed": True}, "b": {}, "a": {"write_ascii": True}}.items():
        o3d.t.io.write_point_cloud(str(tmp_path / f"{name}.pcd"), cloud, **options)
        np.testing.assert_allclose(read_cloud(tmp_path / f"{name}.pcd").xyz, xyz, atol=1e-6)
    assert (tmp_path / "c.pcd").stat().st_size < (tmp_path / "b.pcd").stat().st_size


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.integers(1, 300)), max_size=20))
def test_lzf_round_trip(parts: list[tuple[bytes, int]]) -> None:
    plain = b"".join(part * times for part, times in parts)
    out = io.BytesIO()
    assert lzf.decompress(lzf_compress(plain), 0, out, len(plain)) == len(plain)
    assert out.getvalue() == plain


def test_lzf_beyond_what_is_kept_of_the_output() -> None:
    plain = np.random.default_rng(0).integers(0, 4, 3 << 19).astype("u1").tobytes()
    out = io.BytesIO()
    lzf.decompress(lzf_compress(plain), 0, out, len(plain))
    assert out.getvalue() == plain


class TestBadFiles:
    def expect(self, path: Path, message: str) -> None:
        with pytest.raises(DatasetError, match=message) as caught:
            read_cloud(path)
        assert path.name in str(caught.value)

    @pytest.mark.parametrize("data", DATA)
    def test_truncated(self, tmp_path: Path, data: str) -> None:
        write_pcd(tmp_path / "m.pcd", xyz_fields(), data)
        whole = (tmp_path / "m.pcd").read_bytes()
        (tmp_path / "m.pcd").write_bytes(whole[:-7])
        self.expect(tmp_path / "m.pcd", "is truncated")

    @pytest.mark.parametrize("data", DATA)
    def test_more_points_than_the_file_could_hold(self, tmp_path: Path, data: str) -> None:
        write_pcd(tmp_path / "m.pcd", xyz_fields(), data, POINTS=10**14, WIDTH=10**14)
        self.expect(tmp_path / "m.pcd", "is truncated")

    def test_points_that_are_not_width_times_height(self, tmp_path: Path) -> None:
        write_pcd(tmp_path / "m.pcd", xyz_fields(), POINTS=2)
        self.expect(tmp_path / "m.pcd", "contradicts itself: POINTS 2, but WIDTH 3 times HEIGHT 1")

    def test_decimal_commas(self, tmp_path: Path) -> None:
        write_pcd(tmp_path / "m.pcd", xyz_fields(), "ascii")
        head, body = (tmp_path / "m.pcd").read_text().split("DATA ascii")
        (tmp_path / "m.pcd").write_text(f"{head}DATA ascii{body.replace('.', ',')}")
        self.expect(tmp_path / "m.pcd", "has decimal commas .'1,5 2,0 3,0'.")

    def test_commas_between_columns(self, tmp_path: Path) -> None:
        write_pcd(tmp_path / "m.pcd", xyz_fields(), "ascii")
        head, body = (tmp_path / "m.pcd").read_text().split("DATA ascii")
        (tmp_path / "m.pcd").write_text(f"{head}DATA ascii{body.replace(' ', ',')}")
        self.expect(tmp_path / "m.pcd", "has columns separated by commas")

    def test_a_line_with_other_columns(self, tmp_path: Path) -> None:
        write_pcd(tmp_path / "m.pcd", xyz_fields(), "ascii")
        text = (tmp_path / "m.pcd").read_text().replace("4.0 5.25 6.0", "4.0 5.25 6.0 1.0")
        (tmp_path / "m.pcd").write_text(text)
        self.expect(tmp_path / "m.pcd", "the line '4.0 5.25 6.0 1.0' is not 3 numbers")

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            ({"TYPE": "F F X"}, "field z of TYPE X, SIZE 4"),
            ({"SIZE": "4 4"}, "3 FIELDS but 2 SIZE"),
            ({"COUNT": "1 1 99999999"}, "COUNT 99999999 is none that PCD knows"),
            ({"COUNT": "1 1 9999999"}, "which no point cloud does"),
            ({"FIELDS": None}, "is not a PCD file"),
            ({"FIELDS": "x y y"}, "two fields y"),
            ({"FIELDS": "x y w"}, "has no field z, only x, y, w"),
            ({"POINTS": "many"}, "POINTS 'many' is no count"),
        ],
    )
    def test_header(self, tmp_path: Path, header: dict, message: str) -> None:
        write_pcd(tmp_path / "m.pcd", xyz_fields(), **header)
        self.expect(tmp_path / "m.pcd", message)

    def test_descriptors_alone(self, tmp_path: Path) -> None:
        write_pcd(tmp_path / "m.pcd", [("fpfh", np.zeros((9, 33), "f4"))])
        with pytest.raises(DatasetError, match=r"no field x, y, z, only none: name its coord"):
            read_cloud(tmp_path / "m.pcd")

    def test_unknown_encoding(self, tmp_path: Path) -> None:
        write_pcd(tmp_path / "m.pcd", xyz_fields(), "binary")
        data = (tmp_path / "m.pcd").read_bytes().replace(b"DATA binary", b"DATA zipped")
        (tmp_path / "m.pcd").write_bytes(data)
        self.expect(tmp_path / "m.pcd", "DATA 'zipped' is unknown")

    def test_flipped_bytes_in_compressed_points(self, tmp_path: Path) -> None:
        write_pcd(tmp_path / "m.pcd", xyz_fields(), "binary_compressed")
        data = bytearray((tmp_path / "m.pcd").read_bytes())
        at = data.index(b"compressed\n") + len(b"compressed\n") + 8
        data[at] = 0xFF
        (tmp_path / "m.pcd").write_bytes(data)
        self.expect(tmp_path / "m.pcd", "is damaged")

    def test_not_a_pcd(self, tmp_path: Path) -> None:
        (tmp_path / "m.pcd").write_bytes(bytes(100))
        self.expect(tmp_path / "m.pcd", "is not a PCD file")
