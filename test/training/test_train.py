"""Training runs on tiny recordings: weights, stages, resuming, several processes, refusals."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import lightning
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from tiny_runs import PAIRS, TINY, tiny_run
from two_processes import record_losses

from scmpr_ros.atomic_files import exclusive_lock
from scmpr_ros.cli import train as train_script
from scmpr_ros.errors import CheckpointError, ConfigError, DatasetError, ScmprError
from scmpr_ros.evaluation.evaluate import EvaluationConfig, evaluate_recording
from scmpr_ros.methods.checkpoint import load_checkpoint, save_checkpoint
from scmpr_ros.methods.lip_loc.network import LipLocConfig, LipLocNetwork
from scmpr_ros.methods.lip_loc.objective import LipLocObjectiveConfig
from scmpr_ros.methods.memory import NO_RECORDING
from scmpr_ros.methods.scmpr.network import ScmprNetwork
from scmpr_ros.methods.scmpr.objective import ScmprObjectiveConfig
from scmpr_ros.networks.precision import choose_precision
from scmpr_ros.networks.vmamba import build_vmamba
from scmpr_ros.training.module import OptimiserConfig, PlaceRecognitionModule
from scmpr_ros.training.settings import train_config_class
from scmpr_ros.training.train import train

STEPS = 8


@pytest.fixture(scope="module")
def finished(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run of `tiny_run` with `STEPS` steps."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    train(tiny_run(recordings, out, STEPS))
    return out


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path).state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def saved_step(out: Path) -> int:
    return torch.load(out / "last.ckpt", weights_only=True)["global_step"]


def test_the_weight_file_holds_the_trained_weights(finished: Path) -> None:
    network = load_checkpoint(finished / "model.safetensors")
    assert network.config == TINY
    state = torch.load(finished / "last.ckpt", weights_only=True)
    assert state["global_step"] == STEPS
    trained, untrained = state["state_dict"], ScmprNetwork(TINY).state_dict()
    for name, value in network.state_dict().items():
        assert torch.equal(value, trained[f"network.{name}"].half().to(value)), name
    assert not same(network.state_dict(), untrained)
    record = json.loads((finished / "run.json").read_text())
    assert record["settings"]["batch_size"] == 6


def test_a_longer_run_continues_and_warns_of_changed_settings(
    recordings: Path, finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "longer"
    shutil.copytree(finished, out)
    train(tiny_run(recordings, out, STEPS))
    assert "module." not in caplog.text
    train(tiny_run(recordings, out, STEPS + 2))
    assert saved_step(out) == STEPS + 2
    changed = f"module.optimiser.max_steps was {STEPS} when this run started and is {STEPS + 2} now"
    assert changed in caplog.text
    assert "batch_size" not in caplog.text


def test_a_killed_run_resumes_onto_the_same_weights(
    recordings: Path, finished: Path, tmp_path: Path
) -> None:
    """kill -9 at any moment: steps after the last state are repeated identically."""
    script = f"""
