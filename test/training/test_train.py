"""Training on tiny recordings: pairs are right, a run learns, stops, and goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from recording import write_recording

from scmpr_ros.cli import train as train_script
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.metrics import Tolerance
from scmpr_ros.geometry import AngularGrid, level_camera_pose
from scmpr_ros.networks.checkpoint import load_checkpoint
from scmpr_ros.networks.scmpr import ScmprConfig
from scmpr_ros.training.module import ModuleConfig, OptimiserConfig
from scmpr_ros.training.pairs import Draw, NeighbourhoodSampler, PairDataset, PairsConfig
from scmpr_ros.training.towns import TownConfig, load_town
from scmpr_ros.training.train import TrainConfig, train
from scmpr_ros.training.validation import retrieve_town

TINY = ScmprConfig(
    view=AngularGrid(32, 64, 12.0, -15.0, 80.0), panorama=AngularGrid(8, 120, 16.0, -16.0)
)
PAIRS = PairsConfig(neighbours=3)
TOWN = TownConfig()


def run(recordings: Path, out: Path, max_steps: int) -> TrainConfig:
    module = ModuleConfig(
        network=TINY, optimiser=OptimiserConfig(max_steps=max_steps, warmup_steps=1)
    )
    return TrainConfig(
        towns=recordings, validation=recordings, prepared=recordings / ".prepared", out=out,
        batch_size=6, validate_every_steps=2, save_every_steps=2, pairs=PAIRS, module=module,
    )  # fmt: skip


@pytest.fixture(scope="module")
def dataset(recordings: Path) -> PairDataset:
    folders = [recordings / "0000", recordings / "0001"]
    return PairDataset(
        [load_town(f, TINY, TOWN, recordings / ".prepared") for f in folders],
        PAIRS, TINY.mask_grid, TINY.panorama,
    )  # fmt: skip


def test_a_prepared_town_holds_what_was_recorded(dataset: PairDataset) -> None:
    town = dataset.towns[0]
    assert town.views.shape == (12, 3, 32, 64) and town.masks.shape == (12, 8, 16)
    np.testing.assert_allclose(
        town.poses[3].numpy(), level_camera_pose(np.array([6.0, -0.4, 0.0]), 0.0), atol=1e-9
    )
    assert set(town.masks.unique().tolist()) <= {0, 1, 3}  # ignore, road, building
    assert town.label.shape[1:] == (8, 120) and (town.range_m > 0).any()


def test_pairs_are_close_but_never_the_same_pose(dataset: PairDataset) -> None:
    for item, share in product(range(len(dataset)), (0.0, 0.5, 0.999)):
        pair = dataset[Draw(item, share)]
        apart = (pair["view_position"] - pair["place_position"])[:2].norm()
        assert 0 < apart < PAIRS.reach_m


def test_batches_are_neighbourhoods_and_repeatable(dataset: PairDataset) -> None:
    sampler = NeighbourhoodSampler(dataset, 6, batches=5, seed=1)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 5 and all(len(b) == 6 for b in batches)
    assert batches == list(NeighbourhoodSampler(dataset, 6, batches=5, seed=1))
    assert batches[3:] == list(NeighbourhoodSampler(dataset, 6, batches=5, seed=1, skip=3))
    towns = [{dataset.index[draw.view][0] for draw in batch[:3]} for batch in batches]
    assert all(len(group) == 1 for group in towns)


def test_a_run_writes_weights_that_load_and_goes_on_where_it_stopped(
    recordings: Path, tmp_path: Path
) -> None:
    whole = run(recordings, tmp_path / "whole", max_steps=4)
    network = load_checkpoint(train(whole))
    assert network.config == TINY
    found = retrieve_town(network, load_town(recordings / "0000", TINY, TOWN, whole.prepared))
    assert 0 <= found.recall(Tolerance()) <= found.recall(Tolerance(angle_deg=180)) <= 1
    record = json.loads((whole.out / "run.json").read_text())
    assert record["config"]["batch_size"] == 6
    state = torch.load(whole.out / "last.ckpt", weights_only=True)
    assert state["global_step"] == 4

    train(run(recordings, whole.out, max_steps=6))
    assert torch.load(whole.out / "last.ckpt", weights_only=True)["global_step"] == 6


def test_a_killed_run_resumes_onto_the_same_weights(recordings: Path, tmp_path: Path) -> None:
    """kill -9 at any moment: steps since the last state are done again, and come out alike."""
    config = run(recordings, tmp_path / "whole", max_steps=12)
    script = f"""
import sys
from pathlib import Path
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
from test_train import run, train
train(run(Path({str(recordings)!r}), Path(sys.argv[1]), max_steps=12))
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


def test_changed_settings_are_told_on_resuming(
    recordings: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(run(recordings, tmp_path, max_steps=2))
    assert not caplog.records or "when this run began" not in caplog.text
    train(run(recordings, tmp_path, max_steps=3))
    assert "module.optimiser.max_steps was 2 when this run began, and is 3 now" in caplog.text
    assert "batch_size" not in caplog.text


def test_what_cannot_be_read_can_be_left_out(tmp_path: Path, caplog) -> None:
    folder = write_recording(tmp_path / "0000", seed=0, images=4)
    (folder / "sequences/01/mask_2/000001.png").unlink()
    with pytest.raises(DatasetError, match="01: frame 1 has no mask, as others have"):
        load_town(folder, TINY, TOWN, tmp_path)
    town = load_town(folder, TINY, replace(TOWN, skip_bad=True), tmp_path)
    assert len(town.views) == 3
    assert "left out frame 1: " in caplog.text


def test_a_town_is_prepared_anew_when_its_recording_has_changed(tmp_path: Path) -> None:
    folder, cache = write_recording(tmp_path / "0000", seed=0, images=4), tmp_path / "prepared"
    before = load_town(folder, TINY, TOWN, cache)
    load_town(folder, TINY, TOWN, cache)
    assert len(list(cache.iterdir())) == 1
    image = folder / "sequences/01/image_2/000002.png"
    Image.new("RGB", Image.open(image).size, (255, 0, 0)).save(image)
    after = load_town(folder, TINY, TOWN, cache)
    same = (before.views == after.views).flatten(1).all(1)
    assert same.tolist() == [True, True, False, True]


def test_missing_recordings_and_bad_settings_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DatasetError, match="make_town"):
        train(run(tmp_path, tmp_path / "out", 4))
    with pytest.raises(ConfigError, match="batch_size"):
        TrainConfig(batch_size=1)
    with pytest.raises(ConfigError, match="warmup_steps"):
        OptimiserConfig(warmup_steps=10, max_steps=10)
    assert train_script.main(["--towns", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("train: ")
    with pytest.raises(SystemExit):
        train_script.main(["--colour", "red"])
