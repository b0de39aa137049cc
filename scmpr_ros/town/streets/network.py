"""The street network of a town: drawn on a lattice, or along a given trajectory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError
from scmpr_ros.town.quarters import Quarter
from scmpr_ros.town.streets.lattice_plan import draw_lattice
from scmpr_ros.town.streets.plan_graph import Circle, Square, StreetPlan, through_chains
from scmpr_ros.town.streets.profiles import build_streets, draw_circles, draw_squares
from scmpr_ros.town.streets.street import Street
from scmpr_ros.town.streets.trajectory_plan import trace_trajectory

__all__ = ["Quarter", "Street", "StreetNetwork", "StreetNetworkConfig"]

Array = NDArray[np.float64]
Rng = np.random.Generator


@dataclass(frozen=True)
class StreetNetworkConfig:
    """Layout of the streets.

    columns, rows: crossings of the lattice. spacing_m: range of their distance, smaller in an old
    town, larger in industry. bend: sagitta over length of the streets. stub_m: range of the length
    of exit and dead-end streets. max_length_m: length of distinct streets to build along a
    trajectory.
    """

    columns: int = 3
    rows: int = 3
    spacing_m: tuple[float, float] = (78.0, 112.0)
    bend: float = 0.09
    stub_m: tuple[float, float] = (45.0, 80.0)
    max_length_m: float = 1200.0

    def __post_init__(self) -> None:
        if self.columns < 2 or self.rows < 2:
            raise ConfigError(
                f"a street network of {self.columns}x{self.rows} crossings has no loop: "
                "columns and rows must be at least 2"
            )
        if self.max_length_m < 100:
            raise ConfigError(
                f"max_length_m is {self.max_length_m}: streets along a trajectory need 100 m"
            )


@dataclass(frozen=True)
class StreetNetwork:
    """Crossings (N, 2) and the streets between them.

    circles: roundabouts and turning circles. squares: paved squares beside crossings. paths: (K, 2)
    lines of gravel paths. route: crossings in the order of the trajectory that the network follows,
    empty if there is none.
    """

    crossings: Array
    streets: tuple[Street, ...]
    circles: tuple[Circle, ...] = ()
    squares: tuple[Square, ...] = ()
    paths: tuple[Array, ...] = ()
    route: tuple[int, ...] = ()

    @classmethod
    def generate(cls, rng: Rng, config: StreetNetworkConfig) -> StreetNetwork:
        """Draw a network on a warped lattice, with gaps, dead ends and exit streets."""
        plan = draw_lattice(
            rng, config.columns, config.rows, config.spacing_m, config.bend, config.stub_m
        )
        return cls._of(rng, plan)

    @classmethod
    def along(cls, rng: Rng, path_xy: Array, config: StreetNetworkConfig) -> StreetNetwork:
        """Draw a network whose main streets follow a trajectory (N, 2), in metres in plan.

        Repeated passages become one street, and side streets are added. Raises DatasetError if the
        trajectory is too short.
        """
        return cls._of(rng, trace_trajectory(rng, path_xy, config.max_length_m, config.stub_m))

    @classmethod
    def _of(cls, rng: Rng, plan: StreetPlan) -> StreetNetwork:
        circles = draw_circles(rng, plan)
        streets, paths = build_streets(rng, plan)
        squares = draw_squares(rng, plan, streets)
        return cls(plan.crossings, streets, circles, squares, paths, plan.route)

    def street_between(self, a: int, b: int) -> tuple[Street, bool] | None:
        """The street between two crossings, and whether it runs from `a` to `b`; None if none."""
        for street in self.streets:
            if (street.start, street.end) == (a, b):
                return street, True
            if (street.start, street.end) == (b, a):
                return street, False
        return None

    def neighbours(self, crossing: int) -> list[int]:
        """Crossings joined to this one by a street, in the order of the streets."""
        return [
            s.end if s.start == crossing else s.start
            for s in self.streets
            if crossing in (s.start, s.end) and s.end >= 0
        ]

    def circle_at(self, crossing: int) -> Circle | None:
        """The roundabout at a crossing, if any."""
        return next((c for c in self.circles if c.crossing == crossing), None)

    def chains(self) -> list[list[Street]]:
        """Group streets that continue straight across crossings."""
        chains = through_chains(
            [s.line for s in self.streets], [(s.start, s.end) for s in self.streets]
        )
        groups: dict[int, list[Street]] = {}
        for (number, _), street in zip(chains, self.streets, strict=True):
            groups.setdefault(number, []).append(street)
        return list(groups.values())
