"""Camera and LiDAR of the town, on scenes with known answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from camera_poses import level_camera_pose

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import invert, make_transform, transform_points
from scmpr_ros.records import CameraModel
from scmpr_ros.semantics import class_id
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, light, quads
from scmpr_ros.town.plants import SPECIES, tree
from scmpr_ros.town.seasons import dress
from scmpr_ros.town.sensors.camera import RenderedImage, render_image
from scmpr_ros.town.sensors.conditions import (
    CONDITIONS,
    SEASONS,
    Condition,
    draw_condition,
)
from scmpr_ros.town.sensors.lidar import LidarConfig, simulate_scan
from scmpr_ros.town.sensors.rig import RIGS, Rig
from scmpr_ros.town.sensors.scene import Scene
from scmpr_ros.town.sensors.shading import render_rays
from scmpr_ros.town.textures.atlas import Textures, albedo
from scmpr_ros.town.traversal import Traversal

SceneOf = Callable[[Mesh, Condition], Scene]
BUILDING, ROAD, SKY = class_id("building"), class_id("road"), class_id("sky")
CAMERA = CameraModel(120, 40, 70.0, 70.0, 59.5, 19.5)


def render(scene: Scene, x: float = 0.0) -> RenderedImage:
    pose = level_camera_pose(np.array([x, 0, 1.65]), 0.0)
    return render_image(scene, CAMERA, pose, np.random.default_rng(1))


def test_depth_and_mask_of_a_wall(scene_of: SceneOf, wall_mesh: Mesh, overcast: Condition) -> None:
    image = render(scene_of(wall_mesh, overcast))
    assert image.rgb.shape == (40, 120, 3) and image.rgb.dtype == np.uint8
    assert image.mask[19, 60] == BUILDING and image.depth[19, 60] == pytest.approx(10, abs=1e-3)
    # A pixel v rows below the centre sees the road at depth h f / v.
    assert image.mask[39, 60] == ROAD
    assert image.depth[39, 60] == pytest.approx(1.65 * 70 / 19.5, rel=1e-3)
    assert image.mask[0, 60] == SKY and np.isinf(image.depth[0, 60])


def test_sun_casts_shadows(scene_of: SceneOf, wall_mesh: Mesh) -> None:
    """With the sun 37 degrees high behind the wall, its shadow ends at x = 4.7 m."""
    behind = np.array([0.8, 0, 0.6], np.float32)
    base = replace(draw_condition("clear", np.random.default_rng(0)), noise=0.0)

    def near_over_far(sun: np.ndarray) -> float:
        rgb = (
            render(scene_of(wall_mesh, replace(base, sun=sun)), x=-10.0).rgb[:, 40:80].astype(float)
        )
        # Rows 36 to 39 show the road at x = -4, rows 26 and 27 at x = 5 to 8.
        return float(rgb[36:].mean() / rgb[26:28].mean())

    assert near_over_far(behind) > 1.5
    assert near_over_far(behind * np.array([-1, 1, 1])) == pytest.approx(1.0, abs=0.3)


def test_rays_pass_gaps_between_leaves(
    scene_of: SceneOf, wall_mesh: Mesh, overcast: Condition
) -> None:
    """A curtain of leaf cards in front of the wall hides part of it from both sensors."""
    y, z = (a.ravel() for a in np.mgrid[-4:4, 0:4])
    corner = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    cards = np.stack([np.full((32, 4), 5.0), y[:, None] + corner[:, 0], z[:, None] + corner[:, 1]],
                     axis=-1)  # fmt: skip
    uv = np.broadcast_to((corner * 0.98 + 0.01) / 4, (32, 4, 2))
    vegetation = class_id("vegetation")
    curtain = quads(cards, Material.LEAVES, vegetation, (0.1, 0.15, 0.05), uv)
    scene = scene_of(Mesh.join([wall_mesh, curtain]), overcast)
    mask = render(scene).mask[15:24, 40:80]
    scan = simulate_scan(scene, level_lidar(), LidarConfig(rings=32), np.random.default_rng(0))
    ahead = (np.abs(scan.xyz[:, 1]) < 2) & (scan.xyz[:, 0] > 4) & (scan.xyz[:, 2] > -1.5)
    assert scan.label is not None
    for labels in (mask, scan.label[ahead]):
        assert 0.2 < (labels == vegetation).mean() < 0.9
        assert (labels == BUILDING).any()


def test_crowns_are_see_through_in_winter(
    scene_of: SceneOf, wall_mesh: Mesh, overcast: Condition, textures: Textures
) -> None:
    """Less than half of the summer silhouette of a tree is left, but not nothing."""
    grown = tree(np.random.default_rng(3), SPECIES["linden"]).transformed(
        make_transform(np.eye(3), np.array([12.0, 0, 0]))
    )

    def share(season: str) -> float:
        scene = scene_of(Mesh.join([wall_mesh, dress(grown, season, textures)]), overcast)
        y, z = np.meshgrid(np.linspace(-0.25, 0.25, 80), np.linspace(0.15, 0.8, 80))
        rays = np.stack([np.ones_like(y), y, z], axis=-1).reshape(-1, 3).astype(np.float32)
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        hits = scene.cast(np.array([0.0, 0.0, 1.65], np.float32), rays)
        return float((hits.label == class_id("vegetation")).mean())

    assert 0.12 * share("summer") < share("winter") < 0.5 * share("summer")


def test_lamp_lights_the_road_at_night(scene_of: SceneOf, wall_mesh: Mesh) -> None:
    dark = replace(draw_condition("night", np.random.default_rng(0)), noise=0.0, wetness=0.0)
    lamp = light((7.0, 0.0, 3.5), (0.0, 0.0, -1.0), (1.0, 0.7, 0.4), 80.0)
    # The reddish lamp hangs above the road at x = 7, which is in row 36.
    lit, unlit = (
        render(scene_of(Mesh.join(parts), dark)).rgb[35:38, 55:65].reshape(-1, 3).mean(axis=0)
        for parts in ([wall_mesh, lamp], [wall_mesh])
    )
    assert lit[0] / lit[2] > 1.3 > 1.15 > unlit[0] / unlit[2]
    assert lit.mean() > 1.3 * unlit.mean()


@pytest.mark.parametrize("season", SEASONS)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_condition_renders_a_usable_image(
    scene_of: SceneOf, wall_mesh: Mesh, condition: str, season: str
) -> None:
    scene = scene_of(wall_mesh, draw_condition(condition, np.random.default_rng(2), season))
    rgb = render(scene).rgb.astype(float)
    assert 4 < rgb.mean() < 235 and rgb.std() > 2
    assert np.array_equal(rgb, render(scene).rgb), "the same seed gives the same image"


def test_fog_reduces_contrast_with_distance(scene_of: SceneOf, wall_mesh: Mesh) -> None:
    clear = draw_condition("overcast", np.random.default_rng(0))
    foggy = draw_condition("fog", np.random.default_rng(0))

    def contrast(condition: Condition) -> float:
        rgb = render(scene_of(wall_mesh, replace(condition, noise=0.0)), x=-30.0).rgb.astype(float)
        wall, sky = rgb[18:20, 50:70].mean(), rgb[10:13, 50:70].mean()  # 40 m away
        return float(abs(wall - sky) / max(wall, sky))

    assert contrast(foggy) < 0.6 * contrast(clear)


def test_rain_haze_covers_the_low_sky_only(scene_of: SceneOf, wall_mesh: Mesh) -> None:
    """A long path through rain shows the colour of haze, a short one that of the clouds."""
    rain = replace(draw_condition("rain", np.random.default_rng(0)), haze_m=130.0)
    rise = np.array([0.1, 0.9])
    rays = np.stack([np.sqrt(1 - rise**2), 0 * rise, rise], axis=1).astype(np.float32)
    samples = render_rays(
        scene_of(wall_mesh, rain), np.array([0.0, 0.0, 9.0], np.float32), rays, 1e-3,
        np.zeros((0, 10), np.float32), np.random.default_rng(0),
    )  # fmt: skip
    low, high = np.abs(samples.radiance / (0.9 * rain.horizon) - 1).max(axis=1)
    assert low < 0.02 < high


def level_lidar() -> np.ndarray:
    pose = np.eye(4)
    pose[2, 3] = 1.73
    return pose


def test_scan_of_a_wall(scene_of: SceneOf, wall_mesh: Mesh, overcast: Condition) -> None:
    scene, config = scene_of(wall_mesh, overcast), LidarConfig(rings=16, columns=256)
    scan = simulate_scan(scene, level_lidar(), config, np.random.default_rng(0))
    assert scan.label is not None and scan.intensity is not None
    on_wall, on_road = scan.label == BUILDING, scan.label == ROAD
    assert scan.xyz[on_wall, 0] == pytest.approx(10, abs=0.15)
    assert scan.xyz[on_road, 2] == pytest.approx(-1.73, abs=0.15)
    reach = np.linalg.norm(scan.xyz, axis=1)
    assert reach.min() >= config.min_range_m - 1e-3 and reach.max() <= config.max_range_m + 0.1
    assert scan.intensity.min() >= 0 and scan.intensity.max() < 1
    assert np.allclose(scan.intensity * 100, np.round(scan.intensity * 100), atol=1e-4)
    again = simulate_scan(scene, level_lidar(), config, np.random.default_rng(0))
    assert np.array_equal(again.xyz, scan.xyz)


def test_sweep_distortion_and_its_compensation(
    scene_of: SceneOf, wall_mesh: Mesh, overcast: Condition
) -> None:
    """At 10 m/s the ends of a sweep are 1 m apart in raw scans, not in compensated ones."""
    scene = scene_of(wall_mesh, overcast)
    velocity = np.array([10.0, 0, 0])

    def wall_x(config: LidarConfig) -> np.ndarray:
        scan = simulate_scan(scene, level_lidar(), config, np.random.default_rng(0), velocity)
        on_wall = scan.label == BUILDING
        assert on_wall.sum() > 200
        # Columns start at the back and run clockwise: the left end is before the stamp.
        return np.array([scan.xyz[on_wall & side, 0].mean() for side in (
            scan.xyz[:, 1] > 12, scan.xyz[:, 1] < -12)])  # fmt: skip

    config = LidarConfig(rings=32, columns=512)
    assert wall_x(config) == pytest.approx([10, 10], abs=0.05)
    left, right = wall_x(replace(config, compensated=False))
    assert left - right == pytest.approx(0.30, abs=0.12)  # (54 deg both sides of 360) x 1 m


def test_beams_are_spaced_like_an_hdl64() -> None:
    """Upper rings are a third of a degree apart, lower ones half a degree."""
    config = LidarConfig(rings=64, columns=1024)
    directions = config.directions().reshape(64, 1024, 3)
    elevation = np.degrees(np.arcsin(directions[:, 0, 2].astype(float)))
    assert elevation[[0, -1]] == pytest.approx([config.fov_up_deg, config.fov_down_deg], abs=1e-3)
    step = -np.diff(elevation)
    assert step[:31] == pytest.approx(1 / 3, abs=0.01) and step[33:] == pytest.approx(0.5, abs=0.02)
    assert np.arctan2(directions[5, 0, 1], directions[5, 0, 0]) > 3.1, "columns run to the right"


@pytest.mark.parametrize(
    ("change", "message"),
    [({"rings": 0}, "at least 1 x 1"), ({"fov_up_deg": -30.0}, "must be above bottom"),
     ({"sweep_s": -0.1}, "must be 0")],
)  # fmt: skip
def test_impossible_lidar_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LidarConfig(**change)


def test_mip_levels_keep_the_mean(textures: Textures) -> None:
    rng = np.random.default_rng(0)

    def colours(footprint_m: float) -> np.ndarray:
        out = np.empty((3000, 3), np.float32)
        for i, (u, v) in enumerate(rng.uniform(0, 2.56, (3000, 2)).astype(np.float32)):
            albedo(textures, int(Material.BRICK), u, v, np.float32(footprint_m), out[i])
        return out

    near, far = colours(0.001), colours(50.0)
    assert far.std() < 0.02 < near.std()
    assert far.mean() == pytest.approx(near.mean(), rel=0.03)


def test_scan_labels_agree_with_masks(traversal: Traversal) -> None:
    agreeing = total = 0
    rig = traversal.rig
    for number in (20, 90, 160):
        frame = traversal.frame(number)
        assert frame.image is not None and frame.scan is not None
        points = transform_points(rig.T_cam2_lidar, frame.scan.xyz)
        uv, inside = rig.camera.project(points)
        u, v = np.round(uv[inside]).astype(int).T
        visible = np.abs(frame.image.depth[v, u] - points[inside, 2]) < 0.15
        agreeing += int((frame.image.mask[v, u] == frame.scan.label[inside])[visible].sum())  # type: ignore[index]
        total += int(visible.sum())
    assert total > 1500 and agreeing / total > 0.99


@pytest.mark.parametrize("name", RIGS)
def test_rig_faces_forward_and_is_consistent(name: str) -> None:
    rig = Rig.named(name, (620, 188))
    assert rig.camera.width == 620
    ahead = rig.T_base_camera[:3, :3] @ np.array([0, 0, 1.0])
    assert ahead[0] > 0.99
    assert 1.4 < rig.T_base_camera[2, 3] < 1.8
    # x = P2 X_cam0 is the same pixel as the projection by camera 2.
    point = np.array([[12.0, 2.0, -0.5]])
    direct, _ = rig.camera.project(transform_points(rig.T_cam2_lidar, point))
    in_cam0 = np.append(transform_points(rig.T_cam0_lidar, point)[0], 1.0)
    x = rig.projections[2] @ in_cam0
    assert x[:2] / x[2] == pytest.approx(direct[0], abs=1e-6)
    assert invert(rig.T_base_camera) @ rig.T_base_lidar == pytest.approx(rig.T_cam2_lidar)
    with pytest.raises(ConfigError, match="there are kitti, kitti360"):
        Rig.named("nuscenes")


def test_kitti_rig_has_the_published_calibration() -> None:
    rig = Rig.named("kitti")
    assert rig.T_base_camera[2, 3] == pytest.approx(1.65, abs=0.05)
    assert rig.T_base_camera[:3, 2] == pytest.approx([1, 0, 0], abs=0.02)
    assert np.allclose(rig.T_cam0_lidar[:3, :3] @ rig.T_cam0_lidar[:3, :3].T, np.eye(3))
    assert rig.projections[2, :, 3] == pytest.approx([45.38225, -0.1130887, 0.003779761])


def test_unknown_condition_or_season_is_refused() -> None:
    with pytest.raises(ConfigError, match="clear, overcast, dusk"):
        draw_condition("hail", np.random.default_rng(0))
    with pytest.raises(ConfigError, match="summer, autumn, winter"):
        draw_condition("clear", np.random.default_rng(0), "spring")
