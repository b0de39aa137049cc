"""Descriptors of another program are scored as ours are, and faulty files are named."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from circle_drive import CircleDrive

from scmpr_ros.cli import evaluate as evaluate_script
from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.kitti.writer import write_drive_kitti
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.evaluate import (
    EvaluationConfig,
    describe_scans,
    predict_in_map,
    predict_in_scans,
)
from scmpr_ros.evaluation.external_descriptors import predict_from_descriptors
from scmpr_ros.evaluation.metrics import Tolerance
from scmpr_ros.evaluation.protocols import PROTOCOLS, map_protocol
from scmpr_ros.evaluation.result import Scores
from scmpr_ros.methods.network import PlaceNetwork
from scmpr_ros.methods.query_encoder import QueryEncoder
from scmpr_ros.pipeline.localizer import Localizer, LocalizerConfig
from scmpr_ros.pipeline.map_builder import MapBuilderConfig, build_map
from scmpr_ros.pipeline.map_points import load_point_cloud_map
from scmpr_ros.pipeline.map_source import MapSourceConfig
from scmpr_ros.retrieval.belief import BeliefConfig
from scmpr_ros.retrieval.matching import MatchingConfig
from scmpr_ros.retrieval.place_map import PlaceMap

BY_DESCRIPTOR = LocalizerConfig(
    matching=MatchingConfig(beta=0.0, slide_columns=0), belief=BeliefConfig(cluster_radius_m=0.0),
    shortlist=400,
)  # fmt: skip
"""Ranks places by descriptor alone, with one pose for each."""
CONFIG = EvaluationConfig(localizer=BY_DESCRIPTOR, tolerance=Tolerance(3.0, 120.0))
MAP = map_protocol(CONFIG.tolerance)
UNKNOWN = {
    "best_f1", "by_confidence", "calibration", "query_confidence", "latency_ms_p50",
    "latency_ms_p95",
}  # fmt: skip
"""Scores that files of descriptors cannot have."""


class Recording(QueryEncoder):
    """An encoder that keeps the descriptors it gives."""

    def __init__(self, encoder: QueryEncoder) -> None:
        self.encoder, self.descriptors = encoder, []

    def __call__(self, view: Any) -> Any:
        query = self.encoder(view)
        self.descriptors.append(query.descriptor[0].numpy())
        return query


def image_descriptors(drive: Drive, place_map: PlaceMap, network: PlaceNetwork) -> np.ndarray:
    localizer = Localizer(place_map, network, BY_DESCRIPTOR)
    localizer.encoder = Recording(localizer.encoder)
    for frame in drive.image_frames:
        localizer.observe(drive.image(frame), drive.camera)
    return np.stack(localizer.encoder.descriptors)


def write(folder: Path, name: str, **arrays: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.npz"
    np.savez(path, **arrays)
    return path


def comparable(scores: Scores) -> dict[str, Any]:
    return {name: value for name, value in vars(scores).items() if name not in UNKNOWN}


@pytest.fixture(scope="module")
def street(recordings: Path, network: PlaceNetwork) -> dict[str, dict[str, np.ndarray]]:
    """Descriptors that the tiny network exports for the first recording."""
    folder = recordings / "0000"
    place_map = build_map(
        load_point_cloud_map(folder, MapSourceConfig()), network, MapBuilderConfig()
    )
    drive = next(d for d in open_drives(folder) if d.image_frames)
    stamps_s = np.array([drive.stamp_s(frame) for frame in drive.image_frames])
    queries = {
        "descriptor": image_descriptors(drive, place_map, network),
        "stamp_s": stamps_s + 0.004, "drive": np.array(drive.name),
    }  # fmt: skip
    places = {
        "descriptor": np.asarray(place_map.descriptors), "position": place_map.positions,
        "heading_rad": place_map.headings_rad,
    }  # fmt: skip
    return {"queries": queries, "places": places}


def score_street(recordings: Path, tmp_path: Path, street: dict, **options: Any) -> Scores:
    files = tuple(write(tmp_path, name, **arrays) for name, arrays in street.items())
    (predictions,) = predict_from_descriptors(recordings / "0000", files, MAP, **options)
    return predictions.score(MAP).scores


def test_a_map_gives_the_scores_of_the_localizer(
    recordings: Path, network: PlaceNetwork, street: dict, tmp_path: Path
) -> None:
    (ours,) = predict_in_map(recordings / "0000", network, CONFIG)
    expected = comparable(ours.score(MAP).scores)
    assert len(set(expected["first_right_rank"])) > 3, "ranks differ"
    scores = score_street(recordings, tmp_path, street)
    assert comparable(scores) == pytest.approx(expected, abs=1e-6)
    assert scores.latency_ms_p50 is None and scores.calibration is None
    # Headings of each place, and descriptors of any length, change nothing.
    queries, places = street["queries"], street["places"]
    per_place = {**places, "heading_rad": np.tile(places["heading_rad"], (12, 1))}
    longer = {**queries, "descriptor": 7 * queries["descriptor"]}
    files = {"queries": longer, "places": per_place}
    assert comparable(score_street(recordings, tmp_path, files)) == pytest.approx(
        expected, abs=1e-6
    )


@pytest.mark.parametrize("protocol", [PROTOCOLS["scmpr"], PROTOCOLS["rangebev"]])
def test_single_scans_give_the_scores_of_the_localizer(
    network: PlaceNetwork, tmp_path: Path, protocol: Any
) -> None:
    """Rows may be in any order."""
    folder = tmp_path / "kitti"
    write_drive_kitti(CircleDrive(), folder, "00")
    ours = predict_in_scans(folder, "00", protocol, network, CONFIG)
    (drive,) = open_drives(folder)
    scans = np.array(drive.scan_frames)[::-1]
    place_map = scan_map(folder, network)
    queries = write(
        tmp_path, "queries", frame=np.array(drive.image_frames),
        descriptor=image_descriptors(drive, place_map, network),
    )  # fmt: skip
    places = write(
        tmp_path, "places", frame=scans, descriptor=np.asarray(place_map.descriptors)[::-1],
        heading_rad=place_map.headings_rad,
    )  # fmt: skip
    (theirs,) = predict_from_descriptors(folder, (queries, places), protocol)
    expected = comparable(ours.score(protocol).scores)
    assert comparable(theirs.score(protocol).scores) == pytest.approx(expected, abs=1e-6)
    theirs.save(tmp_path / "kept.safetensors")


def scan_map(folder: Path, network: PlaceNetwork) -> PlaceMap:
    """The database of `predict_in_scans`."""
    (drive,) = open_drives(folder)
    return describe_scans(drive, np.array(drive.scan_frames), network, MapBuilderConfig())


def test_methods_without_headings_are_scored_by_position(
    recordings: Path, street: dict, tmp_path: Path
) -> None:
    queries, places = street["queries"], street["places"]
    single = {"descriptor": places["descriptor"][:, 0], "position": places["position"]}
    files = tuple(write(tmp_path, n, **a) for n, a in (("queries", queries), ("places", single)))
    with pytest.raises(ConfigError, match=r"'heading_rad' is missing.*angle_deg 180"):
        list(predict_from_descriptors(recordings / "0000", files, MAP))
    anywhere = map_protocol(Tolerance(3.0, 180.0))
    (predictions,) = predict_from_descriptors(recordings / "0000", files, anywhere)
    scores = predictions.score(anywhere).scores
    similarity = queries["descriptor"] @ single["descriptor"].astype(np.float32).T
    found = places["position"][similarity.argmax(axis=1), 0]
    true = np.array(scores.query_xy_m)[:, 0]
    assert scores.recall_at_1 == pytest.approx((np.abs(found - true) <= 3.0).mean())
    assert scores.median_heading_error_deg is None and scores.heading_within_15_deg is None
    assert scores.num_headings == 1 and scores.recall_at_5 > scores.recall_at_1


def test_inner_product_prefers_long_descriptors(
    recordings: Path, street: dict, tmp_path: Path
) -> None:
    places = {**street["places"], "descriptor": street["places"]["descriptor"].astype(np.float32)}
    places["descriptor"] = np.abs(places["descriptor"])
    places["descriptor"][5] *= 100
    queries = {**street["queries"], "descriptor": np.abs(street["queries"]["descriptor"])}
    files = tuple(write(tmp_path, n, **a) for n, a in (("queries", queries), ("places", places)))
    (predictions,) = predict_from_descriptors(recordings / "0000", files, MAP, "inner_product")
    first = predictions.drive.candidates[:, 0, :3, 3]
    np.testing.assert_allclose(first, np.tile(places["position"][5], (12, 1)))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("queries", {"descriptor": None}, r"queries\.npz: array 'descriptor' is missing"),
        ("queries", {"descriptor": np.zeros(3)}, r"'descriptor' has shape \(3,\), expected"),
        ("queries", {"descriptor": np.full((12, 4), np.nan)}, "'descriptor' holds NaN"),
        ("queries", {"descriptor": np.array([["a"]])}, "'descriptor' holds <U1, not numbers"),
        ("queries", {"descriptor": np.ones((12, 2, 768))}, r"must be \(N, D\)"),
        ("queries", {"descriptor": np.ones((12, 4))}, r"have 4 numbers, those of .* \d+"),
        ("queries", {"stamp_s": np.arange(11.0)}, r"'stamp_s' has shape \(11,\), expected \(12,\)"),
        ("queries", {"stamp_s": np.arange(12.0)}, r"drive 01 has no frame at stamp_s 2\.000"),
        ("queries", {"stamp_s": None}, "array 'frame' or 'stamp_s' is missing"),
        ("queries", {"frame": np.arange(12) / 2}, "'frame' is float64, not whole numbers"),
        ("queries", {"frame": np.zeros(12, int)}, "two rows describe one frame of drive 01"),
        ("queries", {"frame": np.arange(12) + 3}, r"3 images of drive 01.*missing, first frame 0"),
        ("queries", {"drive": np.array("99")}, "has none of the drives"),
        ("queries", {"drive": np.arange(12)}, "'drive' must hold one name or 12 names"),
        ("places", {"position": None}, r"places\.npz: array 'position' is missing"),
        ("places", {"position": np.zeros((5, 3))}, r"'position' has shape \(5, 3\)"),
        ("places", {"heading_rad": np.zeros(29)}, "'heading_rad' has shape"),
    ],
)
def test_faulty_files_are_named_in_one_sentence(
    recordings: Path, street: dict, tmp_path: Path, file: str, change: dict, message: str
) -> None:
    arrays = {name: {**content} for name, content in street.items()}
    arrays[file] |= change
    arrays[file] = {name: value for name, value in arrays[file].items() if value is not None}
    with pytest.raises(DatasetError, match=message) as caught:
        score_street(recordings, tmp_path, arrays)
    assert "\n" not in str(caught.value)


def test_all_drives_of_the_protocol_are_tested_on(
    recordings: Path, street: dict, tmp_path: Path
) -> None:
    """Drives 00 and 01 have images of one place; only the second is described."""
    files = tuple(write(tmp_path, name, **arrays) for name, arrays in street.items())
    folder = recordings / "0000"
    names = [drive.name for drive in open_drives(folder)]
    assert names == ["00", "01"]
    both, second = (replace(MAP, sequences=tested) for tested in (("00", "01"), ("01", "08")))
    with pytest.raises(DatasetError, match=r"drive 00, to be tested on by protocol map"):
        list(predict_from_descriptors(folder, files, both))
    for chosen in (
        predict_from_descriptors(folder, files, second),
        predict_from_descriptors(folder, files, both, sequences=["01"]),
    ):
        assert [each.provenance.drive for each in chosen] == ["01"]


def test_pickled_and_foreign_files_are_refused(
    recordings: Path, street: dict, tmp_path: Path
) -> None:
    objects = {**street["queries"], "descriptor": np.array([{}] * 12, object)}
    with pytest.raises(DatasetError, match="not an npz file of plain arrays"):
        score_street(recordings, tmp_path, {"queries": objects, "places": street["places"]})
    places = write(tmp_path, "places", **street["places"])
    for content in (b"", b"text", np.zeros(3).tobytes()):
        (tmp_path / "other.npz").write_bytes(content)
        with pytest.raises(DatasetError, match="not an npz file"):
            list(
                predict_from_descriptors(recordings / "0000", (tmp_path / "other.npz", places), MAP)
            )
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(DatasetError, match="not an npz file"):
        list(predict_from_descriptors(recordings / "0000", (tmp_path / "array.npy", places), MAP))


def test_missing_images_can_be_left_out(
    recordings: Path, street: dict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    some = {n: a if a.ndim == 0 else a[:9] for n, a in street["queries"].items()}
    scores = score_street(
        recordings, tmp_path, {"queries": some, "places": street["places"]}, skip_bad=True
    )
    assert scores.num_queries == 9
    assert "3 images of drive 01" in caplog.text and "first frame 9: left out" in caplog.text


def test_the_command_scores_descriptors(
    recordings: Path, street: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(write(tmp_path, name, **arrays)) for name, arrays in street.items()]
    folder, out = str(recordings / "0000"), tmp_path / "rival.json"
    arguments = [folder, "--descriptors", *files, "--out", str(out)]
    assert evaluate_script.main(arguments) == 0
    (content,) = json.loads(out.read_text())
    assert content["localizer"]["descriptors"] == ["queries.npz", "places.npz"]
    assert content["drive"] == "01" and content["num_answered"] == 12
    assert evaluate_script.main([*arguments, "--sequences", "00"]) == 1
    assert "no descriptors of the recording's drive 00" in capsys.readouterr().err
    assert evaluate_script.main([*arguments, "--checkpoint", "x"]) == 1
    assert "--descriptors takes one recording" in capsys.readouterr().err
    loose = ["--protocol", "scmpr", "--settings.tolerance.radius_m", "20"]
    assert evaluate_script.main([*arguments, *loose]) == 1
    assert "scmpr has its own: 5 m, 180 deg" in capsys.readouterr().err
    assert evaluate_script.main([folder, "--descriptors", files[0], "gone.npz"]) == 1
    assert "gone.npz is not an npz file" in capsys.readouterr().err


def test_scans_that_the_protocol_searches_must_be_there(
    network: PlaceNetwork, tmp_path: Path
) -> None:
    folder, scmpr = tmp_path / "kitti", PROTOCOLS["scmpr"]
    write_drive_kitti(CircleDrive(), folder, "00")
    images = np.array(CircleDrive.image_frames)
    queries = write(tmp_path, "queries", frame=images, descriptor=np.ones((6, 2)))
    places = write(tmp_path, "places", frame=np.array([0, 3, 6]), descriptor=np.ones((3, 2)))
    with pytest.raises(DatasetError, match="1 scans of drive 00 that protocol scmpr searches are"):
        list(predict_from_descriptors(folder, (queries, places), scmpr))
    write_drive_kitti(CircleDrive(), folder, "01")
    with pytest.raises(DatasetError, match="'drive' is missing, but the recording has several"):
        list(predict_from_descriptors(folder, (queries, places), scmpr))


class ThereAndBack(CircleDrive):
    """Comes back to each pose after eighteen seconds, with a scan beside every image."""

    image_frames = scan_frames = CircleDrive.frames

    def stamp_s(self, frame: int) -> float:
        return 3.0 * frame

    def T_world_lidar(self, frame: int) -> np.ndarray:
        return super().T_world_lidar(10 * (frame % 6))


def test_the_worked_example_is_scored_under_three_protocols(tmp_path: Path) -> None:
    """Early queries, which have nothing to search under `revisit`, are no fault."""
    script = Path(__file__).parents[2] / "docs" / "how-to" / "outside_method.py"
    write_drive_kitti(ThereAndBack(), tmp_path / "recording", "00")
    arguments = [sys.executable, script, tmp_path / "recording", "00", tmp_path]
    subprocess.run(arguments, check=True)
    files = tmp_path / "queries.npz", tmp_path / "places.npz"
    for name, count in (("scmpr", 12), ("rangebev", 12), ("revisit", 6)):
        (predictions,) = predict_from_descriptors(tmp_path / "recording", files, PROTOCOLS[name])
        assert predictions.score(PROTOCOLS[name]).scores.num_queries == count
