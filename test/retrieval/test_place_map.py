"""Place maps are saved and loaded exactly; damaged maps are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from scmpr_ros.errors import MapFormatError
from scmpr_ros.geometry import AngularGrid, upright_axes
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.semantics import label_confusion

READ_AFTER_LOADING = """
import sys
from pathlib import Path
from scmpr_ros.retrieval.place_map import PlaceMap

place_map = PlaceMap.load(Path(sys.argv[1]))
print("loaded", flush=True)
sys.stdin.read()
print([float(vars(place_map)[name].astype(float).sum()) for name in sys.argv[2:]])
"""
DIE_WHILE_SAVING = """
import os, signal, sys
from pathlib import Path
import numpy as np
from scmpr_ros.retrieval.place_map import PlaceMap

place_map = PlaceMap.load(Path(sys.argv[1]))
save = np.save
def save_and_die(path, array):
    save(path, array)
    if path.stem == "descriptors":
        os.kill(os.getpid(), signal.SIGKILL)
np.save = save_and_die
place_map.save(Path(sys.argv[1]))
"""


def example(places: int = 4, fingerprint: str = "abc") -> PlaceMap:
    rng = np.random.default_rng(0)
    descriptors = rng.normal(size=(places, 6, 8))
    return PlaceMap(
        positions=rng.normal(size=(places, 3)) + [4.5e5, 5.4e6, 100],
        axes=upright_axes(rng.normal(size=(places, 3), scale=0.1) + [0, 0, 1]),
        headings_rad=np.arange(6) * np.pi / 3,
        descriptors=(descriptors / np.linalg.norm(descriptors, axis=2, keepdims=True)).astype(
            np.float16
        ),
        panorama_labels=rng.integers(0, 9, (places, 4, 12), dtype=np.uint8),
        panorama_ranges=rng.uniform(0, 50, (places, 4, 12)).astype(np.float16),
        confusion=label_confusion({"pole": {"building": 1.0}}),
        context=rng.normal(size=(8, 5)).astype(np.float32),
        grid=AngularGrid(4, 12, 16.0, -16.0),
        fingerprint=fingerprint,
    )


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_round_trip_is_exact(tmp_path: Path) -> None:
    written = example()
    written.save(tmp_path / "map")
    read = PlaceMap.load(tmp_path / "map")
    for field in fields(PlaceMap):
        np.testing.assert_array_equal(getattr(read, field.name), getattr(written, field.name))
    assert names_in(tmp_path) == ["map"]


def test_overwriting_the_files_of_a_map_in_use_does_no_harm(tmp_path: Path) -> None:
    """With memory-mapped arrays the process would die of SIGBUS."""
    written = example()
    written.save(tmp_path / "map")
    names = [name for name, value in vars(written).items() if isinstance(value, np.ndarray)]
    command = [sys.executable, "-c", READ_AFTER_LOADING, str(tmp_path / "map"), *names]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "loaded\n"
        for path in (tmp_path / "map").iterdir():
            path.write_bytes(b"")
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    expected = [getattr(written, name).astype(float).sum() for name in names]
    assert json.loads(output) == pytest.approx(expected) and len(names) == 8


def test_saving_again_replaces_the_map(tmp_path: Path) -> None:
    example(4).save(tmp_path / "map")
    example(7).save(tmp_path / "map")
    assert len(PlaceMap.load(tmp_path / "map")) == 7
    assert names_in(tmp_path) == ["map"]


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


def test_leftovers_of_a_killed_save_are_removed(tmp_path: Path) -> None:
    example(4).save(tmp_path / "map")
    command = [sys.executable, "-c", DIE_WHILE_SAVING, str(tmp_path / "map")]
    assert subprocess.run(command, timeout=60).returncode == -9
    assert len(PlaceMap.load(tmp_path / "map")) == 4
    example(7).save(tmp_path / "map")
    assert names_in(tmp_path) == ["map"]


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


def damage_array(damage: str, path: Path) -> None:
    if damage == "missing":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "longer":
        path.write_bytes(path.read_bytes() + b"more")
    elif damage == "garbage":
        path.write_bytes(b"not numpy")
    elif damage == "zip":
        np.savez(path.with_suffix(".npz"), np.zeros(3))
        path.with_suffix(".npz").rename(path)
    elif damage == "pickle":
        np.save(path, np.array([{}]))
    elif damage == "header":
        path.write_bytes(path.read_bytes().replace(b"(4, 6, 8)", b"(4, 6, 8000000000000)"))
    else:
        np.save(path, np.zeros((4, 6, 9), np.float16))


@pytest.mark.parametrize(
    "damage",
    ["missing", "empty", "truncated", "longer", "garbage", "zip", "pickle", "header", "shape"],
)
def test_a_damaged_array_is_named(tmp_path: Path, damage: str) -> None:
    example().save(tmp_path / "map")
    damage_array(damage, tmp_path / "map" / "descriptors.npy")
    with pytest.raises(MapFormatError, match=r"map/descriptors.npy"):
        PlaceMap.load(tmp_path / "map")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (None, "not valid JSON"),
        ([1, 2], "format None"),
        ({"format": "other"}, "format 'other', expected"),
        ({"grid": {"height": 4}}, "damaged content .*missing"),
        ({"grid": {"height": 0, "width": 1, "fov_up_deg": 1, "fov_down_deg": 0}}, "damaged"),
        ({"shapes": {}}, "damaged content .*positions"),
        ({"shapes": None}, "damaged content"),
    ],
)
def test_damaged_metadata_is_named(tmp_path: Path, changes: object, message: str) -> None:
    example().save(tmp_path / "map")
    path = tmp_path / "map" / "metadata.json"
    whole = json.loads(path.read_text())
    content = {**whole, **changes} if isinstance(changes, dict) else changes
    path.write_text("{" if changes is None else json.dumps(content))
    with pytest.raises(MapFormatError, match=f"metadata.json: .*{message}"):
        PlaceMap.load(tmp_path / "map")


@pytest.mark.parametrize(
    ("name", "index", "value", "message"),
    [
        ("positions", (2, 1), np.nan, "place 2 is invalid .*finite"),
        ("axes", (3, 0, 0), np.inf, "place 3 is invalid .*finite"),
        ("headings", (5,), np.nan, "row 5 is invalid .*finite"),
        ("descriptors", (1, 5, 7), np.nan, "place 1 is invalid .*unit length"),
        ("descriptors", (1, 5, 7), np.inf, "place 1 is invalid .*unit length"),
        ("descriptors", (3, 0), 0, "place 3 is invalid .*unit length"),
        ("descriptors", (0, 2, 3), 1, "place 0 is invalid .*unit length"),
        ("panorama_labels", (2, 3, 11), 15, "place 2 is invalid .*labels end at 14"),
        ("confusion", (0, 1), np.nan, "row 0 is invalid .*finite"),
        ("context", (7, 4), -np.inf, "row 7 is invalid .*finite"),
    ],
)
def test_invalid_values_are_neither_loaded_nor_saved(
    tmp_path: Path, name: str, index: tuple[int, ...], value: float, message: str
) -> None:
    good = example()
    good.save(tmp_path / "map")
    path = tmp_path / "map" / f"{name}.npy"
    array = np.load(path, allow_pickle=False)
    array[index] = value
    np.save(path, array)
    with pytest.raises(MapFormatError, match=f"map/{name}.npy: {message}"):
        PlaceMap.load(tmp_path / "map")
    bad = replace(good, **{"headings_rad" if name == "headings" else name: array})
    with pytest.raises(MapFormatError, match=f"map is not written: {name} .*{message}"):
        bad.save(tmp_path / "map")


def test_an_array_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example().save(tmp_path / "map")
    path, read = tmp_path / "map" / "descriptors.npy", np.lib.format.read_array

    def read_and_grow(file: object, **options: object) -> np.ndarray:
        array = read(file, **options)
        path.write_bytes(path.read_bytes() * 2)
        return array

    monkeypatch.setattr(np.lib.format, "read_array", read_and_grow)
    with pytest.raises(MapFormatError, match=r"descriptors.npy changed while it was read"):
        PlaceMap.load(tmp_path / "map")


def test_a_missing_or_empty_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MapFormatError, match=r"nowhere: no place map there"):
        PlaceMap.load(tmp_path / "nowhere")
    with pytest.raises(MapFormatError, match=r"metadata.json is missing"):
        PlaceMap.load(tmp_path)
    with pytest.raises(MapFormatError, match="no places"):
        example(0)
