"""`adapt` learns from recordings of one's own, and writes no weights that are worse."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from camera_poses import level_camera_pose
from jsonargparse import ArgumentParser
from recording import write_recording
from tiny_runs import PAIRS, TINY, tiny_run
from torch import nn

from scmpr_ros.cli import adapt as adapt_script
from scmpr_ros.config import flatten
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.methods.checkpoint import load_checkpoint, save_checkpoint
from scmpr_ros.methods.pair_batch import collate
from scmpr_ros.methods.registry import find_method
from scmpr_ros.methods.scmpr.losses import segmentation_loss
from scmpr_ros.methods.scmpr.network import ScmprNetwork
from scmpr_ros.methods.scmpr.objective import ScmprObjectiveConfig
from scmpr_ros.networks.batch_norm import PlainBatchNorm
from scmpr_ros.semantics import IGNORE, NUM_CLASSES, class_id
from scmpr_ros.training.adaptation import adapt
from scmpr_ros.training.adaptation_settings import AdaptConfig, adapt_config_class
from scmpr_ros.training.balance import balanced_weights, mixed_weights
from scmpr_ros.training.held_out import HeldOutConfig, split_recording
from scmpr_ros.training.label_noise import geometric_mask_confusion
from scmpr_ros.training.measurement import measure
from scmpr_ros.training.module import OptimiserConfig, PlaceRecognitionModule
from scmpr_ros.training.pairs import Draw, NeighbourhoodSampler, PairDataset
from scmpr_ros.training.preparation import PreparedRecording, RecordingSource, load_recording
from scmpr_ros.training.self_training import with_confident_predictions

SHORT = HeldOutConfig(share=0.35, gap_m=2.0, min_length_m=20.0, spacing_m=0.1)
"""Parts of a tiny recording: 24 m with 32 images."""


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("own") / "street", seed=5, images=32)


@pytest.fixture(scope="module")
def initial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "initial.safetensors"
    save_checkpoint(ScmprNetwork(TINY), path)
    return path


@pytest.fixture
def config(street: Path, recordings: Path, initial: Path, tmp_path: Path) -> AdaptConfig:
    return AdaptConfig(
        loss=ScmprObjectiveConfig(), recordings=street, towns=recordings,
        town_validation=recordings.parent / "validation", initial=initial,
        prepared=recordings / ".prepared", jobs=1, out=tmp_path / "out", batch_size=6,
        precision="32-true", max_town_loss=1.0, validate_every_steps=8, held_out=SHORT,
        pairs=PAIRS, own_share=0.5,
        optimiser=OptimiserConfig(learning_rate=3e-3, warmup_steps=1, max_steps=16),
    )  # fmt: skip


def with_poses(
    recording: PreparedRecording, xy_m: np.ndarray, yaw_deg: np.ndarray
) -> PreparedRecording:
    """A recording whose views were taken elsewhere."""
    poses = [
        level_camera_pose(np.array([*xy, 0.0]), math.radians(yaw))
        for xy, yaw in zip(xy_m, yaw_deg, strict=True)
    ]
    count = len(poses)
    rows = {name: getattr(recording, name)[:1].expand(count, *getattr(recording, name).shape[1:])
            for name in ("views", "masks", "depth", "camera")}  # fmt: skip
    return replace(recording, poses=torch.from_numpy(np.stack(poses)), **rows)


def on_a_line(along_m: np.ndarray) -> np.ndarray:
    return np.column_stack([along_m, np.zeros(len(along_m))])


# --- what is held out ----------------------------------------------------------------------------


def test_the_last_metres_are_held_out_with_a_gap_on_every_lap(dataset: PairDataset) -> None:
    """Two laps of a circle of 200 m: the end is driven past on both, and both keep off it."""
    angle = np.linspace(0, 4 * np.pi, 400, endpoint=False)
    xy = 100 / np.pi * np.column_stack([np.cos(angle), np.sin(angle)])
    recording = with_poses(dataset.recordings[0], xy, np.degrees(angle) + 90)
    training, held_out = split_recording("laps", recording, HeldOutConfig(share=0.1))
    assert len(held_out.views) == pytest.approx(40, abs=1)
    np.testing.assert_allclose(held_out.poses[-1, :2, 3], xy[-1])
    distance = torch.cdist(training.poses[:, :2, 3], held_out.poses[:, :2, 3])
    assert 10 <= distance.min() < 11.5
    assert len(training.views) == pytest.approx(400 - 2 * (40 + 20), abs=4)
    assert len(training.positions) == len(recording.positions)


def test_a_standing_car_does_not_fill_the_held_out_stretch(dataset: PairDataset) -> None:
    along = np.concatenate([np.arange(0, 100, 0.5), np.full(500, 100.0)])
    recording = with_poses(dataset.recordings[0], on_a_line(along), np.zeros(len(along)))
    held_out = split_recording("standing", recording, HeldOutConfig()).held_out
    assert len(held_out.views) == pytest.approx(25, abs=1)


def test_a_long_stretch_has_a_limited_number_of_images(dataset: PairDataset) -> None:
    along = np.arange(0, 800, 0.5)
    recording = with_poses(dataset.recordings[0], on_a_line(along), np.zeros(len(along)))
    held_out = split_recording("long", recording, HeldOutConfig(max_images=20)).held_out
    assert len(held_out.views) == pytest.approx(20, abs=1)
    steps_m = held_out.poses[:, 0, 3].diff()
    assert steps_m.min() >= 9.5 and steps_m.max() <= 10.5


@pytest.mark.parametrize(
    ("metres", "images", "message"),
    [(30, 100, r"street: 30 m are too short .* at least 40 m"), (60, 10, "only . images are 10 m")],
)
def test_a_recording_too_short_to_split_is_refused(
    dataset: PairDataset, metres: float, images: int, message: str
) -> None:
    along = np.linspace(0, metres, images)
    recording = with_poses(dataset.recordings[0], on_a_line(along), np.zeros(images))
    with pytest.raises(DatasetError, match=message):
        split_recording("street", recording, HeldOutConfig())


# --- what is drawn -------------------------------------------------------------------------------


def test_neither_standing_nor_driving_straight_dominates(dataset: PairDataset) -> None:
    """100 m straight on, a stop of 200 images at its end, then 10 m to the left."""
    straight, stop = on_a_line(np.arange(0, 100, 2.0) + 1), np.full((200, 2), (101.0, 0.0))
    turned = np.column_stack([np.full(5, 101.0), np.arange(4, 14, 2.0)])
    xy = np.concatenate([straight, stop, turned])
    yaw = np.repeat([0.0, 0.0, 90.0], [len(straight), len(stop), len(turned)])
    recording = with_poses(dataset.recordings[0], xy, yaw)
    weights = balanced_weights(recording, torch.arange(len(xy)))
    of_straight, of_stop, of_turn = weights.split([50, 200, 5])
    assert of_stop.sum() == pytest.approx(float(of_straight[0]))
    # 51 cells ahead and 5 to the left: the square root of their ratio, neither 1 nor the ratio.
    assert (of_straight.sum() + of_stop.sum()) / of_turn.sum() == pytest.approx(math.sqrt(51 / 5))


def test_every_batch_has_its_share_of_own_views(dataset: PairDataset) -> None:
    weights = mixed_weights(dataset, own=1, own_share=0.25)
    own = torch.tensor([recording == 0 for recording, _ in dataset.index])
    assert float(weights[own].sum()) == pytest.approx(0.25)
    assert float(weights.sum()) == pytest.approx(1)
    sampler = NeighbourhoodSampler(dataset, 24, batches=50, seed=1, weights=weights)
    batches = list(sampler)
    shares = [np.mean([bool(own[draw.view]) for draw in batch]) for batch in batches]
    assert all(abs(share - 0.25) <= 3 / 24 for share in shares)  # one group of three
    assert np.mean(shares) == pytest.approx(0.25, abs=0.02)
    again = NeighbourhoodSampler(dataset, 24, batches=50, seed=1, skip=40, weights=weights)
    assert list(again) == batches[40:]


# --- labels from geometry ------------------------------------------------------------------------


def test_confused_labels_do_not_decide_between_what_they_confuse() -> None:
    """Geometry calls sidewalks road: the label `road` must not push a sidewalk's logit down."""
    confusion = geometric_mask_confusion()
    torch.testing.assert_close(confusion.sum(1)[1:-1], torch.ones(NUM_CLASSES - 2))
    road, sidewalk, building = (class_id(n) for n in ("road", "sidewalk", "building"))
    label = torch.full((1, 2, 3), road, dtype=torch.uint8)
    label[0, 0, 0] = IGNORE

    def gradient(table: torch.Tensor | None) -> torch.Tensor:
        logits = torch.zeros(1, NUM_CLASSES, 2, 3)
        logits[:, sidewalk] = 4
        logits.requires_grad_()
        segmentation_loss(logits, label, table).backward()
        assert logits.grad is not None and (logits.grad[0, :, 0, 0] == 0).all()
        return logits.grad[0, :, 1, 1]

    exact, geometric = gradient(None), gradient(confusion[None])
    assert exact[sidewalk] > 0.1 > 0 > geometric[sidewalk]
    assert geometric[building] > 0 > geometric[road]
    torch.testing.assert_close(gradient(torch.eye(NUM_CLASSES)[None]), exact)


