"""Training on tiny recordings: pairs are right, a run learns, stops, and goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from camera_poses import level_camera_pose
from circle_drive import CircleDrive
from PIL import Image
from recording import write_recording
from safetensors.torch import load_file, save_file
from tiny_runs import PAIRS, TINY, TOWN, tiny_run

from scmpr_ros.atomic_files import exclusive_lock
from scmpr_ros.cli import train as train_script
from scmpr_ros.datasets.rosbag2.writer import write_drive_bag
from scmpr_ros.errors import CheckpointError, ConfigError, DatasetError, ScmprError
from scmpr_ros.evaluation.evaluate import EvaluationConfig, evaluate_recording
from scmpr_ros.evaluation.metrics import Tolerance
from scmpr_ros.geometry import make_transform
from scmpr_ros.methods.checkpoint import load_checkpoint, save_checkpoint
from scmpr_ros.methods.lip_loc.network import LipLocConfig, LipLocNetwork
from scmpr_ros.methods.memory import NO_RECORDING
from scmpr_ros.methods.objective import ObjectiveConfig
from scmpr_ros.methods.scmpr.network import ScmprNetwork
from scmpr_ros.methods.scmpr.objective import ScmprObjectiveConfig
from scmpr_ros.networks.precision import choose_precision
from scmpr_ros.networks.vmamba import build_vmamba
from scmpr_ros.records import CameraModel, PointCloud
from scmpr_ros.semantics import to_joint
from scmpr_ros.training.augmentation import AugmentationConfig
from scmpr_ros.training.module import OptimiserConfig, PlaceRecognitionModule
from scmpr_ros.training.pairs import PairDataset
from scmpr_ros.training.preparation import (
    RecordingSource,
    find_recordings,
    load_recording,
    load_recordings,
)
from scmpr_ros.training.train import TrainConfig, train
from scmpr_ros.training.validation import retrieve_recording


def test_a_prepared_town_holds_what_was_recorded(dataset: PairDataset) -> None:
    recording = dataset.recordings[0]
    assert recording.views.shape == (12, 3, 32, 64) and recording.masks.shape == (12, 8, 16)
    np.testing.assert_allclose(
        recording.poses[3].numpy(), level_camera_pose(np.array([6.0, -0.4, 0.0]), 0.0), atol=1e-9
    )
    assert set(recording.masks.unique().tolist()) <= {0, 1, 3}  # ignore, road, building
    assert recording.label.shape[1:] == (8, 120) and (recording.range_m > 0).any()


def test_processes_prepare_what_one_does(recordings: Path, tmp_path: Path) -> None:
    one, shared = (
        load_recordings(find_recordings(recordings), TINY, TOWN, cache, jobs, "recordings")
        for cache, jobs in ((recordings / ".prepared", 1), (tmp_path, 2))
    )
    for a, b in zip(one, shared, strict=True):
        assert all(torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


def test_a_run_writes_weights_that_load_and_goes_on_where_it_stopped(
    recordings: Path, tmp_path: Path
) -> None:
    whole = tiny_run(recordings, tmp_path / "whole", max_steps=4)
    network = load_checkpoint(train(whole))
    assert network.config == TINY
    found = retrieve_recording(
        network, load_recording(RecordingSource(recordings / "0000"), TINY, TOWN, whole.prepared)
    )
    assert 0 <= found.recall(Tolerance()) <= found.recall(Tolerance(angle_deg=180)) <= 1
    record = json.loads((whole.out / "run.json").read_text())
    assert record["settings"]["batch_size"] == 6
    state = torch.load(whole.out / "last.ckpt", weights_only=True)
    assert state["global_step"] == 4

    train(tiny_run(recordings, whole.out, max_steps=6))
    assert torch.load(whole.out / "last.ckpt", weights_only=True)["global_step"] == 6


def test_a_killed_run_resumes_onto_the_same_weights(recordings: Path, tmp_path: Path) -> None:
    """kill -9 at any moment: steps since the last state are done again, and come out alike."""
    config = tiny_run(recordings, tmp_path / "whole", max_steps=12)
    script = f"""
