"""Suites: all kinds of entries on tiny recordings, what is missing, and the real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from recording import write_labelled_scans, write_recording

from scmpr_ros.cli import evaluate as evaluate_script
from scmpr_ros.config import from_dict, load_yaml
from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.evaluate import EvaluationConfig, evaluate_recording
from scmpr_ros.evaluation.suite.config import SuiteConfig
from scmpr_ros.evaluation.suite.run import run_suite
from scmpr_ros.lidar.cloud_files import read_cloud
from scmpr_ros.methods.checkpoint import fingerprint, load_checkpoint
from scmpr_ros.methods.lip_loc.network import LipLocConfig, LipLocNetwork
from scmpr_ros.methods.network import PlaceNetwork
from scmpr_ros.records import Mount
from scmpr_ros.resources import DEFAULT_CHECKPOINT, resource

SUITE: dict[str, Any] = {
    "recall": [
        {"name": f"street {places}", "recording": "0000", "places": places, "drive": "01"}
        for places in ("path", "grid", "bare")
    ],
    "ranks": [{"name": "ranks", "recording": "0000", "drive": "00", "pairs": [[3, 4], [9, 0]]}],
    "reading": [{"name": "reading", "recording": "0000", "drive": "01"}],
    "masks": [
        {
            "name": "walls", "images": "0000/sequences/01/image_2",
            "masks": "0000/sequences/01/mask_2",
            "camera": {"width": 128, "height": 48, "fx": 75, "fy": 75, "cx": 63.5, "cy": 23.5},
            "classes": {11: "building", 7: "road"},
        }
    ],
    "points": [
        {
            "name": "scan", "scan": "0000/sequences/00/velodyne/000000.bin",
            "labels": "0000/sequences/00/labels/000000.label",
        }
    ],
    "off_map": [
        {"name": "elsewhere", "images": "0000", "drive": "01", "map": "0001"},
        {"name": "in a town", "images": "0000", "drive": "01"},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings. The mapping drive of the first has labelled scans, and images as well."""
    folder = tmp_path_factory.mktemp("data")
    street = write_recording(folder / "0000", seed=0)
    write_labelled_scans(street, read_cloud(street / "map.ply"))
    (street / "sequences/00/image_2").symlink_to(street / "sequences/01/image_2")
    write_recording(folder / "0001", seed=1)
    return folder


