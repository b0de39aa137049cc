"""Training learns: a tiny network segments its training views and finds them in their maps."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import lightning
import numpy as np
import torch
from tiny_runs import TINY, tiny_run

from scmpr_ros.evaluation.iou import named_iou
from scmpr_ros.evaluation.metrics import Tolerance, within
from scmpr_ros.methods.checkpoint import load_checkpoint
from scmpr_ros.methods.network import PlaceNetwork
from scmpr_ros.methods.scmpr.network import ScmprNetwork
from scmpr_ros.training.augmentation import AugmentationConfig
from scmpr_ros.training.module import OptimiserConfig
from scmpr_ros.training.pairs import PairDataset
from scmpr_ros.training.preparation import PreparedRecording
from scmpr_ros.training.train import train
from scmpr_ros.training.validation import locate, retrieve_recording

STEPS = 40


def recall_and_iou(
    network: PlaceNetwork, recordings: list[PreparedRecording]
) -> tuple[float, float]:
    """Recall@1 within 5 m and 30 deg of all views, and mean IoU of their masks."""
    results = [retrieve_recording(network.eval(), recording) for recording in recordings]
    recall = float(np.mean([result.recall(Tolerance()) for result in results]))
    confusion = np.sum([result.confusion for result in results], axis=0)
    return recall, named_iou(confusion)["mean"]


def chance(network: PlaceNetwork, recording: PreparedRecording) -> float:
    """Recall@1 of a viewpoint drawn at random: the fraction of all that are correct."""
    count, headings = len(recording.views), network.headings_rad.cpu()
    correct = [
        within(*locate(torch.full((count,), viewpoint), headings, recording)[2:], Tolerance())
        for viewpoint in range(len(recording.positions) * len(headings))
    ]
    return float(np.mean(correct))


def test_training_learns(recordings: Path, tmp_path: Path, dataset: PairDataset) -> None:
    losses: list[float] = []

    class Record(lightning.Callback):
        def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
            losses.append(float(trainer.callback_metrics["loss/segmentation"]))

    config = tiny_run(recordings, tmp_path, STEPS)
    off = AugmentationConfig(**{field.name: 0.0 for field in fields(AugmentationConfig)})
    module = replace(
        config.module, augmentation=off, stochastic_depth=False,
        optimiser=OptimiserConfig(learning_rate=2e-3, warmup_steps=2, max_steps=STEPS),
    )  # fmt: skip
    config = replace(config, module=module, validation=None, batch_size=18, save_every_steps=STEPS)
    trained = load_checkpoint(train(config, [Record()]))
    torch.manual_seed(config.seed)
    untrained = ScmprNetwork(TINY)

    by_chance = float(np.mean([chance(trained, recording) for recording in dataset.recordings]))
    recall, iou = recall_and_iou(trained, dataset.recordings)
    recall_before, iou_before = recall_and_iou(untrained, dataset.recordings)
    assert recall > 5 * by_chance > recall_before
    assert iou > 0.8 > 2 * iou_before
    assert np.mean(losses[-5:]) < 0.5 * losses[0]