import sys
from pathlib import Path
import torch
torch.set_num_threads({torch.get_num_threads()})  # whatever the environment says: sums differ
sys.path[:0] = [{str(Path(__file__).parents[1])!r}]
from tiny_runs import tiny_run
from scmpr_ros.training.train import train
train(tiny_run(Path({str(recordings)!r}), Path(sys.argv[1]), max_steps=12))
"""
    killed = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", script, str(killed)])
    try:
        while not (killed / "last.ckpt").is_file():
            assert process.poll() is None, "it should not end before its first state"
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    assert not (killed / "model.safetensors").exists(), "it was killed too late to test anything"
    whole, resumed = (
        load_checkpoint(train(replace(config, out=out))).state_dict()
        for out in (config.out, killed)
    )
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_all_options_at_once_resume_onto_the_same_weights(recordings: Path, tmp_path: Path) -> None:
    """Mined mistakes, remembered places and the half-way state of an accumulation go on, too."""
    config = tiny_run(recordings, tmp_path / "whole", max_steps=8)
    loss = ScmprObjectiveConfig(contrast="triplet", memory=10, local_weight=0.5)
    optimiser = replace(config.module.optimiser, max_steps=8, cycles=2)
    config = replace(
        config, accumulate=2, precision="bf16-mixed", pairs=replace(PAIRS, mine_every_steps=2),
        module=replace(config.module, loss=loss, optimiser=optimiser),
    )  # fmt: skip
    whole = load_checkpoint(train(config)).state_dict()
    state = torch.load(config.out / "last.ckpt", weights_only=True)
    assert (state["state_dict"]["objective.memory.recordings"] != NO_RECORDING).all()
    (mined,) = [s for name, s in state["callbacks"].items() if "HardNegatives" in name]
    assert set(mined) == {"6", "8"}

    class Stop(lightning.Callback):
        def on_train_batch_end(self, trainer, *_: object) -> None:
            if trainer.global_step == 5:
                raise ScmprError("stopped")

    stopped = replace(config, out=tmp_path / "stopped")
    with pytest.raises(ScmprError, match="stopped"):
        train(stopped, callbacks=[Stop()])
    assert torch.load(stopped.out / "last.ckpt", weights_only=True)["global_step"] == 4
    resumed = load_checkpoint(train(stopped)).state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("task", ["segmentation", "local"])
def test_stages_leave_weights_to_start_from(recordings: Path, tmp_path: Path, task: str) -> None:
    config = tiny_run(recordings, tmp_path / task, max_steps=3)
    first = train(replace(config, task=task, precision="auto"))
    lower = choose_precision("auto", torch.device("cpu")) == torch.bfloat16
    told = json.loads((config.out / "run.json").read_text())["precision"]
    assert told == ("bf16-mixed" if lower else "32-true") or torch.cuda.is_available()
    before, started = (load_checkpoint(p).state_dict() for p in (first, first))
    reads = {"saff.mask_head.weight", "saff.range_head.weight"}
    torch.manual_seed(config.seed)
    second = train(replace(config, initial=first, out=tmp_path / "place"))
    after = load_checkpoint(second).state_dict()
    assert all(torch.equal(before[name], started[name]) for name in before)
    assert all(not torch.equal(before[name], after[name]) for name in reads)


def test_weights_may_be_the_mean_of_a_run_and_of_what_it_started_from(
    recordings: Path, tmp_path: Path
) -> None:
    config = replace(tiny_run(recordings, tmp_path / "first", max_steps=2), validation=None)
    first = train(config)
    alone = replace(config, initial=first, seed=1, out=tmp_path / "alone")
    mean = replace(alone, initial_share=0.25, out=tmp_path / "mean")
    start, end, mixed = (
        load_checkpoint(p).state_dict() for p in (first, train(alone), train(mean))
    )
    assert any(not torch.equal(start[name], end[name]) for name in start)
    for name, value in mixed.items():
        of_both = 0.25 * start[name] + 0.75 * end[name]
        torch.testing.assert_close(value, of_both, rtol=2e-3, atol=1e-4)
    with pytest.raises(ConfigError, match="initial_share"):
        replace(config, initial_share=0.25)


def test_perception_weights_of_another_network_load(recordings: Path, tmp_path: Path) -> None:
    config = replace(tiny_run(recordings, tmp_path / "perception", max_steps=2), validation=None)
    perception = train(replace(config, task="segmentation"))
    other = replace(config.module.network, use_depth=False, use_attention=False)
    free = replace(
        config,
        perception=perception,
        out=tmp_path / "free",
        module=replace(config.module, network=other),
    )
    kept = replace(free, out=tmp_path / "kept", module=replace(free.module, frozen_perception=True))
    untrained: dict[str, torch.Tensor] = {}

    class Remember(lightning.Callback):
        def on_train_start(self, _: object, module: PlaceRecognitionModule) -> None:
            untrained.update({k: v.half().float() for k, v in module.network.state_dict().items()})

    start, trained_on, frozen = (
        load_checkpoint(p).state_dict()
        for p in (perception, train(free), train(kept, [Remember()]))
    )
    is_perception = ScmprNetwork.is_perception_weight
    of_perception = {name for name in frozen if is_perception(name)}
    assert of_perception < {name for name in start if is_perception(name)}  # no depth head
    assert all(torch.equal(frozen[name], start[name]) for name in of_perception)
    assert all(not torch.equal(trained_on[name], start[name]) for name in
               ("saff.mask_head.weight", "vmamba.patch_embed.0.weight"))  # fmt: skip
    learned = ("saff.place_head.0.weight", "panorama_encoder.head.weight", "part_logits")
    assert all(not torch.equal(frozen[name], untrained[name]) for name in learned)


def test_perception_weights_that_do_not_fit_are_refused(recordings: Path, tmp_path: Path) -> None:
    config = replace(tiny_run(recordings, tmp_path, max_steps=2), validation=None)
    frozen = replace(config.module, frozen_perception=True)
    with pytest.raises(ConfigError, match="nothing is left"):
        replace(config, task="segmentation", module=frozen)
    rival = tmp_path / "rival.safetensors"
    save_checkpoint(LipLocNetwork(LipLocConfig()), rival)
    with pytest.raises(CheckpointError, match="missing"):
        train(replace(config, perception=rival))


def test_official_vmamba_weights_are_taken_for_the_backbone(
    recordings: Path, tmp_path: Path
) -> None:
    release = tmp_path / "vssm_nano.safetensors"
    tensors = build_vmamba("nano", 10).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, release)
    config = tiny_run(recordings, tmp_path / "out", max_steps=2)
    still = replace(config.module.optimiser, learning_rate=0.0)
    config = replace(config, vmamba=release, module=replace(config.module, optimiser=still))
    trained, given = load_checkpoint(train(config)).state_dict(), load_file(release)
    name = "layers.0.blocks.0.op.in_proj.weight"
    torch.testing.assert_close(trained[f"vmamba.{name}"], given[name].half().float())
    with pytest.raises(ConfigError, match="network has 0 VMamba backbones"):
        network = replace(TINY, backbone="timm/resnet18")
        train(replace(config, module=replace(config.module, network=network)))


def test_it_ends_early_with_the_best_weights(recordings: Path, tmp_path: Path) -> None:
    config = tiny_run(recordings, tmp_path, max_steps=40)
    still = replace(config.module.optimiser, learning_rate=0.0)  # nothing will get better
    augmentation = AugmentationConfig()
    config = replace(
        config, patience=2, module=replace(config.module, optimiser=still,
                                           augmentation=augmentation),
    )  # fmt: skip
    train(config)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] < 20
    assert (tmp_path / "best.ckpt").is_file()
    with pytest.raises(ConfigError, match="patience counts validations"):
        replace(config, validation=None)


def test_two_processes_give_the_loss_of_one(recordings: Path, tmp_path: Path) -> None:
    """The same batch, cut in two: what is random in a process alone is switched off.

    Losses are compared after a step of plain descent, and so are gradients: Adam's first step is
    the sign of a gradient, and that of one that is all rounding differs from run to run. In mixed
    precision the loss is that of one but for rounding.
    """
    script = tmp_path / "run.py"
    script.write_text(f"""
