"""The report: which queries it shows, its numbers, and that it draws every kind of drive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scored_drives import straight_drive
from tracked_drives import tracked_drive

from scmpr_ros.errors import ShapeError
from scmpr_ros.evaluation.localized_drive import LocalizedDrive
from scmpr_ros.evaluation.map_view import BACKGROUND, view_from_above
from scmpr_ros.evaluation.metrics import Tolerance
from scmpr_ros.evaluation.report import ReportScene, choose_queries, draw_report, number_tiles
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.records import PointCloud
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.semantics import class_id, label_confusion


def scene(drive: LocalizedDrive, labelled: bool) -> ReportScene:
    rng, places = np.random.default_rng(0), 6
    xyz = rng.uniform((-20, -20, 0), (60, 60, 5), (4000, 3)).astype(np.float32)
    label = rng.integers(0, 9, len(xyz)).astype(np.uint8) if labelled else None
    grid = AngularGrid(16, 96, 20, -20)
    place_map = PlaceMap(
        positions=np.stack([np.arange(places) * 5.0, np.zeros(places), np.ones(places)], axis=1),
        axes=np.tile(np.eye(3), (places, 1, 1)),
        headings_rad=np.arange(8) * np.pi / 4,
        descriptors=np.zeros((places, 8, 4), np.float16),
        panorama_labels=rng.integers(0, 9, (places, 16, 96)).astype(np.uint8),
        panorama_ranges=np.full((places, 16, 96), 10, np.float16),
        confusion=label_confusion(),
        context=np.zeros((9, 4), np.float32),
        grid=grid,
        fingerprint="0" * 64,
    )
    tolerance = Tolerance()
    scores = drive.score(place_map.positions, place_map.headings_rad, tolerance)
    return ReportScene(
        "A town", "seed 1", PointCloud(xyz, label), place_map, drive, tolerance, scores,
        tracked_drive(("LOST", "LOCALIZED")),
        lambda frame: np.full((60, 200, 3), 10 * frame, np.uint8), np.deg2rad(80),
    )  # fmt: skip


@pytest.mark.parametrize(("answers", "labelled"), [("rrwr-rrw", True), ("ww", False), ("-", True)])
def test_every_kind_of_drive_is_drawn(tmp_path: Path, answers: str, labelled: bool) -> None:
    path = tmp_path / "new" / "report.png"
    draw_report(scene(straight_drive(answers), labelled), path)
    with Image.open(path) as picture:
        assert picture.width > 1500 and picture.height > 900
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 100
    assert [p.name for p in path.parent.iterdir()] == ["report.png"]


def test_chosen_queries_are_spread_and_keep_the_proportion() -> None:
    tolerance = Tolerance()
    assert choose_queries(straight_drive("r" * 12), tolerance) == [1, 3, 5, 7, 9, 11]
    mostly_right = choose_queries(straight_drive("rrrrrrrrrw"), tolerance)
    assert len(mostly_right) == 6 and 9 in mostly_right
    mostly_wrong = choose_queries(straight_drive("wwwwwrwwww"), tolerance)
    assert len(mostly_wrong) == 6 and 5 in mostly_wrong
    assert choose_queries(straight_drive("r-w"), tolerance) == [0, 2]
    assert choose_queries(straight_drive("--"), tolerance) == []
    assert choose_queries(straight_drive("wwwwwwww"), tolerance) == [0, 2, 3, 4, 6, 7]


def test_tiles_show_unknown_numbers_as_none() -> None:
    tiles = dict(reversed(tile) for tile in number_tiles(scene(straight_drive("rw"), True).scores))
    assert tiles["Recall@1 (5 m, 30°)"] == "50.0%"
    assert tiles["latency, median"] == "100 ms"
    tiles = dict(reversed(tile) for tile in number_tiles(scene(straight_drive("-"), True).scores))
    assert tiles["median position error"] == "none"
    assert tiles["images answered"] == "0/1"


def test_view_from_above_shows_the_highest_point_where_it_lies() -> None:
    road, building = class_id("road"), class_id("building")
    xyz = np.array([[0.1, 0.1, 0.0], [0.1, 0.1, 3.0], [-4.9, 4.9, 0.0]], dtype=np.float32)
    cloud = PointCloud(
        xyz, np.array([road, building, road], np.uint8), origin=np.array([1e6, 0, 0])
    )
    view = view_from_above(cloud, np.array([1e6, 0.0]), 5.0, max_pixels=10)
    assert view.extent_m == (1e6 - 5, 1e6 + 5, -5.0, 5.0)
    painted = np.argwhere((view.rgb != BACKGROUND).any(axis=2)).tolist()
    assert painted == [[0, 0], [4, 5]]  # y = 4.9 is the first row, y = 0.1 above the middle
    red, green, blue = view.rgb[4, 5].astype(int)
    assert red == green == pytest.approx(blue, abs=2)  # a building is grey, a road is not
    assert view.rgb[0, 0, 1] < view.rgb[0, 0, 0] - 20
    empty = view_from_above(cloud, np.zeros(2), 5.0)
    assert (empty.rgb == BACKGROUND).all()
    with pytest.raises(ShapeError, match="positive size"):
        view_from_above(cloud, np.zeros(2), 0.0)
