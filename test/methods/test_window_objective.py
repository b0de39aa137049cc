"""The contrast of images with windows: which windows, which loss, and in parts as at once."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from window_methods import PANORAMA, random_pairs, small_network, window_methods

from scmpr_ros.errors import ConfigError
from scmpr_ros.lidar.panorama import Panoramas
from scmpr_ros.methods.objective import Objective
from scmpr_ros.methods.pair_batch import PairBatch
from scmpr_ros.methods.registry import find_method
from scmpr_ros.methods.window_objective import WindowObjective, WindowObjectiveConfig

QUERIES = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
WINDOWS = torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.6, 0.8]])
"""Cosines: of the first image 0.6, 0; of the second 0.8, 0.6."""


def objective_of(name: str, **changes: Any) -> Objective:
    """Its contrast, of a network in evaluation mode."""
    method = find_method(name)
    if name == "vxp":
        changes["match"] = "contrast"
    return method.objective(small_network(name), method.objective_config(**changes), "place")


def contrast(batch: PairBatch, **changes: Any) -> float:
    config = WindowObjectiveConfig(**changes)
    network = small_network("lip_loc", descriptor_dim=3)
    objective = WindowObjective(network, config, "place")
    with torch.no_grad():
        return float(objective.contrast(QUERIES, WINDOWS, batch))


def test_infonce_by_hand() -> None:
    """From an image to windows, and from a window to images, mean of both."""
    e = math.exp
    to_map = [math.log(1 + e(10 * (0.0 - 0.6))), math.log(1 + e(10 * (0.8 - 0.6)))]
    to_image = [math.log(1 + e(10 * (0.8 - 0.6))), math.log(1 + e(10 * (0.0 - 0.6)))]
    found = contrast(random_pairs(2), initial_scale=10.0)
    assert found == pytest.approx(sum(to_map + to_image) / 4, rel=1e-5)


def test_triplets_by_hand() -> None:
    """Two of four are violated, by 0.2 and the margin; the others are 0.6 away."""
    found = contrast(random_pairs(2), contrast="triplet", triplet_margin=0.1)
    assert found == pytest.approx((0.3 + 0 + 0.3 + 0) / 4, rel=1e-5)


@pytest.mark.parametrize("kind", ["infonce", "triplet"])
def test_windows_that_show_the_same_are_no_negatives(kind: str) -> None:
    near = random_pairs(2, spacing_m=2.0)
    same = replace(near, yaw_rad=torch.tensor([0.0, 0.1]))
    elsewhere = replace(same, yaw_rad=torch.tensor([0.0, 1.2]))
    turned = replace(same, turned_rad=torch.tensor([0.0, 2.0]))  # the world, not the camera
    wrong = contrast(random_pairs(2), contrast=kind)
    assert contrast(same, contrast=kind) == pytest.approx(0, abs=1e-6)
    assert contrast(turned, contrast=kind) == pytest.approx(0, abs=1e-6)
    assert contrast(elsewhere, contrast=kind) == pytest.approx(wrong) and wrong > 0.05


def test_windows_of_earlier_batches_are_further_negatives() -> None:
    """The own place in the own heading is none, and no more is an empty slot: cosine -1."""
    objective = WindowObjective(
        small_network("lip_loc", descriptor_dim=3),
        WindowObjectiveConfig(memory=3, initial_scale=10.0), "place",
    )  # fmt: skip
    e, batch = math.exp, replace(random_pairs(2), yaw_rad=torch.tensor([0.2, -1.0]))
    with torch.no_grad():
        first, second = (float(objective.contrast(QUERIES, WINDOWS, batch)) for _ in range(2))
        turned = replace(batch, yaw_rad=batch.yaw_rad + 1.2)
        third = float(objective.contrast(QUERIES, WINDOWS, turned))
    for loss, remembered in (
        (first, [[-1.0] * 3, [-1.0] * 3]),
        (second, [[-1.0, 0.0, -1.0], [0.8, -1.0, -1.0]]),
        (third, [[0.6, 0.0, 0.6], [0.8, 0.6, 0.8]]),  # the oldest is forgotten
    ):
        cosine = [[0.6, 0.0, *remembered[0]], [0.6, 0.8, *remembered[1]]]
        to_map = [math.log(sum(e(10 * (c - 0.6)) for c in row)) for row in cosine]
        to_image = [math.log(1 + e(10 * (0.8 - 0.6))), math.log(1 + e(10 * (0.0 - 0.6)))]
        assert loss == pytest.approx(sum(to_map + to_image) / 4, rel=1e-4)


def test_windows_are_those_that_the_images_look_through() -> None:
    """The return straight ahead of each camera is in the middle of its window."""
    batch = replace(
        random_pairs(3), yaw_rad=torch.tensor([math.pi / 3, math.pi / 3, -3.0]),
        turned_rad=torch.tensor([0.0, 2 * math.pi / 3, 0.0]),
    )  # fmt: skip
    range_m = torch.zeros(3, PANORAMA.height, PANORAMA.width)
    for i, azimuth_deg in enumerate((60, 180, 180)):  # -3 rad are nearest to 180 degrees
        range_m[i, 2, (45 - azimuth_deg // 4) % 90] = 7.0
    nothing = torch.zeros_like(range_m)
    batch = replace(batch, panorama=Panoramas(range_m, nothing, nothing[:, None], nothing))
    window = objective_of("lip_loc").window(batch)
    assert window.panoramas.range_m.nonzero().tolist() == [[i, 2, 10] for i in range(3)]


def gradients(objective: Objective, batch: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
    objective.network.zero_grad()
    objective.zero_grad()
    (loss,) = objective.losses(batch).values()
    loss.backward()
    parts = {"network": objective.network, "objective": objective}
    return loss.detach(), {
        f"{part} {name}": x.grad.clone()
        for part, module in parts.items()
        for name, x in module.named_parameters()
        if x.grad is not None
    }


@pytest.mark.parametrize("name", window_methods())
@pytest.mark.parametrize("size", [3, 8])
def test_batches_in_parts_give_the_same_loss_and_gradients(name: str, size: int) -> None:
    """With running statistics and without dropout; a part of one pair as well."""
    batch = random_pairs(4)
    loss, whole = gradients(objective_of(name), batch)
    part_loss, parts = gradients(objective_of(name, encoded_at_once=size), batch)
    torch.testing.assert_close(part_loss, loss)
    assert whole.keys() == parts.keys() and len(whole) > 20
    for parameter, gradient in whole.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(parts[parameter], gradient, atol=1e-4 * scale + 1e-7, rtol=1e-3)
    assert float(whole["objective log_scale"].abs() if "objective log_scale" in whole else 1) > 0


@pytest.mark.parametrize("name", ["lip_loc", "lc2"])
def test_parts_are_encoded_again_with_the_same_noise(name: str) -> None:
    """Dropout and the scale of depth: gradients are of what was encoded first."""
    batch, found = random_pairs(4), []
    for size in (0, 4):
        objective = objective_of(name, encoded_at_once=size)
        objective.network.train()
        torch.manual_seed(3)
        found.append(gradients(objective, batch))
    (loss, whole), (part_loss, parts) = found
    torch.testing.assert_close(part_loss, loss)
    for parameter, gradient in whole.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(parts[parameter], gradient, atol=1e-4 * scale + 1e-7, rtol=1e-3)


@pytest.mark.parametrize("setting", ["memory", "encoded_at_once"])
@pytest.mark.parametrize(
    ("name", "task"), [("lc2", "overlap"), ("vxp", "teacher"), ("vxp", "local"), ("vxp", "place")]
)
def test_settings_of_the_contrast_are_refused_where_nothing_is_contrasted(
    name: str, task: str, setting: str
) -> None:
    method = find_method(name)
    with pytest.raises(ConfigError, match=f"task {task} of {name} has other losses"):
        method.objective(small_network(name), method.objective_config(**{setting: 4}), task)


@pytest.mark.parametrize(
    "wrong", [{"encoded_at_once": -1}, {"memory": -1}, {"triplet_margin": 0.0}]
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="triplet_margin must be positive"):
        WindowObjectiveConfig(**wrong)
