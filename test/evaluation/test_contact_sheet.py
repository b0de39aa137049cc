"""The contact sheet of a tiny recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.contact_sheet import draw_contact_sheet
from scmpr_ros.semantics import CLASSES, class_id


def test_shows_images_masks_panoramas_and_the_map(recordings: Path, tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    draw_contact_sheet(recordings / "0000", path, {"01": "a street by day"})
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert picture.width > 1000 and picture.height > 1000
    colours = {tuple(c) for c in pixels[::3, ::3].reshape(-1, 3)}
    assert CLASSES[class_id("road")].rgb in colours, "of the masks"
    assert CLASSES[class_id("building")].rgb in colours
    assert len(colours) > 500, "images, ranges and the shaded map have many colours"


def test_needs_images(recordings: Path, tmp_path: Path) -> None:
    (tmp_path / "poses").mkdir()
    (tmp_path / "poses" / "00.txt").write_bytes((recordings / "0000/poses/00.txt").read_bytes())
    (tmp_path / "sequences").mkdir()
    (tmp_path / "sequences" / "00").symlink_to(recordings / "0000" / "sequences" / "00")
    with pytest.raises(DatasetError, match="has no images to show"):
        draw_contact_sheet(tmp_path, tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()
