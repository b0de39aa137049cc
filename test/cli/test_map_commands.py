"""`inspect_map`, `verify_map` and `edit_map` on small maps."""

from __future__ import annotations

from pathlib import Path

import pytest
from place_maps import header, tile

from scmpr_ros.cli import edit_map, inspect_map, verify_map
from scmpr_ros.retrieval.place_map import PlaceMap, write_place_map


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiles = [tile("a", 3, 0), tile("b", 4, 10), tile("c", 2, 60)]
    provenance = {"source": "survey <1>.laz", "config": dict.fromkeys("abcdefgh", "x" * 20)}
    write_place_map(
        tmp_path / "map", header(provenance=provenance, georeference="EPSG:25832"), tiles
    )
    return tmp_path / "map"


def run(command: object, *arguments: object) -> int:
    return int(command.main([str(argument) for argument in arguments]))  # type: ignore[attr-defined]


def test_inspect(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "out" / "page.html"
    assert run(inspect_map, folder, "--page", page) == 0
    printed = {line.split("  ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert printed["checkpoint"].endswith("abc")
    assert "9 with 6 headings" in printed["places"] and "62 m x 0 m" in printed["extent"]
    assert "100 m2" in printed["coverage"], "four cells of 5 m hold places"
    assert "2.00 m" in printed["spacing"] and "EPSG:25832" in printed["frame"]
    assert "3 of 2 to 4 places" in printed["tiles"] and "exact" in printed["index"]
    assert "survey <1>.laz" in printed["made of: source"]
    assert "8 entries, see metadata.json" in printed["made of: config"]
    text = page.read_text()
    assert "survey &lt;1&gt;.laz" in text and text.count("data:image/png;base64,") == 18
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert run(inspect_map, folder, "--places", 1) == 1


def test_inspect_names_the_index(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(edit_map, "index", folder, "PCA4,SQ8") == 0
    assert "9 places in 3 tiles, index PCA4,SQ8" in capsys.readouterr().out
    assert run(inspect_map, folder) == 0
    assert "PCA4,SQ8 (setting PCA4,SQ8)" in capsys.readouterr().out
    assert run(edit_map, "index", folder, "PCA4000,SQ8") == 1
    assert "edit_map: " in capsys.readouterr().err


def test_verify(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(verify_map, folder) == 0
    assert "9 places, complete and intact" in capsys.readouterr().out
    (path,) = folder.glob("tiles/b-*")
    path.write_bytes(path.read_bytes()[:-1])
    assert run(verify_map, folder, tmp_path / "none") == 1
    errors = capsys.readouterr().err.splitlines()
    assert str(path) in errors[0] and "no place map there" in errors[1]
    assert errors[2] == "verify_map: 2 of 2 maps are damaged" and len(errors) == 3


def test_edit(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    west, east, both = tmp_path / "west", tmp_path / "east", tmp_path / "both"
    assert run(edit_map, "crop", folder, west, "--box", -1, -1, 13, 1) == 0
    assert run(edit_map, "crop", folder, east, "--circle", 14, 0, 2.5) == 0
    assert len(PlaceMap.load(west)) == 5 and len(PlaceMap.load(east)) == 3
    assert run(edit_map, "merge", both, west, east) == 1
    assert "keep one of them" in capsys.readouterr().err
    assert run(edit_map, "merge", both, west, east, "--overlap", "first") == 0
    assert len(PlaceMap.load(both)) == 7
    assert run(edit_map, "remove", folder, "--keys=a,c") == 0
    assert PlaceMap.load(folder).positions[:, 0].tolist() == [10, 12, 14, 16]
    assert run(edit_map, "remove", folder, "--keys", "a") == 1
    assert run(edit_map, "crop", folder, west) == 1
    assert "by --box or by --circle" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "metadata.json", "points.ply", "folder.html"])
def test_a_page_is_a_file_of_its_own(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "folder.html").mkdir()
    assert run(inspect_map, folder, "--page", folder / name) == 1
    assert "ends in .html" in capsys.readouterr().err
    assert run(inspect_map, folder, "--page", "") == 1
    assert run(verify_map, folder) == 0


def test_edit_by_what_is_not_there(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(edit_map, "crop", folder, out, "--box", "-1e9", "-1e9", "1e9", "1.0") == 0
    assert len(PlaceMap.load(out)) == 9
    before = sorted(tmp_path.iterdir())
    for arguments, reason in (
        (("crop", folder, "new", "--box", 100, 100, 200, 200), "at x from 0.0 to 62.0"),
        (("crop", folder, "new", "--circle", "nan", 0, 5), "around"),
        (("merge", "new", folder, out, "--same_place_m", "nan"), "same_place_m is nan"),
        (("merge", "new", folder, out, "--same_place_m", -1), "same_place_m is -1"),
        (("remove", folder, "--keys=b, z,"), "no tile 'z'"),
        (("remove", folder, "--keys="), "--keys names no tile"),
        (("remove", folder, "--keys=a,b,c"), "it would have no places"),
        (("remove", tmp_path / "new", "--keys=a"), "no place map there"),
        (("index", tmp_path / "new", "exact"), "no place map there"),
    ):
        named = [tmp_path / "new" if part == "new" else part for part in arguments]
        assert run(edit_map, *named) == 1
        assert reason in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before and len(PlaceMap.load(folder)) == 9


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("IVF0,SQ8", "it has no lists"),
        ("PCA0,SQ8", "it keeps none of the numbers"),
        ("auto ", "numbers: could not parse index string auto "),
        ("IVF4096,SQ8", "Number of training points (54)"),
    ],
)
def test_an_index_that_does_not_suit(
    folder: Path, spec: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(edit_map, "index", folder, spec) == 1
    assert reason in capsys.readouterr().err
    assert run(verify_map, folder) == 0


def test_a_map_takes_no_folder_of_others(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    potree = tmp_path / "potree"
    potree.mkdir()
    (potree / "metadata.json").write_text('{"version": "2.0", "points": 5}')
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    for target in (potree, link):
        assert run(edit_map, "crop", folder, target, "--circle", 0, 0, 5) == 1
        assert "exists and is not a place map" in capsys.readouterr().err
    assert [path.name for path in potree.iterdir()] == ["metadata.json"]
    (folder / "metadata.json").write_text("{")
    assert run(edit_map, "crop", folder, folder, "--circle", 0, 0, 5) == 1
    assert "not valid JSON" in capsys.readouterr().err
