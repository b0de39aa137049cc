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