import sys
from dataclasses import fields, replace
from pathlib import Path
sys.path[:0] = [{str(Path(__file__).parents[1])!r}]
import lightning, torch
from safetensors.torch import save_file
from tiny_runs import tiny_run
from scmpr_ros.training.augmentation import AugmentationConfig
from scmpr_ros.methods.scmpr.objective import ScmprObjectiveConfig
from scmpr_ros.training.module import PlaceRecognitionModule
from scmpr_ros.training.train import train
found = {{}}
class Listen(lightning.Callback):
    def on_before_optimizer_step(self, trainer, module, optimiser):
        step = trainer.global_step
        found[f"loss {{step}}"] = trainer.callback_metrics["loss/total"].clone()
        for name, parameter in module.named_parameters():
            if step == 0 and parameter.grad is not None:
                found[name] = parameter.grad.clone().contiguous()
    def on_train_end(self, trainer, module):
        save_file(found, sys.argv[1] + f"-{{trainer.global_rank}}.safetensors")
PlaceRecognitionModule.configure_optimizers = lambda self: torch.optim.SGD(
    self.parameters(), lr=0.01)
config = tiny_run(Path({str(recordings)!r}), Path(sys.argv[1]), max_steps=3)
off = AugmentationConfig(**{{f.name: 0.0 for f in fields(AugmentationConfig)}})
module = replace(config.module, augmentation=off, stochastic_depth=False,
                 loss=ScmprObjectiveConfig(memory=8, local_weight=0.0))