import sys
from pathlib import Path
sys.path[:0] = [{str(Path(__file__).parents[1])!r}]
from tiny_runs import tiny_run
from scmpr_ros.training.train import train
train(tiny_run(Path({str(recordings)!r}), Path(sys.argv[1]), max_steps={STEPS}))
"""
    killed = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", script, str(killed)])
    try:
        while not (killed / "last.ckpt").is_file():
            assert process.poll() is None, "the run ended before it saved its state"
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    assert not (killed / "model.safetensors").exists(), "the run was killed too late"
    resumed = weights_of(train(tiny_run(recordings, killed, STEPS)))
    assert same(weights_of(finished / "model.safetensors"), resumed)


def test_all_options_at_once_resume_onto_the_same_weights(recordings: Path, tmp_path: Path) -> None:
    """Hard negatives, remembered places and a half-finished accumulation are resumed as well."""
    config = replace(tiny_run(recordings, tmp_path / "whole", max_steps=4), validation=None)
    loss = ScmprObjectiveConfig(contrast="triplet", memory=10, local_weight=0.5)
    optimiser = replace(config.module.optimiser, max_steps=4, cycles=2)
    config = replace(
        config, accumulate=2, precision="bf16-mixed", pairs=replace(PAIRS, mine_every_steps=2),
        module=replace(config.module, loss=loss, optimiser=optimiser),
    )  # fmt: skip
    whole = weights_of(train(config))
    state = torch.load(config.out / "last.ckpt", weights_only=True)
    assert (state["state_dict"]["objective.memory.recordings"] != NO_RECORDING).all()
    (mined,) = [s for name, s in state["callbacks"].items() if "HardNegatives" in name]
    assert set(mined) == {"2", "4"}

    class Stop(lightning.Callback):
        def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
            if trainer.global_step == 3:
                raise ScmprError("stopped")

    stopped = replace(config, out=tmp_path / "stopped")
    with pytest.raises(ScmprError, match="stopped"):
        train(stopped, callbacks=[Stop()])
    assert saved_step(stopped.out) == 2
    assert same(whole, weights_of(train(stopped)))


@pytest.mark.parametrize("task", ["segmentation", "local"])
def test_stages_leave_weights_to_start_from(recordings: Path, tmp_path: Path, task: str) -> None:
    config = replace(tiny_run(recordings, tmp_path / task, max_steps=2), validation=None)
    first = train(replace(config, task=task, precision="auto"))
    lower = choose_precision("auto", torch.device("cpu")) == torch.bfloat16
    precision = json.loads((config.out / "run.json").read_text())["precision"]
    assert precision == ("bf16-mixed" if lower else "32-true") or torch.cuda.is_available()
    initial: dict[str, torch.Tensor] = {}

    class Remember(lightning.Callback):
        def on_train_start(self, _: object, module: PlaceRecognitionModule) -> None:
            initial.update({k: v.clone() for k, v in module.network.state_dict().items()})

    second = train(replace(config, initial=first, out=tmp_path / "place"), [Remember()])
    assert same(initial, weights_of(first))
    after = weights_of(second)
    heads = {"saff.mask_head.weight", "saff.range_head.weight"}
    assert all(not torch.equal(initial[name], after[name]) for name in heads)


def test_final_weights_can_be_averaged_with_the_initial_ones(
    recordings: Path, finished: Path, tmp_path: Path
) -> None:
    config = replace(tiny_run(recordings, tmp_path, max_steps=2), validation=None)
    initial = finished / "model.safetensors"
    alone = replace(config, initial=initial, seed=1, out=tmp_path / "alone")
    averaged = replace(alone, initial_share=0.25, out=tmp_path / "averaged")
    start, end, average = (weights_of(p) for p in (initial, train(alone), train(averaged)))
    assert not same(start, end)
    for name, value in average.items():
        expected = 0.25 * start[name] + 0.75 * end[name]
        torch.testing.assert_close(value, expected, rtol=2e-3, atol=1e-4)
    with pytest.raises(ConfigError, match="initial_share"):
        replace(config, initial_share=0.25)


def test_perception_weights_of_another_network_load(
    recordings: Path, finished: Path, tmp_path: Path
) -> None:
    config = replace(tiny_run(recordings, tmp_path, max_steps=2), validation=None)
    perception = finished / "model.safetensors"
    other = replace(config.module.network, use_depth=False, use_attention=False)
    module = replace(config.module, network=other)
    free = replace(config, perception=perception, out=tmp_path / "free", module=module)
    kept = replace(free, out=tmp_path / "kept", module=replace(module, frozen_perception=True))
    untrained: dict[str, torch.Tensor] = {}

    class Remember(lightning.Callback):
        def on_train_start(self, _: object, module: PlaceRecognitionModule) -> None:
            untrained.update({k: v.half().float() for k, v in module.network.state_dict().items()})

    start, trained_on, frozen = (
        weights_of(p) for p in (perception, train(free), train(kept, [Remember()]))
    )
    is_perception = ScmprNetwork.is_perception_weight
    loaded = {name for name in frozen if is_perception(name)}
    assert loaded < {name for name in start if is_perception(name)}  # it has no depth head
    assert all(torch.equal(frozen[name], start[name]) for name in loaded)
    assert all(not torch.equal(trained_on[name], start[name]) for name in
               ("saff.mask_head.weight", "vmamba.patch_embed.0.weight"))  # fmt: skip
    learned = ("saff.place_head.0.weight", "panorama_encoder.head.weight", "part_logits")
    assert all(not torch.equal(frozen[name], untrained[name]) for name in learned)


def test_descriptions_of_places_meet_another_backbone(
    recordings: Path, finished: Path, tmp_path: Path
) -> None:
    """A pretrained pyramid keeps its finest stage and its statistics; places are as before."""
    config = replace(tiny_run(recordings, tmp_path, max_steps=2), validation=None)
    described = finished / "model.safetensors"
    model = "test_efficientnet.r160_in1k"
    torch.save(timm.create_model(model, pretrained=False).state_dict(), tmp_path / "pyramid.pth")
    module = replace(
        config.module, network=replace(config.module.network, backbone=f"timm/{model}"),
        optimiser=replace(config.module.optimiser, learning_rate=1e-5),
        frozen_stages=1, frozen_batch_norm=True,
    )  # fmt: skip
    weights = weights_of(train(replace(
        config, module=module, description=described, pretrained=tmp_path / "pyramid.pth"
    )))  # fmt: skip
    given = torch.load(tmp_path / "pyramid.pth", weights_only=True)
    trunk = {k.removeprefix("vmamba.trunk."): v for k, v in weights.items() if ".trunk." in k}
    changed = {name for name, x in trunk.items() if not torch.equal(x, given[name].half().to(x))}
    assert not [name for name in changed if "running" in name or name.startswith("conv_stem")]
    assert any(name.startswith("blocks.3") for name in changed)
    before = weights_of(described)
    name = "panorama_encoder.head.weight"
    torch.testing.assert_close(weights[name], before[name], rtol=0, atol=1e-3)
    with pytest.raises(ConfigError, match="frozen_stages is for backbones"):
        train(replace(config, module=replace(config.module, frozen_stages=1)))


def test_perception_weights_that_do_not_fit_are_refused(recordings: Path, tmp_path: Path) -> None:
    config = replace(tiny_run(recordings, tmp_path, max_steps=2), validation=None)
    frozen = replace(config.module, frozen_perception=True)
    with pytest.raises(ConfigError, match="nothing is left"):
        replace(config, task="segmentation", module=frozen)
    rival = tmp_path / "rival.safetensors"
    grids = {"view": TINY.view, "panorama": TINY.panorama}
    save_checkpoint(LipLocNetwork(LipLocConfig(**grids, tower="test_resnet", size=64)), rival)
    with pytest.raises(CheckpointError, match="missing"):
        train(replace(config, perception=rival))


@pytest.mark.parametrize("setting", ["pretrained", "perception", "initial"])
def test_weights_to_start_from_are_looked_for_before_recordings_are_prepared(
    tmp_path: Path, setting: str
) -> None:
    config = replace(tiny_run(tmp_path, tmp_path / "out", 4), **{setting: tmp_path / "none.pth"})
    with pytest.raises(CheckpointError, match=rf"{setting}: .*none\.pth: no such file"):
        train(config)


def test_official_vmamba_weights_initialise_the_backbone(recordings: Path, tmp_path: Path) -> None:
    release = tmp_path / "vssm_nano.safetensors"
    tensors = build_vmamba("nano", 10).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, release)
    config = replace(tiny_run(recordings, tmp_path / "out", max_steps=2), validation=None)
    fixed = replace(config.module.optimiser, learning_rate=0.0)
    config = replace(config, vmamba=release, module=replace(config.module, optimiser=fixed))
    trained, given = weights_of(train(config)), load_file(release)
    name = "layers.0.blocks.0.op.in_proj.weight"
    torch.testing.assert_close(trained[f"vmamba.{name}"], given[name].half().float())
    with pytest.raises(ConfigError, match="network has 0 VMamba backbones"):
        network = replace(TINY, backbone="timm/resnet18")
        train(replace(config, module=replace(config.module, network=network)))


def test_patience_stops_a_run_and_keeps_the_best_weights(recordings: Path, tmp_path: Path) -> None:
    config = tiny_run(recordings, tmp_path, max_steps=40)
    fixed = replace(config.module.optimiser, learning_rate=0.0)  # no validation will be better
    config = replace(config, patience=2, module=replace(config.module, optimiser=fixed))
    train(config)
    assert saved_step(tmp_path) < 20
    best = torch.load(tmp_path / "best.ckpt", weights_only=True)["state_dict"]
    for name, value in weights_of(tmp_path / "model.safetensors").items():
        assert torch.equal(value, best[f"network.{name}"].half().to(value)), name
    with pytest.raises(ConfigError, match="patience counts validations"):
        replace(config, validation=None)


def test_two_processes_give_the_loss_of_one(recordings: Path, tmp_path: Path) -> None:
    """The same batches, split in two, without what is random in each process.

    Losses are compared after steps of plain gradient descent, and gradients as well: Adam's first
    step is the sign of a gradient, which is random where the gradient is rounding error only. In
    mixed precision the losses agree up to rounding.
    """
    record_losses(recordings, tmp_path / "one", "32-true")
    script = Path(__file__).parents[1] / "two_processes.py"
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launch, str(script), str(recordings), str(tmp_path)]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=240)
    alone, first, second, rounded = (
        load_file(tmp_path / f"{run}.safetensors")
        for run in ("one-0", "32-true-0", "32-true-1", "bf16-mixed-0")
    )
    for step in range(3):
        loss = float(alone[f"loss {step}"])
        assert float(first[f"loss {step}"]) == pytest.approx(loss, abs=1e-4)
        assert float(second[f"loss {step}"]) == pytest.approx(loss, abs=1e-4)
        assert float(rounded[f"loss {step}"]) == pytest.approx(loss, rel=0.01)
    norm = torch.stack([gradient.norm() for gradient in alone.values()]).max()
    for name, gradient in alone.items():
        assert (gradient - first[name]).norm() < 1e-3 * norm, name


@pytest.mark.parametrize("tower", ["test_resnet", "test_vit"])
def test_lip_loc_is_trained_and_evaluated_by_the_same_code(
    recordings: Path, tmp_path: Path, tower: str
) -> None:
    grids = {"view": TINY.view, "panorama": TINY.panorama}
    rival = LipLocConfig(**grids, tower=tower, size=64, num_headings=6)
    config = tiny_run(recordings, tmp_path, max_steps=2)
    module = replace(config.module, network=rival, loss=LipLocObjectiveConfig())
    config = replace(config, method="lip_loc", module=module)
    network = load_checkpoint(train(config))
    assert isinstance(network, LipLocNetwork) and network.config == rival
    (result,) = evaluate_recording(recordings / "0000", network, EvaluationConfig())
    scores = result.scores
    assert scores.num_answered == scores.num_queries == 12 and scores.num_headings == 6
    with pytest.raises(ConfigError, match="lip_loc has no task 'local'"):
        replace(config, task="local")


def test_a_second_run_in_a_folder_is_refused(recordings: Path, tmp_path: Path) -> None:
    config = tiny_run(recordings, tmp_path, max_steps=2)
    with exclusive_lock(config.out), pytest.raises(ConfigError, match="another process is at work"):
        train(config)
    assert not (config.out / "run.json").exists()


def test_missing_recordings_and_invalid_settings_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DatasetError, match="make_town"):
        train(tiny_run(tmp_path, tmp_path / "out", 4))
    with pytest.raises(ConfigError, match="batch_size"):
        train_config_class("scmpr")(batch_size=1)
    with pytest.raises(ConfigError, match="warmup_steps"):
        OptimiserConfig(warmup_steps=10, max_steps=10)
    assert train_script.main(["--recordings", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("train: ")
    with pytest.raises(SystemExit):
        train_script.main(["--colour", "red"])