@pytest.mark.slow
def test_masks_of_a_map_without_labels_are_confident_and_show_parked_cars(
    shared_data: Path, tmp_path: Path
) -> None:
    """The real drive 0009, along which cars are parked."""
    source = RecordingSource(shared_data / "kitti_drive_0009")
    preparation = replace(AdaptConfig(ScmprObjectiveConfig()).preparation, place_spacing_m=10.0)
    masks = {}
    for confidence in (0.0, 0.9):
        config = replace(preparation, min_label_confidence=confidence)
        recording = load_recording(source, TINY, config, tmp_path)
        assert recording.geometric_masks.tolist() == [True]
        masks[confidence] = recording.masks
    labelled, certain = ((mask != IGNORE) for mask in masks.values())
    assert 0.2 < certain.float().mean() < labelled.float().mean() - 0.05
    assert torch.equal(masks[0.0][certain], masks[0.9][certain])
    assert (masks[0.9] == class_id("car")).float().mean() > 0.01
    assert class_id("car") not in recording.panorama.label


def test_self_training_labels_only_unlabelled_cells(initial: Path, dataset: PairDataset) -> None:
    network, recording = load_checkpoint(initial), dataset.recordings[0]
    assert isinstance(network, ScmprNetwork)
    with torch.no_grad():
        network.saff.mask_head.bias[class_id("sky")] += 100  # sky everywhere, with certainty
    holes = recording.masks.clone()
    holes[:, :4] = IGNORE
    seen = recording.seen.clone()
    seen[:, :, 0] = False
    masks = with_confident_predictions(network, replace(recording, masks=holes, seen=seen)).masks
    filled = (holes == IGNORE) & seen
    assert (masks[filled] == class_id("sky")).all() and torch.equal(masks[~filled], holes[~filled])
    with torch.no_grad():
        network.saff.mask_head.bias.zero_()
        network.saff.mask_head.weight.zero_()  # no class is probable
    unsure = with_confident_predictions(network, replace(recording, masks=holes, seen=seen))
    assert torch.equal(unsure.masks, holes)


