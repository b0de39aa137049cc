"""VXP's descriptors equal its formulas, written out; its losses equal cases worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy_layers import Array, Cell, batch_norm, gem, linear, sparse_convolution, unit, values
from torch import Tensor, nn
from window_methods import (
    describe_window,
    random_pairs,
    random_panoramas,
    random_view,
    small_network,
    tower_features,
    window_points,
)

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import AngularGrid, rotation_z, upright_axes
from scmpr_ros.methods.pair_batch import PairBatch
from scmpr_ros.methods.vxp import METHOD, VxpObjectiveConfig
from scmpr_ros.methods.vxp.objective import batch_hard_triplets
from scmpr_ros.methods.vxp.projection import cells_of, nearest_in_cell
from scmpr_ros.methods.vxp.voxel_encoder import VoxelConfig, VoxelFeatures

SIZE_M, CORNER_M, VOXELS = 0.4, np.array([0.0, -8.0, -3.2]), (39, 40, 20)
STRIDES = (1, 2, 1, 1, 2, 1, 1)
COLUMN, ROW = math.radians(80 / 8), math.radians(27 / 4)
"""Of the 4 x 8 local features of an image."""


def voxelise(encoder: Any, points: Sequence[Array]) -> dict[Cell, Array]:
    """Mean return in its voxel, height, distance and number of returns, through a small network."""
    members: dict[Cell, list[Array]] = {}
    for point in points:
        cell = tuple(math.floor(v) for v in (point - CORNER_M) / SIZE_M)
        if all(0 <= c < side for c, side in zip(cell, VOXELS, strict=True)):
            members.setdefault(cell, []).append(point)
    assert len(members) < sum(len(x) for x in members.values()) < len(points)
    voxels = {}
    for cell, returns in members.items():
        mean = np.mean(returns, axis=0)
        offset = (mean - ((np.array(cell) + 0.5) * SIZE_M + CORNER_M)) / SIZE_M
        distance = math.log(1 + math.hypot(mean[0], mean[1]))
        x = np.array([*offset, mean[2] / 5, distance, math.log(len(returns))])
        x = np.maximum(batch_norm(encoder.enter[1], linear(encoder.enter[0], x)), 0)
        voxels[cell] = linear(encoder.enter[3], x)
    return voxels


def features_in_view(encoder: Any, points: Sequence[Array]) -> dict[Cell, Array]:
    """Features of the nearest coarse voxel of each cell of the image's features."""
    voxels = voxelise(encoder, points)
    for layer, stride in zip(encoder.stages, STRIDES, strict=True):
        convolved = sparse_convolution(voxels, values(layer.weight), stride)
        voxels = {c: np.maximum(batch_norm(layer.norm, x), 0) for c, x in convolved.items()}
    nearest: dict[Cell, tuple[float, Cell]] = {}
    for voxel in voxels:
        x, y, z = (np.array(voxel) + 0.5) * 4 * SIZE_M + CORNER_M
        distance = math.sqrt(x * x + y * y + z * z)
        column = math.floor((math.radians(40) - math.atan2(y, x)) / COLUMN)
        row = math.floor((math.radians(12) - math.asin(z / distance)) / ROW)
        if 0 <= row < 4 and 0 <= column < 8:
            cell = (row, column)
            nearest[cell] = min(nearest.get(cell, (math.inf, voxel)), (distance, voxel))
    assert 3 < len(nearest) < len(voxels)
    return {cell: linear(encoder.leave, voxels[voxel]) for cell, (_, voxel) in nearest.items()}


@torch.no_grad()
def test_image_descriptor_equals_the_formula() -> None:
    network, view = small_network("vxp"), random_view(2)
    found = network.describe_query(view, torch.zeros(0, 0)).descriptor[1]
    features = tower_features(network.tower, values(view.pixels[1]))
    assert features.shape == (6, 4, 8)
    normalised = (features - features.mean(0)) / np.sqrt(features.var(0) + 1e-5)
    pooled = gem(network.image_gem, list(normalised.reshape(6, -1).T))
    np.testing.assert_allclose(
        values(found),
        unit(batch_norm(network.image_whitening, linear(network.image_head, pooled))),
        atol=1e-5,
    )


