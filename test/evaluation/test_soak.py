"""What a soak test's measurements come to, and a short one with real nodes."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from scmpr_ros.cli.benchmark import main
from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.benchmark.soak import (
    Growth,
    Latency,
    ProcessUse,
    SoakConfig,
    SoakReport,
)


def test_use_of_this_process() -> None:
    gate = threading.Event()
    before = ProcessUse.of(os.getpid())
    thread = threading.Thread(target=gate.wait)
    thread.start()
    with Path("/dev/null").open():
        during = ProcessUse.of(os.getpid())
    gate.set()
    thread.join()
    assert during.threads == before.threads + 1 and during.files == before.files + 1
    assert 10 < before.rss_mb < 100_000


def test_growth_ignores_the_warm_up() -> None:
    rss = [100.0, 300.0, *[500.0] * 16, 504.0, 506.0]
    uses = [ProcessUse(value, 7, 20) for value in rss]
    uses[-1] = ProcessUse(506.0, 8, 23)
    assert Growth.of(uses) == Growth(5.0, 1, 3, 500.0)
    assert Growth.of(uses[:9]) is None


def test_report(tmp_path: Path) -> None:
    path = tmp_path / "measurements.json"
    path.write_text(json.dumps({
        "latencies_s": [0.1] * 10 + [None, 0.2] * 40 + [0.3] * 5 + [None] * 5,
        "counts": {"received": 100, "dropped": 45}, "uses": [], "cycles": [], "cycle_s": 0.0,
        "overload": {"period_s": 0.1, "rate_hz": 30.0, "images": 6, "ages_s": [0.12] * 4},
    }))  # fmt: skip
    report = SoakReport.load(path)
    assert (report.images, report.answers, report.counts["dropped"]) == (100, 55, 45)
    assert report.first_tenth == Latency(100.0, 100.0, 100.0)
    assert report.last_tenth == Latency(300.0, 300.0, 300.0)
    assert report.growth is None and report.cycles == 0 and report.cycle_growth is None
    assert report.overload is not None
    assert report.overload.answers == 4 and report.overload.images == 6
    assert report.overload.age_in_periods == pytest.approx(1.2)


def test_impossible_settings() -> None:
    with pytest.raises(ConfigError, match="must be positive"):
        SoakConfig(rate_hz=0.0)
    with pytest.raises(ConfigError, match="must not be negative"):
        SoakConfig(lifecycle=-1)


@pytest.mark.slow
@pytest.mark.end_to_end
def test_soak_of_a_real_localizer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")
    settings = {"images": 30, "rate_hz": 20, "overload_images": 30, "lifecycle": 2,
                "backbone": "nano", "places": 20, "image_size": [96, 160]}  # fmt: skip
    arguments = [f"--settings.{name}={value}" for name, value in settings.items()]
    assert main(["soak", "--out", str(tmp_path), *arguments]) == 0
    results = json.loads((tmp_path / "soak.json").read_text())["results"]
    assert results["images"] == 30 and results["answers"] > 0 and results["cycles"] == 2
    counts = results["counts"]
    outcomes = sum(counts[outcome] for outcome in ("localized", "dropped", "failed"))
    assert results["answers"] <= counts["localized"] and counts["received"] == outcomes
    # A busy machine may let a newer image replace one before the node takes it.
    assert counts["received"] <= counts["sent"] and counts["sent"] >= 30 + 3
    assert results["overload"]["answers"] > 0
    assert "growth after warm-up" in capsys.readouterr().out
