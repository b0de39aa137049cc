"""LAS and LAZ by laspy: coordinates, classes, coordinate systems, and damaged headers."""

from __future__ import annotations

import builtins
import struct
from pathlib import Path

import numpy as np
import pytest
from clouds import street_points

from scmpr_ros.errors import DatasetError
from scmpr_ros.lidar.cloud_files import CloudConfig, open_cloud, read_cloud
from scmpr_ros.semantics import class_id

laspy = pytest.importorskip("laspy")
pytest.importorskip("lazrs")

UTM = np.array([458000.0, 5428000.0, 110.0])
WKT = 'PROJCS["ETRS89 / UTM zone 32N",GEOGCS["ETRS89"],UNIT["metre",1]]'


def write_las(
    path: Path,
    xyz: np.ndarray,
    classes: np.ndarray | None = None,
    version: str = "1.4",
    point_format: int = 6,
    wkt: str = "",
    **dimensions: np.ndarray,
) -> None:
    header = laspy.LasHeader(version=version, point_format=point_format)
    header.scales, header.offsets = [0.001] * 3, np.floor(xyz.min(axis=0))
    if wkt:
        header.vlrs.append(laspy.VLR("LASF_Projection", 2112, "", wkt.encode() + b"\0"))
    las = laspy.LasData(header)
    las.x, las.y, las.z = xyz.T
    if classes is not None:
        las.classification = classes
    for name, values in dimensions.items():
        if name not in las.point_format.dimension_names:
            las.add_extra_dim(laspy.ExtraBytesParams(name, values.dtype))
        las[name] = values
    las.write(path)


@pytest.mark.parametrize("suffix", ["las", "laz"])
@pytest.mark.parametrize(("version", "point_format"), [("1.2", 0), ("1.2", 3), ("1.4", 6)])
def test_a_survey(tmp_path: Path, suffix: str, version: str, point_format: int) -> None:
    xyz = street_points() + UTM
    classes = np.where(xyz[:, 2] < UTM[2] - 1.4, 2, 6)
    path = tmp_path / f"m.{suffix}"
    write_las(path, xyz, classes, version, point_format, intensity=np.arange(len(xyz)) % 4096)
    cloud = read_cloud(path)
    np.testing.assert_allclose(cloud.xyz + cloud.origin, xyz, atol=0.0006)
    assert cloud.label is not None
    assert cloud.intensity is not None
    expected = np.where(classes == 2, class_id("terrain"), class_id("building"))
    np.testing.assert_array_equal(cloud.label, expected)
    np.testing.assert_array_equal(cloud.intensity, np.arange(len(xyz)) % 4096)


def test_coordinate_system(tmp_path: Path) -> None:
    write_las(tmp_path / "m.las", street_points() + UTM, wkt=WKT)
    assert open_cloud(tmp_path / "m.las").georeference == WKT
    config = CloudConfig(georeference="EPSG:25832")
    assert open_cloud(tmp_path / "m.las", config).georeference == "EPSG:25832"


def test_a_tile_that_does_not_say_its_coordinate_system(tmp_path: Path, caplog) -> None:
    for name, wkt in (("a", ""), ("b", WKT)):
        write_las(tmp_path / f"{name}.las", street_points() + UTM, wkt=wkt)
    assert open_cloud(tmp_path).georeference == WKT
    assert "its tile a.las does not say its coordinate system" in caplog.text
    write_las(tmp_path / "c.las", street_points() + UTM, wkt=WKT.replace("32N", "33N"))
    with pytest.raises(
        DatasetError, match=r"b\.las and c\.las are in different coordinate systems"
    ):
        open_cloud(tmp_path)


def test_geotiff_keys(tmp_path: Path) -> None:
    write_las(tmp_path / "m.las", street_points() + UTM, version="1.2", point_format=0)
    keys = struct.pack("<8H", 1, 1, 0, 1, 3072, 0, 1, 25832)
    las = laspy.read(tmp_path / "m.las")
    las.header.vlrs.append(laspy.VLR("LASF_Projection", 34735, "", keys))
    las.write(tmp_path / "m.las")
    assert open_cloud(tmp_path / "m.las").georeference == "EPSG:25832"


def test_feet_are_refused_and_served_when_said(tmp_path: Path) -> None:
    feet = WKT.replace('UNIT["metre",1]', 'UNIT["US survey foot",0.3048006096012192]')
    xyz = street_points() + UTM
    write_las(tmp_path / "m.las", xyz / 0.3048006096012192, wkt=feet)
    with pytest.raises(DatasetError, match=r"is in feet.* set cloud.unit_m to 0\.3048006"):
        open_cloud(tmp_path / "m.las")
    cloud = open_cloud(tmp_path / "m.las", CloudConfig(unit_m=0.3048006096012192)).read()
    np.testing.assert_allclose(cloud.xyz + cloud.origin, xyz, atol=0.001)


