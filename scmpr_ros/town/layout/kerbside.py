"""Land along streets in kerb coordinates, and placing of objects on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.geometry import make_transform, rotation_z
from scmpr_ros.town.buildings.house_styles import House
from scmpr_ros.town.ground.ground import Ground
from scmpr_ros.town.layout.occupancy import Occupancy, Use, disc, rectangle
from scmpr_ros.town.mesh import Mesh
from scmpr_ros.town.quarters import Quarter
from scmpr_ros.town.streets.network import Street

Array = NDArray[np.float64]
Rng = np.random.Generator
Span = tuple[float, float]


@dataclass(frozen=True)
class Yard:
    """A free rectangle for parked vehicles: a driveway or a company yard.

    centre: (2,) metres. heading_rad: along its length.
    """

    centre: Array
    heading_rad: float
    length_m: float
    width_m: float


@dataclass(frozen=True)
class Site:
    """The land to build on: ground, occupancy, and the frontages and yards placed so far."""

    ground: Ground
    taken: Occupancy
    frontages: list[Frontage] = field(default_factory=list)
    yards: list[Yard] = field(default_factory=list)

    @classmethod
    def of(cls, ground: Ground) -> Site:
        """Empty land."""
        return cls(ground, Occupancy(*ground.extent))

    @property
    def streets(self) -> tuple[Street, ...]:
        """The streets of the town."""
        return self.ground.network.streets

    def kerbsides(self) -> Iterator[Kerbside]:
        """Both sides of every street, left first."""
        for street in self.streets:
            for side in (1, -1):
                yield Kerbside(self, street, side)

    def stand(self, mesh: Mesh, xy: Array, yaw_rad: float) -> Mesh:
        """Place a mesh built about the origin upright on the ground at `xy` (2,)."""
        foot = self.ground.on_ground(xy)[0]
        return mesh.transformed(make_transform(rotation_z(yaw_rad), foot))

    def park(self, mesh: Mesh, xy: Array, yaw_rad: float) -> Mesh:
        """Place a vehicle at `xy` (2,), pitched and rolled with the slope."""
        return mesh.transformed(self.on_wheels(xy[None], np.array([yaw_rad]))[0])

    def on_wheels(self, xy: Array, yaw_rad: Array) -> Array:
        """Poses (N, 4, 4) of vehicles at `xy` (N, 2), pitched and rolled with the slope."""
        zero = np.zeros(len(xy))
        forward = np.stack([np.cos(yaw_rad), np.sin(yaw_rad), zero], axis=1)
        left = np.stack([-forward[:, 1], forward[:, 0], zero], axis=1)
        reach = np.stack([1.3 * forward, -1.3 * forward, 0.7 * left, -0.7 * left])[..., :2]
        z = self.ground.relief((xy + reach).reshape(-1, 2)).reshape(4, -1)
        x_axis, y_axis = forward.copy(), left.copy()
        x_axis[:, 2], y_axis[:, 2] = (z[0] - z[1]) / 2.6, (z[2] - z[3]) / 1.4
        z_axis = np.cross(x_axis, y_axis)
        x_axis /= np.linalg.norm(x_axis, axis=1, keepdims=True)
        z_axis /= np.linalg.norm(z_axis, axis=1, keepdims=True)
        T = np.zeros((len(xy), 4, 4))
        T[:, :3, :3] = np.stack([x_axis, np.cross(z_axis, x_axis), z_axis], axis=2)
        T[:, :2, 3], T[:, 3, 3] = xy, 1.0
        T[:, 2, 3] = z.mean(axis=0) + self.ground.height(xy) - self.ground.relief(xy)
        return T


@dataclass(frozen=True)
class Room:
    """Plan of an object in its own frame: length along x, width along y, and y of its middle."""

    length_m: float
    width_m: float
    middle_m: float = 0.0


@dataclass(frozen=True)
class Kerbside:
    """The left (side = 1) or right (-1) side of a street."""

    site: Site
    street: Street
    side: int

    @property
    def _index(self) -> int:
        return 0 if self.side > 0 else 1

    @property
    def pavement_m(self) -> float:
        """Width of the pavement."""
        return self.street.pavement_m[self._index]

    @property
    def verge_m(self) -> float:
        """Width of the grass between kerb and walkway, part of `pavement_m`."""
        return self.street.verge_m[self._index]

    @property
    def driveways_m(self) -> Array:
        """Arc lengths (N,) where the kerb is lowered for a driveway."""
        return np.array([s for side, s in self.street.driveways if side == self.side])

    @property
    def has_parking(self) -> bool:
        """Whether cars park at this kerb."""
        return self.street.parking[self._index]

    @property
    def quarter(self) -> Quarter:
        """Quarter of the street."""
        return self.street.quarter

    @property
    def length_m(self) -> float:
        """Length of the street."""
        return self.street.length_m

    def at(self, s_m: Array | float, beyond_kerb_m: Array | float) -> tuple[Array, Array]:
        """Points (N, 2) beyond the kerb (negative: on the road), and headings of the street."""
        lateral = self.side * (self.street.half_width_m + np.asarray(beyond_kerb_m, np.float64))
        return self.street.frame(s_m, lateral)

    def along_traffic(self, heading_rad: float) -> float:
        """Heading of the traffic on this side (right-hand traffic)."""
        return heading_rad + (np.pi if self.side > 0 else 0.0)

    def grid(self, s_m: Array, beyond_kerb_m: Array) -> Array:
        """Points (S, B, 2) at arc lengths (S,) and distances beyond the kerb (B,)."""
        s, beyond = np.meshgrid(s_m, beyond_kerb_m, indexing="ij")
        return self.at(s.ravel(), beyond.ravel())[0].reshape(*s.shape, 2)

    def spread(self, rng: Rng, margin_m: float, every_m: float) -> Array:
        """Random arc lengths, on average one per `every_m`."""
        count = rng.poisson(self.length_m / every_m)
        return rng.uniform(margin_m, max(margin_m + 1, self.length_m - margin_m), count)

    def stand(
        self, rng: Rng, s_m: float, beyond_kerb_m: float, build: Callable[[Rng], Mesh],
        room: float | Room, turn_rad: float = 0.0,
    ) -> list[Mesh]:  # fmt: skip
        """Place one object beyond the kerb, if there is room.

        room: its plan, or the radius of a disc. The object's x axis points along the traffic of
        this side, its y axis to the road.
        """
        xy, heading = self.at(s_m, beyond_kerb_m)
        yaw = self.along_traffic(float(heading[0])) + turn_rad
        if isinstance(room, Room):
            middle = xy[0] + room.middle_m * np.array([-np.sin(yaw), np.cos(yaw)])
            spot = rectangle(middle, yaw, room.length_m, room.width_m)
        else:
            spot = disc(xy[0], room)
        ground = self.site.ground
        if ground.beyond_kerb(spot).min() < 0.12 or not self.site.taken.try_claim(spot):
            return []
        return [self.site.stand(build(rng), xy[0], yaw)]

    def free_stretches(self, beyond_kerb_m: float, half_width_m: float) -> Array:
        """Walkable stretches of the pavement: start and end arc lengths (K, 2).

        Nothing is within `half_width_m` of the line `beyond_kerb_m` beyond the kerb there.
        """
        step = Occupancy.CELL_M / 2
        s = np.arange(0.0, self.length_m, step)
        across = np.linspace(-half_width_m, half_width_m, 1 + 2 * int(np.ceil(half_width_m / step)))
        points = self.grid(s, beyond_kerb_m + across).reshape(-1, 2)
        free = self.site.taken.is_free(points, Use.BUILDING | Use.OBJECT)
        free &= self.site.ground.beyond_kerb(points) > 0.1
        starts, ends = runs(free.reshape(len(s), -1).all(axis=1))
        stretch = np.stack([s[starts] + half_width_m, s[ends - 1] - half_width_m], axis=1)
        return stretch[stretch[:, 1] > stretch[:, 0]]


@dataclass(frozen=True)
class Plot:
    """The land of one house.

    land: range of arc length along the street. setback_m: distance of the front from the kerb.
    front: (2,) middle of the house's front. yaw_rad: heading of the house's x axis (its y axis
    points into the plot). doors_m: arc lengths of the doors in the front. drive: range of arc
    length of the driveway, if any.
    """

    land: Span
    setback_m: float
    house: House
    front: Array
    yaw_rad: float
    doors_m: tuple[float, ...] = ()
    drive: Span | None = None

    def at(self, x_m: Array | float, y_m: Array | float) -> Array:
        """Points (N, 2) of the plan at x along the house's front and y into the plot."""
        x, y = np.broadcast_arrays(np.atleast_1d(x_m), y_m)
        c, s = np.cos(self.yaw_rad), np.sin(self.yaw_rad)
        return self.front + np.stack([c * x - s * y, s * x + c * y], axis=1)

    @property
    def gates(self) -> tuple[Span, ...]:
        """Ranges of arc length that the border at the street leaves open."""
        paths = tuple((s - 0.6, s + 0.6) for s in self.doors_m)
        return paths + ((self.drive,) if self.drive else ())


@dataclass(frozen=True)
class Frontage:
    """One side of a street with its plots in order of arc length.

    edge_m: distance from the kerb to the plots. passages: gaps in a closed row that lead to the
    yards behind.
    """

    side: Kerbside
    edge_m: float
    plots: tuple[Plot, ...] = ()
    passages: tuple[Span, ...] = ()

    @property
    def has_front_gardens(self) -> bool:
        """Whether any house is set back far enough for a front garden."""
        return any(plot.setback_m - self.edge_m > 1.5 for plot in self.plots)


def runs(mask: ArrayLike) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Start and end (exclusive) indices of all runs of True."""
    change = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(mask, np.int8), [0]])))
    return change[::2], change[1::2]
