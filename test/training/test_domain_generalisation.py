"""mIoU of source and target domains, and what starts from what."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from recording import write_recording
from tiny_runs import TINY, tiny_run

from scmpr_ros.datasets.town_files import RECORD
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.methods.checkpoint import load_checkpoint
from scmpr_ros.networks.backbones import timm_models
from scmpr_ros.training.conditions import matches, select_condition
from scmpr_ros.training.domain_generalisation import (
    DomainConfig,
    DomainScore,
    _miou,
    measure_domain_generalisation,
)
from scmpr_ros.training.experiment import experiment_config_class, plan_run
from scmpr_ros.training.preparation import PreparationConfig, RecordingSource, load_recording

CONFIG = Path(__file__).parents[2] / "config" / "domain_generalisation.yaml"


def town(folder: Path, seed: int, *conditions: str) -> Path:
    """A tiny recording with the record of a town, whose drive 01 has the condition named last."""
    write_recording(folder, seed)
    (folder / RECORD).write_text(yaml.safe_dump({"seed": seed, "conditions": list(conditions)}))
    return folder


@pytest.fixture(scope="module")
def towns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("towns")
    town(folder / "train" / "0001", 1, "clear/summer", "clear/summer")
    town(folder / "test" / "2001", 2001, "clear/summer", "clear/summer")
    town(folder / "test" / "2002", 2002, "clear/summer", "night/winter")
    return folder


def config(towns: Path, out: Path) -> DomainConfig:
    run = replace(
        tiny_run(towns / "train", out, 2), validation=None, conditions="clear/summer",
        prepared=towns / "prepared",
    )  # fmt: skip
    network = replace(TINY, backbone="timm/test_resnet", use_depth=False)
    contrast = {
        "method": "lip_loc", "task": "place", "module.network.tower": "test_resnet",
        "module.network.size": 32, "module.network.head": "linear",
        "module.loss.frozen_range_tower": True,
    }  # fmt: skip
    for name in ("view", "panorama"):
        grid = vars(getattr(TINY, name))
        contrast |= {f"module.network.{name}.{key}": value for key, value in grid.items()}
    return DomainConfig(
        rows={"plain": {}, "contrasted": {"image_encoder": "@contrast"}},
        stages={"contrast": contrast}, seeds=[0], test=towns / "test", out=out,
        targets=["night", "winter"],
        train=replace(run, task="segmentation", module=replace(run.module, network=network)),
    )  # fmt: skip


def test_both_domains_are_measured(towns: Path, tmp_path: Path) -> None:
    settings = config(towns, tmp_path)
    table = measure_domain_generalisation(settings).read_text()
    assert "| plain |" in table and "| contrasted |" in table and "rPD" in table
    (score,) = json.loads((tmp_path / "results.json").read_text())["rows"]["plain"]
    assert 0 < score["source"] < 1 and score["by_target"]["night"] == score["by_target"]["winter"]
    own = DomainScore(0.6, 0.3, {})
    assert own.rpd == 0.5
    for weights in tmp_path.glob("runs/*/*.safetensors"):
        weights.unlink()
    assert measure_domain_generalisation(settings).read_text() == table
    assert not list(tmp_path.glob("runs/*/*.safetensors")), "nothing is trained again"


def test_both_domains_are_means_over_the_same_classes() -> None:
    """Class 2 occurs in one of them only; class 1 is right in three of four cells."""
    confusion = np.zeros((15, 15), int)
    confusion[1, 1], confusion[1, 3], confusion[2, 2] = 3, 1, 5
    occurs = np.zeros(15, bool)
    occurs[[0, 1]] = True
    assert _miou(confusion, occurs) == pytest.approx(3 / 4)
    occurs[2] = True
    assert _miou(confusion, occurs) == pytest.approx((3 / 4 + 1) / 2)


def test_an_encoder_starts_from_the_pretrained_one(towns: Path, tmp_path: Path) -> None:
    settings = config(towns, tmp_path)
    still = replace(
        settings, rows={"x": {"image_encoder": "@contrast", "module.frozen_stages": 4}}, only=[]
    )
    measure_domain_generalisation(still)
    run = plan_run(still, still.rows["x"], 0, "row")
    (start,) = run.starts
    trained, before = (
        timm_models(load_checkpoint(each.weights))[0].state_dict() for each in (run, start)
    )
    weights = [name for name in trained if name.endswith("conv1.weight")]
    assert weights and all(torch.equal(trained[name], before[name]) for name in weights)


def test_a_frozen_range_tower_keeps_its_weights(towns: Path, tmp_path: Path) -> None:
    from scmpr_ros.methods.registry import find_method

    method = find_method("lip_loc")
    network = method.network(method.config(tower="test_resnet", size=32))
    method.objective(network, method.objective_config(frozen_range_tower=True), "place")
    assert not any(p.requires_grad for p in network.range_tower.parameters())
    assert all(p.requires_grad for p in network.range_head.parameters())
    assert all(p.requires_grad for p in network.image_tower.parameters())


def test_views_of_a_condition(towns: Path) -> None:
    source = RecordingSource(towns / "test" / "2002")
    whole = load_recording(source, TINY, PreparationConfig(), towns / "prepared")
    assert len(select_condition(source, whole, "night").views) == len(whole.views)
    with pytest.raises(
        DatasetError, match=r"no drive with condition 'fog'; there are night/winter"
    ):
        select_condition(source, whole, "fog")
    assert matches("night/winter", "winter") and matches("night/winter", "night/winter")
    assert not matches("night/winter", "clear") and not matches("", "clear")


def test_what_cannot_be_measured_is_named(towns: Path, tmp_path: Path) -> None:
    settings = config(towns, tmp_path)
    with pytest.raises(ConfigError, match="row 'plain' trains the task place"):
        replace(settings, train=replace(settings.train, task="place"))
    with pytest.raises(ConfigError, match="at least one condition"):
        replace(settings, targets=[])
    missing = replace(settings, rows={"plain": {}}, targets=["fog"])
    with pytest.raises(ConfigError, match="no drive of the test towns has the condition 'fog'"):
        measure_domain_generalisation(missing)
    other = {"image_encoder": "@contrast", "module.network.backbone": "timm/resnet10t"}
    with pytest.raises(ConfigError, match=r"its image encoder is \['test_resnet'\], but this run"):
        measure_domain_generalisation(replace(settings, rows={"other": other}))


def test_the_shipped_rows_can_be_set() -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(experiment_config_class(DomainConfig, "scmpr"))
    shipped = parser.instantiate(parser.parse_object(yaml.safe_load(CONFIG.read_text())))
    settings = DomainConfig(**vars(shipped))
    pretraining = settings.training_of(settings.stages["MLP, aug"], "stage")
    assert pretraining.module.augmentation.brightness == 0.8
    assert pretraining.task == "place" and pretraining.conditions == ""
    steps = {int(s) for s in pretraining.keep_steps}
    named = {
        int(str(settings.training_of(changes, name).image_encoder).split("step-")[1].split(".")[0])
        for name, changes in settings.rows.items() if "step-" in str(changes.get("image_encoder"))
    }  # fmt: skip
    assert named <= steps
    assert np.isclose(settings.train.module.optimiser.pretrained_rate, 0.25)
