"""Cars and vans, and the pool of shapes that one traversal meets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.town.materials import Material
from scmpr_ros.datasets.town.mesh import Mesh, discs, quads, tubes
from scmpr_ros.datasets.town.objects.people import bicycle, cyclist, person
from scmpr_ros.semantics import class_id

Array = NDArray[np.float64]
Rng = np.random.Generator

CAR, OTHER = class_id("car"), class_id("other_vehicle")


@dataclass(frozen=True)
class Body:
    """Side view of a vehicle as stations along x, in shares of length, from tail to nose.

    belt, roof: heights in metres at the stations; where both agree there is no cabin. `glass` says
    for each panel between stations whether its upper part is a pane.
    """

    length: tuple[float, float]
    width: tuple[float, float]
    stations: tuple[float, ...]
    belt: tuple[float, ...]
    roof: tuple[float, ...]
    glass: tuple[bool, ...]
    label: int


_BODIES: dict[str, Body] = {
    "hatchback": Body((3.7, 4.3), (1.65, 1.78), (0, 0.04, 0.13, 0.42, 0.58, 0.76, 0.93, 1),
                      (0.62, 0.92, 0.98, 0.94, 0.93, 0.90, 0.80, 0.55),
                      (0.62, 0.95, 1.40, 1.48, 1.42, 0.90, 0.80, 0.55),
                      (False, True, True, True, True, False, False), CAR),
    "sedan": Body((4.4, 4.9), (1.72, 1.84), (0, 0.03, 0.17, 0.31, 0.53, 0.69, 0.94, 1),
                  (0.60, 0.92, 0.97, 0.95, 0.93, 0.90, 0.76, 0.55),
                  (0.60, 0.92, 0.99, 1.40, 1.44, 0.92, 0.76, 0.55),
                  (False, False, True, True, True, False, False), CAR),
    "estate": Body((4.4, 4.8), (1.72, 1.84), (0, 0.03, 0.10, 0.35, 0.58, 0.73, 0.94, 1),
                   (0.60, 0.95, 0.97, 0.95, 0.93, 0.92, 0.78, 0.55),
                   (0.60, 0.97, 1.42, 1.50, 1.46, 0.92, 0.78, 0.55),
                   (False, True, True, True, True, False, False), CAR),
    "suv": Body((4.4, 4.8), (1.80, 1.92), (0, 0.03, 0.10, 0.38, 0.60, 0.74, 0.95, 1),
                (0.70, 1.08, 1.12, 1.10, 1.08, 1.05, 0.95, 0.65),
                (0.70, 1.10, 1.62, 1.70, 1.64, 1.07, 0.95, 0.65),
                (False, True, True, True, True, False, False), CAR),
    "van": Body((4.8, 5.5), (1.90, 2.0), (0, 0.01, 0.04, 0.45, 0.74, 0.87, 0.97, 1),
                (0.70, 1.15, 1.20, 1.20, 1.18, 1.12, 0.95, 0.60),
                (0.70, 1.20, 1.92, 1.98, 1.92, 1.15, 0.95, 0.60),
                (False, True, True, True, True, False, False), CAR),
    "box_van": Body((5.3, 6.2), (1.98, 2.1), (0, 0.005, 0.01, 0.40, 0.70, 0.84, 0.97, 1),
                    (0.70, 1.25, 1.25, 1.25, 1.22, 1.15, 1.0, 0.60),
                    (0.70, 2.40, 2.50, 2.52, 2.40, 1.20, 1.0, 0.60),
                    (False, False, False, False, True, False, False), OTHER),
}  # fmt: skip
_BODY_SHARES = {
    "hatchback": 0.34,
    "sedan": 0.2,
    "estate": 0.2,
    "suv": 0.1,
    "van": 0.1,
    "box_van": 0.06,
}
_PAINTS = np.array(
    [[0.62, 0.62, 0.62], [0.33, 0.34, 0.35], [0.12, 0.125, 0.13], [0.012, 0.012, 0.014],
     [0.03, 0.05, 0.14], [0.36, 0.02, 0.02], [0.04, 0.10, 0.07], [0.20, 0.15, 0.09],
     [0.05, 0.16, 0.34], [0.55, 0.35, 0.02]]
)  # fmt: skip
_PAINT_SHARES = (0.17, 0.24, 0.16, 0.2, 0.08, 0.06, 0.02, 0.03, 0.02, 0.02)


def vehicle(rng: Rng, kind: str | None = None) -> tuple[Mesh, float, float]:
    """A vehicle at the origin that points along +x, and its length and width in metres."""
    kind = kind or str(rng.choice(list(_BODY_SHARES), p=list(_BODY_SHARES.values())))
    body = _BODIES[kind]
    length, width = rng.uniform(*body.length), rng.uniform(*body.width)
    paint = _PAINTS[rng.choice(len(_PAINTS), p=_PAINT_SHARES)] * rng.uniform(0.8, 1.15)
    if kind == "box_van":
        paint = rng.choice(
            [[0.65, 0.65, 0.65], [0.6, 0.6, 0.62], [0.5, 0.18, 0.02], [0.5, 0.36, 0.02]]
        )
    scale = rng.uniform(0.96, 1.05)
    x = (np.array(body.stations) - 0.5) * length
    x[1:-1] += rng.normal(0, 0.012 * length, len(x) - 2)
    belt, roof = np.array(body.belt) * scale, np.array(body.roof) * scale
    parts = _shell(body, x, belt, roof, width, paint)
    parts += _wheels(body, length, width, paint)
    parts += _lights(body, x, belt, width)
    return Mesh.join(parts), length, width


def _shell(
    body: Body, x: Array, belt: Array, roof: Array, width: float, paint: Array
) -> list[Mesh]:
    """Skin between stations: lower flank, flank, cabin side (glass or panel), roof."""
    n = len(x)
    taper = np.ones(n)
    taper[[0, -1]], taper[[1, -2]] = 0.84, 0.95
    half = width / 2 * taper
    has_cabin = roof - belt > 0.08
    top = np.where(has_cabin, half * 0.78 - 0.02, half * 0.9)
    low = np.full(n, 0.24)
    low[[0, -1]] = 0.34
    mid = low + 0.45 * (belt - low)

    def section(y: Array, z: Array) -> Array:
        return np.stack([x, y, z], axis=1)

    def skin(a: Array, b: Array) -> Array:
        faces = np.stack([a[:-1], a[1:], b[1:], b[:-1]], axis=1)
        return np.concatenate([faces, faces * np.array([1, -1, 1])])

    rings = [
        section(half * 0.94, low),
        section(half, mid),
        section(half * 0.97, belt),
        section(top, roof),
    ]
    lower = np.concatenate([skin(rings[0], rings[1]), skin(rings[1], rings[2])])
    upper = skin(rings[2], rings[3])
    right = rings[3] * np.array([1, -1, 1])
    lid = np.stack([rings[3][:-1], rings[3][1:], right[1:], right[:-1]], axis=1)
    glass = np.array(body.glass)
    # A pane between two stations of different roof height is a windscreen: the lid is glass too.
    steep = glass & (np.abs(np.diff(roof)) > 0.25)
    side_glass = np.tile(glass, 2)
    parts = [
        quads(lower, Material.CAR_PAINT, body.label, paint),
        quads(
            np.concatenate([upper[~side_glass], lid[~steep]]), Material.CAR_PAINT, body.label, paint
        ),
        quads(
            np.concatenate([upper[side_glass] * (1, 1, 1), lid[steep]]),
            Material.GLASS,
            body.label,
            (0.02, 0.025, 0.025),
        ),
    ]
    parts.append(_pillars(rings, glass, paint, body.label))
    ends = []
    for i in (0, -1):
        column = np.stack([ring[i] for ring in rings])
        mirrored = column * np.array([1, -1, 1])
        ends.append(np.stack([column[:-1], column[1:], mirrored[1:], mirrored[:-1]], axis=1))
    parts.append(quads(np.concatenate(ends), Material.CAR_PAINT, body.label, paint))
    under = np.stack(
        [rings[0][:-1], rings[0][1:], (rings[0] * (1, -1, 1))[1:], (rings[0] * (1, -1, 1))[:-1]], 1
    )
    parts.append(quads(under, Material.RUBBER, body.label, (0.015, 0.015, 0.015)))
    return parts


def _pillars(rings: list[Array], glass: NDArray[np.bool_], paint: Array, label: int) -> Mesh:
    """Painted strips between the panes at every station of the cabin."""
    faces = []
    inner = np.flatnonzero(glass[:-1] & glass[1:]) + 1
    for i in inner:
        foot, head = rings[2][i], rings[3][i]
        out, along = np.array([0, 0.012, 0.006]), np.array([0.045, 0, 0])
        face = np.stack(
            [foot - along + out, foot + along + out, head + along + out, head - along + out]
        )
        faces += [face, face * np.array([1, -1, 1])]
    return quads(np.array(faces).reshape(-1, 4, 3), Material.CAR_PAINT, label, paint * 0.6)


def _wheels(body: Body, length: float, width: float, paint: Array) -> list[Mesh]:
    radius = 0.31 if body.label == CAR else 0.34
    x = np.array([-0.29, 0.31]) * length
    centre = np.array([[cx, side * (width / 2 - 0.10), radius] for cx in x for side in (1, -1)])
    side = np.sign(centre[:, 1:2]) * np.array([[0, 1, 0]])
    arch = discs(
        centre + side * 0.085 + (0, 0, 0.04),
        side,
        radius + 0.055,
        16,
        Material.RUBBER,
        body.label,
        (0.01, 0.01, 0.01),
    )
    face = centre + side * 0.125
    tyre = discs(face, side, radius, 16, Material.RUBBER, body.label, (0.022, 0.022, 0.022))
    rim = discs(
        face + side * 0.005, side, radius * 0.66, 10, Material.METAL, body.label, (0.28, 0.28, 0.29)
    )
    tread = tubes(
        np.stack([centre - side * 0.1, face], axis=1),
        radius,
        14,
        Material.RUBBER,
        body.label,
        (0.02, 0.02, 0.02),
    )
    return [arch, tyre, rim, tread]


def _lights(body: Body, x: Array, belt: Array, width: float) -> list[Mesh]:
    """Head lamps, tail lamps and number plates."""
    parts = []
    for i, j, colour in ((0, 1, (0.35, 0.015, 0.01)), (-1, -2, (0.55, 0.56, 0.55))):
        sign = np.sign(x[i])
        z0, z1 = belt[i] + 0.02, belt[i] + 0.17
        # The nose or tail leans between the last two stations; stay just outside it.
        lean = (x[j] - x[i]) / max(belt[j] - belt[i], 0.05)
        xs = [x[i] + sign * 0.02 + lean * (z - belt[i]) for z in (z0, z1)]
        for y0, y1 in ((0.24, 0.42), (-0.42, -0.24)):
            face = [
                [xs[0], y0 * width, z0],
                [xs[0], y1 * width, z0],
                [xs[1], y1 * width, z1],
                [xs[1], y0 * width, z1],
            ]
            parts.append(quads([face], Material.METAL, body.label, colour))
        px = x[i] + sign * 0.012
        plate = [[px, -0.26, 0.38], [px, 0.26, 0.38], [px, 0.26, 0.49], [px, -0.26, 0.49]]
        parts.append(quads([plate], Material.MARKING, body.label, (0.6, 0.6, 0.58)))
    return parts


class Pool:
    """The vehicles and people of one traversal: a few dozen shapes, as real streets repeat models.

    Cars are painted anew at every place, so that two of a model rarely look alike.
    """

    def __init__(self, rng: Rng, shapes: int = 20) -> None:
        self._vehicles = [vehicle(rng) for _ in range(shapes)]
        self._people = [person(rng) for _ in range(8)]
        self._bicycles = [bicycle(rng) for _ in range(4)]
        self._cyclists = [cyclist(rng) for _ in range(3)]

    def vehicle(self, rng: Rng) -> tuple[Mesh, float, float]:
        """A vehicle with length and width, in a colour of its own unless it is a lorry."""
        mesh, length, width = self._vehicles[rng.integers(len(self._vehicles))]
        if (mesh.label == OTHER).any():
            return mesh, length, width
        paint = _PAINTS[rng.choice(len(_PAINTS), p=_PAINT_SHARES)] * rng.uniform(0.8, 1.15)
        painted = (mesh.material == Material.CAR_PAINT)[:, None]
        return (
            replace(mesh, colour=np.where(painted, paint, mesh.colour).astype(np.float32)),
            length,
            width,
        )

    def person(self, rng: Rng) -> Mesh:
        """Somebody on foot."""
        return self._people[rng.integers(len(self._people))]

    def bicycle(self, rng: Rng) -> Mesh:
        """A parked bicycle."""
        return self._bicycles[rng.integers(len(self._bicycles))]

    def cyclist(self, rng: Rng) -> Mesh:
        """Somebody riding."""
        return self._cyclists[rng.integers(len(self._cyclists))]