# --- adapting ------------------------------------------------------------------------------------


def test_frozen_normalisations_keep_their_statistics(
    dataset: PairDataset, recordings: Path, tmp_path: Path
) -> None:
    """Those of descriptors, and those of a backbone with batch norms."""
    tiny = tiny_run(recordings, tmp_path, 2).module
    network = replace(TINY, backbone="timm/test_resnet")
    batch = collate([dataset[Draw(view, 0.5)] for view in range(4)])
    for frozen in (True, False):
        settings = replace(
            tiny, network=network, frozen_batch_norm=frozen, frozen_descriptor_norm=frozen
        )
        module = PlaceRecognitionModule(find_method("scmpr"), settings, [])
        kinds = (nn.BatchNorm2d, PlainBatchNorm)
        norms = [part for part in module.network.modules() if isinstance(part, kinds)]
        assert {type(part) for part in norms} >= set(kinds) and module.network.training
        before = [part.running_mean.clone() for part in norms]
        module.eval().train()
        module.objective.losses(batch)
        kept = [torch.equal(a, b.running_mean) for a, b in zip(before, norms, strict=True)]
        assert all(kept) if frozen else not any(kept)


def test_what_was_learned_is_written_with_a_report(config: AdaptConfig) -> None:
    report = adapt(config)
    before, after = report.before, report.after
    assert report.weights == config.out / "model.safetensors"
    assert after.held_out.certainty > before.held_out.certainty
    assert after.held_out.recall >= before.held_out.recall
    assert after.share in config.initial_shares
    written, start = load_checkpoint(report.weights), load_checkpoint(config.initial)
    for name, value in start.state_dict().items():
        if "running" in name:  # frozen statistics
            torch.testing.assert_close(written.state_dict()[name], value, rtol=2e-3, atol=1e-4)
    changed = "saff.mask_head.weight"
    assert not torch.equal(written.state_dict()[changed], start.state_dict()[changed])
    recorded = json.loads((config.out / "report.json").read_text())
    assert recorded["after"]["held_out"]["certainty"] == after.held_out.certainty
    assert recorded["before"]["towns"]["recall_at_1"] == before.towns.recall
    assert recorded["settings"]["own_share"] == 0.5
    with pytest.raises(ConfigError, match="exists: name another `out`"):
        adapt(config)