@pytest.mark.parametrize("heading", [0, 3])
def test_window_descriptor_equals_the_formula(heading: int) -> None:
    network, panoramas = small_network("vxp"), random_panoramas(2, max_range_m=20.0)
    found = describe_window(network, panoramas, heading)
    features = features_in_view(network.voxel_encoder, window_points(panoramas, heading))
    pooled = gem(network.voxel_gem, list(features.values()))
    np.testing.assert_allclose(
        found,
        unit(batch_norm(network.voxel_whitening, linear(network.voxel_head, pooled))),
        atol=1e-5,
    )


def test_points_fall_into_cells_of_the_grid() -> None:
    grid = AngularGrid(2, 4, 20.0, -20.0, 80.0)
    points = torch.tensor([
        [5.0, 0.1, 0.1],    # just left of and above the middle
        [5.0, -0.1, -0.1],  # just right of and below it
        [5.0, 4.0, 0.1],    # 38.7 degrees to the left
        [5.0, 4.3, 0.1],    # 40.7 degrees
        [5.0, 0.1, 1.9],    # 20.8 degrees up
        [-5.0, 0.1, 0.1],
    ])  # fmt: skip
    cell, distance = cells_of(points, grid)
    assert cell.tolist() == [1, 6, 0, -1, -1, -1]
    torch.testing.assert_close(distance, points.norm(dim=1))


def test_one_point_is_the_nearest_of_each_cell() -> None:
    cell = torch.tensor([2, 0, 2, -1, 2, 0])
    distance = torch.tensor([5.0, 3.0, 4.0, 1.0, 4.0, 9.0])
    chosen = nearest_in_cell(cell, distance, 3)
    assert chosen.tolist() in [[False, True, i == 2, False, i == 4, False] for i in (2, 4)]


@torch.no_grad()
def test_a_window_of_nothing_is_described() -> None:
    network = small_network("vxp")
    points = torch.tensor([[[5.0, 0.0, 0.0]], [[torch.nan] * 3]])
    some, nothing = network.point_embedding(points)
    torch.testing.assert_close(some, network.point_embedding(points[:1])[0])
    smallest = torch.full((6,), (1e-6**3) ** (1 / 3))
    torch.testing.assert_close(nothing, network.voxel_head(smallest))


class GivenVoxels(nn.Module):
    """In place of the encoder."""

    def __init__(self, voxels: VoxelFeatures) -> None:
        super().__init__()
        self.voxels = voxels

    def forward(self, points: Tensor) -> VoxelFeatures:
        return self.voxels


@torch.no_grad()
def corresponding(features: Tensor, network: Any) -> tuple[PairBatch, VoxelFeatures]:
    """Two pairs whose images are apart from their places, and four voxels.

    Their features are those of the image where it shows them, plus `features`, (4, C).
    """
    yaw_rad, turned_rad = torch.tensor([0.5, -2.9]), torch.tensor([1.0, 2.0])
    axes = upright_axes(np.array([[0.05, -0.1, 1.0], [-0.1, 0.0, 1.0]]))
    batch = replace(
        random_pairs(2), yaw_rad=yaw_rad, turned_rad=turned_rad,
        view_position=torch.tensor([[3.0, 1.0, 2.0], [21.0, -4.0, 0.0]]),
        view_axes=torch.from_numpy(axes @ [rotation_z(float(yaw)) for yaw in yaw_rad]).float(),
        place_axes=torch.from_numpy(axes[::-1].copy()).float(),
    )  # fmt: skip
    target = network.image_features(batch.view)
    window = torch.tensor([0, 0, 1, 1])
    cell, distance = [(0, 0), (2, 5), (3, 7), (1, 2)], [4.0, 8.0, 6.0, 10.0]
    seen, centre = [], []
    for i, (row, column), reach in zip(window, cell, distance, strict=True):
        azimuth, elevation = (4 - 0.4 - column) * COLUMN, math.radians(12) - (row + 0.6) * ROW
        level = reach * math.cos(elevation)
        in_view = [level * math.cos(azimuth), level * math.sin(azimuth),
                   reach * math.sin(elevation)]  # fmt: skip
        in_map = values(batch.view_axes[i]) @ in_view + values(batch.view_position[i])
        in_place = values(batch.place_axes[i]).T @ (in_map - values(batch.place_position[i]))
        # The window looks along the nearest of six headings in the world that is turned.
        looking = math.radians(60) * round(float(yaw_rad[i] + turned_rad[i]) / math.radians(60))
        centre.append(rotation_z(float(turned_rad[i]) - looking) @ in_place)
        seen.append(target[i, :, row, column])
    shown = torch.stack(seen) + features
    return batch, VoxelFeatures(shown, window, torch.from_numpy(np.stack(centre)).float())


