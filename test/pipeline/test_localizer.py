"""Both flows on a small street: map once, query every image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from scmpr_ros.errors import ConfigError, DatasetError, MapFormatError, ShapeError
from scmpr_ros.geometry import (
    R_BODY_OPTICAL,
    camera_yaw,
    invert,
    make_transform,
    rotation_z,
    transform_points,
    upright_axes,
)
from scmpr_ros.lidar.places import PlacesConfig
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.methods.checkpoint import fingerprint
from scmpr_ros.methods.lip_loc.network import LipLocConfig, LipLocNetwork
from scmpr_ros.methods.scmpr.network import ScmprNetwork
from scmpr_ros.methods.views import QueryView
from scmpr_ros.pipeline.localizer import Localizer, LocalizerConfig
from scmpr_ros.pipeline.map_builder import (
    MapBuilderConfig,
    build_map,
    build_scan_map,
    choose_device,
)
from scmpr_ros.records import CameraModel, PointCloud
from scmpr_ros.retrieval.belief import BeliefConfig
from scmpr_ros.retrieval.matching import MatchingConfig
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.semantics import NUM_CLASSES, class_id, label_confusion
from scmpr_ros.stages import StageTimes, recording_stages

CAMERA = CameraModel(128, 48, 75.0, 75.0, 63.5, 23.5)


@pytest.fixture(scope="module")
def place_map(point_map: PointCloudMap, network: ScmprNetwork) -> PlaceMap:
    config = MapBuilderConfig(places=PlacesConfig(spacing_m=3.0), batch_size=4, device="cpu")
    return build_map(point_map, network, config, progress=False)


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 128, 3), dtype=np.uint8)


def test_places_lie_on_the_trajectory_in_map_coordinates(
    place_map: PlaceMap, network: ScmprNetwork
) -> None:
    assert len(place_map) == 10
    np.testing.assert_allclose(place_map.positions[:, 1:], [[2000.0, 100.0]] * 10)
    assert place_map.positions[0, 0] == pytest.approx(1000) and place_map.fingerprint
    assert place_map.fingerprint == fingerprint(network)
    assert place_map.descriptors.shape == (10, 30, 768)
    ahead, below = 60, 7
    assert place_map.panorama_labels[0, below, ahead] == class_id("road")
    left = 30
    assert place_map.panorama_labels[0, 3, left] == class_id("building")


@pytest.mark.parametrize("batch_size", [9, 10])  # the last batch may be one place
def test_batches_do_not_change_the_map(
    point_map: PointCloudMap, network: ScmprNetwork, place_map: PlaceMap, batch_size: int
) -> None:
    places = PlacesConfig(spacing_m=3.0)
    config = MapBuilderConfig(places=places, batch_size=batch_size, device="cpu")
    again = build_map(point_map, network, config, progress=False)
    np.testing.assert_array_equal(again.panorama_labels, place_map.panorama_labels)
    np.testing.assert_allclose(
        again.descriptors.astype(np.float32), place_map.descriptors.astype(np.float32), atol=2e-3
    )


def test_answers_are_sorted_consistent_and_repeatable(
    place_map: PlaceMap, network: ScmprNetwork
) -> None:
    config = LocalizerConfig(candidates=5, device="cpu", belief=BeliefConfig(cluster_radius_m=0.0))
    localizer = Localizer(place_map, network, config)
    match = localizer.localize(image(), CAMERA)
    scores, beliefs = ([getattr(c, name) for c in match] for name in ("score", "confidence"))
    assert len(beliefs) == 5 and beliefs == sorted(beliefs, reverse=True)
    assert match.confidence == match.best.confidence > 0
    assert len({c.place_index for c in match}) == 5
    weights = config.matching
    for candidate in match:
        assert candidate.score == pytest.approx(
            weights.alpha * candidate.phi + weights.beta * candidate.psi, abs=1e-5
        )
        position = place_map.positions[candidate.place_index]
        np.testing.assert_allclose(candidate.T_map_camera[:3, 3], position)
    again = localizer.localize(image(), CAMERA)
    assert [c.score for c in again] == scores
    grid = network.config.mask_grid
    assert match.mask.shape == (grid.height, grid.width)


def test_a_network_without_masks_is_matched_by_descriptors_alone(point_map: PointCloudMap) -> None:
    rival = LipLocNetwork(LipLocConfig(tower="test_resnet", size=64, num_headings=6)).eval()
    config = MapBuilderConfig(device="cpu")
    place_map = build_map(point_map, rival, config, progress=False)
    match = Localizer(place_map, rival, LocalizerConfig(device="cpu")).localize(image(), CAMERA)
    assert all(c.psi == 0 and c.score == c.phi for c in match)
    assert match.mask is None


def test_an_observation_lists_the_shortlist_with_a_floor_for_the_rest(
    place_map: PlaceMap, network: ScmprNetwork
) -> None:
    config = LocalizerConfig(device="cpu", shortlist=40)
    localizer = Localizer(place_map, network, config)
    seen = localizer.observe(image(), CAMERA)
    assert seen.place.shape == seen.log_likelihood.shape == (40,)
    assert seen.place.dtype == seen.heading.dtype == np.int64
    viewpoints = set(zip(seen.place.tolist(), seen.heading.tolist(), strict=True))
    assert len(viewpoints) == 40 and seen.place.max() < len(place_map) and seen.heading.max() < 30
    weights = config.matching
    np.testing.assert_allclose(
        seen.score, weights.alpha * seen.phi + weights.beta * seen.psi, atol=1e-6
    )
    np.testing.assert_allclose(seen.log_likelihood, seen.score / config.belief.score_temperature)
    assert seen.floor <= seen.log_likelihood.min() + 1e-6
    every = Localizer(place_map, network, replace(config, shortlist=10 * 30))
    phi = every.observe(image(), CAMERA).phi
    np.testing.assert_allclose(np.sort(phi)[::-1][:40], seen.phi, atol=1e-5)


def test_an_observation_keeps_the_whole_prediction(
    place_map: PlaceMap, network: ScmprNetwork
) -> None:
    seen = Localizer(place_map, network, LocalizerConfig(device="cpu")).observe(image(), CAMERA)
    grid, num_ranges = network.config.mask_grid, network.config.depth.num_ranges
    assert seen.mask is not None and seen.mask.shape == (grid.height, grid.width)
    assert seen.range_probs is not None
    assert seen.range_probs.shape == (num_ranges + 1, grid.height, grid.width)
    np.testing.assert_allclose(seen.range_probs.sum(0), 1, atol=1e-5)


def test_an_answer_is_that_of_its_observation(place_map: PlaceMap, network: ScmprNetwork) -> None:
    localizer = Localizer(place_map, network, LocalizerConfig(device="cpu"))
    match = localizer.localize(image(), CAMERA)
    again = localizer.answer(localizer.observe(image(), CAMERA))
    for one, other in zip(match, again, strict=True):
        assert (one.place_index, one.heading_index, one.score, one.confidence) == (
            other.place_index, other.heading_index, other.score, other.confidence
        )  # fmt: skip
        np.testing.assert_array_equal(one.T_map_camera, other.T_map_camera)
    np.testing.assert_array_equal(match.mask, again.mask)


def test_only_allowed_places_are_answers(place_map: PlaceMap, network: ScmprNetwork) -> None:
    localizer = Localizer(place_map, network, LocalizerConfig(device="cpu"))
    allowed = np.zeros(len(place_map), bool)
    allowed[[2, 7]] = True
    match = localizer.localize(image(), CAMERA, allowed)
    assert {c.place_index for c in match} == {2, 7}


def test_a_scan_describes_its_place_as_a_map_of_it_does(
    point_map: PointCloudMap, network: ScmprNetwork, place_map: PlaceMap
) -> None:
    """The map itself, as the scan of a LiDAR that stands at its first place and is turned."""
    cloud, label = point_map.cloud, point_map.cloud.label
    T = make_transform(rotation_z(0.8), place_map.positions[0])
    xyz = transform_points(invert(T), cloud.xyz + cloud.origin).astype(np.float32)
    scan_map = build_scan_map(
        [(PointCloud(xyz, label), T)], network, MapBuilderConfig(device="cpu")
    )
    np.testing.assert_allclose(scan_map.positions, place_map.positions[:1])
    agree = scan_map.panorama_labels[0] == place_map.panorama_labels[0]
    assert agree.mean() > 0.99, "but for points on the edges of cells"
    with pytest.raises(DatasetError, match="a scan has no labels"):
        build_scan_map([(PointCloud(xyz), T)], network, MapBuilderConfig(device="cpu"))


def test_a_street_on_a_slope_is_the_same_street(
    point_map: PointCloudMap, network: ScmprNetwork, place_map: PlaceMap
) -> None:
    """Its places see what those of the level one do, and who is found there stands on the slope."""
    (slope,) = upright_axes(np.array([[-0.06, 0.04, 1.0]]))
    assert point_map.trajectory is not None
    tilted = replace(
        point_map,
        cloud=replace(point_map.cloud, xyz=(point_map.cloud.xyz @ slope.T).astype(np.float32)),
        trajectory=point_map.trajectory @ slope.T,
    )
    config = MapBuilderConfig(places=PlacesConfig(spacing_m=3.0), device="cpu")
    sloping = build_map(tilted, network, config, progress=False)
    np.testing.assert_allclose(sloping.axes, np.tile(slope, (len(sloping), 1, 1)), atol=0.01)
    np.testing.assert_allclose(
        place_map.axes, np.tile(np.eye(3), (len(place_map), 1, 1)), atol=1e-5
    )
    assert (sloping.panorama_labels == place_map.panorama_labels).mean() > 0.95
    found = Localizer(sloping, network, LocalizerConfig(device="cpu")).localize(image(), CAMERA)
    for candidate in found:
        up = -candidate.T_map_camera[:3, 1]
        np.testing.assert_allclose(up, sloping.axes[candidate.place_index][:, 2], atol=1e-9)


def test_a_place_map_knows_what_its_labels_confuse(
    point_map: PointCloudMap, network: ScmprNetwork, tmp_path: Path
) -> None:
    """From the points over the disk to psi: who reads terrain finds no road, but for those who
    know that the map calls it so."""
    config = MapBuilderConfig(device="cpu")
    confusion = label_confusion({"terrain": {"road": 1.0}})
    geometric = replace(point_map, confusion=confusion)
    build_map(geometric, network, config, progress=False).save(tmp_path / "map")
    place_map = PlaceMap.load(tmp_path / "map")
    np.testing.assert_array_equal(place_map.confusion, confusion)
    scan = (point_map.cloud, np.eye(4))
    scans = build_scan_map([scan], network, config, confusion)
    np.testing.assert_array_equal(scans.confusion, confusion)
    np.testing.assert_array_equal(
        build_scan_map([scan], network, config).confusion, label_confusion()
    )

    grid = network.config.mask_grid
    terrain = torch.zeros(NUM_CLASSES, grid.height, grid.width)
    terrain[class_id("terrain")] = 1
    psi = []
    for known in (place_map, replace(place_map, confusion=label_confusion())):
        localizer = Localizer(known, network, LocalizerConfig(device="cpu"))
        seen = torch.ones(terrain.shape[1:], dtype=torch.bool)
        here = torch.tensor([0]), torch.zeros(1, dtype=torch.float64)
        psi.append(float(localizer._matcher.overlap(terrain, None, seen, *here)[0]))
    assert psi[0] > psi[1] + 0.5


def test_descriptors_alone_leave_the_heading_as_it_was_described(
    place_map: PlaceMap, network: ScmprNetwork
) -> None:
    by_descriptor = LocalizerConfig(device="cpu", matching=MatchingConfig(beta=0.0))
    seen = Localizer(place_map, network, by_descriptor).observe(image(), CAMERA)
    assert not seen.psi.any()
    np.testing.assert_array_equal(seen.yaw_rad, np.asarray(place_map.headings_rad)[seen.heading])
    with_masks = Localizer(place_map, network, LocalizerConfig(device="cpu"))
    moved = with_masks.observe(image(), CAMERA)
    assert (moved.yaw_rad != np.asarray(place_map.headings_rad)[moved.heading]).any()


def test_neighbours_are_one_answer_and_its_confidence(
    place_map: PlaceMap, network: ScmprNetwork
) -> None:
    """All ten places alike, three metres apart: three neighbourhoods of three and one place; a map
    of one place has no rival but "none of these"."""
    alike = np.broadcast_to(place_map.descriptors[:1, :1], place_map.descriptors.shape)
    config = LocalizerConfig(
        shortlist=len(place_map) * len(place_map.headings_rad), device="cpu",
        matching=MatchingConfig(beta=0.0),
        belief=BeliefConfig(none_score=-9.0, cluster_radius_m=3.5, cluster_heading_deg=180),
    )  # fmt: skip
    match = Localizer(replace(place_map, descriptors=np.array(alike)), network, config).localize(
        image(), CAMERA
    )
    assert match.confidence == pytest.approx(0.3, abs=0.01)
    assert sum(c.confidence for c in match) == pytest.approx(1, abs=1e-4)
    only = np.zeros(len(place_map), bool)
    only[3] = True
    assert Localizer(place_map, network, config).localize(image(), CAMERA, only).confidence == 1.0
    doubtful = replace(config, belief=replace(config.belief, none_score=9.0))
    assert Localizer(place_map, network, doubtful).localize(image(), CAMERA, only).confidence == 0.0


def test_the_pose_is_the_mean_of_those_that_agree(
    place_map: PlaceMap, network: ScmprNetwork
) -> None:
    """Two places three metres apart, in one neighbourhood, weighted by exp(score / temperature)."""
    two = np.zeros(len(place_map), bool)
    two[[3, 4]] = True
    settings = {"score_temperature": 0.5, "none_score": -50.0, "cluster_heading_deg": 180.0}
    alone, together = (
        Localizer(
            place_map, network,
            LocalizerConfig(device="cpu", belief=BeliefConfig(cluster_radius_m=reach, **settings)),
        ).localize(image(), CAMERA, two)
        for reach in (0.0, 3.5)
    )  # fmt: skip
    weight = np.exp(np.array([c.score for c in alone]) / 0.5)
    places = place_map.positions[[c.place_index for c in alone]]
    assert together.confidence == pytest.approx(1)
    best = together.best.T_map_camera[:3, 3]
    np.testing.assert_allclose(best, weight @ places / weight.sum(), atol=1e-4)
    assert np.linalg.norm(places - best, axis=1).min() > 0.01


def test_a_saved_index_gives_the_same_answer(
    place_map: PlaceMap, network: ScmprNetwork, tmp_path: Path
) -> None:
    place_map.save(tmp_path / "map", index="PCA32,IVF4,SQ8")
    config = LocalizerConfig(shortlist=40, device="cpu")
    expected = Localizer(place_map, network, config)
    found = Localizer(PlaceMap.load(tmp_path / "map"), network, config)
    assert found.index.bytes_read < expected.index.bytes_read / 10
    exact, compressed = (x.observe(image(), CAMERA) for x in (expected, found))
    np.testing.assert_allclose(compressed.phi, exact.phi, atol=1e-6)
    ordered = [np.lexsort((x.heading, x.place)) for x in (compressed, exact)]  # many are equal
    for name in ("place", "heading", "psi", "yaw_rad"):
        values = (getattr(x, name)[o] for x, o in zip((compressed, exact), ordered, strict=True))
        np.testing.assert_allclose(*values, atol=1e-5)
    only = np.arange(len(place_map)) == 3
    assert set(found.observe(image(), CAMERA, only).place) == {3}
    overridden = Localizer(PlaceMap.load(tmp_path / "map"), network, replace(config, index="exact"))
    assert overridden.index.bytes_read == expected.index.bytes_read


def test_a_planted_descriptor_is_found(place_map: PlaceMap, network: ScmprNetwork) -> None:
    """Put the query's own descriptor at one place and heading: it must win there."""
    probe = Localizer(place_map, network, LocalizerConfig(device="cpu"))
    sampler, seen = probe._sampler(CAMERA)
    pixels = torch.from_numpy(image(3)).permute(2, 0, 1)[None].float() / 255
    context = torch.from_numpy(np.array(place_map.context))
    with torch.inference_mode():
        view = QueryView(sampler.image(pixels), seen)
        own = network.describe_query(view, context).descriptor[0].numpy()
    descriptors = np.array(place_map.descriptors)
    descriptors[6, 20] = own
    planted = replace(place_map, descriptors=descriptors)
    best = (
        Localizer(planted, network, LocalizerConfig(device="cpu")).localize(image(3), CAMERA).best
    )
    assert (best.place_index, best.heading_index) == (6, 20)
    assert best.phi == pytest.approx(1, abs=1e-3)


