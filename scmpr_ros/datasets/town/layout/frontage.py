"""Who owns the land along one side of a street: plots with their houses, doors and driveways."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.town.buildings.house_styles import House
from scmpr_ros.datasets.town.layout.kerbside import Kerbside

Array = NDArray[np.float64]
Span = tuple[float, float]


@dataclass(frozen=True)
class Plot:
    """The land of one house. Arc lengths run along the street, distances beyond its kerb.

    land: from where to where the plot reaches along the street. front: (2,) middle of the house's
    front, yaw_rad: its x axis (the house's y axis points into the plot). doors_m: arc lengths of
    the doors in the front. drive: the arc lengths that a driveway crosses, if there is one.
    """

    land: Span
    setback_m: float
    house: House
    front: Array
    yaw_rad: float
    doors_m: tuple[float, ...] = ()
    drive: Span | None = None

    def at(self, x_m: Array | float, y_m: Array | float) -> Array:
        """Plan points (N, 2) of the house's frame: x along its front, y into the plot."""
        x, y = np.broadcast_arrays(np.atleast_1d(x_m), y_m)
        c, s = np.cos(self.yaw_rad), np.sin(self.yaw_rad)
        return self.front + np.stack([c * x - s * y, s * x + c * y], axis=1)

    @property
    def gates(self) -> tuple[Span, ...]:
        """Arc lengths that the fence at the street leaves open."""
        paths = tuple((s - 0.6, s + 0.6) for s in self.doors_m)
        return paths + ((self.drive,) if self.drive else ())


@dataclass(frozen=True)
class Frontage:
    """One side of a street and its plots in order of arc length.

    edge_m: distance beyond the kerb where the plots begin. passages: gaps in a closed
    row that lead into the yards behind.
    """

    side: Kerbside
    edge_m: float
    plots: tuple[Plot, ...] = ()
    passages: tuple[Span, ...] = ()

    @property
    def has_front_gardens(self) -> bool:
        """Whether the houses stand so far back that something grows before them."""
        return any(plot.setback_m - self.edge_m > 1.5 for plot in self.plots)