def local_loss(network: Any, batch: PairBatch, voxels: VoxelFeatures) -> Tensor:
    objective = METHOD.objective(network, VxpObjectiveConfig(), "local")
    network.voxel_encoder = GivenVoxels(voxels)
    loss: Tensor = objective.losses(batch)["local"]
    return loss


def test_voxels_that_repeat_the_teacher_cost_nothing() -> None:
    """Where the image shows them: it is not at the place, and the map's world is turned."""
    network = small_network("vxp")
    batch, voxels = corresponding(torch.zeros(4, 6), network)
    assert float(local_loss(network, batch, voxels)) < 1e-10
    for name in ("view_position", "place_position", "turned_rad"):
        moved = replace(batch, **{name: getattr(batch, name) + 1.5})
        assert float(local_loss(network, moved, voxels)) > 1e-4, name
    aside = torch.from_numpy(rotation_z(0.3)).float()  # two columns
    for name in ("view_axes", "place_axes"):
        turned = replace(batch, **{name: getattr(batch, name) @ aside})
        assert float(local_loss(network, turned, voxels)) > 1e-4, name


def test_local_loss_by_hand() -> None:
    """Smooth L1: a difference of 0.4 costs 0.08, one of 2 costs 1.5; near voxels weigh more."""
    network = small_network("vxp")
    difference = torch.zeros(4, 6)
    difference[0] = 0.4
    difference[2, 0] = -2.0
    found = local_loss(network, *corresponding(difference, network))
    weights = np.array([1 / 4, 1 / 8, 1 / 6, 1 / 10])
    expected = (weights * [0.08, 0, 1.5 / 6, 0]).sum() / weights.sum()
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_teacher_loss_equals_its_formula() -> None:
    """Image 0 is 6 m from image 1; 2 is too near to be another view of 1, but not of 0.

    Image 3 looks elsewhere, 4 is in another recording.
    """
    network = small_network("vxp")
    batch = replace(
        random_pairs(5), yaw_rad=torch.tensor([3.1, -3.1, 3.1, 1.0, 3.1]),
        view_position=torch.tensor([0.0, 6, 26, 3, 3])[:, None] * torch.eye(3)[0],
        recording=torch.tensor([0, 0, 0, 0, 1]),
    )  # fmt: skip
    margin = 0.5
    objective = METHOD.objective(network, VxpObjectiveConfig(teacher_margin=margin), "teacher")
    with torch.no_grad():
        found = float(objective.losses(batch)["teacher"])
        x = values(network.image_embedding(network.image_features(batch.view)))

    def violation(own: int, alike: int, others: Sequence[int]) -> float:
        wrong = min(others, key=lambda other: np.linalg.norm(x[own] - x[other]))
        away = min(np.linalg.norm(x[own] - x[wrong]), np.linalg.norm(x[alike] - x[wrong]))
        return max(0.0, float(np.linalg.norm(x[own] - x[alike]) - away + margin))

    violations = [violation(0, 1, (2, 3, 4)), violation(1, 0, (3, 4))]
    assert min(violations) > 0
    assert found == pytest.approx(np.mean(violations), abs=1e-5)
    apart = replace(batch, recording=torch.arange(5))
    loss = objective.losses(apart)["teacher"]
    loss.backward()
    assert float(loss.detach()) == 0


def test_triplets_by_hand() -> None:
    """On a line at 0, 1, 1.5 and 9: the negative of 0 is nearer to its positive, which counts."""
    at = torch.tensor([[0.0], [1.0], [1.5], [9.0]])
    pairs = torch.zeros(4, 4, dtype=torch.bool)
    positive, negative = pairs.clone(), pairs.clone()
    positive[0, 1], negative[0, 2] = True, True
    assert float(batch_hard_triplets(at, positive, negative, 0.2)) == pytest.approx(1 - 0.5 + 0.2)
    positive[3, 2], negative[3, 0] = True, True  # costs 7.5 - 1.5 + 0.2
    assert float(batch_hard_triplets(at, positive, negative, 0.2)) == pytest.approx((0.7 + 6.2) / 2)
    positive[1, 0], negative[1, 3] = True, True  # costs nothing, and does not dilute the others
    assert float(batch_hard_triplets(at, positive, negative, 0.2)) == pytest.approx((0.7 + 6.2) / 2)


