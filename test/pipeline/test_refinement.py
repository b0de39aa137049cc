"""Refinement of poses in streets whose images are renderings of the map itself."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import (
    AngularGrid,
    camera_pose_on_ground,
    camera_yaw,
    rotation_z,
    wrap_angle,
)
from scmpr_ros.lidar.map_rendering import render_camera_view
from scmpr_ros.lidar.places import PlacesConfig
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.lidar.sorted_points import SortedPoints
from scmpr_ros.methods.lip_loc.network import LipLocConfig, LipLocNetwork
from scmpr_ros.methods.scmpr.network import ScmprConfig, ScmprNetwork
from scmpr_ros.networks.depth import one_hot_ranges
from scmpr_ros.networks.saff import ImagePrediction
from scmpr_ros.pipeline.localizer import Localizer, LocalizerConfig, Observation
from scmpr_ros.pipeline.map_builder import MapBuilderConfig, build_map
from scmpr_ros.pipeline.refinement import (
    PoseMeasurement,
    RefinementConfig,
    Refiner,
    window_moments,
    without_window,
)
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import NUM_CLASSES, class_id

COVARIANCE = np.diag([0.64, 0.64, np.radians(3.0) ** 2])
ORIGIN = np.array([1000.0, 2000.0, 100.0])
Array = NDArray[np.float64]


def block(label: str, *axes: tuple[float, float]) -> tuple[Array, Array]:
    """Points 0.15 m apart that fill a box, flat where an axis has no extent."""
    ranges = [np.arange(low, high + 1e-6, 0.15) for low, high in axes]
    xyz = np.stack([x.ravel() for x in np.meshgrid(*ranges, indexing="ij")], axis=1)
    return xyz, np.full(len(xyz), class_id(label))


def street(*, plain: bool) -> PointCloudMap:
    """A street along x with pavements and walls; unless plain, with gaps, trees and poles."""
    ground = [
        block("road", (-30, 60), (-4, 4), (-1.65, -1.65)),
        *(block("sidewalk", (-30, 60), (y, y + 2.9), (-1.5, -1.5)) for y in (-7, 4.1)),
    ]
    if plain:
        parts = [block("building", (-30, 60), (s * 7, s * 7), (-1.5, 5)) for s in (-1, 1)]
    else:
        parts = [
            block("building", (start, start + 9), (s * 7, s * 7), (-1.5, 5))
            for s, starts in ((-1, (-30, -16, -1, 16, 30, 45)), (1, (-24, -9, 5, 17, 33, 47)))
            for start in starts
        ]
        posts = ((2, 4.5), (9, -4.5), (14, 5), (21, 4.6), (24, -5), (33, -4.5), (38, 5))
        parts += [block("pole", (x, x + 0.2), (y, y + 0.2), (-1.5, 4)) for x, y in posts]
        crowns = ((6, 5.5), (18, -5.5), (28, 5.5), (40, -5.5))
        parts += [block("vegetation", (x, x + 2), (y - 1, y + 1), (0.5, 3)) for x, y in crowns]
        parts.append(block("building", (52, 52), (-3, 9), (-1.5, 6)))
    xyz, label = (np.concatenate(column) for column in zip(*ground, *parts, strict=True))
    cloud = PointCloud(xyz.astype(np.float32), label.astype(np.uint8), origin=ORIGIN)
    trajectory = np.array([[x, 0.0, 0.0] for x in np.arange(0, 13, 1.0)])
    return PointCloudMap.of(cloud, trajectory)


@pytest.fixture(scope="module")
def network() -> ScmprNetwork:
    torch.manual_seed(0)
    return ScmprNetwork(ScmprConfig(view=AngularGrid(128, 384, 12.0, -15.0, 80.0))).eval()


class Street:
    """A street with its localizer, and images that show it exactly as it is."""

    def __init__(self, network: ScmprNetwork, plain: bool) -> None:
        self.points = SortedPoints.of_cloud(street(plain=plain).cloud)
        config = MapBuilderConfig(places=PlacesConfig(spacing_m=2.0), device="cpu")
        place_map = build_map(street(plain=plain), network, config, progress=False)
        self.localizer = Localizer(place_map, network, LocalizerConfig(device="cpu"))

    def observe(self, T_map_camera: Array) -> Observation:
        """What a network without error would see."""
        network = self.localizer.network
        assert isinstance(network, ScmprNetwork)
        label, range_m, _ = render_camera_view(
            self.points, T_map_camera, np.eye(3), self.localizer.mask_grid, 50.0
        )
        shown = torch.where(label == 0, class_id("sky"), label).long()
        mask = torch.nn.functional.one_hot(shown, NUM_CLASSES).permute(2, 0, 1).float()
        ranges = one_hot_ranges(range_m[None], network.ranges)[0].float()
        ranges = torch.cat([ranges, 1 - ranges.sum(0, keepdim=True)])
        return observation(ImagePrediction(torch.zeros(1), 6 * mask[None], 6 * ranges[None]))


def observation(
    prediction: ImagePrediction | None, seen: torch.Tensor | None = None
) -> Observation:
    """An observation that lists no viewpoints."""
    none, index = np.zeros(0), np.zeros(0, np.int64)
    seen = torch.ones(32, 96, dtype=torch.bool) if seen is None else seen
    return Observation(index, index, none, none, none, none, none, 0.0, 0, seen, prediction)


@pytest.fixture(scope="module")
def varied(network: ScmprNetwork) -> Street:
    return Street(network, plain=False)


@pytest.fixture(scope="module")
def plain(network: ScmprNetwork) -> Street:
    return Street(network, plain=True)


def pose(x_m: float, y_m: float, yaw_deg: float) -> Array:
    """`T_map_camera` of a level camera in the street."""
    position = ORIGIN + (x_m, y_m, 0.0)
    return camera_pose_on_ground(position, np.eye(3), np.radians(yaw_deg), np.eye(3))


def error(measured: PoseMeasurement | None, T_true: Array) -> Array:
    """Forward and left in metres, yaw in degrees."""
    assert measured is not None
    yaw_rad = float(camera_yaw(T_true))
    offset_m = (measured.x_m - T_true[0, 3], measured.y_m - T_true[1, 3], 0.0)
    forward_m, left_m, _ = rotation_z(yaw_rad).T @ offset_m
    return np.array([forward_m, left_m, np.degrees(wrap_angle(measured.yaw_rad - yaw_rad))])


def test_finds_the_poses_that_images_were_rendered_at(varied: Street) -> None:
    rng = np.random.default_rng(0)
    refiner = Refiner(varied.localizer, RefinementConfig(inflation=1.0))
    errors, chi_square, given = [], [], []
    for x_m in np.linspace(1.5, 10.5, 10):
        true = np.array([x_m, rng.uniform(-0.8, 0.8), rng.uniform(-4, 4) + rng.choice([0, 180])])
        off = rng.uniform(-1, 1, 3) * (0.8, 0.8, 3.0)
        measured = refiner.measure(varied.observe(pose(*true)), pose(*true + off), COVARIANCE)
        if measured is None:
            continue
        errors.append(error(measured, pose(*true)))
        given.append(np.hypot(*off[:2]))
        difference = np.array([measured.x_m, measured.y_m, 0.0]) - pose(*true)[:3, 3]
        difference[2] = np.radians(errors[-1][2])
        chi_square.append(difference @ np.linalg.solve(measured.covariance, difference))
    distance_m = np.hypot(*np.array(errors)[:, :2].T)
    assert len(errors) >= 8
    assert np.all(np.abs(np.mean(errors, axis=0)) < (0.15, 0.15, 0.5))
    assert np.median(distance_m) < 0.5 * np.median(given)
    assert distance_m.max() < 0.8
    assert np.mean(chi_square) < 6  # 3 if the covariance is right


def test_covariance_is_large_along_a_street_without_features(plain: Street) -> None:
    T_true = pose(6.2, 0.3, 2.0)
    measured = Refiner(plain.localizer, RefinementConfig(inflation=1.0)).measure(
        plain.observe(T_true), pose(6.6, 0.7, 0.0), COVARIANCE
    )
    sigma = np.sqrt(np.diag(measured.covariance)) if measured else np.zeros(3)
    assert sigma[0] > 2.0  # the window's is 0.8: it must not appear as knowledge
    assert sigma[1] < 0.4
    assert abs(error(measured, T_true)[1]) < 0.3


def test_inflation_scales_the_covariance_and_not_the_pose(varied: Street) -> None:
    seen, given = varied.observe(pose(5, 0, 0)), pose(5.3, 0.3, 1.0)
    one, ten = (
        Refiner(varied.localizer, RefinementConfig(inflation=scale)).measure(
            seen, given, COVARIANCE
        )
        for scale in (1.0, 10.0)
    )
    assert one is not None and ten is not None
    np.testing.assert_allclose(ten.covariance, 10 * one.covariance)
    assert (ten.x_m, ten.y_m, ten.yaw_rad) == (one.x_m, one.y_m, one.yaw_rad)


def test_says_nothing_without_evidence(varied: Street) -> None:
    refiner, given = Refiner(varied.localizer), pose(5, 0, 0)
    seen = varied.observe(given)
    assert refiner.measure(seen, given, COVARIANCE) is not None
    assert refiner.measure(replace(seen, prediction=None), given, COVARIANCE) is None
    nothing = torch.zeros_like(seen.seen)
    assert refiner.measure(replace(seen, seen=nothing), given, COVARIANCE) is None
    assert refiner.measure(seen, pose(30, 0, 0), COVARIANCE) is None  # no place there
    assert seen.prediction is not None
    mask_logits = torch.zeros_like(seen.prediction.mask_logits)
    flat = ImagePrediction(torch.zeros(1), mask_logits, None)
    assert refiner.measure(replace(seen, prediction=flat), given, COVARIANCE) is None


def test_refuses_a_peak_outside_the_window(plain: Street) -> None:
    seen = plain.observe(pose(6, 2.0, 0))
    assert Refiner(plain.localizer).measure(seen, pose(6, -1.5, 0), COVARIANCE) is None


def test_a_method_without_masks_cannot_be_refined(varied: Street) -> None:
    localizer = copy(varied.localizer)
    localizer.network = LipLocNetwork(LipLocConfig(tower="resnet18", size=32))
    with pytest.raises(ConfigError, match=r"no masks: set refinement\.enabled to false"):
        Refiner(localizer)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0}, {"range_weight": -1.0}, {"outlier_probability": 1.0},
        {"positions": 2}, {"places": 0}, {"min_window_m": 2.0}, {"inflation": 0.0},
    ],
)  # fmt: skip
def test_config_is_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"refinement.*{next(iter(wrong)).split('_')[0]}"):
        RefinementConfig(**wrong)  # type: ignore[arg-type]


def test_gaussian_evidence_comes_back_whatever_the_window() -> None:
    mean, covariance = np.array([0.3, -0.2, 0.01]), np.diag([0.5, 0.3, 0.04]) ** 2
    covariance[0, 1] = covariance[1, 0] = 0.06
    steps, yaws = np.linspace(-2.5, 2.5, 21), np.linspace(-0.15, 0.15, 21)
    offsets = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    points = np.concatenate([np.repeat(offsets, 21, 0), np.tile(yaws, 441)[:, None]], axis=1)
    nats = -0.5 * ((points - mean) @ np.linalg.inv(covariance) * (points - mean)).sum(1)
    for window in ([0.7, 0.7, 0.05], [1.0, 0.8, 0.06]):
        moments = window_moments(nats.reshape(441, 21), offsets, yaws, np.array(window))
        found = without_window(moments, np.array(window), max_pull=1.3)
        assert found is not None
        np.testing.assert_allclose(found.mean, mean, atol=0.02)
        np.testing.assert_allclose(
            np.sqrt(np.diag(found.covariance)), np.sqrt(np.diag(covariance)), rtol=0.05
        )