def picture_of_the_sky(camera: CameraModel, R_base_camera: np.ndarray) -> np.ndarray:
    """What a camera sees, mounted so, where colours are waves over the directions of the base."""
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    rays = np.stack(
        [(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], -1
    )
    rays = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    directions = rays @ (R_base_camera @ R_BODY_OPTICAL).T
    waves = np.sin(directions @ np.array([[5.0, 9.0, 2.0], [8.0, 3.0, 7.0], [9.0, 15.0, 20.0]]))
    return (127.5 + 127 * waves).astype(np.uint8)


def test_a_tilted_camera_is_levelled_by_its_mount(
    place_map: PlaceMap, network: ScmprNetwork
) -> None:
    """It sees what a level one in the same direction sees, and its pose has its tilt."""
    camera = CameraModel(400, 400, 150.0, 150.0, 199.5, 199.5)
    mount = Rotation.from_euler("xyz", (0.05, 0.15, 0.6)).as_matrix()  # as in URDF: nose down
    config = LocalizerConfig(device="cpu")
    level, tilted, wrong = (
        Localizer(place_map, network, config, how).localize(
            picture_of_the_sky(camera, seen), camera
        ).best
        for how, seen in ((rotation_z(0.6), rotation_z(0.6)), (mount, mount), (None, mount))
    )  # fmt: skip
    assert (tilted.place_index, tilted.heading_index) == (level.place_index, level.heading_index)
    assert 10 * abs(tilted.phi - level.phi) < abs(wrong.phi - level.phi)
    assert camera_yaw(tilted.T_map_camera) == pytest.approx(
        camera_yaw(level.T_map_camera), abs=0.02
    )
    base = tilted.T_map_camera[:3, :3] @ R_BODY_OPTICAL.T @ mount.T
    np.testing.assert_allclose(base[:, 2], (0, 0, 1), atol=1e-9)


def test_precisions_agree_and_stages_are_heard(place_map: PlaceMap, network: ScmprNetwork) -> None:
    best = {}
    for precision in ("float32", "bfloat16"):
        config = LocalizerConfig(device="cpu", precision=precision)
        localizer = Localizer(place_map, network, config)
        with recording_stages(StageTimes()) as times:
            best[precision] = localizer.localize(image(3), CAMERA).best
        assert list(times.seconds) == [
            "preprocess", "backbone", "SAFF", "attention + NetVLAD", "search", "psi"
        ]  # fmt: skip
        assert min(times.seconds.values()) > 0
    assert best["float32"].phi == pytest.approx(best["bfloat16"].phi, abs=0.02)
    assert best["float32"].phi != best["bfloat16"].phi


def test_another_checkpoint_is_refused(place_map: PlaceMap, network: ScmprNetwork) -> None:
    torch.manual_seed(1)
    stranger = ScmprNetwork(network.config)
    with pytest.raises(MapFormatError, match="build the map again"):
        Localizer(place_map, stranger)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((0, 128, 3), np.uint8), np.zeros((48, 128), np.uint8),
        np.zeros((48, 128, 3), np.float32), np.zeros((48, 64, 3), np.uint8),
    ],
)  # fmt: skip
def test_bad_images_are_refused(
    place_map: PlaceMap, network: ScmprNetwork, bad: np.ndarray
) -> None:
    with pytest.raises(ShapeError, match="image"):
        Localizer(place_map, network, LocalizerConfig(device="cpu")).localize(bad, CAMERA)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="shortlist"):
        LocalizerConfig(candidates=20, shortlist=10)
    with pytest.raises(ConfigError, match="batch_size"):
        MapBuilderConfig(batch_size=0)
    with pytest.raises(ConfigError, match="abacus"):
        choose_device("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no GPU"):
            choose_device("cuda")
