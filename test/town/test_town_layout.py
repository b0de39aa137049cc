"""Layout of small towns of one quarter each, checked on the meshes placed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import pytest

from scmpr_ros.semantics import class_id
from scmpr_ros.town.ground.ground import Ground
from scmpr_ros.town.layout import crossings, front_gardens, greenery, pavements, plots
from scmpr_ros.town.layout.kerbside import Kerbside, Room, Site, runs
from scmpr_ros.town.layout.land_use import LAND, is_alike
from scmpr_ros.town.layout.occupancy import Occupancy, Use, disc, rectangle
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import EMPTY, Mesh, boxes
from scmpr_ros.town.quarters import Quarter
from scmpr_ros.town.streets.network import Street, StreetNetwork, StreetNetworkConfig
from scmpr_ros.town.world import stream

BUILDING, VEGETATION = class_id("building"), class_id("vegetation")
CELL_M = 0.15


@dataclass
class Lot:
    """A small town of one quarter and the objects placed in it."""

    site: Site
    objects: list[Mesh] = field(default_factory=list)
    houses: set[int] = field(default_factory=set)
    fences: list[Mesh] = field(default_factory=list)
    house_mesh: Mesh = EMPTY


def _site(quarter: Quarter, seed: int = 4) -> Site:
    network = StreetNetwork.generate(
        stream(seed, "streets"),
        StreetNetworkConfig(2, 2),
    )
    streets = tuple(
        replace(s, quarter=quarter, pavement_m=(3.0, 2.0), driveways=_driveways(s, quarter))
        for s in network.streets
    )
    return Site.of(Ground(stream(seed, "relief"), StreetNetwork(network.crossings, streets)))


def _driveways(street: Street, quarter: Quarter) -> tuple[tuple[int, float], ...]:
    return () if quarter is Quarter.OLD_TOWN else street.driveways


def _build(quarter: Quarter) -> Lot:
    lot = Lot(_site(quarter))
    with pytest.MonkeyPatch.context() as patch:
        erect, stand, run = plots.erect, Site.stand, front_gardens._run

        def kept_erect(*args):  # type: ignore[no-untyped-def]
            mesh, doors = erect(*args)
            lot.houses.add(len(lot.objects))
            lot.objects.append(mesh)
            return mesh, doors

        def kept_stand(*args):  # type: ignore[no-untyped-def]
            lot.objects.append(stand(*args))
            return lot.objects[-1]

        def kept_run(*args):  # type: ignore[no-untyped-def]
            lot.fences += (found := run(*args))
            return found

        patch.setattr(plots, "erect", kept_erect)
        patch.setattr(Site, "stand", kept_stand)
        patch.setattr(front_gardens, "_run", kept_run)
        patch.setattr(greenery, "plant_outskirts", lambda rng, site: [])
        places = (
            plots.place_houses, pavements.place_furniture, front_gardens.place_fences,
            greenery.place_plants,
        )  # fmt: skip
        for place in places:
            mesh = place(stream(4, place.__name__), lot.site)
            if place is plots.place_houses:
                lot.house_mesh = mesh
    return lot


@pytest.fixture(scope="module")
def lots() -> dict[Quarter, Lot]:
    return {quarter: _build(quarter) for quarter in Quarter}


@pytest.fixture(params=list(Quarter), ids=lambda q: q.value)
def lot(request: pytest.FixtureRequest, lots: dict[Quarter, Lot]) -> Lot:
    return lots[request.param]


def _low_slice(mesh: Mesh, ground: Ground) -> np.ndarray:
    """Plan points (N, 2) of solid parts 0.3 to 1.8 m above the ground, without leaves."""
    is_solid = mesh.material != Material.LEAVES
    corners = mesh.corners[is_solid].astype(float)
    above = corners[..., 2] - ground.height(corners[..., :2].reshape(-1, 2)).reshape(-1, 3)
    reach = 0.9 if (mesh.label == VEGETATION).any() else 1.8  # low branches may overlap
    reaches = (above.min(axis=1) < reach) & (above.max(axis=1) > 0.3)
    near = reaches[:, None] & (above < 6.0) & (above > -3.0)
    return corners[..., :2][near]


def _footprint(mesh: Mesh, ground: Ground) -> np.ndarray:
    """Cells (N, 2: x, y) covered by the hull of an object's low slice."""
    points = _low_slice(mesh, ground)
    if len(points) < 3:
        return np.zeros((0, 2), int)
    cells = ((points - ground.extent[0]) / CELL_M).astype(np.float32)
    hull = cv2.convexHull(cells)[:, 0].round().astype(np.int32)
    low = hull.min(axis=0)
    canvas = np.zeros((hull.max(axis=0) - low + 1)[::-1], np.uint8)
    cv2.fillConvexPoly(canvas, hull - low, 1)
    return np.argwhere(canvas)[:, ::-1] + low


