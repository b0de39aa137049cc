"""Town: meshes, kerb cutting, occupancy, streets and drives, against what geometry says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.geometry import invert
from scmpr_ros.town import mesh as meshes
from scmpr_ros.town.drives import DriveConfig, plan_drive
from scmpr_ros.town.ground.ground import Ground
from scmpr_ros.town.ground.plan_triangles import split_triangles, zero_segments
from scmpr_ros.town.ground.relief import Relief
from scmpr_ros.town.ground.street_field import StreetField, smooth_minimum
from scmpr_ros.town.layout.kerbside import Site
from scmpr_ros.town.layout.occupancy import Occupancy, disc, rectangle
from scmpr_ros.town.materials import SURFACES, Material
from scmpr_ros.town.sensors.rig import Rig
from scmpr_ros.town.streets.network import StreetNetwork, StreetNetworkConfig
from scmpr_ros.town.world import Town, TownConfig, stream


def _area(tris: np.ndarray) -> float:
    a, b = tris[:, 1] - tris[:, 0], tris[:, 2] - tris[:, 0]
    return float(np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / 2)


def _bare_town(seed: int) -> Town:
    network = StreetNetwork.generate(stream(seed, "streets"), StreetNetworkConfig())
    site = Site.of(Ground(stream(seed, "relief"), network))
    return Town(seed, TownConfig(), site, meshes.EMPTY)


def test_box_is_closed_and_of_the_right_size() -> None:
    box = meshes.boxes([[0, 0, 0]], [[1, 2, 3]], Material.BRICK, 3)
    corners = box.corners.astype(float)
    doubled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert np.linalg.norm(doubled, axis=1).sum() / 2 == pytest.approx(2 * (2 + 3 + 6))
    assert np.allclose(np.linalg.norm(box.normal, axis=1), 1)
    assert (box.label == 3).all() and (box.material == Material.BRICK).all()


def test_tube_keeps_its_radius() -> None:
    tube = meshes.tubes([[0, 0, 0], [0, 0, 5]], 0.4, 12, Material.METAL, 7)
    assert np.allclose(np.hypot(*tube.corners.reshape(-1, 3)[:, :2].T), 0.4, atol=1e-6)
    assert tube.corners[..., 2].min() == 0 and tube.corners[..., 2].max() == 5


def test_wall_texture_coordinates_are_metres() -> None:
    wall = meshes.quads([[[0, 0, 0], [4, 0, 0], [4, 0, 3], [0, 0, 3]]], Material.PLASTER, 3)
    span = wall.uv.reshape(-1, 2).max(axis=0) - wall.uv.reshape(-1, 2).min(axis=0)
    assert span == pytest.approx([4, 3])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-1, 1))
def test_splitting_triangles_keeps_their_area(seed: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    tris, values = rng.normal(size=(20, 3, 2)), rng.normal(size=(20, 3))
    below, above = split_triangles(tris, values, level)
    assert _area(below) + _area(above) == pytest.approx(_area(tris))


def test_a_straight_cut_is_exact() -> None:
    tris = np.array([[[0, 0], [4, 0], [0, 4]]], float)
    below, above = split_triangles(tris, tris[..., 0], 1.0)
    assert below[..., 0].max() == pytest.approx(1) and above[..., 0].min() == pytest.approx(1)
    a, b = zero_segments(tris, tris[..., 0] - 1.0)
    assert sorted([tuple(a[0]), tuple(b[0])]) == [(1.0, 0.0), (1.0, 3.0)]


def test_occupancy_claims_all_or_nothing() -> None:
    taken = Occupancy(np.zeros(2), np.array([20.0, 20.0]))
    assert taken.try_claim(disc(np.array([5.0, 5.0]), 1.0))
    assert not taken.try_claim(rectangle(np.array([6.0, 5.0]), 0.3, 4, 2))
    assert taken.is_free(np.array([[7.5, 5.0]])).all(), "a refused claim must leave no trace"
    assert not taken.is_free(np.array([[-1.0, 5.0]])).any(), "outside everything is taken"
    twin = taken.copy()
    twin.claim(np.array([[15.0, 15.0]]))
    assert taken.is_free(np.array([[15.0, 15.0]])).all()


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.1, 10))
def test_smooth_minimum_is_below_both_and_close(a: float, b: float, radius: float) -> None:
    low = float(smooth_minimum(np.array(a), np.array(b), radius))
    assert min(a, b) - radius / 4 - 1e-9 <= low <= min(a, b) + 1e-9


def test_kerb_distance_along_a_street() -> None:
    network = _bare_town(3).network
    field = StreetField(network)
    street = max(network.streets, key=lambda s: s.length_m)
    middle = street.length_m / 2
    for lateral in (2.0, street.half_width_m, street.half_width_m + 3.0):
        xy, _ = street.frame(middle, lateral)
        assert field(field.kerb, xy)[0] == pytest.approx(lateral - street.half_width_m, abs=0.25)


def test_relief_slopes_are_gentle() -> None:
    relief = Relief.generate(stream(5, "relief"))
    xy = np.random.default_rng(0).uniform(-200, 200, (500, 2))
    slope = np.abs(relief(xy + (0.5, 0)) - relief(xy - (0.5, 0)))
    assert slope.max() < 0.1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_drives_share_the_street_but_not_the_line(seed: int) -> None:
    town = _bare_town(seed)
    mapping, query = plan_drive(town, 0), plan_drive(town, 1, DriveConfig(spacing_m=1.5))
    for poses in (mapping, query):
        assert (town.ground.beyond_kerb(poses[:, :2, 3]) < -0.8).all(), "the car leaves the road"
        assert np.allclose(poses @ invert(poses), np.eye(4), atol=1e-9)
    step = np.linalg.norm(np.diff(mapping[:, :3, 3], axis=0), axis=1)
    assert step.min() > 0.7 and step.max() < 1.3
    apart = np.linalg.norm(query[:, None, :2, 3] - mapping[None, :, :2, 3], axis=2).min(axis=1)
    assert 0.15 < np.median(apart) < 3.0
    gap = np.linalg.norm(mapping[:, None, :2, 3] - mapping[None, :, :2, 3], axis=2)
    i, j = np.indices(gap.shape)
    assert ((gap < 4) & (np.abs(i - j) > 60)).any(axis=1).sum() > 50, "no revisit"


def test_a_town_without_a_loop_says_so() -> None:
    town = _bare_town(0)
    line = tuple(s for s in town.network.streets if s.end >= 0)[:1]
    tree = StreetNetwork(town.network.crossings, line)
    site = Site.of(Ground(stream(0, "relief"), tree))
    with pytest.raises(DatasetError, match="no closed loop"):
        plan_drive(Town(0, TownConfig(), site, meshes.EMPTY), 0)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="no loop"):
        StreetNetworkConfig(columns=1)
    with pytest.raises(ConfigError, match="there must be three"):
        DriveConfig(spacing_m=0)


def test_rig_is_kittis() -> None:
    rig = Rig.named("kitti")
    camera_in_base = rig.T_base_camera
    assert camera_in_base[2, 3] == pytest.approx(1.65, abs=0.05)
    assert camera_in_base[:3, 2] == pytest.approx([1, 0, 0], abs=0.02)
    assert np.allclose(rig.T_cam0_lidar[:3, :3] @ rig.T_cam0_lidar[:3, :3].T, np.eye(3))
    assert rig.projections[2, :, 3] == pytest.approx([45.38225, -0.1130887, 0.003779761])


def test_every_material_has_a_surface() -> None:
    assert set(SURFACES) == set(Material)
