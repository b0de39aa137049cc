"""Place maps are saved and opened exactly; damaged and foreign maps are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from place_maps import example, files_in, header, tile

from scmpr_ros.errors import MapFormatError
from scmpr_ros.retrieval.panoramas import Panoramas
from scmpr_ros.retrieval.place_map import PlaceMap, write_place_map

READ_AFTER_OPENING = """
import sys
from pathlib import Path
import numpy as np
from scmpr_ros.retrieval.panoramas import Panoramas
from scmpr_ros.retrieval.place_map import PlaceMap

place_map = PlaceMap.load(Path(sys.argv[1]))
print("opened", flush=True)
sys.stdin.read()
names = sys.argv[2:]
print([float(np.asarray(getattr(place_map, name)).astype(float).sum()) for name in names])
"""
ARRAYS = [field.name for field in fields(PlaceMap) if "NDArray" in str(field.type)]
ARRAYS += ["descriptors", "panorama_labels", "panorama_ranges"]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_round_trip_is_exact(tmp_path: Path) -> None:
    written = replace(
        example(), origin=(4.5e5, 5.4e6, 0.0), georeference="EPSG:25832", sensor_height_m=1.7,
        provenance={"source": {"path": "survey.laz", "points": 12}},
    )  # fmt: skip
    written.save(tmp_path / "map")
    read = PlaceMap.load(tmp_path / "map")
    for field in fields(PlaceMap):
        np.testing.assert_array_equal(getattr(read, field.name), getattr(written, field.name))
    assert names_in(tmp_path) == ["map"]
    assert not read.descriptors.flags.writeable


def test_a_large_map_is_written_as_several_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scmpr_ros.retrieval.place_map.place_map._PLACES_A_TILE", 3)
    written = example(8)
    written.save(tmp_path / "map")
    assert len(list((tmp_path / "map" / "tiles").iterdir())) == 3
    read = PlaceMap.load(tmp_path / "map")
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))


def test_copying_another_map_over_one_in_use_does_no_harm(tmp_path: Path) -> None:
    """Were its files overwritten in place, the process would die of SIGBUS."""
    written = example()
    written.save(tmp_path / "map")
    example(7, "seven").save(tmp_path / "other")
    command = [sys.executable, "-c", READ_AFTER_OPENING, str(tmp_path / "map"), *ARRAYS]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "opened\n"
        subprocess.run(["cp", "-r", f"{tmp_path}/other/.", f"{tmp_path}/map"], check=True)
        example(5, "five").save(tmp_path / "map")
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    expected = [np.asarray(getattr(written, name)).astype(float).sum() for name in ARRAYS]
    assert json.loads(output) == pytest.approx(expected) and len(ARRAYS) == 8
    assert PlaceMap.load(tmp_path / "map").fingerprint == "five"


def test_a_map_of_many_tiles_holds_no_files_open(tmp_path: Path) -> None:
    tiles = (tile(f"t{i:03d}", 1, i) for i in range(40))
    write_place_map(tmp_path / "map", header(), tiles)
    before = len(list(Path("/proc/self/fd").iterdir()))
    read = PlaceMap.load(tmp_path / "map")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert read.positions[:, 0].tolist() == list(range(40))


def test_saving_again_replaces_the_map(tmp_path: Path) -> None:
    example(4).save(tmp_path / "map")
    first = files_in(tmp_path / "map")
    (tmp_path / "map" / "notes.txt").write_text("of the user")
    example(7).save(tmp_path / "map")
    assert len(PlaceMap.load(tmp_path / "map")) == 7
    assert len(files_in(tmp_path / "map")) == len(first) + 1, "the old tiles are removed"
    assert (tmp_path / "map" / "notes.txt").exists() and names_in(tmp_path) == ["map"]


def test_readers_always_find_one_complete_map(tmp_path: Path) -> None:
    maps = [example(4, "four"), example(7, "seven")]
    maps[0].save(tmp_path / "map")

    def write() -> None:
        for number in range(60):
            maps[number % 2].save(tmp_path / "map")

    writer = Thread(target=write)
    writer.start()
    loaded = []
    while writer.is_alive():
        loaded.append(PlaceMap.load(tmp_path / "map"))
    writer.join()
    assert {(len(read), read.fingerprint) for read in loaded} <= {(4, "four"), (7, "seven")}
    assert loaded and names_in(tmp_path) == ["map"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(MapFormatError, match="not a place map"):
        example().save(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"
    assert names_in(tmp_path) == ["thesis"]


def test_another_checkpoint_is_refused() -> None:
    example().check_made_by("abc")
    with pytest.raises(MapFormatError, match="build the map again"):
        example().check_made_by("def")


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "empty":
        content = bytearray()
    elif how == "truncated":
        del content[-100:]
    elif how == "longer":
        content += b"more"
    elif how == "garbage":
        content[:] = bytes(len(content))
    elif how == "huge header":
        content[:8] = (2**62).to_bytes(8, "little")
    elif how == "foreign":
        content = content.replace(b"place tile/1", b"place tile/9")
    elif how == "shape":
        content = content.replace(b"[4,6,8]", b"[4,8,6]")
    elif how == "offset":
        content = content.replace(b'"data_offsets":[0,', b'"data_offsets":[8,')
    elif how == "position":
        position = np.asarray(example().positions[0, 0]).tobytes()
        content[content.index(position)] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "how",
    [
        "empty", "truncated", "longer", "garbage", "huge header", "foreign", "shape", "offset",
        "position",
    ],
)  # fmt: skip
def test_a_damaged_tile_is_named(tmp_path: Path, how: str) -> None:
    example().save(tmp_path / "map")
    (path,) = (tmp_path / "map" / "tiles").iterdir()
    before = path.read_bytes()
    damage(path, how)
    assert path.read_bytes() != before
    with pytest.raises(MapFormatError, match=rf"map/tiles/{path.name}.*(again|restore)"):
        PlaceMap.load(tmp_path / "map")


def test_a_missing_or_unreadable_file_is_named(tmp_path: Path) -> None:
    example().save(tmp_path / "map")
    (path,) = (tmp_path / "map" / "tiles").iterdir()
    path.unlink()
    with pytest.raises(MapFormatError, match=rf"tiles/{path.name} is missing"):
        PlaceMap.load(tmp_path / "map")
    path.mkdir()
    with pytest.raises(MapFormatError, match=rf"tiles/{path.name} cannot be read"):
        PlaceMap.load(tmp_path / "map")


def test_a_changed_bit_of_the_shared_arrays_is_found(tmp_path: Path) -> None:
    example().save(tmp_path / "map")
    (path,) = (tmp_path / "map").glob("shared-*")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(MapFormatError, match=rf"{path.name} is damaged"):
        PlaceMap.load(tmp_path / "map")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"places": 4', '"places": 5', "was changed or is damaged"),
        ('"abc"', '"abd"', "was changed or is damaged"),
        ("}", "", "not valid JSON"),
        ("place map/5", "place map/6", "newer .*update scmpr_ros"),
        ("place map/5", "place map/3", "format 'scmpr_ros place map/3', expected"),
        ("scmpr_ros place map/5", "other", "format 'other', expected"),
    ],
)
def test_damaged_metadata_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    example().save(tmp_path / "map")
    path = tmp_path / "map" / "metadata.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(MapFormatError, match=f"metadata.json: .*{message}|{message}"):
        PlaceMap.load(tmp_path / "map")


@pytest.mark.parametrize("content", ["[1, 2]", '"text"', "[" * 100_000, "{}", "\x00", "1"])
def test_metadata_of_something_else(tmp_path: Path, content: str) -> None:
    (tmp_path / "metadata.json").write_text(content)
    with pytest.raises(MapFormatError, match=r"metadata.json: (format|not valid JSON)"):
        PlaceMap.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "index", "value", "message"),
    [
        ("positions", (2, 1), np.nan, "place 2 is invalid .*finite"),
        ("axes", (3, 0, 0), np.inf, "place 3 is invalid .*finite"),
        ("headings_rad", (5,), np.nan, "row 5 is invalid .*finite"),
        ("descriptors", (1, 5, 7), np.nan, "place 1 is invalid .*unit length"),
        ("descriptors", (1, 5, 7), np.inf, "place 1 is invalid .*unit length"),
        ("descriptors", (3, 0), 0, "place 3 is invalid .*unit length"),
        ("descriptors", (0, 2, 3), 1, "place 0 is invalid .*unit length"),
        ("panorama_labels", (2, 3, 11), 15, "place 2 is invalid .*labels end at 14"),
        ("panorama_ranges", (1, 0, 0), -1, "place 1 is invalid .*negative"),
        ("confusion", (0, 1), np.nan, "row 0 is invalid .*finite"),
        ("context", (7, 4), -np.inf, "row 7 is invalid .*finite"),
    ],
)
def test_invalid_values_are_not_saved(
    tmp_path: Path, name: str, index: tuple[int, ...], value: float, message: str
) -> None:
    good = example()
    array = np.array(getattr(good, name))
    array[index] = value
    name = name.removesuffix("_rad")
    bad = replace(good, **{"headings_rad" if name == "headings" else name: array})
    with pytest.raises(MapFormatError, match=f"map is not written: .*{name}: {message}"):
        bad.save(tmp_path / "map")
    assert names_in(tmp_path) == []
    good.save(tmp_path / "map")
    with pytest.raises(MapFormatError, match="is not written"):
        bad.save(tmp_path / "map")
    np.testing.assert_array_equal(
        PlaceMap.load(tmp_path / "map").descriptors, np.asarray(good.descriptors)
    )


def test_a_missing_or_empty_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MapFormatError, match=r"nowhere: no place map there"):
        PlaceMap.load(tmp_path / "nowhere")
    with pytest.raises(MapFormatError, match=r"metadata.json is missing"):
        PlaceMap.load(tmp_path)
    with pytest.raises(MapFormatError, match="no places"):
        example(0)


def test_a_changed_label_is_found_when_it_is_used(tmp_path: Path) -> None:
    """Opening a map does not read it all, but nothing may fail because of what it holds."""
    example().save(tmp_path / "map")
    (path,) = (tmp_path / "map" / "tiles").iterdir()
    labels = np.asarray(example().panorama_labels).tobytes()
    changed = bytearray(path.read_bytes())
    changed[changed.index(labels) + 100] |= 0x40
    path.write_bytes(changed)
    read = PlaceMap.load(tmp_path / "map")
    panoramas = Panoramas(read.panorama_labels, read.panorama_ranges)
    panoramas.of([0, 1])
    with pytest.raises(MapFormatError, match=r"unknown label \d+.*verify_map"):
        panoramas.of([2])
