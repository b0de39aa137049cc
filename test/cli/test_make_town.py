"""`make_town`: one-line errors and help."""

from __future__ import annotations

from pathlib import Path

import pytest

from scmpr_ros.cli import make_town


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--drives", "clear", "sleet"], "condition 'sleet': expected any or one of clear, over"),
        (["--drives", "clear/monsoon"], "season 'monsoon': expected any or one of summer"),
        (["--rings", "0"], "a LiDAR of 0 rings x 1024 columns: at least 1 x 1"),
        (["--length_m", "1"], "a drive of 1.0 m with a pose every 1.5 m: poses are at least"),
        (["--seeds", "-1"], "-1"),
        (["--jobs", "0"], "0 processes do nothing: at least 1"),
        (["--image_width", "8"], "show nothing: at least 16x16"),
        (["--rig", "nuscenes"], "no sensor rig 'nuscenes'; there are kitti, kitti360"),
        (["--layout", "nowhere/07.txt"], "nowhere/07.txt"),
    ],
)
def test_invalid_options_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    out = tmp_path / "towns"
    assert make_town.main(["--seeds", "5", "--out", str(out), *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("make_town: ") and error.count("\n") == 1
    assert message in error
    assert not list(tmp_path.rglob("*.bin"))


def test_help_lists_conditions_and_formats(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_town.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for word in ("clear, overcast, dusk, night, fog, rain", "KITTI odometry poses", "rosbag2"):
        assert word in text
