"""Conservatories: glass between thin posts under a lean-to glass roof."""

from __future__ import annotations

import numpy as np

from scmpr_ros.town.buildings.faces import FOUNDATION_M, Plane, Shell
from scmpr_ros.town.materials import Material

_SILL_M, _EAVES_M, _RIDGE_M = 0.5, 2.2, 2.75
_GLASS = np.array([0.10, 0.13, 0.13])
_FRAME = np.full(3, 0.62)


def conservatory(shell: Shell, x: tuple[float, float], y0: float, y1: float) -> None:
    """Build a conservatory over x and y0..y1 against the house wall at y0, if large enough."""
    if x[1] - x[0] < 1.5 or y1 - y0 < 1.2:
        return
    corners = [(x[1], y0), (x[1], y1), (x[0], y1), (x[0], y0)]
    for start, end in zip(corners[:-1], corners[1:], strict=True):
        wall = Plane.wall(start, end)
        count = max(2, int(wall.length / 0.9))
        u = np.linspace(0.03, wall.length - 0.03, count + 1)
        shell.quads(wall.panels(0, wall.length, -FOUNDATION_M, _SILL_M), Material.CONCRETE,
                    np.full(3, 0.4))  # fmt: skip
        shell.quads(wall.panels(0, wall.length, _SILL_M, _EAVES_M), Material.GLASS, _GLASS)
        frame = np.concatenate(
            [
                wall.blocks((u - 0.03, u + 0.03), (_SILL_M, _EAVES_M), (0, 0.03),
                            ("front", "left", "right")),
                wall.blocks((0, wall.length), (_EAVES_M - 0.06, _EAVES_M), (0, 0.04)),
            ]
        )  # fmt: skip
        shell.quads(frame, Material.METAL, _FRAME)
    ridge, eaves = (y0, _RIDGE_M), (y1, _EAVES_M)
    lid = [[x[1], *ridge], [x[0], *ridge], [x[0], *eaves], [x[1], *eaves]]
    shell.quads(lid, Material.GLASS, _GLASS)
    ends = [[[u, y0, _EAVES_M], [u, y1, _EAVES_M], [u, *ridge]] for u in x]
    shell.triangles(ends, Material.GLASS, _GLASS)
