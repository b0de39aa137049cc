"""Buildings: properties that their meshes have for any seed."""

from __future__ import annotations

from functools import cache

import numpy as np
import open3d as o3d
import pytest
from numpy.typing import NDArray

from scmpr_ros.town.buildings.balconies import LOWEST_M
from scmpr_ros.town.buildings.buildings import build_house
from scmpr_ros.town.buildings.faces import BUILDING, FOUNDATION_M, Plane, Shell
from scmpr_ros.town.buildings.house_styles import House, Kind, draw_kind
from scmpr_ros.town.buildings.openings import Opening, Openings, cut
from scmpr_ros.town.buildings.outbuildings import OUTBUILDINGS, outbuilding
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh

every_kind = pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name.lower())
every_outbuilding = pytest.mark.parametrize("kind", OUTBUILDINGS)
WITH_GARDENS = (Kind.DETACHED, Kind.TERRACE, Kind.SLAB, Kind.VILLA, Kind.SCHOOL)
MEAN_TRIANGLES = {
    Kind.TENEMENT: 4000, Kind.DETACHED: 1000, Kind.TERRACE: 2200, Kind.SLAB: 3000, Kind.HALL: 1000,
    Kind.MARKET: 500, Kind.VILLA: 2700, Kind.CHURCH: 1700, Kind.SCHOOL: 2700, Kind.KIOSK: 300,
}  # fmt: skip


@cache
def _houses(kind: Kind, count: int = 6) -> list[tuple[House, Mesh]]:
    rng = np.random.default_rng(11)
    houses = [draw_kind(rng, kind) for _ in range(count)]
    return [(house, build_house(rng, house)) for house in houses]


def _areas(mesh: Mesh) -> NDArray[np.float64]:
    a, b, c = mesh.corners.astype(float).transpose(1, 0, 2)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def _tensor(values: NDArray) -> o3d.core.Tensor:
    # Open3D's stubs know only the form with dtype and device.
    return o3d.core.Tensor(values)  # type: ignore[call-overload]


def _caster(mesh: Mesh) -> o3d.t.geometry.RaycastingScene:
    caster = o3d.t.geometry.RaycastingScene(nthreads=1)
    vertices = np.ascontiguousarray(mesh.corners.reshape(-1, 3))
    faces = np.arange(len(vertices), dtype=np.uint32).reshape(-1, 3)
    caster.add_triangles(_tensor(vertices), _tensor(faces))
    return caster


def _rays(origin: NDArray[np.float64], direction: NDArray[np.float64]) -> o3d.core.Tensor:
    origin = np.broadcast_to(origin, direction.shape)
    return _tensor(np.concatenate([origin, direction], axis=1).astype(np.float32))


def _distances(mesh: Mesh, origin: NDArray, direction: NDArray) -> NDArray[np.float32]:
    return _caster(mesh).cast_rays(_rays(origin, direction), nthreads=1)["t_hit"].numpy()


def _beyond(mesh: Mesh, width: float, depth: float) -> NDArray[np.float64]:
    """Distance by which each corner (N,) is outside the claimed rectangle."""
    x, y, _ = mesh.corners.reshape(-1, 3).astype(float).T
    return np.maximum.reduce([np.abs(x) - width / 2, -y, y - depth])


@every_kind
def test_building_stays_within_its_plan(kind: Kind) -> None:
    for house, mesh in _houses(kind, 12):
        beyond, z = _beyond(mesh, house.width, house.depth), mesh.corners.reshape(-1, 3)[:, 2]
        assert beyond[z > LOWEST_M].max() < 1.5, "a bay or a balcony reaches too far"
        assert beyond[z <= LOWEST_M].max() < (1.0 if kind in WITH_GARDENS else 0.6)
        assert z.min() == pytest.approx(-FOUNDATION_M, abs=0.01)
        assert house.eaves < z.max() < 60


def test_tenement_leaves_pavement_and_neighbours_free() -> None:
    for house, mesh in _houses(Kind.TENEMENT, 20):
        x, y, z = mesh.corners.reshape(-1, 3).T
        assert y[z < LOWEST_M].min() > -0.15
        assert np.abs(x).max() < house.width / 2 + 0.1


