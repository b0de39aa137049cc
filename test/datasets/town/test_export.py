"""Town: what its sensors see, and what it writes, against known scenes and its own readers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from scmpr_ros.datasets.town import mesh as meshes
from scmpr_ros.datasets.town.drives import DriveConfig, plan_drive
from scmpr_ros.datasets.town.export import TownExportConfig, TraversalConfig, export_town
from scmpr_ros.datasets.town.layout.street_network import StreetNetworkConfig
from scmpr_ros.datasets.town.materials import Material
from scmpr_ros.datasets.town.sensors.camera import RenderedImage, render_image
from scmpr_ros.datasets.town.sensors.conditions import CONDITIONS, Condition, draw_condition
from scmpr_ros.datasets.town.sensors.lidar import LidarConfig, simulate_scan
from scmpr_ros.datasets.town.sensors.rig import Rig
from scmpr_ros.datasets.town.sensors.scene import Scene, SkyBlock
from scmpr_ros.datasets.town.splits import SEEDS
from scmpr_ros.datasets.town.textures.atlas import SIZE, TextureAtlas
from scmpr_ros.datasets.town.world import Town, TownConfig, stream
from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import level_camera_pose, transform_points
from scmpr_ros.records import CameraModel
from scmpr_ros.semantics import CLASSES, class_id, to_joint

SMALL = TownConfig(StreetNetworkConfig(columns=2, rows=2))
BUILDING, ROAD, SKY = class_id("building"), class_id("road"), class_id("sky")


@pytest.fixture(scope="module")
def atlas() -> TextureAtlas:
    return TextureAtlas(np.random.default_rng(0))


@pytest.fixture(scope="module")
def wall(atlas: TextureAtlas) -> Scene:
    """A road in the plane z = 0 and a wall in the plane x = 10, four metres high."""
    road = [[[-50, -50, 0], [50, -50, 0], [50, 50, 0], [-50, 50, 0]]]
    front = [[[10, -30, 0], [10, 30, 0], [10, 30, 4], [10, -30, 4]]]
    mesh = meshes.Mesh.join(
        [
            meshes.quads(road, Material.ASPHALT, ROAD, (0.2, 0.2, 0.2)),
            meshes.quads(front, Material.PLASTER, BUILDING, (0.6, 0.6, 0.6)),
        ]
    )
    low, size = np.array([-50.0, -50.0]), np.array([100.0, 100.0])
    cells = np.ceil(size / SkyBlock.CELL_M).astype(int) + 1
    return Scene(mesh, atlas, SkyBlock(low, size, mesh, np.zeros(cells[::-1], np.float32)))


@pytest.fixture(scope="module")
def town() -> Town:
    return Town.generate(3, SMALL)


@pytest.fixture(scope="module")
def scene(town: Town) -> Scene:
    return town.scene(0, plan_drive(town, 0)[:, :2, 3])


CAMERA = CameraModel(120, 40, 70.0, 70.0, 59.5, 19.5)


def _look(scene: Scene, condition: Condition, x: float = 0.0) -> RenderedImage:
    pose = level_camera_pose(np.array([x, 0, 1.65]), 0.0)
    return render_image(scene, CAMERA, pose, condition, np.random.default_rng(1))


def test_depth_and_mask_of_a_wall(wall: Scene) -> None:
    image = _look(wall, draw_condition("overcast", np.random.default_rng(0)))
    assert image.rgb.shape == (40, 120, 3) and image.rgb.dtype == np.uint8
    assert image.mask[19, 60] == BUILDING and image.depth[19, 60] == pytest.approx(10, abs=1e-3)
    # A pixel v rows below the centre sees the road at depth h f / v.
    assert image.mask[39, 60] == ROAD
    assert image.depth[39, 60] == pytest.approx(1.65 * 70 / 19.5, rel=0.02)
    assert image.mask[0, 60] == SKY and np.isinf(image.depth[0, 60])


def test_the_sun_casts_shadows(wall: Scene) -> None:
    """With the sun 37 degrees high behind it, the wall's shadow reaches to x = 4.7 m."""
    behind = np.array([0.8, 0, 0.6], np.float32)
    base = replace(draw_condition("clear", np.random.default_rng(0)), noise=0.0)

    def near_over_far(sun: np.ndarray) -> float:
        rgb = _look(wall, replace(base, sun=sun), x=-10.0).rgb[:, 40:80].astype(float)
        # Rows 36 to 39 see the road at x = -4, rows 26 and 27 at x = 5 to 8.
        return float(rgb[36:].mean() / rgb[26:28].mean())

    assert near_over_far(behind) > 1.5
    assert near_over_far(behind * np.array([-1, 1, 1])) == pytest.approx(1.0, abs=0.3)