def test_objects_do_not_intersect(lot: Lot) -> None:
    """Only houses of one row overlap notably, where their backs meet inside a bend."""
    ground = lot.site.ground
    owner = np.full(np.ceil(ground.extent[1] / CELL_M).astype(int) + 1, -1)
    shares = []
    for i, mesh in enumerate(lot.objects):
        x, y = _footprint(mesh, ground).T
        others = owner[x, y]
        is_house = (mesh.label == BUILDING).any()
        in_row = [k for k in set(others[others >= 0].tolist()) if is_house and k in lot.houses]
        shared = (others >= 0) & ~np.isin(others, in_row)
        shares.append(shared.mean() if len(x) > 20 else 0.0)
        assert np.isin(others, in_row).mean() < 0.25 if len(x) else True
        owner[x, y] = i
    assert len(shares) > 80
    assert max(shares) < 0.2 and np.mean(shares) < 0.002


def test_fences_leave_houses_and_gates_free(lot: Lot) -> None:
    taken = lot.site.taken
    for fence in lot.fences:
        points = fence.corners.reshape(-1, 3)[:, :2]
        inside = ~taken.is_free(points, Use.BUILDING)
        assert inside.mean() < 0.02
    for frontage in lot.site.frontages:
        for plot in frontage.plots:
            for start, end in plot.gates:
                middle = frontage.side.at((start + end) / 2, frontage.edge_m + 0.4)[0]
                assert taken.is_free(middle, Use.OBJECT).all(), "a fence closes a gate"


def test_objects_stand_on_the_ground(lot: Lot) -> None:
    for mesh in lot.objects:
        points = mesh.corners.reshape(-1, 3)
        lowest = points[points[:, 2].argmin()]
        assert lowest[2] < lot.site.ground.height(lowest[None, :2])[0] + 0.35


def test_houses_face_their_street_and_are_off_the_pavement(lot: Lot) -> None:
    count = 0
    for frontage in lot.site.frontages:
        for plot in frontage.plots:
            half = plot.house.width / 2
            front = plot.at(np.linspace(-half, half, 9), 0.0)
            assert lot.site.ground.beyond_pavement(front).min() > -0.05
            before, behind = plot.at(0.0, -0.5), plot.at(0.0, 0.5)
            kerb = frontage.side.at(float(np.mean(plot.land)), 0.0)[0]
            assert np.linalg.norm(before - kerb) < np.linalg.norm(behind - kerb)
            count += 1
    assert count >= 6


def test_trees_are_clear_of_kerbs_and_walls(lot: Lot) -> None:
    trees = [m for m in lot.objects if (m.material == Material.BARK).any()]
    assert len(trees) > 20
    for tree in trees:
        bark = tree.corners[tree.material == Material.BARK].reshape(-1, 3)
        foot = bark[bark[:, 2] < bark[:, 2].min() + 0.05, :2]
        assert lot.site.ground.beyond_kerb(foot).min() > greenery.FROM_KERB_M - 0.05
        assert lot.site.taken.is_free(disc(foot.mean(axis=0), 1.5), Use.BUILDING).all()


def test_ways_to_doors_and_driveways_are_free(lot: Lot) -> None:
    """The way from the kerb to every door and along every driveway is free."""
    taken = lot.site.taken
    for frontage in lot.site.frontages:
        for plot in frontage.plots if frontage.side.pavement_m else ():
            for start, end in plot.gates:
                s = np.linspace(start + 0.3, end - 0.3, 5)
                way = frontage.side.grid(s, np.linspace(0.3, plot.setback_m - 2.4, 20))
                assert taken.is_free(way.reshape(-1, 2), Use.OBJECT | Use.BUILDING).mean() > 0.97


def test_old_town_rows_are_closed(lots: dict[Quarter, Lot]) -> None:
    site = lots[Quarter.OLD_TOWN].site
    for frontage in site.frontages:
        if frontage.plots:
            s = np.arange(frontage.plots[0].land[0] + 1, frontage.plots[-1].land[1] - 1, 0.25)
            line = frontage.side.grid(s, frontage.plots[0].setback_m + np.arange(0.6, 3.0, 0.4))
            built = ~site.taken.is_free(line.reshape(-1, 2), Use.BUILDING)
            gaps = sum(b - a for a, b in frontage.passages)
            assert built.reshape(len(s), -1).any(axis=1).mean() > 0.85 - gaps / len(s) / 0.25


