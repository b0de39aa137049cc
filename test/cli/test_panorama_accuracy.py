"""`benchmark panoramas` in a town made for the tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from scmpr_ros.cli import panorama_accuracy
from scmpr_ros.cli.benchmark import main
from scmpr_ros.town.streets.network import StreetNetworkConfig
from scmpr_ros.town.world import Town, TownConfig


@pytest.mark.slow
def test_rays_are_more_accurate_than_splats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    streets = StreetNetworkConfig(columns=2, rows=2, spacing_m=(45.0, 60.0), stub_m=(30.0, 40.0))
    small = Town.generate(3, TownConfig(streets))
    monkeypatch.setattr(panorama_accuracy.Town, "generate", lambda seed: small)
    settings = (
        "places=2", "spacing_m=4", "voxel_m=0.2", "scan_spacing_m=12", "max_range_m=20",
        "grids=[[32, 256]]",
    )  # fmt: skip
    arguments = ["panoramas", "--out", str(tmp_path), *(f"--settings.{s}" for s in settings)]
    assert main(arguments) == 0
    results = json.loads((tmp_path / "panoramas.json").read_text())["results"]
    accuracy = {(r["map"], r["way"]): r["accuracy"] for r in results}
    assert accuracy["perfect", "rays"]["coverage"] > 0.95
    assert accuracy["perfect", "rays"]["see_through"] < 0.05
    for name in ("perfect", "scanned"):
        rays, splats = (accuracy[name, way] for way in ("rays", "splats"))
        assert rays["labels"] > splats["labels"] and rays["too_near"] < splats["too_near"]
    assert "labels" in capsys.readouterr().out
    with Image.open(tmp_path / "panoramas.png") as picture:
        assert picture.width == 256


def test_places_must_fit_on_the_drive(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["panoramas", "--settings.places=0"]) != 0
    assert "must be positive" in capsys.readouterr().err