def test_a_scan_of_a_wall(wall: Scene) -> None:
    config = LidarConfig(rings=16, columns=256)
    pose = np.eye(4)
    pose[2, 3] = 1.73
    scan = simulate_scan(wall, pose, config, np.random.default_rng(0))
    assert scan.label is not None and scan.intensity is not None
    on_wall, on_road = scan.label == BUILDING, scan.label == ROAD
    assert scan.xyz[on_wall, 0] == pytest.approx(10, abs=0.15)
    assert scan.xyz[on_road, 2] == pytest.approx(-1.73, abs=0.15)
    reach = np.linalg.norm(scan.xyz, axis=1)
    assert reach.min() >= config.min_range_m and reach.max() <= config.max_range_m
    assert scan.intensity.min() >= 0 and scan.intensity.max() < 1
    again = simulate_scan(wall, pose, config, np.random.default_rng(0))
    assert np.array_equal(again.xyz, scan.xyz)


def test_beams_of_an_hdl64() -> None:
    directions = LidarConfig().directions().reshape(64, 1024, 3)
    elevation = np.degrees(np.arcsin(directions[..., 2]))
    assert elevation[0] == pytest.approx(2.0, abs=1e-3)
    assert elevation[-1] == pytest.approx(-24.8, abs=1e-3)
    assert np.arctan2(directions[5, 0, 1], directions[5, 0, 0]) > 3.1, "columns run to the right"


def test_mip_levels_keep_the_mean(atlas: TextureAtlas) -> None:
    rng = np.random.default_rng(0)
    material = np.full(4000, Material.BRICK, np.uint8)
    uv = rng.uniform(0, 2.56, (4000, 2)).astype(np.float32)
    near = atlas.albedo(material, uv, np.full(4000, 0.001, np.float32))
    far = atlas.albedo(material, uv, np.full(4000, 50.0, np.float32))
    assert far.std() < 0.02 < near.std()
    assert far.mean() == pytest.approx(near.mean(), rel=0.03)
    assert SIZE & (SIZE - 1) == 0


def test_a_seed_gives_the_same_town_twice(town: Town) -> None:
    twin = Town.generate(3, SMALL)
    for name in ("corners", "uv", "colour", "label", "material"):
        assert np.array_equal(getattr(twin.static, name), getattr(town.static, name))


def test_a_town_has_what_streets_have(town: Town, scene: Scene) -> None:
    names = {CLASSES[i].name for i in np.unique(town.static.label)}
    assert {"road", "sidewalk", "building", "barrier", "vegetation", "terrain", "pole"} <= names
    traffic = scene.mesh.label[len(town.static) :]
    assert set(np.unique(traffic)) <= {class_id(n) for n in (
        "car", "other_vehicle", "two_wheeler", "person", "rider")}  # fmt: skip


def test_traversals_meet_other_traffic(town: Town, scene: Scene) -> None:
    first, second = scene.mesh, town.scene(1).mesh
    rest = slice(len(town.static), None)
    assert first.corners[rest].shape != second.corners[rest].shape or not np.array_equal(
        first.corners[rest], second.corners[rest]
    )


def test_points_agree_with_masks(town: Town, scene: Scene) -> None:
    poses = plan_drive(town, 0, DriveConfig(length_m=200))
    rig = Rig.kitti((620, 188))
    rng = np.random.default_rng(0)
    condition = draw_condition("overcast", rng)
    agree, seen = 0, 0
    for i in (20, 90, 160):
        image = render_image(scene, rig.camera, poses[i] @ rig.T_base_camera, condition, rng)
        scan = simulate_scan(scene, poses[i] @ rig.T_base_lidar, LidarConfig(columns=512), rng)
        points = transform_points(rig.T_cam2_lidar, scan.xyz)
        uv, inside = rig.camera.project(points)
        u, v = np.round(uv[inside]).astype(int).T
        visible = np.abs(image.depth[v, u] - points[inside, 2]) < 0.15
        agree += int((image.mask[v, u] == scan.label[inside])[visible].sum())  # type: ignore[index]
        seen += int(visible.sum())
    assert seen > 1500 and agree / seen > 0.99


