"""Random street plans: a warped and rotated lattice with gaps, branches and exit streets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.quarters import Quarter
from scmpr_ros.town.streets.plan_graph import StreetPlan, arms, branch_off, hermite, zones

Array = NDArray[np.float64]
Rng = np.random.Generator
Index = NDArray[np.intp]
Links = list[tuple[int, int]]

_BLOCK_SCALE = {
    Quarter.OLD_TOWN: 0.84, Quarter.SUBURB: 1.0, Quarter.INDUSTRIAL: 1.22, Quarter.PARK: 1.08,
}  # fmt: skip


def draw_lattice(
    rng: Rng, columns: int, rows: int, spacing_m: tuple[float, float], bend: float,
    stub_m: tuple[float, float],
) -> StreetPlan:  # fmt: skip
    """Draw a plan of columns x rows crossings, with T crossings, dead ends and exit streets."""
    links = _links(rng, columns, rows)
    index = np.stack([np.arange(columns * rows) % columns, np.arange(columns * rows) // columns], 1)
    middles = np.array([(index[a] + index[b]) / 2 for a, b in links])
    quarters = zones(rng, middles)
    crossings = _warped(rng, _grid(rng, index, links, quarters, spacing_m))
    lines = _lines(rng, crossings, index, links, bend)
    plan = StreetPlan(crossings, tuple(lines), tuple(links), tuple(quarters))
    return _with_exits(rng, _with_branches(rng, plan), columns * rows, stub_m)


def _links(rng: Rng, columns: int, rows: int) -> Links:
    """Lattice links; some are dropped to make T crossings, keeping two at each crossing."""
    across = [
        (r * columns + c, r * columns + c + 1) for r in range(rows) for c in range(columns - 1)
    ]
    along = [
        (r * columns + c, (r + 1) * columns + c) for r in range(rows - 1) for c in range(columns)
    ]
    links = across + along
    for i in rng.permutation(len(links))[: rng.integers(0, len(links) // 9 + 1)]:
        kept = [link for link in links if link != (across + along)[i]]
        if min(sum(node in link for link in kept) for node in range(columns * rows)) >= 2:
            links = kept
    return links


def _grid(
    rng: Rng, index: Index, links: Links, quarters: list[Quarter], spacing_m: tuple[float, float]
) -> Array:
    """Crossings (N, 2); gaps between columns and rows depend on the quarters in them."""
    axes = []
    for axis in (0, 1):
        gaps = []
        for i in range(int(index[:, axis].max())):
            inside = [_BLOCK_SCALE[q] for (a, b), q in zip(links, quarters, strict=True)
                      if index[a, axis] == i and index[b, axis] == i + 1]  # fmt: skip
            gaps.append(rng.uniform(*spacing_m) * (np.mean(inside) if inside else 1.0))
        axes.append(np.concatenate([[0.0], np.cumsum(gaps)]))
    grid = np.stack([axes[0][index[:, 0]], axes[1][index[:, 1]]], axis=1)
    return grid - grid.mean(axis=0) + rng.uniform(-8, 8, grid.shape)


def _warped(rng: Rng, xy: Array) -> Array:
    """Displace whole rows and columns along waves, and rotate the town."""
    swing = rng.uniform(4, 15, 2) * np.sin(
        xy[:, ::-1] * 2 * np.pi / rng.uniform(240, 420, 2) + rng.uniform(0, 2 * np.pi, 2)
    )
    c, s = np.cos(angle := rng.uniform(0, 2 * np.pi)), np.sin(angle)
    return (xy + swing) @ np.array([[c, s], [-s, c]])


def _lines(rng: Rng, crossings: Array, index: Index, links: Links, bend: float) -> list[Array]:
    """Curves that continue smoothly across crossings; some bend or form an S."""
    at = {tuple(i): n for n, i in enumerate(index)}
    joined = {frozenset(link) for link in links}
    swing = rng.normal(0, 1.6 * bend, (len(crossings), 2))
    lines = []
    for a, b in links:
        axis = int(index[b, 1] != index[a, 1])
        step = index[b] - index[a]
        chord = crossings[b] - crossings[a]
        headings = []
        for here, other in (
            (a, at.get(tuple(index[a] - step))),
            (b, at.get(tuple(index[b] + step))),
        ):
            tangent = chord
            if other is not None and frozenset((here, other)) in joined:
                ends = (other, b) if here == a else (a, other)
                tangent = crossings[ends[1]] - crossings[ends[0]]
            headings.append(np.arctan2(tangent[1], tangent[0]) + swing[here, axis])
        own = np.clip(rng.normal(0, 1.5 * bend, 2), -3 * bend, 3 * bend) * (rng.random() < 0.4)
        lines.append(
            hermite(crossings[a], crossings[b], headings[0] + own[0], headings[1] + own[1])
        )
    return lines


def _with_branches(rng: Rng, plan: StreetPlan) -> StreetPlan:
    """Add one or two dead-end streets into blocks, each from a new crossing within a street."""
    crossings, lines = list(plan.crossings), list(plan.lines)
    ends, quarters = list(plan.ends), list(plan.quarters)
    remaining = int(rng.integers(1, 3))
    for i in rng.permutation(len(lines))[:5]:
        if remaining == 0 or len(lines[i]) < 80:
            continue
        middle = int(len(lines[i]) * rng.uniform(0.42, 0.58))
        dx, dy = lines[i][middle + 1] - lines[i][middle - 1]
        heading, side = float(np.arctan2(dy, dx)), float(rng.choice([-1, 1]))
        branch = branch_off(rng, lines, lines[i][middle], [heading, heading + np.pi],
                            heading + side * np.pi / 2, (30.0, 60.0))  # fmt: skip
        if branch is None:
            continue
        (a, b), node = ends[i], len(crossings)
        crossings.append(lines[i][middle])
        lines += [lines[i][middle:], branch]
        ends += [(node, b), (node, -1)]
        quarters += [quarters[i], quarters[i]]
        lines[i], ends[i] = lines[i][: middle + 1], (a, node)
        remaining -= 1
    return StreetPlan(np.array(crossings), tuple(lines), tuple(ends), tuple(quarters))


def _with_exits(rng: Rng, plan: StreetPlan, outer: int, stub_m: tuple[float, float]) -> StreetPlan:
    """Add streets that leave the town at outer crossings, so that views do not end there."""
    lines, ends, quarters = list(plan.lines), list(plan.ends), list(plan.quarters)
    centre = plan.crossings[:outer].mean(axis=0)
    for node in range(outer):
        outward = plan.crossings[node] - centre
        meeting = arms(node, lines, ends)
        if len(meeting) > 3 or np.linalg.norm(outward) < 30 or rng.random() < 0.2:
            continue
        headings = [heading for _, heading in meeting]
        wanted = float(np.arctan2(outward[1], outward[0]))
        # Prefer to continue an existing street straight.
        opposite = [(h + np.pi - wanted + np.pi) % (2 * np.pi) - np.pi for h in headings]
        wanted += min(opposite, key=abs)
        stub = branch_off(rng, lines, plan.crossings[node], headings, wanted, stub_m)
        if stub is not None:
            lines.append(stub)
            ends.append((node, -1))
            quarters.append(quarters[meeting[0][0]])
    return StreetPlan(plan.crossings, tuple(lines), tuple(ends), tuple(quarters))
