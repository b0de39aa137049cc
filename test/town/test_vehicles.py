"""Vehicles and people: sizes, symmetry, labels, lights, triangle budgets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from scmpr_ros.semantics import class_id
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh
from scmpr_ros.town.vehicles import people, two_wheelers
from scmpr_ros.town.vehicles.bodies import LowerBody
from scmpr_ros.town.vehicles.pool import KINDS, Pool, vehicle
from scmpr_ros.town.vehicles.shapes import BODIES

CARS = ("compact", "hatchback", "sedan", "estate", "suv", "mpv", "small_van", "minibus")
GLOWING = (Material.HEADLIGHT, Material.TAILLIGHT)

Rng = np.random.Generator


def _areas(mesh: Mesh) -> NDArray[np.float64]:
    a, b = (mesh.corners[:, i].astype(float) - mesh.corners[:, 0] for i in (1, 2))
    return np.linalg.norm(np.cross(a, b), axis=1) / 2


def _bytes(mesh: Mesh) -> bytes:
    return b"".join(getattr(mesh, name).tobytes() for name in ("corners", "colour", "lights"))


@pytest.mark.parametrize("kind", KINDS)
def test_vehicles_stand_on_their_wheels_within_their_outline(kind: str) -> None:
    for seed in range(4):
        mesh, length, width = vehicle(np.random.default_rng(seed), kind)
        points = mesh.corners.reshape(-1, 3)
        assert points[:, 2].min() == pytest.approx(0, abs=1e-3)
        on_road = points[points[:, 2] < 0.002]
        assert np.ptp(on_road[:, 0]) > 0.25 * length and np.ptp(on_road[:, 1]) > 0.7 * width
        assert np.abs(points[:, 0]).max() <= length / 2
        below_mirrors = points[points[:, 2] < 0.8]
        assert np.abs(below_mirrors[:, 1]).max() <= width / 2
        assert np.abs(points[:, 1]).max() <= width / 2 + 0.25
        assert len(mesh) <= (1700 if kind == "bus" else 1600)
        assert _areas(mesh).min() > 1e-7


@pytest.mark.parametrize("kind", KINDS)
def test_labels_depend_on_the_kind(kind: str) -> None:
    mesh, length, _ = vehicle(np.random.default_rng(1), kind)
    label = class_id("car" if kind in CARS else "other_vehicle")
    assert (mesh.label == label).all()
    assert kind not in CARS or length < 5.25


@pytest.mark.parametrize("kind", ["hatchback", "sedan", "panel_van", "bus"])
def test_bodies_are_symmetric(kind: str) -> None:
    mesh, _, _ = vehicle(np.random.default_rng(2), kind)
    middles = mesh.corners[mesh.material == Material.CAR_PAINT].mean(axis=1)
    mirror = middles * (1, -1, 1)
    gap = np.linalg.norm(middles[:, None] - mirror[None], axis=2).min(axis=1)
    assert gap.max() < 1e-4


def test_body_surfaces_face_outwards() -> None:
    """Normals point away from the centre line, except on some ledges and arch lips."""
    mesh, length, _ = vehicle(np.random.default_rng(0), "hatchback")
    for material in (Material.CAR_PAINT, Material.GLASS, Material.METAL):
        chosen = mesh.material == material
        middle = mesh.corners[chosen].mean(axis=1)
        inside = np.clip(middle, (1 - length / 2, 0, 0.5), (length / 2 - 1, 0, 1))
        outwards = np.einsum("ij,ij->i", middle - inside, mesh.normal[chosen]) > 0
        assert outwards.mean() > 0.9


def test_wheel_arches_clear_the_wheels() -> None:
    body = BODIES["hatchback"]
    surface = LowerBody(body)
    top = body.wheel_radius * 2
    assert surface.arch(np.array(body.axles)) == pytest.approx(top + 0.055, abs=1e-6)
    assert surface.arch(np.array([body.length / 2])) == pytest.approx(body.sill)


def test_lower_body_has_the_size_of_its_shape() -> None:
    body = BODIES["estate"]
    surface = LowerBody(body)
    x = surface.stations()
    skin = surface.points(x, surface.shares(x))
    assert skin[..., 1].max() == pytest.approx(body.width / 2, abs=0.01)
    assert (skin[..., 0].min(), skin[..., 0].max()) == pytest.approx((0, body.length), abs=0.02)
    assert skin[..., 2].min() == pytest.approx(body.sill)


@pytest.mark.parametrize("kind", ["compact", "minibus", "box_van", "lorry", "bus"])
def test_lamps_are_on_only_when_driving(kind: str) -> None:
    parked, _, _ = vehicle(np.random.default_rng(3), kind)
    driving, length, _ = vehicle(np.random.default_rng(3), kind, is_driving=True)
    assert len(parked.lights) == 0 and not np.isin(parked.material, GLOWING).any()
    assert all((driving.material == glow).any() for glow in GLOWING)
    position, direction, intensity = np.split(driving.lights[:, :9], 3, axis=1)
    assert np.linalg.norm(direction, axis=1) == pytest.approx(1, abs=1e-5)
    ahead = direction[:, 0] > 0
    assert ahead.sum() == 2 and (~ahead).sum() == 2
    assert (direction[ahead, 0] > 0.99).all() and (direction[ahead, 2] < 0).all()
    assert (position[ahead, 0] > length / 2 - 0.01).all(), "the body shadows its own lights"
    assert position[ahead, 1].sum() == pytest.approx(0, abs=1e-5)
    assert (intensity[~ahead, 0] > 5 * intensity[~ahead, 1]).all(), "tail lights are red"
    assert intensity[ahead].min() > 10 * intensity[~ahead].max()


@pytest.mark.parametrize("build", [people.person, two_wheelers.bicycle, two_wheelers.cyclist])
def test_people_and_bicycles_stand_on_the_ground(build: Callable[[Rng], Mesh]) -> None:
    for seed in range(8):
        mesh = build(np.random.default_rng(seed))
        assert mesh.corners[..., 2].min() == pytest.approx(0, abs=0.01)
        assert _areas(mesh).min() > 1e-7
        budget = {people.person: 400, two_wheelers.bicycle: 500, two_wheelers.cyclist: 920}[build]
        assert len(mesh) <= budget


def test_people_are_of_human_size() -> None:
    heights = [
        people.person(np.random.default_rng(seed)).corners[..., 2].max() for seed in range(60)
    ]
    assert 1.0 < min(heights) < 1.5, "children"
    assert 1.6 < np.median(heights) < 1.85 and max(heights) < 2.05


def test_joints_keep_the_length_of_bones() -> None:
    start, end, bones = np.array([0.0, 0, 0.9]), np.array([0.3, 0.05, 0.1]), (0.43, 0.42)
    knee = people.joint(start, end, bones, (1.0, 0.0, 0.0))
    assert np.linalg.norm(knee - start) == pytest.approx(bones[0], abs=2e-3)
    # The distance of 0.856 m exceeds both bones: the leg is stretched, not torn.
    near = people.joint(start, start - (0, 0, 0.7), bones, (1.0, 0.0, 0.0))
    assert np.linalg.norm(near - start) == pytest.approx(bones[0])
    assert np.linalg.norm(near - start + (0, 0, 0.7)) == pytest.approx(bones[1])
    assert near[0] > 0.2, "knees bend forwards"


def test_cyclists_have_labels_of_rider_and_bicycle() -> None:
    labels = np.unique(two_wheelers.cyclist(np.random.default_rng(0)).label)
    assert set(labels) == {class_id("two_wheeler"), class_id("rider")}


def test_pool_is_reproducible() -> None:
    def draws() -> list[bytes]:
        rng = np.random.default_rng(5)
        pool = Pool(rng, shapes=4)
        meshes = [pool.vehicle(rng)[0], pool.driving_vehicle(rng)[0], pool.person(rng),
                  pool.bicycle(rng), pool.cyclist(rng)]  # fmt: skip
        return [_bytes(mesh) for mesh in meshes]

    assert draws() == draws()


def test_every_car_of_a_pool_is_repainted() -> None:
    rng = np.random.default_rng(0)
    pool = Pool(rng, shapes=6)
    paints = set()
    for _ in range(40):
        mesh, _, _ = pool.vehicle(rng)
        if (mesh.label == class_id("car")).all():
            paint = np.unique(mesh.colour[mesh.material == Material.CAR_PAINT], axis=0)
            assert len(paint) == 1
            paints.add(paint.tobytes())
        assert len(mesh.lights) == 0
        assert len(pool.driving_vehicle(rng)[0].lights) == 4
    assert len(paints) > 20