FOOT, SURVEY_FOOT = 'UNIT["Foot (International)",0.3048]', 'UNIT["ftUS",0.304800609601219]'


@pytest.mark.parametrize(
    ("across", "height", "message"),
    [
        (FOOT, None, r"is in feet.* set cloud.unit_m to 0\.3048$"),
        (FOOT, FOOT, r"is in feet.* set cloud.unit_m to 0\.3048$"),
        ('LENGTHUNIT["US survey foot",0.304800609601219]', SURVEY_FOOT, "is in feet"),
        ('UNIT["metre",1]', SURVEY_FOOT, "positions in metre and heights in ftUS.*to one unit"),
        (SURVEY_FOOT, 'UNIT["metre",1]', "positions in ftUS and heights in metre"),
        ('UNIT["kilometre",1000]', None, "is in kilometre, .* set cloud.unit_m to 1000"),
        ('UNIT["metre",1]', 'UNIT["m",1.0]', None),
        ('UNIT["degree",0.0174532925199433]', None, None),
    ],
)
def test_units_of_positions_and_heights(
    tmp_path: Path, across: str, height: str | None, message: str | None
) -> None:
    wkt = WKT.replace('UNIT["metre",1]', across)
    assert across in wkt
    if height:
        wkt = f'COMPD_CS["both",{wkt},VERT_CS["NAVD88",VERT_DATUM["NAVD88",2005],{height}]]'
    write_las(tmp_path / "m.las", street_points() + UTM, wkt=wkt)
    if message is None:
        assert open_cloud(tmp_path / "m.las").georeference == wkt
        return
    with pytest.raises(DatasetError, match=message):
        open_cloud(tmp_path / "m.las")


@pytest.mark.parametrize(
    ("keys", "georeference", "message"),
    [
        ({3072: 26917, 3076: 9001, 4099: 9001}, "EPSG:26917", None),
        ({3072: 32767, 3076: 9001}, "", None),
        ({3072: 2263, 3076: 9003}, None, "is in feet"),
        ({3072: 26917, 3076: 9001, 4099: 9003}, None, "heights in US survey foot"),
        ({3072: 26917, 4099: 9002}, None, "positions in metre and heights in foot"),
    ],
)
def test_units_of_geotiff_keys(
    tmp_path: Path, keys: dict, georeference: str | None, message: str | None
) -> None:
    write_las(tmp_path / "m.las", street_points() + UTM, version="1.2", point_format=0)
    numbers = [1, 1, 0, len(keys), *(n for key, v in keys.items() for n in (key, 0, 1, v))]
    las = laspy.read(tmp_path / "m.las")
    data = struct.pack(f"<{len(numbers)}H", *numbers)
    las.header.vlrs.append(laspy.VLR("LASF_Projection", 34735, "", data))
    las.write(tmp_path / "m.las")
    if message is None:
        assert open_cloud(tmp_path / "m.las").georeference == georeference
        return
    with pytest.raises(DatasetError, match=message):
        open_cloud(tmp_path / "m.las")


def test_degrees_are_refused(tmp_path: Path) -> None:
    xyz = street_points() * [1e-5, 1e-5, 1] + [8.4, 49.0, 110]
    write_las(tmp_path / "m.las", xyz, wkt='GEOGCS["WGS 84",UNIT["degree",0.017]]')
    with pytest.raises(DatasetError, match="geographic coordinates in degrees"):
        open_cloud(tmp_path / "m.las")


def test_earth_centred_coordinates_are_refused(tmp_path: Path) -> None:
    write_las(tmp_path / "m.las", street_points(), wkt='GEOCCS["WGS 84",UNIT["metre",1]]')
    with pytest.raises(DatasetError, match="earth-centred coordinates"):
        open_cloud(tmp_path / "m.las")


def test_classes_of_noise_that_a_user_gives_a_meaning(tmp_path: Path, caplog) -> None:
    """Hessigheim 3D: 7 is a tree."""
    xyz = street_points()
    classes = np.where(xyz[:, 2] < -1.4, 1, 7)
    write_las(tmp_path / "m.las", xyz, classes)
    assert open_cloud(tmp_path / "m.las").count == (classes == 1).sum()
    assert "of the noise classes 7 and 18; if those are other classes, map them" in caplog.text
    (tmp_path / "own.yaml").write_text("1: terrain\n7: vegetation\n")
    label = read_cloud(tmp_path / "m.las", str(tmp_path / "own.yaml")).label
    np.testing.assert_array_equal(label == class_id("vegetation"), classes == 7)