config = replace(config, module=module, validation=None, precision=sys.argv[2])
train(config, [Listen()])
""")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    exact, mixed = "32-true", "bf16-mixed"
    for name, how, precision in (
        ("one", [], exact), ("two", launch, exact), ("mixed", launch, mixed)
    ):  # fmt: skip
        command = [sys.executable, *how, str(script), str(tmp_path / name), precision]
        subprocess.run(command, check=True, env=environment, timeout=240)
    alone, first, second, rounded = (
        load_file(tmp_path / f"{run}.safetensors") for run in ("one-0", "two-0", "two-1", "mixed-0")
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
def test_the_rival_is_trained_and_finds_in_the_same_harness(
    recordings: Path, tmp_path: Path, tower: str
) -> None:
    grids = {"view": TINY.view, "panorama": TINY.panorama}
    rival = LipLocConfig(**grids, tower=tower, size=64, num_headings=6)
    config = tiny_run(recordings, tmp_path, max_steps=2)
    module = replace(config.module, network=rival, loss=ObjectiveConfig())
    config = replace(config, method="lip_loc", module=module)
    network = load_checkpoint(train(config))
    assert isinstance(network, LipLocNetwork) and network.config == rival
    (result,) = evaluate_recording(recordings / "0000", network, EvaluationConfig())
    scores = result.scores
    assert scores.num_answered == scores.num_queries == 12 and scores.num_headings == 6
    with pytest.raises(ConfigError, match="lip_loc has no task 'local'"):
        replace(config, task="local")


class StreetDrive(CircleDrive):
    """A straight street between two walls, with images and labelled scans, but no masks."""

    name = "street"
    camera = CameraModel(64, 24, 40.0, 40.0, 31.5, 11.5)
    image_frames = scan_frames = frames = tuple(range(12))

    def T_world_lidar(self, frame: int) -> np.ndarray:
        return make_transform(np.eye(3), np.array([1.5 * frame, 0.0, 0.0]))

    def mask(self, frame: int, sparse: bool = True) -> None:
        return None

    def scan(self, frame: int) -> PointCloud:
        x, across = np.meshgrid(np.arange(-15, 15, 0.5), np.arange(-5, 5, 0.5))
        road = np.stack([x, across, np.full_like(x, -1.7)], -1).reshape(-1, 3)
        wall = np.stack([x, np.full_like(x, 5.0), across * 0.4], -1).reshape(-1, 3)
        return PointCloud(
            np.concatenate([road, wall]).astype(np.float32),
            to_joint(self.point_labels(frame), "semantickitti"),
        )

    def point_labels(self, frame: int) -> np.ndarray:
        return np.repeat(np.array([40, 50], np.uint32), 60 * 20)


def test_a_bag_and_unlabelled_images_train_as_well(recordings: Path, tmp_path: Path) -> None:
    """One drive with scans and images; the map's classes are the mask where there is none."""
    write_drive_bag(StreetDrive(), tmp_path / "bags" / "street")
    config = replace(
        tiny_run(recordings, tmp_path / "out", max_steps=2), recordings=tmp_path / "bags",
        validation=None, prepared=tmp_path / "prepared",
    )  # fmt: skip
    assert train(config).is_file()
    (source,) = find_recordings(tmp_path / "bags")
    assert source == (tmp_path / "bags" / "street", "street")
    recording = load_recording(source, TINY, TOWN, tmp_path / "prepared")
    assert (recording.depth > 0).any()
    assert set(recording.masks.unique().tolist()) <= set(recording.label.unique().tolist()) | {0}


