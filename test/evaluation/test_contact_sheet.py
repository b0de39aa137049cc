"""A small town at a glance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scmpr_ros.cli.make_town import TownOptions, make_towns
from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.contact_sheet import draw_contact_sheet
from scmpr_ros.town.benchmark import time_task
from scmpr_ros.town.drives import DriveConfig
from scmpr_ros.town.export import Task, TownExportConfig
from scmpr_ros.town.sensors.lidar import LidarConfig
from scmpr_ros.town.streets.network import StreetNetworkConfig
from scmpr_ros.town.traversal import TraversalConfig
from scmpr_ros.town.world import TownConfig

DRIVE = DriveConfig(spacing_m=12.0, length_m=60.0)
CONFIG = TownExportConfig(
    image_width=124, image_height=38, lidar=LidarConfig(rings=16, columns=256),
    town=TownConfig(StreetNetworkConfig(columns=2, rows=2)),
    traversals=(
        TraversalConfig(images=False, drive=DRIVE),
        TraversalConfig(1, scans=False, condition="night", season="summer", drive=DRIVE),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("towns") / "0004"
    make_towns({4: folder}, TownOptions(sheet=True), CONFIG, jobs=1)
    return folder


def test_shows_images_masks_panoramas_and_the_map(town: Path) -> None:
    with Image.open(town / "town.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert picture.width > 1000 and picture.height > 1000
    colours = {tuple(c) for c in pixels[::3, ::3].reshape(-1, 3)}
    assert (128, 64, 128) in colours, "the road of the masks"
    assert len(colours) > 500, "photographs have many colours"


def test_needs_images(town: Path, tmp_path: Path) -> None:
    (tmp_path / "poses").mkdir()
    (tmp_path / "poses" / "00.txt").write_bytes((town / "poses/00.txt").read_bytes())
    (tmp_path / "sequences").mkdir()
    (tmp_path / "sequences" / "00").symlink_to(town / "sequences/00")
    with pytest.raises(DatasetError, match="has no images to show"):
        draw_contact_sheet(tmp_path, tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


def test_frames_are_timed_stage_by_stage(tmp_path: Path) -> None:
    once_s, seconds, stages = time_task(Task(tmp_path / "timed", 4, CONFIG, 1, range(1, 4)))
    assert once_s > 0 and seconds > 0
    assert {"traffic", "cast", "shading", "shadows", "development", "files"} <= set(stages)
    whole = stages.pop("whole frame")
    assert sum(stages.values()) <= whole == pytest.approx(1000 * seconds / 3)
    assert not (tmp_path / "timed").exists(), "what was written for timing is removed"
