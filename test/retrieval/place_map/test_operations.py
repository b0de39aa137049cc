"""Maps change tile by tile: updated, cropped and merged as if they had been built that way."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from place_maps import files_in, header, tile

from scmpr_ros.errors import ConfigError, MapFormatError
from scmpr_ros.retrieval.place_map import PlaceMap, write_place_map
from scmpr_ros.retrieval.place_map.operations import (
    box,
    circle,
    crop_place_map,
    merge_place_maps,
    update_place_map,
)
from scmpr_ros.retrieval.place_map.verification import faults_of

TILES = [tile("a", 3, 0), tile("b", 4, 10), tile("c", 2, 30)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_place_map(tmp_path / "map", header(), TILES)
    return tmp_path / "map"


def same_map(first: Path, second: Path) -> bool:
    """Whether two folders hold the same files, byte by byte."""
    return files_in(first) == files_in(second) and all(
        (first / name).read_bytes() == (second / name).read_bytes() for name in files_in(first)
    )


def xs(folder: Path) -> list[float]:
    return PlaceMap.load(folder).positions[:, 0].tolist()


def test_the_order_of_tiles_and_their_form_do_not_matter(folder: Path, tmp_path: Path) -> None:
    TILES[1].save(tmp_path / "file of b")
    write_place_map(tmp_path / "again", header(), [TILES[2], tmp_path / "file of b", TILES[0]])
    assert same_map(folder, tmp_path / "again") and faults_of(folder) == []
    assert xs(folder) == [0, 2, 4, 10, 12, 14, 16, 30, 32]


def test_the_context_is_the_mean_of_all_tokens(folder: Path) -> None:
    sums, weights = (
        np.concatenate([getattr(t, name) for t in TILES]).sum(0)
        for name in ("token_sums", "token_weights")
    )
    mean = sums / weights[:, None]
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(PlaceMap.load(folder).context, mean, rtol=1e-4, atol=1e-6)


def test_update_equals_building_again_and_keeps_the_other_files(
    folder: Path, tmp_path: Path
) -> None:
    kept = next(folder.glob("tiles/c-*"))
    before = kept.stat()
    b, d = tile("b", 5, 10, seed=1), tile("d", 1, 50)
    update_place_map(folder, [b, d], remove=["a"])
    edited = header(provenance={"edited": {}})
    write_place_map(tmp_path / "again", edited, [b, TILES[2], d])
    assert same_map(folder, tmp_path / "again")
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    update_place_map(folder, [replace(d.select(np.zeros(1, bool)))])
    assert xs(folder) == [10, 12, 14, 16, 18, 30, 32], "an empty tile removes its predecessor"


def test_an_update_that_fails_changes_nothing(folder: Path, tmp_path: Path) -> None:
    write_place_map(tmp_path / "before", header(), TILES)
    wrong = replace(TILES[0], descriptors=np.ones((3, 6, 9), np.float16) / 3)
    with pytest.raises(MapFormatError, match=r"tile a: descriptors has entries of \(6, 9\)"):
        update_place_map(folder, [wrong])
    with pytest.raises(MapFormatError, match="no tile 'x', 'y': see the keys"):
        update_place_map(folder, [], remove=["y", "x"])
    with pytest.raises(MapFormatError, match="no places"):
        update_place_map(folder, [], remove=["a", "b", "c"])
    assert same_map(folder, tmp_path / "before")


def test_tiles_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MapFormatError, match="two tiles have the key a"):
        write_place_map(tmp_path / "map", header(), [tile("a"), tile("a", 4)])
    for key in ("", "a/b", ".a", "ä"):
        with pytest.raises(MapFormatError, match="cannot be part of a file's name"):
            tile(key)
    with pytest.raises(MapFormatError, match=r"tile a: axes is \(3, 3, 3\), expected \(2, 3, 3\)"):
        replace(tile("a"), positions=np.zeros((2, 3)))
    with pytest.raises(MapFormatError, match=r"descriptors is float64 .*expected float16"):
        replace(tile("a"), descriptors=np.zeros((3, 6, 8)))
    with pytest.raises(MapFormatError, match="nothing: no such tile"):
        write_place_map(tmp_path / "map", header(), [tmp_path / "nothing"])
    assert list(tmp_path.iterdir()) == []


def test_crop(folder: Path, tmp_path: Path) -> None:
    crop_place_map(folder, tmp_path / "part", box((4, -1), (16, 1)))
    assert xs(tmp_path / "part") == [4, 10, 12, 14, 16]
    whole = next(folder.glob("tiles/b-*"))
    assert (tmp_path / "part" / "tiles" / whole.name).samefile(whole), "linked, not copied"
    write_place_map(
        tmp_path / "again", header(provenance={"edited": {}}),
        [TILES[0].select(np.array([False, False, True])), TILES[1]],
    )  # fmt: skip
    assert same_map(tmp_path / "part", tmp_path / "again")
    crop_place_map(folder, folder, circle((31, 0), 2.5))
    assert xs(folder) == [30, 32] and faults_of(folder) == []
    with pytest.raises(MapFormatError, match="no place in that area"):
        crop_place_map(folder, tmp_path / "none", circle((500, 0), 1))
    with pytest.raises(ConfigError, match="is empty"):
        box((4, 0), (3, 1))
    with pytest.raises(ConfigError, match="is none"):
        circle((4, 0), 0)


def test_merge_of_a_map_cut_in_two_is_the_map(folder: Path, tmp_path: Path) -> None:
    crop_place_map(folder, tmp_path / "west", box((-1, -1), (11, 1)))
    crop_place_map(folder, tmp_path / "east", box((11, -1), (99, 1)))
    merge_place_maps([tmp_path / "west", tmp_path / "east"], tmp_path / "both")
    assert sorted(xs(tmp_path / "both")) == xs(folder) and faults_of(tmp_path / "both") == []
    np.testing.assert_allclose(
        PlaceMap.load(tmp_path / "both").context, PlaceMap.load(folder).context, atol=1e-6
    )


def test_merge_of_overlapping_maps(folder: Path, tmp_path: Path) -> None:
    write_place_map(tmp_path / "new", header(), [tile("b", 4, 13, seed=1), tile("e", 1, 60)])
    maps, out = [folder, tmp_path / "new"], tmp_path / "out"
    merge_place_maps(maps, out, same_place_m=0.9)
    assert len(xs(out)) == 14, "places a metre apart are different ones"
    with pytest.raises(MapFormatError, match=r"3 of 5 places of .*new lie within 1.1 m"):
        merge_place_maps(maps, out, same_place_m=1.1)
    merge_place_maps(maps, out, "first", same_place_m=1.1)
    assert sorted(xs(out)) == [0, 2, 4, 10, 12, 14, 16, 19, 30, 32, 60]
    merge_place_maps(maps, out, "last", same_place_m=1.1)
    assert sorted(xs(out)) == [0, 2, 4, 10, 13, 15, 17, 19, 30, 32, 60]
    assert faults_of(out) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fingerprint": "def"}, "made by different checkpoints"),
        ({"origin": (1.0, 0.0, 0.0)}, "different origins"),
        ({"georeference": "EPSG:25832"}, "different georeferences"),
        ({"headings_rad": np.arange(6) * 1.0}, "different headings"),
        ({"confusion": np.full((8, 8), 1 / 8, np.float32)}, "labelled in different ways"),
    ],
)
def test_maps_that_do_not_fit_together(
    folder: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    write_place_map(tmp_path / "other", header(**changes), [tile("x", 1, 99)])
    with pytest.raises(MapFormatError, match=message):
        merge_place_maps([folder, tmp_path / "other"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damage_is_not_hidden_by_a_new_name(folder: Path, tmp_path: Path) -> None:
    (path,) = folder.glob("tiles/b-*")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # the last digit of a number that stays valid
    path.unlink()
    path.write_bytes(content)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(MapFormatError, match=r"b-\w+\.safetensors is damaged \(checksum\)"):
        crop_place_map(folder, tmp_path / "new", circle((0, 0), 1e6))  # links the tile
    middle = np.mean(xs(folder)[3:5])
    with pytest.raises(MapFormatError, match="is damaged"):
        crop_place_map(folder, tmp_path / "new", circle((middle, 0), 1.5))  # selects from it
    with pytest.raises(MapFormatError, match="is damaged"):
        merge_place_maps([folder, folder], tmp_path / "new", "first")
    assert sorted(tmp_path.iterdir()) == before


def test_a_part_of_a_map_of_links_is_files(folder: Path, tmp_path: Path) -> None:
    """As `cp -rs` makes it, and folders of data under version control."""
    linked = tmp_path / "linked"
    (linked / "tiles").mkdir(parents=True)
    for path in folder.rglob("*.*"):
        (linked / path.relative_to(folder)).symlink_to(path)
    crop_place_map(linked, tmp_path / "part", circle((0, 0), 1e6))
    shutil.rmtree(folder)
    assert faults_of(tmp_path / "part") == []
