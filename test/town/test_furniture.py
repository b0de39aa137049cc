"""Street furniture: sizes, labels, triangle budgets and lights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from scmpr_ros.semantics import IGNORE, class_id
from scmpr_ros.town.furniture import (
    bins,
    kerb_guards,
    lamps,
    seating,
    shelters,
    signals,
    signs,
    street_boxes,
)
from scmpr_ros.town.furniture.fences import FENCE_KINDS, fence
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh
from scmpr_ros.town.textures.sign_faces import SIGN_FACES

Build = Callable[[np.random.Generator], Mesh]
POLE, SIGN, BARRIER = class_id("pole"), class_id("traffic_sign"), class_id("barrier")
VEGETATION = class_id("vegetation")

CATALOGUE: tuple[tuple[Build, tuple[float, float], int, set[int]], ...] = (
    (lamps.street_lamp, (3.5, 10.5), 250, {POLE}),
    (signs.traffic_sign, (2.3, 4.0), 80, {POLE, SIGN}),
    (signs.name_plate, (2.5, 3.3), 80, {POLE, SIGN}),
    (signs.direction_board, (2.3, 3.6), 120, {POLE, SIGN}),
    (signs.hydrant_sign, (1.0, 2.3), 80, {POLE, SIGN}),
    (signals.traffic_signal, (3.3, 6.1), 300, {POLE, SIGN}),
    (kerb_guards.bollard, (0.6, 1.15), 90, {POLE}),
    (kerb_guards.railing, (0.9, 1.15), 150, {BARRIER}),
    (kerb_guards.bicycle_rack, (0.75, 0.9), 320, {BARRIER}),
    (kerb_guards.works_barrier, (1.0, 1.25), 210, {BARRIER, IGNORE}),
    (bins.wheeled_bin, (0.95, 1.1), 120, {IGNORE}),
    (bins.recycling_container, (1.5, 1.7), 150, {IGNORE}),
    (bins.litter_bin, (0.9, 1.25), 120, {IGNORE}),
    (street_boxes.cabinet, (0.9, 1.55), 150, {IGNORE}),
    (street_boxes.post_box, (1.3, 1.4), 80, {IGNORE}),
    (street_boxes.telephone_box, (2.2, 2.5), 80, {IGNORE}),
    (street_boxes.parking_meter, (2.2, 2.5), 80, {IGNORE, SIGN}),
    (seating.bench, (0.4, 1.0), 150, {IGNORE}),
    (seating.cafe_table, (0.7, 2.6), 320, {IGNORE}),
    (seating.planter, (0.4, 1.4), 180, {IGNORE, VEGETATION}),
    (shelters.shelter, (2.3, 2.9), 200, {POLE, IGNORE, SIGN}),
    (shelters.advertising_column, (2.8, 3.7), 220, {IGNORE}),
)
"""Builder, range of heights in metres, largest number of triangles, labels."""

everything = pytest.mark.parametrize(
    ("build", "heights", "budget", "labels"),
    CATALOGUE,
    ids=[entry[0].__name__ for entry in CATALOGUE],
)


def _areas(mesh: Mesh) -> np.ndarray:
    corners = mesh.corners.astype(float)
    doubled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.linalg.norm(doubled, axis=1) / 2


@everything
def test_size_triangles_and_labels(
    build: Build, heights: tuple[float, float], budget: int, labels: set[int]
) -> None:
    found: set[int] = set()
    for seed in range(25):
        mesh = build(np.random.default_rng(seed))
        z = mesh.corners[..., 2]
        assert -0.5 <= z.min() <= 0.0, "hovers, or is buried"
        assert heights[0] <= z.max() <= heights[1]
        assert len(mesh) <= budget
        assert _areas(mesh).min() > 1e-7, "a triangle without area"
        assert np.allclose(np.linalg.norm(mesh.normal, axis=1), 1, atol=1e-3)
        assert mesh.colour.min() >= 0 and mesh.colour.max() <= 1
        found |= {int(label) for label in mesh.label}
    assert found == labels


@everything
def test_furniture_is_reproducible_and_varies(build: Build, heights, budget, labels) -> None:  # type: ignore[no-untyped-def]
    one, two = (build(np.random.default_rng(7)) for _ in range(2))
    other = [build(np.random.default_rng(seed)) for seed in range(8, 14)]
    assert one.corners.tobytes() == two.corners.tobytes() and np.array_equal(one.colour, two.colour)
    assert any(
        m.corners.shape != one.corners.shape
        or not np.array_equal(m.corners, one.corners)
        or not np.array_equal(m.colour, one.colour)
        for m in other
    )


def test_lights_are_below_lamp_covers() -> None:
    twins = 0
    for seed in range(40):
        lamp = lamps.street_lamp(np.random.default_rng(seed))
        covers = lamp.corners[lamp.material == Material.LAMP]
        assert len(covers) and 1 <= len(lamp.lights) <= 2
        twins += len(lamp.lights) == 2
        for row in lamp.lights:
            position, direction, intensity, cosine = row[:3], row[3:6], row[6:9], row[9]
            assert np.linalg.norm(direction) == pytest.approx(1) and direction[2] < -0.95
            assert intensity.min() > 0.2 and 0.8 < intensity.max() < 1.5
            assert np.degrees(np.arccos(cosine)) == pytest.approx(80, abs=0.1)
            below = covers[..., 2].max() - position[2]
            assert 0 < below < 0.6, "the light leaves beneath the cover"
    assert 0 < twins < 12


def test_signs_face_the_traffic_with_the_right_picture() -> None:
    """Seen along +x, a plate shows its front, upright and not mirrored."""
    names: set[str] = set()
    for seed in range(120):
        sign = signs.traffic_sign(np.random.default_rng(seed))
        front = sign.material == Material.SIGN
        assert (sign.corners[front][..., 0] < 0).all(), "the post hides the plate"
        uv, corners = sign.uv[front].reshape(-1, 2), sign.corners[front].reshape(-1, 3)
        assert 2.0 <= corners[:, 2].min() <= 2.4
        for face in SIGN_FACES:
            inside = ((uv > face.low) & (uv < face.high)).all(axis=1)
            if not inside.any():
                continue
            names.add(face.name)
            size = np.ptp(corners[inside], axis=0)
            assert size[1:] == pytest.approx([face.width_m, face.height_m], abs=1e-3)
            right, up = -corners[inside][:, 1], corners[inside][:, 2]
            assert np.corrcoef(right, uv[inside][:, 0])[0, 1] > 0.99
            assert np.corrcoef(up, uv[inside][:, 1])[0, 1] > 0.99
    assert {"priority", "give_way", "no_parking", "parking", "supplementary"} <= names


def test_signal_shows_one_light_per_direction() -> None:
    for seed in range(20):
        signal = signals.traffic_signal(np.random.default_rng(seed))
        lit = signal.normal[signal.material == Material.LAMP]
        assert {tuple(np.round(n).astype(int)) for n in lit} == {(-1, 0, 0), (0, 1, 0)}
        lamp = signal.colour[signal.material == Material.LAMP]
        drivers, walkers = lamp[lit[:, 0] < -0.9], lamp[lit[:, 1] > 0.9]
        if (walkers[:, 1] > walkers[:, 0]).any():
            assert (drivers[:, 0] > drivers[:, 1]).all(), "both have green"


LOW = np.array([[1.4 * i, 0.1 * i, 0.05 * i] for i in range(8)])
STEP = np.array([1.4, 0.1, 0.05])


@pytest.mark.parametrize("kind", FENCE_KINDS)
def test_fences_follow_the_ground(kind: str) -> None:
    length = 8 * np.hypot(1.4, 0.1)
    for seed in range(12):
        mesh = fence(np.random.default_rng(seed), kind, LOW, LOW + STEP)
        assert (mesh.label == BARRIER).all()
        assert len(mesh) <= 60 * length
        assert _areas(mesh).min() > 1e-8
        points = mesh.corners.reshape(-1, 3)
        above = points[:, 2] - points[:, 0] * STEP[2] / STEP[0]
        assert -0.5 < above.min() <= 0.0 and 0.6 < above.max() < 2.2
        assert points[:, 0].min() > -0.3 and points[:, 0].max() < 8 * 1.4 + 0.3
        assert np.abs(points[:, 1] - points[:, 0] * STEP[1] / STEP[0]).max() < 0.35
        again = fence(np.random.default_rng(seed), kind, LOW, LOW + STEP)
        assert again.corners.tobytes() == mesh.corners.tobytes()


@pytest.mark.parametrize("kind", FENCE_KINDS)
def test_fences_leave_gateways_open(kind: str) -> None:
    keep = np.array([True, True, False, True, True, True, True, True])
    mesh = fence(np.random.default_rng(3), kind, LOW[keep], (LOW + STEP)[keep])
    x = mesh.corners[..., 0]
    inside = (x.min(axis=1) < 3.9) & (x.max(axis=1) > 3.2)
    assert not inside.any(), "the gateway from x = 2.8 to 4.2 is not open"


def test_wire_fences_are_mostly_open() -> None:
    """Wire fences cover less than half of their area."""
    for kind in ("mesh", "chain_link", "bars"):
        mesh = fence(np.random.default_rng(0), kind, LOW, LOW + STEP)
        shadow = _areas(mesh).sum() / 2
        assert shadow < 0.45 * 8 * 1.4 * 1.0
