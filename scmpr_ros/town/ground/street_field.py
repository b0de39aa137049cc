"""Signed distance fields over the plan of roads, pavements, verges and islands."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scmpr_ros.town.quarters import Quarter
from scmpr_ros.town.streets.network import StreetNetwork
from scmpr_ros.town.streets.plan_graph import Circle, Square
from scmpr_ros.town.streets.street import Street, Surfacing

Array = NDArray[np.float64]
Window = tuple[slice, slice]

CORNER_M = {
    Quarter.OLD_TOWN: 5.0, Quarter.SUBURB: 6.0, Quarter.INDUSTRIAL: 10.0, Quarter.PARK: 7.0,
}  # fmt: skip
"""Radius of the smooth minimum that rounds kerbs at corners, about 1.17 times their radius."""
PATH_M = 2.2
_VERGE_STARTS_M = 13.0
_BLUNT = 2.5
"""Slope that ends a street at another's centre line, before it reaches the far kerb."""
_YARD = {
    Quarter.OLD_TOWN: 0.3, Quarter.SUBURB: -0.7, Quarter.INDUSTRIAL: 0.6, Quarter.PARK: -2.5,
}  # fmt: skip
"""Bias towards paved or gravelled land beside a street, against noise of unit variance."""


class StreetField:
    """Grids (H, W) over the plan, interpolated bilinearly. Distances in metres, negative inside.

    kerb: distance to the road. pavement: to road or pavement. footway: to the verge, the grass
    between kerb and footway. path: to gravel paths. yard: bias towards paved land. surfaces:
    (C, H, W), to each of the C `surfacings` in order of priority. Corners of crossings are rounded
    by a smooth minimum over streets that do not continue straight into each other.
    """

    CELL_M = 1.0
    FAR_M = 60.0
    _REACH_M = 34.0

    def __init__(self, network: StreetNetwork, margin_m: float = 75.0) -> None:
        every = np.concatenate([s.line for s in network.streets])
        self.low = np.floor(every.min(axis=0) - margin_m)
        size = np.ceil((every.max(axis=0) + margin_m - self.low) / self.CELL_M).astype(int) + 1
        self.shape = (int(size[1]), int(size[0]))
        found = {s.surfacing: None for s in network.streets}
        self.surfacings: tuple[Surfacing, ...] = tuple(sorted(found, key=lambda f: f.priority))
        far = np.full(self.shape, self.FAR_M)
        self.kerb, self.pavement, self.footway = far.copy(), far.copy(), far.copy()
        self.path, self._nearest = far.copy(), far.copy()
        self.yard = np.full(self.shape, -1.3)
        self.surfaces = np.full((len(self.surfacings), *self.shape), self.FAR_M)
        for chain in (chains := network.chains()):
            self._add_chain(chain, _crossed(chain, chains))
        for circle in network.circles:
            self._add_circle(circle)
        for street in network.streets:
            if street.median_m > 0 and street.length_m > 45:
                self._add_median(street)
        for square in network.squares:
            self._add_square(square)
        for line in network.paths:
            window, points = self._window(line, 4.0)
            edge = cKDTree(line).query(points.reshape(-1, 2))[0].reshape(points.shape[:2])
            self.path[window] = np.minimum(self.path[window], edge - PATH_M / 2)
        # Paths count as pavements, so that objects keep off both.
        self.pavement = np.minimum(self.pavement, self.path + 0.3)

    def _window(self, points: Array, reach_m: float) -> tuple[Window, Array]:
        """Window of the grid within reach of points (N, 2), and the positions of its cells."""
        first = np.maximum((points.min(axis=0) - reach_m - self.low) // self.CELL_M, 0)
        last = (points.max(axis=0) + reach_m - self.low) // self.CELL_M + 2
        (x0, y0), (x1, y1) = first.astype(int), last.astype(int)
        rows, cols = slice(y0, min(y1, self.shape[0])), slice(x0, min(x1, self.shape[1]))
        y, x = np.mgrid[rows, cols]
        return (rows, cols), np.stack([x, y], axis=-1) * self.CELL_M + self.low

    def _add_chain(self, chain: list[Street], crossed: set[int]) -> None:
        """Add streets that continue straight into each other, without rounded corners between them.

        crossed: crossings at which the chain ends at another chain that continues straight.
        """
        window, points = self._window(np.concatenate([s.line for s in chain]), self._REACH_M)
        kerb = np.full(points.shape[:2], self.FAR_M)
        pavement, footway = kerb.copy(), kerb.copy()
        for street in chain:
            ends = (street.start in crossed, street.end in crossed)
            self._measure(street, ends, window, points, (kerb, pavement, footway))
        corner = CORNER_M[chain[0].quarter]
        self.kerb[window] = smooth_minimum(self.kerb[window], kerb, corner)
        self.pavement[window] = smooth_minimum(self.pavement[window], pavement, 2.0)
        self.footway[window] = np.minimum(self.footway[window], footway)

    def _measure(
        self, street: Street, is_blunt: tuple[bool, bool], window: Window, points: Array,
        fields: tuple[Array, Array, Array],
    ) -> None:  # fmt: skip
        """Add one street to the fields of its chain, and to the grids without rounding.

        is_blunt: whether its start and its end stop at another street's centre line, so that a wide
        street does not emerge on the far side of a narrow one.
        """
        own, _ = self._window(street.line, self._REACH_M)
        inner = (slice(own[0].start - window[0].start, own[0].stop - window[0].start),
                 slice(own[1].start - window[1].start, own[1].stop - window[1].start))  # fmt: skip
        place = points[inner]
        s = np.arange(0, street.length_m, 0.5)
        dense, headings = street.frame(s)
        distance, nearest = cKDTree(dense).query(place)
        offset, heading = place - dense[nearest], headings[nearest]
        lateral = offset[..., 1] * np.cos(heading) - offset[..., 0] * np.sin(heading)
        ahead = offset[..., 0] * np.cos(heading) + offset[..., 1] * np.sin(heading)
        self._pave(street, own, lateral, ahead, distance - street.half_width_m)
        kerb = distance - street.half_width_m
        # Beyond its ends the nearest point is the first or the last.
        for blunt, last, outward in zip(is_blunt, (0, len(s) - 1), (-ahead, ahead), strict=True):
            if blunt:
                kerb = np.where(nearest == last, np.maximum(kerb, _BLUNT * outward), kerb)
        # No verge near corners, where people cross.
        from_end = np.minimum(s, street.length_m - s if street.end >= 0 else np.inf)[nearest]
        verge = np.where(lateral > 0, *street.verge_m) * (from_end > _VERGE_STARTS_M)
        width = np.where(lateral > 0, *street.pavement_m)
        for field, values in zip(fields, (kerb, kerb - width, kerb - verge), strict=True):
            field[inner] = np.minimum(field[inner], values)

    def _pave(
        self, street: Street, window: Window, lateral: Array, ahead: Array, beyond: Array
    ) -> None:
        """Add the surface of a street, extended by half a width at its ends, and its yards."""
        strip = np.maximum(np.abs(lateral), np.abs(ahead)) - street.half_width_m
        layer = self.surfaces[self.surfacings.index(street.surfacing)]
        layer[window] = np.minimum(layer[window], strip)
        self.yard[window][beyond < self._nearest[window]] = _YARD[street.quarter]
        self._nearest[window] = np.minimum(self._nearest[window], beyond)

    def _add_circle(self, circle: Circle) -> None:
        window, points = self._window(circle.centre[None], circle.radius_m + 12)
        distance = np.linalg.norm(points - circle.centre, axis=2)
        road = distance - circle.radius_m
        self.kerb[window] = smooth_minimum(self.kerb[window], road, 6.0)
        self.pavement[window] = smooth_minimum(self.pavement[window], road - 2.0, 2.0)
        # Paved like its street of highest priority, so that none runs across it.
        meets = self.surfaces[:, window[0], window[1]][:, distance < circle.radius_m].min(axis=1)
        paved = int((meets < 0).argmax())
        layer = self.surfaces[paved]
        layer[window] = np.minimum(layer[window], road)
        if circle.island_m > 0:
            self._add_island(window, distance - circle.island_m)

    def _add_median(self, street: Street) -> None:
        """Add the green strip in the middle of an avenue, with round ends clear of crossings."""
        gap = min(15.0, street.length_m / 3)
        line, _ = street.frame(np.arange(gap, street.length_m - gap, 0.5))
        window, points = self._window(line, 12.0)
        distance = cKDTree(line).query(points.reshape(-1, 2))[0].reshape(points.shape[:2])
        self._add_island(window, distance - street.median_m / 2)

    def _add_island(self, window: Window, outside: Array) -> None:
        self.kerb[window] = np.maximum(self.kerb[window], -outside)
        self.pavement[window] = np.maximum(self.pavement[window], -outside - 0.1)
        near = outside < 1
        self.footway[window] = np.where(near, self.FAR_M, self.footway[window])
        self.yard[window] = np.where(near, _YARD[Quarter.PARK], self.yard[window])

    def _add_square(self, square: Square) -> None:
        reach = float(np.hypot(*square.half_m))
        window, points = self._window(square.centre[None], reach + 4)
        c, s = np.cos(square.heading_rad), np.sin(square.heading_rad)
        local = np.abs((points - square.centre) @ np.array([[c, -s], [s, c]])) - square.half_m
        outside = np.linalg.norm(np.maximum(local, 0), axis=2) + np.minimum(local.max(axis=2), 0)
        self.pavement[window] = np.minimum(self.pavement[window], outside)

    def mouths(self, street: Street) -> tuple[float, float]:
        """Metres from its start and from its end at which a street has kerbs on both sides."""
        s = np.arange(0.0, street.length_m, 0.5)
        outside = street.half_width_m + 0.4
        has_kerbs = np.ones(len(s), bool)
        for lateral in (outside, -outside):
            has_kerbs &= self(self.kerb, street.frame(s, lateral)[0]) > 0
        middle = len(s) // 2
        open_before = np.flatnonzero(~has_kerbs[:middle])
        open_after = np.flatnonzero(~has_kerbs[middle:])
        start = s[open_before[-1] + 1] if len(open_before) else 0.0
        end = street.length_m - s[middle + open_after[0]] if len(open_after) else 0.0
        return float(start), float(end)

    def __call__(self, field: Array, xy: Array) -> Array:
        """Interpolate grids (..., H, W), such as `kerb`, at points (N, 2); returns (..., N)."""
        g = (np.asarray(xy, np.float64) - self.low) / self.CELL_M
        x = np.clip(g[:, 0], 0, self.shape[1] - 1.001)
        y = np.clip(g[:, 1], 0, self.shape[0] - 1.001)
        i, j = y.astype(int), x.astype(int)
        fy, fx = y - i, x - j
        top = field[..., i, j] * (1 - fx) + field[..., i, j + 1] * fx
        below = field[..., i + 1, j] * (1 - fx) + field[..., i + 1, j + 1] * fx
        return np.asarray(top * (1 - fy) + below * fy)


def _crossed(chain: list[Street], chains: list[list[Street]]) -> set[int]:
    """Crossings at which a chain ends and another one continues straight."""
    own, through = Counter(_crossings(chain)), Counter[int]()
    for other in chains:
        through.update(n for n, count in Counter(_crossings(other)).items() if count > 1)
    return {n for n, count in own.items() if count == 1 and through[n] and n >= 0}


def _crossings(chain: list[Street]) -> list[int]:
    return [n for street in chain for n in (street.start, street.end)]


def smooth_minimum(a: Array, b: Array, radius_m: float) -> Array:
    """Polynomial smooth minimum of two distance fields, which rounds the corner between them."""
    h = np.maximum(radius_m - np.abs(a - b), 0) / radius_m
    return np.minimum(a, b) - h * h * radius_m / 4