def test_old_town_corners_are_built_up(lots: dict[Quarter, Lot]) -> None:
    """Between adjacent arms of a crossing is a house or the square."""
    site = lots[Quarter.OLD_TOWN].site
    far = 0
    corners = 0
    for crossing in range(len(site.ground.network.crossings)):
        found = crossings.arms(site, crossing)
        for arm, after in zip(found, found[1:] + found[:1], strict=True):
            angle = (after.heading_rad - arm.heading_rad) % (2 * np.pi)
            if angle < 2.4:
                way = arm.heading_rad + angle / 2
                out = np.arange(4, 32, 0.25)[:, None] * [np.cos(way), np.sin(way)]
                ray = site.ground.network.crossings[crossing] + out
                off = ray[site.ground.beyond_pavement(ray) > 0]
                built = ~site.taken.is_free(off, Use.BUILDING)
                far += int(not built.any() or built.argmax() * 0.25 > 7.0)
                corners += 1
    assert corners >= 6 and far <= 1, "corners besides the square's are empty"


def test_adjacent_houses_differ(lots: dict[Quarter, Lot]) -> None:
    for quarter in (Quarter.OLD_TOWN, Quarter.SUBURB, Quarter.PARK):
        pairs = [
            (a, b)
            for frontage in lots[quarter].site.frontages
            for a, b in zip(frontage.plots[:-1], frontage.plots[1:], strict=True)
        ]
        apart = [p for p in pairs if quarter is Quarter.OLD_TOWN or p[1].land[0] - p[0].land[1] > 1]
        alike = sum(is_alike(a.house, b.house) for a, b in apart)
        assert alike <= 0.2 * len(apart)


def test_setbacks_are_those_of_the_quarter(lots: dict[Quarter, Lot]) -> None:
    for quarter, lot in lots.items():
        low, high = LAND[quarter].setback_m
        for frontage in lot.site.frontages:
            own = np.array([plot.setback_m - frontage.edge_m for plot in frontage.plots])
            assert ((own >= low) & (own <= high + 4.0)).all()
            if len(own) > 4:
                _, count = np.unique(own.round(3), return_counts=True)
                assert count.max() >= 0.4 * len(own), "a street has a building line"


def test_parks_have_more_trees_than_the_old_town(lots: dict[Quarter, Lot]) -> None:
    def trees(quarter: Quarter) -> int:
        return sum((m.material == Material.BARK).any() for m in lots[quarter].objects)

    assert trees(Quarter.PARK) > 1.3 * trees(Quarter.OLD_TOWN)


def test_yards_are_free_of_objects(lots: dict[Quarter, Lot]) -> None:
    assert not lots[Quarter.OLD_TOWN].site.yards
    for quarter in (Quarter.SUBURB, Quarter.INDUSTRIAL):
        site = lots[quarter].site
        assert site.yards
        for yard in site.yards:
            area = rectangle(yard.centre, yard.heading_rad, yard.length_m - 1, yard.width_m - 0.6)
            assert site.taken.is_free(area, Use.OBJECT).mean() > 0.95


def test_lamps_are_evenly_spaced(lots: dict[Quarter, Lot]) -> None:
    """Lamps of a street are 25 to 33 m apart, with some tolerance for obstacles."""
    site = _site(Quarter.SUBURB)
    street = max(site.streets, key=lambda s: s.length_m)
    found = pavements._lamps(np.random.default_rng(0), site, street)
    feet = np.array([lamp.corners[..., :2].mean(axis=(0, 1)) for lamp in found])
    assert len(feet) >= int(street.length_m / 33) - 1
    gaps = np.linalg.norm(np.diff(feet, axis=0), axis=1)
    assert gaps.min() > 20 and gaps.max() < 38


def test_signals_and_priority_cover_all_arms() -> None:
    """Signals are on all arms of a crossing; with priority signs, two arms have priority."""
    site = _site(Quarter.OLD_TOWN)
    kinds: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for kind in crossings.POSTS:
            patch.setitem(crossings.POSTS, kind, lambda rng, kind=kind: kinds.append(kind) or EMPTY)
        found = max((crossings.arms(site, c) for c in range(4)), key=len)
        crossings._signals(np.random.default_rng(0), found)
        signals = kinds.copy()
        kinds.clear()
        crossings._priority(np.random.default_rng(0), crossings.arms(_site(Quarter.OLD_TOWN), 0))
    assert signals.count("signal") >= len(found)
    assert kinds.count("priority") == 2 and set(kinds) <= {"priority", "give_way"}


def test_same_seed_gives_the_same_houses(lots: dict[Quarter, Lot]) -> None:
    site = _site(Quarter.INDUSTRIAL)
    mesh = plots.place_houses(stream(4, "place_houses"), site)
    assert np.array_equal(mesh.corners, lots[Quarter.INDUSTRIAL].house_mesh.corners)


