"""Maps of format 4 open as they did, and are migrated."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest
from place_maps import example, files_in

from scmpr_ros.errors import MapFormatError
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.retrieval.place_map.operations import box, crop_place_map, migrate_place_map
from scmpr_ros.retrieval.place_map.verification import faults_of

ARRAYS = (
    "positions", "axes", "headings", "descriptors", "panorama_labels", "panorama_ranges",
    "confusion", "context",
)  # fmt: skip


def write_format_4(place_map: PlaceMap, folder: Path) -> None:
    folder.mkdir()
    shapes = {}
    for name in ARRAYS:
        array = np.asarray(getattr(place_map, "headings_rad" if name == "headings" else name))
        np.save(folder / f"{name}.npy", array)
        shapes[name] = array.shape
    metadata = {
        "format": "scmpr_ros place map/4", "fingerprint": place_map.fingerprint,
        "grid": asdict(place_map.grid), "shapes": shapes,
    }  # fmt: skip
    (folder / "metadata.json").write_text(json.dumps(metadata))


def test_opens_and_migrates(tmp_path: Path) -> None:
    written, folder = example(), tmp_path / "map"
    write_format_4(written, folder)
    (folder / "built_from.yaml").write_text("source: somewhere")
    opened = PlaceMap.load(folder)
    assert faults_of(folder) == []
    with pytest.raises(MapFormatError, match=r"verify_map --migrate"):
        crop_place_map(folder, tmp_path / "part", box((0, 0), (1, 1)))
    assert migrate_place_map(folder) and not migrate_place_map(folder)
    migrated = PlaceMap.load(folder)
    for field in fields(PlaceMap):
        for read in (opened, migrated):
            np.testing.assert_array_equal(getattr(read, field.name), getattr(written, field.name))
    assert faults_of(folder) == []
    assert [name for name in files_in(folder) if name.endswith(".npy")] == []
    assert (folder / "built_from.yaml").exists()


@pytest.mark.parametrize("how", ["missing", "empty", "truncated", "longer", "header", "shape"])
def test_a_damaged_array_is_named(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "map"
    write_format_4(example(), folder)
    path = folder / "descriptors.npy"
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(content[:-100])
    elif how == "longer":
        path.write_bytes(content + b"more")
    elif how == "header":
        path.write_bytes(content.replace(b"(4, 6, 8)", b"(4, 6, 8000000000000)"))
    else:
        np.save(path, np.zeros((4, 6, 9), np.float16))
    with pytest.raises(MapFormatError, match=r"map/descriptors.npy"):
        PlaceMap.load(folder)
    assert len(faults_of(folder)) == 1
    with pytest.raises(MapFormatError, match=r"map/descriptors.npy"):
        migrate_place_map(folder)
    assert (folder / "positions.npy").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": {"height": 4}}, "damaged content .*missing"),
        ({"grid": {"height": 0, "width": 1, "fov_up_deg": 1, "fov_down_deg": 0}}, "damaged"),
        ({"shapes": {}}, "damaged content .*positions"),
        ({"shapes": None}, "damaged content"),
    ],
)
def test_damaged_metadata_is_named(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    write_format_4(example(), tmp_path / "map")
    path = tmp_path / "map" / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(MapFormatError, match=f"metadata.json: .*{message}"):
        PlaceMap.load(tmp_path / "map")


def test_invalid_values_are_refused(tmp_path: Path) -> None:
    write_format_4(example(), tmp_path / "map")
    path = tmp_path / "map" / "panorama_labels.npy"
    labels = np.load(path)
    labels[2, 3, 11] = 15
    np.save(path, labels)
    with pytest.raises(MapFormatError, match=r"panorama_labels.npy: place 2 .*labels end at 14"):
        PlaceMap.load(tmp_path / "map")