def test_unknown_conditions_are_named() -> None:
    with pytest.raises(ConfigError, match="clear, overcast, dusk"):
        draw_condition("hail", np.random.default_rng(0))
    with pytest.raises(ConfigError, match="hail"):
        TraversalConfig(condition="hail")
    assert "clear" in CONDITIONS


def test_splits_share_no_seed() -> None:
    seeds = [set(s) for s in SEEDS.values()]
    assert sum(map(len, seeds)) == len(set().union(*seeds))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TownExportConfig]:
    root = tmp_path_factory.mktemp("town")
    drive = DriveConfig(spacing_m=10.0, length_m=60.0)
    config = TownExportConfig(
        image_width=124, image_height=38, town=SMALL, lidar=LidarConfig(rings=16, columns=256),
        traversals=(TraversalConfig(0, images=False, drive=drive),
                    TraversalConfig(1, scans=False, condition="clear", drive=drive)),
    )  # fmt: skip
    steps = list(export_town(root, 3, config))
    assert steps[-1][0] == steps[-1][1] == len(steps)
    return root, config


def test_export_writes_the_kitti_layout(exported: tuple[Path, TownExportConfig]) -> None:
    root, _ = exported
    scans = sorted((root / "sequences/00/velodyne").glob("*.bin"))
    images = sorted((root / "sequences/01/image_2").glob("*.png"))
    assert len(scans) == len(np.loadtxt(root / "poses/00.txt")) == 6
    assert len(images) == len(np.loadtxt(root / "sequences/01/times.txt")) == 6
    assert not (root / "sequences/00/image_2").exists()
    points = np.fromfile(scans[0], "<f4").reshape(-1, 4)
    labels = np.fromfile(root / "sequences/00/labels/000000.label", "<u4")
    assert len(points) == len(labels) and {40, 50} <= set(labels.tolist())
    mask = cv2.imread(str(root / "sequences/01/mask_2/000000.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (38, 124) and ROAD in to_joint(mask, "cityscapes")
    record = yaml.safe_load((root / "town.yaml").read_text())
    assert record["seed"] == 3 and record["conditions"][1] == "clear"
    assert not list(root.rglob(".*")), "temporary files are left"


def test_reader_finds_the_towns_own_poses(
    exported: tuple[Path, TownExportConfig], town: Town
) -> None:
    kitti = pytest.importorskip("scmpr_ros.datasets.kitti")
    root, config = exported
    rig = Rig.kitti((config.image_width, config.image_height))
    for number, traversal in enumerate(config.traversals):
        poses = plan_drive(town, traversal.traversal, traversal.drive)
        drive = kitti.KittiOdometryDrive(root, f"{number:02d}")
        for frame in (0, 3):
            T = poses[frame]
            assert np.allclose(drive.T_world_lidar(frame), T @ rig.T_base_lidar, atol=1e-6)
            assert np.allclose(drive.T_world_camera(frame), T @ rig.T_base_camera, atol=1e-6)
    assert drive.camera.fx == pytest.approx(rig.camera.fx, rel=1e-6)
    assert drive.mask(0) is not None


def test_export_is_reproducible(exported: tuple[Path, TownExportConfig], tmp_path: Path) -> None:
    root, config = exported
    for _ in export_town(tmp_path, 3, replace(config, traversals=config.traversals[1:])):
        pass
    # The number of the sequence is part of a frame's noise, not of its pose or its traffic.
    first = (root / "poses/01.txt").read_bytes()
    assert (tmp_path / "poses/00.txt").read_bytes() == first
    masks = [p / f"sequences/{s}/mask_2/000002.png" for p, s in ((root, "01"), (tmp_path, "00"))]
    a, b = (cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in masks)
    assert (a == b).mean() > 0.97


def test_streams_are_independent() -> None:
    a, b = stream(1, "houses").random(4), stream(1, "plants").random(4)
    assert not np.array_equal(a, b) and np.array_equal(a, stream(1, "houses").random(4))