def test_measuring_repeats_the_localizer(config: AdaptConfig, street: Path) -> None:
    """The same weights give the same numbers, and probabilities add up to at most one."""
    network = load_checkpoint(config.initial)
    recording = load_recording(RecordingSource(street), TINY, config.preparation, config.prepared)
    one, two = measure(network, [recording]), measure(network, [recording, recording])
    assert len(two.correct) == 2 * len(one.correct) == 64
    np.testing.assert_array_equal(two.probability[:32], one.probability)
    assert ((one.probability >= 0) & (one.probability <= 1)).all()
    assert set(two.recording.tolist()) == {0, 1}
    summary = two.summary()
    assert summary["recall_at_1"] == one.recall
    assert 0 <= summary["classes_correct"] <= 1 and 0 <= summary["ranges_correct"] <= 1


def arguments(config: AdaptConfig, **changes: object) -> list[str]:
    """Command line of the settings."""
    given = {k: v for k, v in flatten(config).items() if not k.startswith("loss.")} | changes
    return [f"--{name}={json.dumps(v) if isinstance(v, list) else v}".replace("=None", "=null")
            for name, v in given.items()]  # fmt: skip


def test_weights_that_are_worse_are_not_written(
    config: AdaptConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a rate of zero they are the same, so nothing was gained."""
    changes = {"optimiser.learning_rate": 0.0, "initial_shares": [0.0], "method": "scmpr"}
    assert adapt_script.main(arguments(config, **changes)) == 1
    output = capsys.readouterr()
    assert output.err.strip().startswith("adapt: no weights are written: ")
    assert len(output.err.strip().splitlines()) == 1
    assert "not written" in output.out and "towns, after" in output.out
    assert not (config.out / "model.safetensors").exists()
    assert json.loads((config.out / "report.json").read_text())["weights"] is None


def test_a_loss_in_towns_is_refused(config: AdaptConfig) -> None:
    report = adapt(replace(config, initial_shares=(0.25,)))
    worse = replace(
        report.after,
        towns=replace(report.after.towns, correct=np.zeros_like(report.after.towns.correct)),
    )
    better = replace(
        report.before,
        towns=replace(report.before.towns, correct=np.ones_like(report.before.towns.correct)),
    )
    assert worse.fault(better, 0.01) == (
        "Recall@1 in the validation towns fell from 100.0% to 0.0%"
    )
    assert report.after.fault(report.before, 1.0) is None


def test_test_sequences_are_refused(
    config: AdaptConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sequence 09 of KITTI is a test sequence of `--protocol scmpr`."""
    folder = write_recording(tmp_path / "kitti", seed=1, images=16)
    (folder / "map.ply").unlink()
    for part in ("sequences/00", "poses/00.txt"):
        (folder / part).rename(folder / f"{part.replace('00', '09')}")
    images = folder / "sequences/09/image_2"
    (folder / "sequences/01/image_2").rename(images)
    changes = {"recordings": folder, "sequences": "09"}
    assert adapt_script.main(arguments(config, **changes)) == 1
    assert "test data of scmpr" in capsys.readouterr().err


def test_the_shipped_recipe_is_the_default(repository: Path) -> None:
    """config/adapt.yaml explains every choice; nothing in it differs from the defaults."""
    path = repository / "config" / "adapt.yaml"
    kind = adapt_config_class("scmpr")
    parser = ArgumentParser()
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(kind)
    given = parser.instantiate(parser.parse_args(["--config", str(path)]))
    del given.config
    read, default = flatten(kind(**vars(given))), flatten(kind())
    losses = {name for name in read if name.startswith("loss.")}
    assert {n: v for n, v in read.items() if n not in losses} == {
        name: value for name, value in default.items() if name not in losses
    }
    assert set(yaml.safe_load(path.read_text())) >= {"own_share", "held_out", "optimiser"}


def test_adapting_to_a_real_drive(
    config: AdaptConfig, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The flow for KITTI odometry, on the samples' drive 0009, 55 m long and without a map."""
    kitti = tmp_path / "kitti"
    kitti.mkdir()
    for part in ("sequences", "poses"):
        (kitti / part).symlink_to(shared_data / "kitti_drive_0009" / part)
    changes = {
        "recordings": kitti, "sequences": "0009", "method": "scmpr", "held_out.share": 0.25,
        "held_out.gap_m": 10.0, "held_out.min_length_m": 40.0, "held_out.spacing_m": 1.0,
        "optimiser.max_steps": 2, "validate_every_steps": 2,
    }  # fmt: skip
    code = adapt_script.main(arguments(config, **changes))
    output = capsys.readouterr()
    assert "held out, before" in output.out, output.err
    written = (config.out / "model.safetensors").is_file()
    assert code == (0 if written else 1)
    assert written == ("weights written" in output.out)
    report = json.loads((config.out / "report.json").read_text())
    assert report["before"]["held_out"]["num_queries"] == 13