@every_kind
def test_meshes_are_sound(kind: Kind) -> None:
    for _, mesh in _houses(kind):
        assert np.isfinite(mesh.corners).all() and np.isfinite(mesh.uv).all()
        assert _areas(mesh).min() > 1e-6, "a triangle without an area"
        assert np.allclose(np.linalg.norm(mesh.normal, axis=1), 1, atol=1e-4)
        assert (mesh.label == BUILDING).all()
        assert mesh.colour.min() > 0 and mesh.colour.max() <= 1


@every_kind
def test_building_is_closed(kind: Kind) -> None:
    """Rays from a point inside hit walls, panes or roof, except those to the ground."""
    rng = np.random.default_rng(5)
    direction = rng.normal(size=(3000, 3))
    direction[:, 2] = np.abs(direction[:, 2]) - 0.15 * np.abs(direction[:, 0])
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    for house, mesh in _houses(kind):
        inside = np.array([0.4, house.depth * 0.45, min(2.0, house.eaves * 0.6)])
        assert np.isfinite(_distances(mesh, inside, direction)).all()


def test_closed_check_finds_a_missing_roof() -> None:
    house, mesh = _houses(Kind.DETACHED, 1)[0]
    tiles = mesh.material == Material.ROOF_TILES
    under = (mesh.material == Material.WOOD) & (mesh.normal[:, 2] < -0.5)
    keep = ~(tiles | under)
    bare = Mesh(*(getattr(mesh, n)[keep] for n in (
        "corners", "uv", "normal", "colour", "material", "label")))  # fmt: skip
    up = np.array([[0.0, 0.0, 1.0]])
    inside = np.array([0.4, house.depth * 0.45, 1.0])
    assert tiles.any() and np.isinf(_distances(bare, inside, up)).all()


def _has_coincident_faces(mesh: Mesh, width: float, depth: float) -> bool:
    """Whether any ray from outside first hits two coincident faces of different looks.

    Such faces flicker, as rounding decides which one is visible.
    """
    rng, count = np.random.default_rng(0), 2500
    target = rng.uniform([-width / 2, 0, 0], [width / 2, depth, mesh.corners[..., 2].max()],
                         (count, 3))  # fmt: skip
    azimuth = rng.uniform(0, 2 * np.pi, count)
    origin = np.stack([60 * np.cos(azimuth), 60 * np.sin(azimuth), rng.uniform(1, 30, count)], 1)
    direction = target - origin
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    found = _caster(mesh).list_intersections(_rays(origin, direction))
    ray, t = found["ray_ids"].numpy(), found["t_hit"].numpy()
    face = found["primitive_ids"].numpy()
    order = np.lexsort((t, ray))
    ray, t, face = ray[order], t[order], face[order]
    first = np.flatnonzero(np.r_[True, ray[1:] != ray[:-1]][:-1] & (ray[1:] == ray[:-1]))
    a, b = face[first], face[first + 1]
    near = t[first + 1] - t[first] < 0.006
    grazing = np.abs(np.einsum("ij,ij->i", mesh.normal[a], direction[ray[first]])) < 0.1
    parallel = np.abs(np.einsum("ij,ij->i", mesh.normal[a], mesh.normal[b])) > 0.99
    look = np.column_stack([mesh.colour, mesh.material])
    differ = np.abs(look[a] - look[b]).max(axis=1) > 1e-3
    return bool((near & ~grazing & parallel & differ).any())


@every_kind
def test_no_faces_coincide(kind: Kind) -> None:
    for house, mesh in _houses(kind):
        assert not _has_coincident_faces(mesh, house.width, house.depth)


def test_coincidence_check_finds_rival_faces() -> None:
    wall, shell = Plane.wall((-2, 1), (2, 1)), Shell()
    shell.quads(wall.panels(-9, 9, -1, 9), Material.PLASTER, (0.5, 0.5, 0.5))
    shell.quads(wall.panels(-9, 9, -1, 9, 0.003), Material.BRICK, (0.5, 0.5, 0.5))
    assert _has_coincident_faces(shell.mesh(), 4, 2)