@pytest.mark.parametrize("wrong", [{"positive_m": 0.0}, {"positive_m": 30.0}])
def test_a_positive_image_is_nearer_than_a_negative_one(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="not more than negative_m"):
        VxpObjectiveConfig(**wrong)


def test_the_student_starts_from_the_pooling_of_the_teacher() -> None:
    network = small_network("vxp").train()
    network.image_gem.load_state_dict({n: x + 1 for n, x in network.image_gem.state_dict().items()})
    objective = METHOD.objective(network, VxpObjectiveConfig(), "local")
    objective.losses(random_pairs(2))
    for theirs, ours in (("image_gem", "voxel_gem"), ("image_head", "voxel_head")):
        expected = getattr(network, theirs).state_dict()
        for name, x in getattr(network, ours).state_dict().items():
            torch.testing.assert_close(x, expected[name])


def test_student_repeats_the_descriptor_of_the_teacher() -> None:
    network, batch = small_network("vxp"), random_pairs(2)
    objective = METHOD.objective(network, VxpObjectiveConfig(), "place")
    with torch.no_grad():
        found = float(objective.losses(batch)["global"])
        target = values(network.image_embedding(network.image_features(batch.view)))
        student = values(network.point_embedding(objective.window(batch).points))
    off = np.abs(student - target)
    expected = np.where(off < 1, off**2 / 2, off - 0.5).mean()
    assert found == pytest.approx(expected, rel=1e-4) and found > 0


def test_descriptors_are_centred_by_the_statistics_of_the_teacher() -> None:
    network = small_network("vxp").train()
    objective = METHOD.objective(network, VxpObjectiveConfig(), "place")
    batch = random_pairs(6)
    with torch.no_grad():
        network.eval()
        target = values(network.image_embedding(network.image_features(batch.view)))
        network.train()
        for _ in range(200):
            objective.losses(batch)
    for norm in (network.image_whitening, network.voxel_whitening):
        np.testing.assert_allclose(values(norm.running_mean), target.mean(0), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(values(norm.running_var), target.var(0, ddof=1), rtol=1e-3)


TEACHER = {"tower", "image_gem", "image_head"}
STUDENT = {"voxel_encoder", "voxel_gem", "voxel_head"}


@pytest.mark.parametrize(
    ("task", "match", "expected"),
    [
        ("teacher", "teacher", TEACHER),
        ("local", "teacher", {"voxel_encoder"}),
        ("local", "contrast", {"voxel_encoder"}),
        ("place", "teacher", STUDENT),
        ("place", "contrast", TEACHER | STUDENT),
    ],
)
def test_each_stage_learns_its_part(task: str, match: Any, expected: set[str]) -> None:
    """A teacher that is repeated keeps its running statistics as well."""
    network = small_network("vxp").train()
    config = VxpObjectiveConfig(match=match, teacher_margin=100.0)
    objective = METHOD.objective(network, config, task)
    batch = replace(random_pairs(4, spacing_m=1.0), yaw_rad=torch.tensor([0.0, 0.0, 2.0, 2.0]))
    network.tower.backbone.trunk.bn1.eval()  # as a frozen batch norm is
    before = {name: x.clone() for name, x in network.tower.named_buffers()}
    modes = [part.training for part in network.modules()]
    objective.total(objective.losses(batch)).backward()
    learning = {
        name.partition(".")[0] for name, x in network.named_parameters()
        if x.grad is not None and x.grad.abs().sum() > 0
    }  # fmt: skip
    assert learning == expected
    frozen = {n.partition(".")[0] for n, x in network.named_parameters() if not x.requires_grad}
    assert frozen == (TEACHER - expected)
    kept = all(x.equal(before[name]) for name, x in network.tower.named_buffers())
    assert kept == ("tower" not in expected)
    assert modes == [part.training for part in network.modules()]


def test_voxels_cover_the_whole_extent() -> None:
    """38.75 voxels ahead are 39."""
    assert small_network("vxp").config.voxels.shape == VOXELS


@pytest.mark.parametrize("wrong", [{"size_m": 0.0}, {"x_m": (2.0, 2.0)}])
def test_voxels_without_extent_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="voxels need a positive size"):
        VoxelConfig(**wrong)