def write_suite_file(folder: Path, content: dict[str, Any]) -> str:
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.fixture(scope="module")
def measured(
    data: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """Results of all kinds by name, as the command writes them."""
    folder = tmp_path_factory.mktemp("out")
    arguments = ["--suite", write_suite_file(folder, SUITE), "--data", str(data)]
    arguments += ["--town", str(data / "0001"), "--checkpoint", str(checkpoint)]
    assert evaluate_script.main([*arguments, "--out", str(folder / "out")]) == 0
    content = json.loads((folder / "out/suite.json").read_text())
    assert content["provenance"]["fingerprint"] == fingerprint(load_checkpoint(checkpoint))
    assert content["provenance"]["changed_settings"] == {}
    markdown = (folder / "out/suite.md").read_text()
    for result in content["results"]:
        assert f"| {result['entry']['name']} |" in markdown and result["wall_s"] > 0
    return {result["entry"]["name"]: result["numbers"] for result in content["results"]}


def test_recall_equals_that_of_the_plain_command(
    measured: dict[str, dict[str, Any]], data: Path, network: PlaceNetwork
) -> None:
    results = evaluate_recording(data / "0000", network, EvaluationConfig(segmenters=True))
    (plain,) = (result for result in results if result.provenance.drive == "01")
    street = measured["street path"]
    for name in ("recall_at_1", "recall_at_5", "recall_at_10", "chance"):
        assert street[name] == pytest.approx(getattr(plain.scores, name))
    assert street["recall_at_1_interval"] == pytest.approx(plain.scores.recall_at_1_interval)
    assert plain.scores.calibration is not None
    error = plain.scores.calibration.expected_calibration_error
    assert street["expected_calibration_error"] == pytest.approx(error)
    assert (street["num_images"], street["num_places"]) == (12, plain.scores.num_places)
    # The same cells are counted from images and masks alone; the localizer may use bfloat16.
    assert plain.image_iou is not None
    walls = {name: measured["walls"][name] for name in plain.image_iou}
    assert walls == pytest.approx(plain.image_iou, abs=0.01)


def test_places_on_a_grid_and_of_the_bare_file(measured: dict[str, dict[str, Any]]) -> None:
    """This map has labels, so no ghosts are removed and the bare file gives the same."""
    path, grid, bare = (measured[f"street {places}"] for places in ("path", "grid", "bare"))
    assert grid["num_places"] > 2 * path["num_places"]
    assert {**bare, "places": "grid"} == grid


def test_other_kinds(measured: dict[str, dict[str, Any]]) -> None:
    ranks = measured["ranks"]["rank_of_pair"]
    assert all(1 <= rank <= 15 for rank in ranks.values()) and len(ranks) == 2
    assert measured["ranks"]["num_scans"] == 15  # the image's own left out
    reading = measured["reading"]
    assert 0 <= reading["classes_correct"] <= reading["ground_joined_correct"] <= 1
    by_class = reading["correct_by_class"].values()
    assert len(by_class) == 4 and sum(row["cells"] for row in by_class) > 1000
    assert measured["scan"]["ground"] >= measured["scan"]["road"] > 0.8
    for name in ("elsewhere", "in a town"):
        assert 0 < measured[name]["mean_confidence"] <= measured[name]["confidence_95"] <= 1
    assert measured["elsewhere"] == measured["in a town"]


def test_only_some_entries_and_missing_data(
    data: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = SUITE["off_map"][1]
    content = {"off_map": [entry], "points": [*SUITE["points"], {
        "name": "lost scan", "scan": "nowhere.bin", "labels": "nowhere.label"}]}  # fmt: skip
    command = ["--suite", write_suite_file(tmp_path, content), "--checkpoint", str(checkpoint)]
    here = ["--data", str(data)]
    assert evaluate_script.main([*command, *here]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "nowhere.bin" in printed and "--town" in printed
    assert evaluate_script.main([*command, *here, "--only", "lost*", "off_map"]) == 1
    error = capsys.readouterr().err
    assert f"no entry has its data; there is no {data}/nowhere.bin" in error
    assert evaluate_script.main([*command, *here, "--only", "found*"]) == 1
    assert (
        "no entry matches found*; there are scan, lost scan, in a town" in capsys.readouterr().err
    )
    assert evaluate_script.main(["--checkpoint", str(checkpoint)]) == 1
    assert "name recordings, or a --suite" in capsys.readouterr().err
    assert evaluate_script.main([str(data), *command]) == 1
    assert "--suite takes no recordings" in capsys.readouterr().err


def test_unusable_data_fails_the_command_but_not_the_rest(
    data: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.label").write_bytes(b"1234")
    bad = {**SUITE["points"][0], "name": "bad scan", "labels": str(tmp_path / "bad.label")}
    path = write_suite_file(tmp_path, {"points": [bad, *SUITE["points"]]})
    command = ["--suite", path, "--data", str(data), "--checkpoint", str(checkpoint)]
    assert evaluate_script.main([*command, "--out", str(tmp_path / "out")]) == 1
    assert "1 of 2 entries failed; bad scan: " in capsys.readouterr().err
    failed, fine = json.loads((tmp_path / "out/suite.json").read_text())["results"]
    assert "1 labels for the" in failed["error"] and fine["numbers"]["road"] > 0.8


def test_methods_without_masks_have_recall_only(data: Path) -> None:
    network = LipLocNetwork(LipLocConfig(tower="resnet18", size=32)).eval()
    suite = from_dict(SuiteConfig, {**SUITE, "data": str(data)})
    report = run_suite(suite, network, patterns=["street path", "reading"])
    street, reading = report.results
    assert street.numbers["num_images"] == 12
    assert reading.error == "lip_loc predicts no masks and no ranges"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"points": [*SUITE["points"], *SUITE["points"]]}, "several entries are called scan"),
        ({"points": []}, "no entries"),
        ({"points": [{"name": "scan", "scan": "a.bin"}]}, "'points.*labels' is missing"),
        ({"recall": [{"name": "", "recording": "a"}]}, "needs a name"),
        ({"recall": [{"name": "a", "recording": "a", "places": "roof"}]}, "one of 'path', 'grid'"),
        ({"ranks": [{"name": "a", "recording": "a"}]}, "a: name pairs"),
        ({"masks": [{**SUITE["masks"][0], "classes": {3: "tree"}}]}, "classes has 3: 'tree'"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_mistakes_in_the_file(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write_suite_file(tmp_path, changed)
    with pytest.raises(ConfigError, match=message):
        load_yaml(SuiteConfig, Path(path))


def test_mistakes_in_the_data(data: Path, network: PlaceNetwork) -> None:
    (masks,) = SUITE["masks"]
    entries = {
        "recall": [{"name": "two drives", "recording": "0000"}],
        "ranks": [{"name": "no frame", "recording": "0000", "drive": "00", "pairs": [[99, 0]]}],
        "masks": [
            {**masks, "name": "no class", "classes": {11: "building"}},
            {**masks, "name": "size", "camera": {**masks["camera"], "width": 64}},
        ],
    }
    report = run_suite(from_dict(SuiteConfig, {**entries, "data": str(data)}), network)
    errors = [result.error for result in report.results]
    wanted = ["set `drive` to one of 00, 01", "lacks image 99", "add them to `classes`", "is (48,"]
    assert all(part in error for part, error in zip(wanted, errors, strict=True)), errors


def test_settings_that_entries_have(network: PlaceNetwork) -> None:
    suite = load_yaml(SuiteConfig, resource("config/real_suite.yaml"))
    with pytest.raises(ConfigError, match=r"settings\.mount is not for suites"):
        run_suite(suite, network, EvaluationConfig(mount=Mount(rpy=(0.0, 0.1, 0.0))))


def test_real_masks_and_points(shared_data: Path) -> None:
    """As in the model cards."""
    suite = load_yaml(SuiteConfig, resource("config/real_suite.yaml"))
    suite = from_dict(
        SuiteConfig, {"data": shared_data, "masks": suite.masks, "points": suite.points}
    )
    report = run_suite(suite, load_checkpoint(resource(DEFAULT_CHECKPOINT)))
    masks, points = (result.numbers for result in report.results)
    assert masks["num_images"] == 39 and masks["accuracy"] > 0.6 and masks["mean"] > 0.25
    assert points["vegetation"] == pytest.approx(0.82, abs=0.02)
    assert points["ground"] > 0.9


@pytest.mark.slow
def test_real_ranks_and_reading(shared_data: Path) -> None:
    suite = load_yaml(SuiteConfig, resource("config/real_suite.yaml"))
    suite = from_dict(
        SuiteConfig, {"data": shared_data, "ranks": suite.ranks, "reading": suite.reading}
    )
    report = run_suite(suite, load_checkpoint(resource(DEFAULT_CHECKPOINT)))
    ranks, *readings = (result.numbers for result in report.results)
    assert ranks["num_scans"] == 19 and all(
        1 <= rank <= 19 for rank in ranks["rank_of_pair"].values()
    )
    assert [reading["num_images"] for reading in readings] == [31, 51]
    assert all(0.4 < reading["classes_correct"] < 1 for reading in readings)
    assert all(0.4 < reading["ranges_correct"] < 1 for reading in readings)