def test_a_second_run_in_a_folder_is_refused(recordings: Path, tmp_path: Path) -> None:
    config = tiny_run(recordings, tmp_path, max_steps=2)
    with exclusive_lock(config.out), pytest.raises(ConfigError, match="another process is at work"):
        train(config)
    assert not (config.out / "run.json").exists()


def test_changed_settings_are_told_on_resuming(
    recordings: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(tiny_run(recordings, tmp_path, max_steps=2))
    assert not caplog.records or "when this run began" not in caplog.text
    train(tiny_run(recordings, tmp_path, max_steps=3))
    assert "module.optimiser.max_steps was 2 when this run began, and is 3 now" in caplog.text
    assert "batch_size" not in caplog.text


def test_what_cannot_be_read_can_be_left_out(tmp_path: Path, caplog) -> None:
    folder = write_recording(tmp_path / "0000", seed=0, images=4)
    (folder / "sequences/01/mask_2/000001.png").unlink()
    with pytest.raises(DatasetError, match="01: frame 1 has no mask, as others have"):
        load_recording(RecordingSource(folder), TINY, TOWN, tmp_path)
    recording = load_recording(
        RecordingSource(folder), TINY, replace(TOWN, skip_bad=True), tmp_path
    )
    assert len(recording.views) == 3
    assert "left out frame 1: " in caplog.text


def test_a_town_is_prepared_anew_when_its_recording_has_changed(tmp_path: Path) -> None:
    folder, cache = write_recording(tmp_path / "0000", seed=0, images=4), tmp_path / "prepared"
    before = load_recording(RecordingSource(folder), TINY, TOWN, cache)
    load_recording(RecordingSource(folder), TINY, TOWN, cache)
    assert len(list(cache.iterdir())) == 1
    image = folder / "sequences/01/image_2/000002.png"
    Image.new("RGB", Image.open(image).size, (255, 0, 0)).save(image)
    after = load_recording(RecordingSource(folder), TINY, TOWN, cache)
    same = (before.views == after.views).flatten(1).all(1)
    assert same.tolist() == [True, True, False, True]


def test_what_is_a_town(recordings: Path, tmp_path: Path) -> None:
    assert [source.name for source in find_recordings(recordings)] == ["0000", "0001"]
    assert find_recordings(recordings / "0001") == [RecordingSource(recordings / "0001")]
    assert find_recordings(tmp_path / "nowhere") == []
    begun = write_recording(tmp_path / "0007", seed=0, images=4)
    (begun / "town.started.yaml").write_text("")
    assert find_recordings(tmp_path) == []
    (begun / "town.yaml").write_text("")
    assert find_recordings(tmp_path) == [RecordingSource(begun)]
    (begun / "map.ply").unlink()  # then each drive is in a frame of its own, and none has both
    assert find_recordings(tmp_path) == []


def test_missing_recordings_and_bad_settings_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DatasetError, match="make_town"):
        train(tiny_run(tmp_path, tmp_path / "out", 4))
    with pytest.raises(ConfigError, match="batch_size"):
        TrainConfig(batch_size=1)
    with pytest.raises(ConfigError, match="warmup_steps"):
        OptimiserConfig(warmup_steps=10, max_steps=10)
    assert train_script.main(["--recordings", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("train: ")
    with pytest.raises(SystemExit):
        train_script.main(["--colour", "red"])
