"""Street plans along a given trajectory, with side streets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from scmpr_ros.errors import DatasetError
from scmpr_ros.town.streets.plan_graph import (
    StreetPlan,
    arms,
    branch_off,
    resample,
    zones,
)

Array = NDArray[np.float64]
Rng = np.random.Generator
Passage = tuple[int, int, Array]
"""From one crossing to another along a line (K, 2)."""

MERGE_M = 7.0
"""Passages closer than this are one street: covers opposite lanes and drift of the poses."""
_PARALLEL = np.cos(np.radians(35))
_CROSSING_M = 16.0
_SHORTEST_M = 100


def trace_trajectory(
    rng: Rng, path_xy: Array, max_length_m: float, stub_m: tuple[float, float]
) -> StreetPlan:
    """A plan whose lines follow a trajectory (N, 2) for up to `max_length_m` of distinct streets.

    Uses the part with the most revisits. The route of the plan is the trajectory's own sequence of
    crossings, without U-turns. Raises DatasetError if the trajectory is shorter than 100 m.
    """
    path = _window(_smoothed(np.asarray(path_xy, np.float64)), max_length_m)
    nodes = _clustered(_junctions(path) + _intersections(path) + _corners(path))
    branches = _branches_along_path(rng, path, nodes, stub_m)
    nodes += [line[0] for line in branches]
    passages = _passages(path, nodes)
    if not passages:
        raise DatasetError("the trajectory never leaves one crossing: no street can follow it")
    streets = _distinct(passages)
    lines = [line for _, _, line in streets]
    ends = [(a, b) for a, b, _ in streets]
    for line in branches + _branches_at_crossings(rng, nodes, lines, ends, branches, stub_m):
        ends.append((int(np.linalg.norm(np.array(nodes) - line[0], axis=1).argmin()), -1))
        lines.append(line)
    route = _without_turning_back([passages[0][0], *(b for _, b, _ in passages)])
    quarters = zones(rng, np.array([line[len(line) // 2] for line in lines]))
    return StreetPlan(np.array(nodes), tuple(lines), tuple(ends), tuple(quarters), route)


def _smoothed(path: Array) -> Array:
    """Resample to points a metre apart, without the jitter of a standing car."""
    if path.ndim != 2 or path.shape[1] != 2 or len(path) < 2:
        raise DatasetError(
            f"a trajectory in plan must have the shape (N, 2), N > 1, not {path.shape}"
        )
    moved = np.linalg.norm(np.diff(path, axis=0), axis=1)
    path = path[np.concatenate([[True], moved > 0.02])]
    length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
    if length < _SHORTEST_M:
        raise DatasetError(
            f"the trajectory is {length:.0f} m long: streets along it need at least {_SHORTEST_M} m"
        )
    path = resample(path, 1.0)
    return resample(gaussian_filter1d(path, 3.0, axis=0, mode="nearest"), 1.0)


def _directions(path: Array) -> Array:
    t = np.gradient(path, axis=0)
    return np.asarray(t / np.linalg.norm(t, axis=1, keepdims=True))


def _repeats(path: Array) -> NDArray[np.intp]:
    """For each point, the nearest earlier point on the same street, or -1."""
    direction, repeats = _directions(path), np.full(len(path), -1)
    near = cKDTree(path).query_ball_point(path, MERGE_M, return_sorted=True)
    for i, around in enumerate(near):
        earlier = np.array([k for k in around if k < i - 30], np.intp)
        earlier = earlier[np.abs(direction[earlier] @ direction[i]) > _PARALLEL]
        if len(earlier):
            repeats[i] = earlier[np.linalg.norm(path[earlier] - path[i], axis=1).argmin()]
    return repeats


def _window(path: Array, max_length_m: float) -> Array:
    """The part with at most `max_length_m` distinct metres and the most repeated ones."""
    repeats, best = _repeats(path), (-1, 0, len(path))
    for first in range(0, len(path) - _SHORTEST_M + 1, 40):
        is_new = repeats[first:] < first
        end = int(np.searchsorted(np.cumsum(is_new), max_length_m, "right"))
        best = max(best, (end - int(is_new[:end].sum()), -first, end))
    repeated, first, end = best
    return path[-first : end - first]


def _junctions(path: Array) -> list[Array]:
    """The ends, and points where the path leaves streets it drove before or returns to them."""
    repeats = _repeats(path)
    found = [path[0], path[-1]]
    is_new = repeats < 0
    edges = np.flatnonzero(np.diff(is_new)) + 1
    bounds = np.array([0, *edges, len(path)])
    # Overlaps and gaps of less than 20 m are ignored.
    for i in range(1, len(bounds) - 1):
        if min(bounds[i] - bounds[i - 1], bounds[i + 1] - bounds[i]) >= 20:
            at = bounds[i] - 1 if is_new[bounds[i]] else bounds[i]
            found.append(path[repeats[at]])
    return found


def _intersections(path: Array) -> list[Array]:
    """Points where the path crosses itself at a steep angle."""
    a, b = path[:-4:4], path[4::4][: len(path[:-4:4])]
    d = b - a
    i, j = np.triu_indices(len(a), 8)
    cross = d[i, 0] * d[j, 1] - d[i, 1] * d[j, 0]
    apart = a[j] - a[i]
    steep = np.abs(cross) > 8.0  # 16 for a right angle
    i, j, cross, apart = i[steep], j[steep], cross[steep], apart[steep]
    t = (apart[:, 0] * d[j, 1] - apart[:, 1] * d[j, 0]) / cross
    u = (apart[:, 0] * d[i, 1] - apart[:, 1] * d[i, 0]) / cross
    hit = (t >= 0) & (t < 1) & (u >= 0) & (u < 1)
    return list(a[i[hit]] + t[hit, None] * d[i[hit]])


def _corners(path: Array) -> list[Array]:
    """Intersections of the lines before and after sharp turns, where there must be crossings."""
    direction, reach, found = _directions(path), 11, []
    inner = np.arange(reach, len(path) - reach)
    turned = np.einsum("ij,ij->i", direction[inner - reach], direction[inner + reach])
    while len(turned) and turned.min() < np.cos(np.radians(48)):
        at = int(turned.argmin())
        i = inner[at]
        before, after = direction[i - reach], direction[i + reach]
        cross = before[0] * after[1] - before[1] * after[0]
        if abs(cross) > 0.35:
            apart = path[i + reach] - path[i - reach]
            ahead = (apart[0] * after[1] - apart[1] * after[0]) / cross
            found.append(path[i - reach] + np.clip(ahead, 0, 22) * before)
        turned[max(at - 18, 0) : at + 18] = 1.0
    return found


def _clustered(points: list[Array]) -> list[Array]:
    """Merge points closer than `_CROSSING_M` into one crossing."""
    groups: list[list[Array]] = []
    for point in points:
        close = [g for g in groups if np.linalg.norm(np.mean(g, axis=0) - point) < _CROSSING_M]
        if close:
            close[0].append(point)
        else:
            groups.append([point])
    return [np.mean(g, axis=0) for g in groups]


def _branches_along_path(
    rng: Rng, path: Array, nodes: list[Array], length_m: tuple[float, float]
) -> list[Array]:
    """Side streets from points of the path that are far from all crossings."""
    branches: list[Array] = []
    direction, repeats = _directions(path), _repeats(path)
    s = int(rng.integers(30, 60))
    while s < len(path) - 30:
        others = np.array(nodes + [line[0] for line in branches])
        is_isolated = np.linalg.norm(others - path[s], axis=1).min() > 42
        branch = None
        if is_isolated and repeats[s] < 0:
            heading = float(np.arctan2(direction[s, 1], direction[s, 0]))
            wanted = heading + rng.choice([-1, 1]) * rng.uniform(1.3, 1.8)
            branch = branch_off(rng, [path, *branches], path[s], [heading, heading + np.pi],
                                float(wanted), length_m)  # fmt: skip
        if branch is not None:
            branches.append(branch)
        s += int(rng.integers(50, 90)) if branch is not None else 9
    return branches


def _branches_at_crossings(
    rng: Rng, nodes: list[Array], lines: list[Array], ends: list[tuple[int, int]],
    others: list[Array], length_m: tuple[float, float],
) -> list[Array]:  # fmt: skip
    """Streets that continue straight where the trajectory turns or ends."""
    branches: list[Array] = []
    for node, position in enumerate(nodes):
        headings = [heading for _, heading in arms(node, lines, ends)]
        headings += [float(np.arctan2(*(line[8] - line[0])[::-1])) for line in others
                     if np.allclose(line[0], position)]  # fmt: skip
        for heading in headings[: 4 - len(headings)]:
            branch = branch_off(
                rng, lines + others + branches, position, headings, heading + np.pi, length_m
            )
            if branch is not None:
                branches.append(branch)
                headings = [*headings, float(np.arctan2(*(branch[8] - branch[0])[::-1]))]
    return branches


def _passages(path: Array, nodes: list[Array]) -> list[Passage]:
    """Split the path at crossings; adds nodes where two streets would join the same pair."""
    while True:
        passages = _between_nodes(path, nodes)
        conflict = _conflict(passages)
        if conflict is None:
            return passages
        nodes.append(conflict)


def _between_nodes(path: Array, nodes: list[Array]) -> list[Passage]:
    distance, nearest = cKDTree(np.array(nodes)).query(path)
    visits: list[tuple[int, int]] = []
    nearest = np.where(distance < _CROSSING_M - 2, nearest, -1)
    bounds = [0, *(np.flatnonzero(np.diff(nearest)) + 1), len(path)]
    for first, last in zip(bounds[:-1], bounds[1:], strict=True):
        if nearest[first] >= 0:
            closest = first + int(distance[first:last].argmin())
            visits.append((int(nearest[first]), closest))
    passages = []
    for (a, i), (b, j) in zip(visits[:-1], visits[1:], strict=True):
        if a != b or j - i > 60:
            passages.append((a, b, _joined(path[i : j + 1], nodes[a], nodes[b])))
    return passages


def _joined(line: Array, start: Array, end: Array) -> Array:
    """A line from crossing to crossing, straightened where the car began to turn."""
    cut = min(13, len(line) // 3)
    line = np.concatenate([start[None], line[cut : len(line) - cut], end[None]])
    line = gaussian_filter1d(resample(line, 1.0), 4.0, axis=0, mode="nearest")
    line[0], line[-1] = start, end
    return resample(line, 1.0)


def _conflict(passages: list[Passage]) -> Array | None:
    """A point of a passage between crossings that another street joins already; None if none."""
    for number, (a, b, line) in enumerate(passages):
        if a == b:
            return line[len(line) // 3]
        for c, d, other in passages[:number]:
            if {a, b} == {c, d}:
                away = cKDTree(other).query(line)[0]
                if away.max() > 2 * MERGE_M:
                    return line[int(away.argmax())]
    return None


def _distinct(passages: list[Passage]) -> list[Passage]:
    """The first passage of each street."""
    streets: dict[frozenset[int], Passage] = {}
    for a, b, line in passages:
        streets.setdefault(frozenset((a, b)), (a, b, line))
    return list(streets.values())


def _without_turning_back(route: list[int]) -> tuple[int, ...]:
    """The route without stretches that are immediately driven back."""
    result: list[int] = []
    for node in route:
        if len(result) > 1 and result[-2] == node:
            result.pop()
        elif not result or result[-1] != node:
            result.append(node)
    return tuple(result)