def test_noise_and_withheld_points_are_left_out(tmp_path: Path) -> None:
    xyz = street_points()
    classes = np.full(len(xyz), 2)
    classes[:5], classes[5:8] = 7, 18
    withheld = np.zeros(len(xyz), "u1")
    withheld[-4:] = 1
    write_las(tmp_path / "m.laz", xyz, classes, withheld=withheld)
    assert open_cloud(tmp_path / "m.laz").count == len(xyz) - 12


@pytest.mark.parametrize("classes", [0, 1])
def test_unclassified_points_have_no_labels(tmp_path: Path, classes: int, caplog) -> None:
    xyz = street_points()
    write_las(tmp_path / "m.las", xyz, np.full(len(xyz), classes))
    assert not open_cloud(tmp_path / "m.las").has_label
    assert "says of no point what it is" in caplog.text


@pytest.mark.parametrize("share", [0.4, 1.0])
def test_a_survey_with_its_ground_alone_classified(tmp_path: Path, share: float, caplog) -> None:
    xyz = street_points()
    rng = np.random.default_rng(0)
    classes = np.where((xyz[:, 2] < -1.4) & (rng.random(len(xyz)) < share), 2, 1)
    write_las(tmp_path / "m.las", xyz, classes)
    assert not open_cloud(tmp_path / "m.las").has_label
    assert f"only {100 * np.mean(classes == 2):.0f} % of its points are classified" in caplog.text
    assert open_cloud(tmp_path / "m.las", CloudConfig(label_set="asprs")).has_label


def test_a_label_dimension_comes_before_the_classification(tmp_path: Path) -> None:
    xyz = street_points()
    write_las(tmp_path / "m.las", xyz, label=np.full(len(xyz), 40, "u2"))
    cloud = read_cloud(tmp_path / "m.las")
    assert set(np.asarray(cloud.label).tolist()) == {class_id("road")}


class TestBadFiles:
    def expect(self, path: Path, message: str) -> None:
        with pytest.raises(DatasetError, match=message) as caught:
            read_cloud(path)
        assert path.name in str(caught.value)

    @pytest.mark.parametrize("suffix", ["las", "laz"])
    @pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
    def test_truncated(self, tmp_path: Path, suffix: str, keep: float) -> None:
        path = tmp_path / f"m.{suffix}"
        write_las(path, street_points())
        data = path.read_bytes()
        path.write_bytes(data[: int(keep * len(data))])
        self.expect(path, "truncated")

    @pytest.mark.parametrize(
        ("offset", "value", "message"),
        [
            (247, b"\xff" * 7 + b"\0", "promises 72057594037927935 points"),
            (100, b"\xff\xff\xff\xff", "4294967295 variable length records"),
            (243, b"\xff\xff\xff\xff", "4294967295 extended records"),
            (96, b"\xff\xff\xff\xff", "should begin at byte 4294967295"),
            (105, b"\x01\x00", "truncated or damaged"),
            (0, b"PLYF", "not a LAS file"),
        ],
    )
    def test_header(self, tmp_path: Path, offset: int, value: bytes, message: str) -> None:
        path = tmp_path / "m.las"
        write_las(path, street_points())
        data = bytearray(path.read_bytes())
        data[offset : offset + len(value)] = value
        path.write_bytes(data)
        self.expect(path, message)

    def test_more_chunks_than_bytes(self, tmp_path: Path) -> None:
        path = tmp_path / "m.laz"
        write_las(path, street_points())
        data = bytearray(path.read_bytes())
        start = struct.unpack_from("<I", data, 96)[0]
        table = struct.unpack_from("<q", data, start)[0]
        data[table + 4 : table + 8] = b"\xff\xff\xff\x7f"
        path.write_bytes(data)
        self.expect(path, "cannot hold 2147483647 chunks")

    def test_without_laspy(self, tmp_path: Path, monkeypatch) -> None:
        write_las(tmp_path / "m.las", street_points())
        real = builtins.__import__

        def without(name: str, *rest: object) -> object:
            if name == "laspy":
                raise ImportError("No module named 'laspy'")
            return real(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without)
        self.expect(tmp_path / "m.las", r'needs laspy and lazrs: pip install "scmpr_ros\[maps\]"')