@every_kind
def test_building_is_reproducible(kind: Kind) -> None:
    first, second = (
        build_house(rng, draw_kind(rng, kind)) for rng in map(np.random.default_rng, (4, 4))
    )
    for name in ("corners", "uv", "colour", "material"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


@every_kind
def test_triangle_budget_openings_and_roofs(kind: Kind) -> None:
    meshes = [mesh for _, mesh in _houses(kind)]
    assert np.mean([len(mesh) for mesh in meshes]) < MEAN_TRIANGLES[kind]
    openings = [Material.WINDOW, Material.SHOP, Material.DOOR]
    assert all(np.isin(mesh.material, openings).sum() >= 2 for mesh in meshes)
    roofs = [Material.ROOF_TILES, Material.ROOF_FLAT, Material.CORRUGATED]
    assert all(np.isin(mesh.material, roofs).any() for mesh in meshes)


@pytest.mark.parametrize("kind", [k for k in Kind if k is not Kind.HALL])
def test_buildings_have_windows(kind: Kind) -> None:
    for _, mesh in _houses(kind):
        assert np.isin(mesh.material, [Material.WINDOW, Material.SHOP]).any()


def test_openings_are_cut_and_recessed() -> None:
    house = draw_kind(np.random.default_rng(1), Kind.SLAB)
    wall, shell = Plane.wall((0, 0), (6, 0)), Shell()
    openings = Openings.grid(house, 6.0, np.array([0.0, 3.0]), 2)
    openings.kind[1] = Opening.BLANK
    openings.a0[0], openings.a1[0], openings.b0[0], openings.b1[0] = 1.0, 2.0, 1.0, 2.0
    openings.depth[0] = 0.3
    cut(np.random.default_rng(0), shell, wall, openings, house)
    towards = np.tile([0.0, 1.0, 0.0], (3, 1))
    start = np.array([[1.5, -5, 1.5], [0.5, -5, 1.5], [4.5, -5, 1.5]])
    assert _distances(shell.mesh(), start, towards) == pytest.approx([5.3, 5.0, 5.0], abs=1e-4)
    plane = np.abs(shell.mesh().normal[:, 1]) > 0.99
    above = shell.mesh().corners[..., 2].min(axis=1) > -1e-6
    assert _areas(shell.mesh())[plane & above].sum() == pytest.approx(6 * 3)


def test_fronts_of_houses_have_steps() -> None:
    """At the height of a LiDAR many fronts have steps of half a metre or more."""
    stepped = 0
    for house, mesh in _houses(Kind.DETACHED, 16):
        x = np.linspace(-house.width / 2 + 0.3, house.width / 2 - 0.3, 60)
        start = np.stack([x, np.full(60, -10.0), np.full(60, 1.6)], axis=1)
        distance = _distances(mesh, start, np.tile([0.0, 1.0, 0.0], (60, 1)))
        stepped += bool(np.ptp(distance[np.isfinite(distance)]) > 0.5)
    assert 5 <= stepped <= 15


@every_outbuilding
def test_outbuildings(kind: str) -> None:
    for seed in range(8):
        mesh, width, depth = outbuilding(np.random.default_rng(seed), kind)
        twin, *_ = outbuilding(np.random.default_rng(seed), kind)
        assert mesh.corners.tobytes() == twin.corners.tobytes()
        assert _beyond(mesh, width, depth).max() < 0.6
        assert _areas(mesh).min() > 1e-6 and (mesh.label == BUILDING).all()
        assert mesh.corners[..., 2].min() == pytest.approx(-FOUNDATION_M, abs=0.01)
        assert 1.9 < mesh.corners[..., 2].max() < 12
        assert not _has_coincident_faces(mesh, width, depth)


def test_carports_are_open_and_garages_closed() -> None:
    """A beam at a car's height passes through a carport, and not through a garage."""
    along = np.array([[0.0, 1.0, 0.0]])
    for kind, is_open in (("carport", True), ("garage", False)):
        mesh, *_ = outbuilding(np.random.default_rng(3), kind)
        assert np.isinf(_distances(mesh, np.array([0.0, -5.0, 1.0]), along)).all() == is_open
