"""Rows of an ablation: what they change, what they share, and that nothing is done twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from jsonargparse import ArgumentParser
from recording import write_recording
from tiny_runs import tiny_run

from scmpr_ros.cli import ablate as ablate_script
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.training import experiment
from scmpr_ros.training.ablation import AblationConfig, ablate
from scmpr_ros.training.experiment import experiment_config_class
from scmpr_ros.training.train import train

CONFIG = Path(__file__).parents[2] / "config" / "ablation.yaml"


def test_rows_are_trained_once_and_judged_apart(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, test = [], write_recording(tmp_path / "test" / "0003", seed=3).parent
    monkeypatch.setattr(
        experiment, "train", lambda config, wait: trained.append(config) or train(config, wait=wait)
    )
    config = AblationConfig(
        rows={
            "+ consistency loss": {}, "no depth": {"module.network.use_depth": False},
            "descriptors only": {"evaluation.localizer.matching.beta": 0},
        },
        seeds=[1], test=test, out=tmp_path, train=tiny_run(recordings, tmp_path, 2),
    )  # fmt: skip
    table = ablate(config)
    assert len(trained) == 2, "the last row changes no training"
    assert [c.seed for c in trained] == [1, 1]
    assert [c.module.network.use_depth for c in trained] == [True, False]
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    full, searched = rows["+ consistency loss"], rows["descriptors only"]
    assert [run["weights"] for run in full] == [run["weights"] for run in searched]
    assert all(run["num_queries"] == 12 for runs in rows.values() for run in runs)
    assert "+ consistency loss, KITTI" in table.read_text()
    ablate(config)
    assert len(trained) == 2
    measured = sorted(tmp_path.glob("runs/*/evaluated-*.json"))[0]
    content = measured.read_text()
    measured.write_text(content.replace("recall_at_1", "recall_at_one"))
    with pytest.raises(DatasetError, match="delete the file to measure that run again"):
        ablate(config)
    measured.write_text(content)
    alone = ablate(replace(config, only=["descriptors only"])).read_text()
    assert len(trained) == 2
    assert "descriptors only" in alone and "no depth" not in alone


def test_what_cannot_be_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"row 'mine': unknown key 'module\.colour'"):
        AblationConfig(rows={"mine": {"module.colour": 3}})
    AblationConfig(rows={"mine": {"module.colour": 3}, "his": {}}, only=["his"])
    with pytest.raises(ConfigError, match="use_depth' should be bool, got 'no'"):
        AblationConfig(rows={"mine": {"module.network.use_depth": "no"}})
    with pytest.raises(ConfigError, match=r"no rows \['his'\]; there are \['mine'\]"):
        AblationConfig(rows={"mine": {}}, only=["mine", "his"])
    with pytest.raises(ConfigError, match="at least one row"):
        AblationConfig(rows={})
    with pytest.raises(DatasetError, match="no recordings"):
        ablate(AblationConfig(rows={"full": {}}, test=tmp_path, out=tmp_path))


def test_the_shipped_rows_can_be_set() -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(experiment_config_class(AblationConfig, "scmpr"))
    shipped = parser.instantiate(parser.parse_object(yaml.safe_load(CONFIG.read_text())))
    config = AblationConfig(**vars(shipped))
    names = list(config.rows)
    assert names[:4] == ["no semantics", "+ SAFF", "+ attention", "+ consistency loss"]
    plain = config.training_of(config.rows[names[0]], names[0])
    assert not plain.module.network.use_layout and plain.module.loss.segmentation_weight == 0
    assert config.training_of(config.rows[names[3]], names[3]) == config.train


def test_the_command_ends_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["--config", str(CONFIG), "--test", str(tmp_path)]
    assert ablate_script.main(arguments) == 1
    assert "no recordings to test on" in capsys.readouterr().err