def test_occupancy_claims_all_or_nothing() -> None:
    taken = Occupancy(np.zeros(2), np.array([20.0, 20.0]))
    assert taken.try_claim(disc(np.array([5.0, 5.0]), 1.0))
    assert not taken.try_claim(rectangle(np.array([6.0, 5.0]), 0.3, 4, 2))
    assert taken.is_free(np.array([[7.5, 5.0]])).all(), "a refused claim left a trace"
    assert not taken.is_free(np.array([[-1.0, 5.0]])).any(), "land outside the grid is free"
    twin = taken.copy()
    twin.claim(np.array([[15.0, 15.0]]))
    assert taken.is_free(np.array([[15.0, 15.0]])).all()


def _straight_side() -> Kerbside:
    line = np.stack([np.arange(0.0, 61.0), np.zeros(61)], axis=1)
    street = Street(line, 0, -1, 4.0, (3.0, 3.0), (False, False), Quarter.SUBURB, False)
    network = StreetNetwork(np.array([[0.0, 0.0]]), (street,))
    return Kerbside(Site.of(Ground(stream(0, "relief"), network)), street, 1)


def test_free_stretches_lie_between_obstacles() -> None:
    side = _straight_side()
    side.site.taken.claim(disc(side.at(30.0, 1.5)[0][0], 0.5))
    (a, b), (c, d) = side.free_stretches(1.5, 0.4)
    assert a < 1.0 and b == pytest.approx(29.1, abs=0.5)
    assert c == pytest.approx(30.9, abs=0.5) and d > 58
    # The obstacle covers 1.0 to 2.0 m from the kerb: there is room behind it.
    assert len(side.free_stretches(2.7, 0.2)) == 1
    side.site.taken.claim(side.grid(np.arange(0, 60, 0.1), np.array([2.7])).reshape(-1, 2), Use.WAY)
    assert len(side.free_stretches(2.7, 0.2)) == 1, "ways are walkable"


def test_room_of_an_object_is_claimed_where_it_stands() -> None:
    side, rng = _straight_side(), np.random.default_rng(0)
    box = boxes([[-1, -0.2, 0]], [[1, 1.2, 1]], Material.METAL, BUILDING)
    (placed,) = side.stand(rng, 30.0, 2.0, lambda _: box, Room(2.0, 1.4, 0.5))
    # The y axis points to the road: the box covers 0.8 m to 2.2 m from the kerb.
    plan = placed.corners.reshape(-1, 3)[:, :2]
    middle = plan.mean(axis=0)
    assert not side.site.taken.is_free(middle + 0.95 * (plan - middle)).any()
    assert side.site.taken.is_free(side.at(np.array([30.0, 30.0]), np.array([0.4, 2.6]))[0]).all()
    assert not side.stand(rng, 30.0, 1.2, lambda _: box, 0.1), "two objects in one place"
    assert not side.stand(rng, 45.0, 0.1, lambda _: box, 0.2), "over the kerb"


@pytest.mark.parametrize("heading", [0.0, 0.4, 0.785, 1.2])
def test_claimed_rectangle_has_no_holes(heading: float) -> None:
    taken = Occupancy(np.zeros(2), np.array([30.0, 30.0]))
    taken.claim(rectangle(np.array([15.0, 15.0]), heading, 12.0, 8.0))
    row, col = np.indices(taken.uses.shape).reshape(2, -1)
    centres = (np.stack([col, row], axis=1) + 0.5) * taken.CELL_M - 15.0
    c, s = np.cos(heading), np.sin(heading)
    u, v = centres @ [c, s], centres @ [-s, c]
    inside = (np.abs(u) < 6) & (np.abs(v) < 4)
    assert (taken.uses.ravel()[inside] != 0).all()
    outside = (np.abs(u) > 6.3) | (np.abs(v) > 4.3)
    assert not taken.uses.ravel()[outside].any()


def test_ways_are_closed_to_fixtures_and_open_to_traffic() -> None:
    taken = Occupancy(np.zeros(2), np.array([20.0, 20.0]))
    spot = disc(np.array([5.0, 5.0]), 0.5)
    taken.claim(spot, Use.WAY)
    assert not taken.try_claim(spot)
    assert taken.copy().try_claim(spot)
    taken.claim(spot, Use.BUILDING)
    assert not taken.copy().try_claim(spot)


def test_runs_of_a_mask() -> None:
    starts, ends = runs(np.array([True, True, False, True]))
    assert starts.tolist() == [0, 3] and ends.tolist() == [2, 4]
