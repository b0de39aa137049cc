"""`evaluate --trajectory` on a small recording, with a network of random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scmpr_ros.cli import evaluate as evaluate_script

TRIALS = ["--trials.settling_s", "0.5"]
UNTRACKED = ["--settings.tracking.refinement.enabled", "false"]  # which is slow, and not tested


def evaluate(folder: Path, checkpoint: Path, *options: str) -> int:
    """Exit code of the command with --trajectory."""
    arguments = [str(folder), "--checkpoint", str(checkpoint), "--trajectory", *options]
    return evaluate_script.main(arguments)


def test_a_drive_is_tracked_and_everything_is_written(
    recordings: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ["--starts", "2", "--odometry.drift", "0.1", "--out", str(out), *TRIALS, *UNTRACKED]
    assert evaluate(recordings / "0000", checkpoint, *options) == 0
    printed = capsys.readouterr().out
    for text in ("0000/01", "right when LOCALIZED", "NEES, mean", "wake-up: starts", "false locks"):
        assert text in printed
    assert "kidnap" not in printed and max(map(len, printed.splitlines())) <= 80
    assert sorted(path.name for path in out.iterdir()) == ["0000_01.png", "trajectory.json"]
    with Image.open(out / "0000_01.png") as picture:
        assert min(picture.size) > 800 and len(np.unique(np.asarray(picture))) > 50
    report = json.loads((out / "trajectory.json").read_text())
    assert report["places"] == "grid" and report["trials"]["odometry"]["drift"] == 0.1
    assert any("scale and of each metre 10.0%" in rule for rule in report["rules"])
    (drive,) = report["drives"]
    assert (drive["recording"], drive["drive"]) == ("0000", "01")
    assert drive["length_m"] == 22.0 and drive["duration_s"] == 1.1
    assert drive["num_images"] == 7, "twelve, less those of the first 0.5 s"
    assert len(drive["images"]["state"]) == 12 and len(drive["wake_ups"]) == 2
    assert drive["num_places"] > 12, "more than along the path"
    assert report["together"]["single_right"] == drive["single_right"]
    assert f"{drive['right']:.1%}" in printed
    assert report["settings"]["tracking"]["refinement"]["enabled"] is False


def test_the_path_without_odometry_is_shown_in_rerun(
    recordings: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rerun", reason="rerun-sdk is not installed: the extra `viewer`")
    path = tmp_path / "drive.rrd"
    options = ["--places", "path", "--no-odometry", "--rerun", str(path), *TRIALS, *UNTRACKED]
    assert evaluate(recordings / "0001", checkpoint, *options) == 0
    assert "no odometry" in capsys.readouterr().out
    content = path.read_bytes()
    for entity in (b"estimate/covariance", b"belief/off_map", b"truth/track", b"error_m/tracked"):
        assert entity in content
    assert len(content) > 12 * 2000, "with the images"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--sequences", "07"], "has no drive 07 with images: it has 01"),
        ([], r"lasts 1.1 s, but numbers begin 15 s after its start: set --trials.settling_s"),
        (["--kidnaps", "1", *TRIALS], "is too short to be kidnapped on"),
        (["--table", "kitti"], "--trajectory goes without --table"),
        (["--starts", "-1", *TRIALS], "trials.starts cannot be -1"),
    ],
)
def test_mistakes_are_one_line(
    options: list[str], problem: str, recordings: Path, checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert evaluate(recordings / "0000", checkpoint, *options) == 1
    error = capsys.readouterr().err
    assert error.startswith("evaluate: ") and problem in error and error.count("\n") == 1


def test_a_recording_of_rerun_holds_one_drive(
    recordings: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rerun", reason="rerun-sdk is not installed: the extra `viewer`")
    options = ["--rerun", str(tmp_path / "a.rrd"), *TRIALS]
    assert evaluate(recordings / "0000", checkpoint, str(recordings / "0001"), *options) == 1
    assert "--rerun shows one drive, not 01, 01" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_options_of_trajectories_need_one(
    recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate_script.main([str(recordings / "0000"), "--starts", "3"]) == 1
    assert "--starts is for --trajectory, which is not given" in capsys.readouterr().err
