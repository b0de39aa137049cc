"""`compare_drives` on tiny recordings: its files, its output and its errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from scmpr_ros.cli import compare_drives


def test_statistics_and_picture(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "compare"
    first, second = recordings / "0000", recordings / "0001"
    arguments = [str(first), f"both={first},{second}", "--out", str(out)]
    assert compare_drives.main(arguments) == 0
    numbers = json.loads((out / "statistics.json").read_text())
    alone, both = numbers["recordings"]
    assert (alone["name"], both["name"]) == ("0000", "both")
    assert (alone["summary"]["images"], both["summary"]["images"]) == (12, 24)
    assert (alone["summary"]["scans"], both["summary"]["masks"]) == (16, 24)
    assert numbers["distances_to_first"]["both"]["pixel classes"]["wasserstein"] == 0
    assert numbers["distances_to_first"]["both"]["luminance"]["wasserstein"] > 0
    with Image.open(out / "statistics.png") as picture:
        assert picture.width > 1500 and picture.height > 1000
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 100
    assert sorted(p.name for p in out.iterdir()) == ["statistics.json", "statistics.png"]
    printed = capsys.readouterr().out
    assert "luminance, mean" in printed and "Distance to 0000" in printed and "both" in printed


def test_recording_without_images(recordings: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    shutil.copytree(recordings / "0000", folder)
    shutil.rmtree(folder / "sequences" / "01")
    assert compare_drives.main([str(folder), "--out", str(tmp_path / "out")]) == 0
    numbers = json.loads((tmp_path / "out" / "statistics.json").read_text())
    assert numbers["recordings"][0]["summary"]["images"] == 0
    assert "luminance" not in numbers["recordings"][0]["distributions"]
    with Image.open(tmp_path / "out" / "statistics.png") as picture:
        assert picture.width > 1500


def test_errors_are_one_line(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert compare_drives.main([str(tmp_path / "nowhere"), *out]) == 1
    assert "compare_drives: no recording" in capsys.readouterr().err
    empty = tmp_path / "empty"
    (empty / "sequences").mkdir(parents=True)
    (empty / "poses").symlink_to(recordings / "0000" / "poses")
    (empty / "sequences" / "00").mkdir()
    for name in ("calib.txt", "times.txt"):
        shutil.copy(recordings / "0000" / "sequences" / "00" / name, empty / "sequences" / "00")
    assert compare_drives.main([str(empty), *out]) == 1
    assert "empty: neither images nor scans" in capsys.readouterr().err
    folder = str(recordings / "0000")
    assert compare_drives.main([folder, folder, *out]) == 1
    assert "different names" in capsys.readouterr().err
    assert compare_drives.main([folder, *out, "--settings.frames", "0"]) == 1
    assert "frames is 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        compare_drives.main(["--help"])
    text = capsys.readouterr().out
    assert "Wasserstein-1" in text and "Example: compare_drives" in text
