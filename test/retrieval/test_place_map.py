"""A place map survives the disk, and nothing else passes for one."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from scmpr_ros.errors import MapFormatError
from scmpr_ros.geometry import AngularGrid, upright_axes
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.semantics import label_confusion


def example(places: int = 4, fingerprint: str = "abc") -> PlaceMap:
    rng = np.random.default_rng(0)
    return PlaceMap(
        positions=rng.normal(size=(places, 3)) + [4.5e5, 5.4e6, 100],
        axes=upright_axes(rng.normal(size=(places, 3), scale=0.1) + [0, 0, 1]),
        headings_rad=np.arange(6) * np.pi / 3,
        descriptors=rng.normal(size=(places, 6, 8)).astype(np.float16),
        panorama_labels=rng.integers(0, 9, (places, 4, 12), dtype=np.uint8),
        confusion=label_confusion({"pole": {"building": 1.0}}),
        context=rng.normal(size=(8, 5)).astype(np.float32),
        grid=AngularGrid(4, 12, 16.0, -16.0),
        fingerprint=fingerprint,
    )


def test_round_trip_is_exact_and_memory_mapped(tmp_path: Path) -> None:
    written = example()
    written.save(tmp_path / "map")
    read = PlaceMap.load(tmp_path / "map")
    for field in fields(PlaceMap):
        np.testing.assert_array_equal(getattr(read, field.name), getattr(written, field.name))
    assert isinstance(read.descriptors, np.memmap)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map"]


def test_saving_again_replaces_the_map(tmp_path: Path) -> None:
    example(4).save(tmp_path / "map")
    example(7).save(tmp_path / "map")
    assert len(PlaceMap.load(tmp_path / "map")) == 7
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(MapFormatError, match="not a place map"):
        example().save(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["thesis"]


def test_another_checkpoint_is_refused() -> None:
    example().check_made_by("abc")
    with pytest.raises(MapFormatError, match="build the map again"):
        example().check_made_by("def")


@pytest.mark.parametrize("damage", ["missing", "truncated", "garbage", "shape", "json", "format"])
def test_damage_is_named(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "map"
    example().save(folder)
    array, metadata = folder / "descriptors.npy", folder / "metadata.json"
    if damage == "missing":
        array.unlink()
    elif damage == "truncated":
        array.write_bytes(array.read_bytes()[:-100])
    elif damage == "garbage":
        array.write_bytes(b"not numpy")
    elif damage == "shape":
        np.save(array, np.zeros((4, 6, 9), np.float16))
    elif damage == "json":
        metadata.write_text("{")
    else:
        metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "format": "other"}))
    culprit = "metadata" if damage in ("json", "format") else "descriptors"
    with pytest.raises(MapFormatError, match=culprit):
        PlaceMap.load(folder)


def test_no_map_at_all(tmp_path: Path) -> None:
    with pytest.raises(MapFormatError, match="no place map there"):
        PlaceMap.load(tmp_path / "nowhere")
    with pytest.raises(MapFormatError, match="no places"):
        example(0)
