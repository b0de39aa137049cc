"""Methods side by side: same queries, paired differences, costs, and a report with its figures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from jsonargparse import ArgumentParser
from recording import write_recording
from tiny_runs import tiny_run

from scmpr_ros.cli import compare_methods as compare_script
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.method_report import MethodCost, write_report
from scmpr_ros.evaluation.method_scores import MethodScores
from scmpr_ros.evaluation.result import Provenance, Result, Rules, Scores
from scmpr_ros.methods import registry
from scmpr_ros.training.evaluated_runs import RecallTest
from scmpr_ros.training.experiment import experiment_config_class
from scmpr_ros.training.method_comparison import (
    ComparisonConfig,
    compare_methods,
)

CONFIG = Path(__file__).parents[2] / "config" / "rivals.yaml"
GRIDS = {
    "module.network.view": {"height": 32, "width": 64, "fov_up_deg": 12.0, "fov_down_deg": -15.0,
                            "fov_deg": 80.0},
    "module.network.panorama": {"height": 8, "width": 120, "fov_up_deg": 16.0,
                                "fov_down_deg": -16.0},
}  # fmt: skip


def flat(settings: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}.{key}": x for name, values in settings.items() for key, x in values.items()}


def test_two_methods_from_training_to_the_report(recordings: Path, tmp_path: Path) -> None:
    test = write_recording(tmp_path / "test" / "0003", seed=3).parent
    rival = {"method": "lip_loc", "module.network.tower": "test_resnet", "module.network.size": 32}
    config = ComparisonConfig(
        rows={"SCM-PR": {"perception": "@reading"}, "LIP-Loc": rival | flat(GRIDS)},
        stages={"reading": {"task": "segmentation"}}, seeds=[0, 1], out=tmp_path / "out",
        tests={"towns": RecallTest(test)}, queries=2, places=50,
        train=replace(tiny_run(recordings, tmp_path, 2), validation=None),
    )  # fmt: skip
    report = compare_methods(config).read_text()
    assert "| SCM-PR |" in report and "| LIP-Loc |" in report and "62.58" in report
    content = json.loads((config.out / "results.json").read_text())
    ours, theirs = content["costs"]["SCM-PR"], content["costs"]["LIP-Loc"]
    assert ours["views"] == 24 and theirs["views"] == 12, "a stage counts"
    assert all(len(seeds) == 2 for seeds in content["results"]["towns"].values())
    drives = [seed[0] for seeds in content["results"]["towns"].values() for seed in seeds]
    assert all(drive["query_xy_m"] == drives[0]["query_xy_m"] for drive in drives)
    assert (config.out / "recall.png").stat().st_size > 1000
    assert (config.out / "latency.png").stat().st_size > 1000
    # Results come from other machines without the weights.
    for weights in config.out.glob("runs/*/*.safetensors"):
        weights.unlink()
    compare_methods(config)
    again = json.loads((config.out / "results.json").read_text())
    assert again["results"] == content["results"] and again["costs"] == content["costs"]
    assert not again["timings"] and not list(config.out.glob("runs/*/*.safetensors"))


def test_a_method_must_not_be_judged_by_what_it_learned(recordings: Path, tmp_path: Path) -> None:
    config = ComparisonConfig(
        rows={"SCM-PR": {}}, tests={"towns": RecallTest(recordings / "0001")}, out=tmp_path,
        train=replace(tiny_run(recordings, tmp_path, 2), validation=None),
    )  # fmt: skip
    with pytest.raises(ConfigError, match="0001"):
        compare_methods(config)
    with pytest.raises(DatasetError, match="no recordings to test on"):
        compare_methods(replace(config, tests={"gone": RecallTest(tmp_path / "gone")}))


def test_the_shipped_rivals_can_be_set() -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(experiment_config_class(ComparisonConfig, "scmpr"))
    shipped = parser.instantiate(parser.parse_object(yaml.safe_load(CONFIG.read_text())))
    config = ComparisonConfig(**vars(shipped))
    methods = {name: config.training_of(config.rows[name], name).method for name in config.rows}
    assert sorted(set(methods.values())) == registry.method_names()
    assert next(iter(methods)) == "SCM-PR" and len(config.seeds) == 3
    views = {name: views_of(config, config.rows[name]) for name in config.rows}
    assert len(set(views.values())) == 1, f"equal budgets: {views}"


def views_of(config: ComparisonConfig, changes: dict[str, Any]) -> int:
    """Views that a row and its stages see."""
    training = config.training_of(changes, "row")
    own = training.module.optimiser.max_steps * training.batch_size * training.accumulate
    starts = (getattr(training, name) for name in ("initial", "perception"))
    stages = [str(path)[1:] for path in starts if path is not None and str(path)[0] == "@"]
    return own + sum(views_of(config, config.stages[stage]) for stage in stages)


def test_the_command_ends_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tests = json.dumps({"towns": {"recordings": str(tmp_path)}})
    arguments = ["--config", str(CONFIG), f"--tests={tests}"]
    assert compare_script.main(arguments) == 1
    assert "no recordings to test on" in capsys.readouterr().err


# --- scores --------------------------------------------------------------------------------------


def result(
    ranks: Sequence[int | None], xy_m: np.ndarray, condition: str = "",
    percent: float | None = 0.0, radius_m: float = 5.0,
) -> Result:  # fmt: skip
    count = len(ranks)
    provenance = Provenance("town", "01", condition, "map", "poses", "weights", {})
    rules = Rules("map", True, None, False, None, False, radius_m, 30.0, "xy", "")
    scores = Scores(
        recall_at_1=0.0, recall_at_1_interval=(0.0, 1.0), recall_at_5=0.0, recall_at_10=None,
        recall_at_1_percent=percent, best_f1=None, by_confidence=None, calibration=None,
        heading_within_15_deg=None, chance=0.01, radius_m=5.0, max_heading_error_deg=30.0,
        num_queries=count, num_answered=count, num_places=300, num_headings=30,
        median_position_error_m=None, median_heading_error_deg=None, latency_ms_p50=None,
        latency_ms_p95=None, first_right_rank=tuple(ranks),
        query_xy_m=tuple(map(tuple, xy_m.tolist())), query_confidence=(None,) * count,
    )  # fmt: skip
    return Result(provenance, rules, scores)


def test_recall_is_the_mean_of_the_seeds() -> None:
    xy_m = np.arange(8.0).reshape(4, 2)
    scores = MethodScores.of([[result([1, 1, None, 4], xy_m)], [result([1, 2, None, 1], xy_m)]])
    recall = scores.recall()
    assert recall.value == 0.5 and recall.deviation == 0.0
    assert scores.recall(5).value == 0.75 and scores.percent is not None
    assert scores.recall(scores.percent).value == scores.recall(3).value == 0.625
    assert scores.recall(1, np.array([True, True, False, False])).value == 0.75


def test_a_gain_is_paired() -> None:
    """Two methods that fail on the same streets differ by less than either is uncertain."""
    rng = np.random.default_rng(0)
    xy_m = np.cumsum(rng.uniform(0, 20, (400, 2)), axis=0)
    hard = np.repeat(rng.random(40) < 0.5, 10)
    theirs = [None if x else 1 for x in hard]
    ours = [1 if rng.random() < 0.2 else rank for rank in theirs]
    first, other = (MethodScores.of([[result(ranks, xy_m)]]) for ranks in (ours, theirs))
    gain = first.gain_over(other)
    assert gain.value == pytest.approx(first.recall().value - other.recall().value)
    low, high = gain.interval
    assert 0 < low < gain.value < high
    own = first.recall().interval
    assert high - low < 0.5 * (own[1] - own[0])
    assert other.gain_over(first).value == -gain.value


def test_a_difference_that_a_short_street_cannot_tell_is_unknown(tmp_path: Path) -> None:
    one, other = (MethodScores.of([[result(ranks, np.zeros((2, 2)), "clear/summer")]])
                  for ranks in ([1, 1], [1, 2]))  # fmt: skip
    costs = {name: MethodCost(1.0, 1.0, 1.0, 1, 1) for name in ("A", "B")}
    report = write_report(tmp_path, {"street": {"A": one, "B": other}}, costs, {}, [0], "here")
    assert "| +50.0 | unknown |" in report.read_text()


def test_different_queries_are_refused() -> None:
    xy_m = np.zeros((2, 2))
    with pytest.raises(DatasetError, match="seeds of a method did not answer the same queries"):
        MethodScores.of([[result([1, 1], xy_m)], [result([1, 1], xy_m + 1)]])
    one, other = (MethodScores.of([[result([1, 1], at)]]) for at in (xy_m, xy_m + 1))
    further = MethodScores.of([[result([1, 1], xy_m, radius_m=10.0)]])
    twice = MethodScores.of([[result([1, 1], xy_m)]] * 2)
    for unlike in (other, further, twice):
        with pytest.raises(DatasetError, match="no fair difference"):
            one.gain_over(unlike)
    with pytest.raises(DatasetError, match="one row cannot mix results of different rules"):
        MethodScores.of([[result([1], xy_m[:1]), result([1], xy_m[:1], radius_m=10.0)]])


def test_recall_at_one_percent_needs_as_many_candidates() -> None:
    xy_m = np.zeros((2, 2))
    drives = [result([1, 1], xy_m), result([1, 1], xy_m, percent=None)]
    assert MethodScores.of([drives]).percent is None


def test_a_table_has_its_rules_and_the_machine_stands_by_what_it_timed(tmp_path: Path) -> None:
    scores = MethodScores.of([[result([1, 2], np.zeros((2, 2)), percent=None)]])
    cost = MethodCost(1.0, 60.0, 60.0, 1_000_000, 1000)
    report = write_report(tmp_path, {"street": {"A": scores}}, {"A": cost}, {}, [0], "on a Z80")
    text = report.read_text()
    assert "2 images, 300 places; chance 1.00 %; protocol map, radius_m 5.0, angle_deg 30.0" in text
    assert "| 100.0 | 100.0 |  |" in text, "too few candidates for Recall@1 %"
    assert text.index("on a Z80") > text.index("## Cost")


def test_tests_are_checked() -> None:
    with pytest.raises(ConfigError, match="sequences are for protocols"):
        RecallTest(Path("x"), sequences=("01",))
    with pytest.raises(ConfigError, match="no protocol 'mine'"):
        RecallTest(Path("x"), protocol="mine")


def test_a_folder_is_a_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recordings: Path
) -> None:
    """Copied under another name, with nothing else edited, it is found, trained and compared."""
    import scmpr_ros.methods

    source = Path(scmpr_ros.methods.__file__).parent / "lip_loc"
    shutil.copytree(source, tmp_path / "sixth")
    for path in (tmp_path / "sixth").glob("*.py"):
        text = path.read_text().replace("methods.lip_loc", "methods.sixth")
        path.write_text(text.replace('= "lip_loc"', '= "sixth"'))
    monkeypatch.setattr(scmpr_ros.methods, "__path__", [*scmpr_ros.methods.__path__, str(tmp_path)])
    assert "sixth" in registry.method_names()
    sixth = {"method": "sixth", "module.network.tower": "test_resnet", "module.network.size": 32}
    test = write_recording(tmp_path / "test" / "0003", seed=3).parent
    config = ComparisonConfig(
        rows={"Sixth": sixth | flat(GRIDS)}, seeds=[0], out=tmp_path / "out", queries=0,
        tests={"towns": RecallTest(test)},
        train=replace(tiny_run(recordings, tmp_path, 2), validation=None),
    )  # fmt: skip
    assert "| Sixth |" in compare_methods(config).read_text()
