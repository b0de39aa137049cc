"""Window panes and their look by day, and muted paint colours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.textures.canvas import Canvas

Array = NDArray[np.floating]
Rng = np.random.Generator
Pane = tuple[float, float, float, float]
"""A rectangle within a picture: left, bottom, right, top."""

_HUES = np.array(
    [[2.1, 0.5, 0.4], [1.7, 1.0, 0.3], [1.5, 1.3, 0.2], [0.6, 1.5, 0.9], [0.4, 0.9, 1.7],
     [0.6, 0.8, 1.6], [1.4, 0.95, 0.65], [1.4, 0.95, 0.65], [1.15, 1.0, 0.85]]
)  # fmt: skip
"""Red, orange, yellow, green, two blues, browns and beige, of similar strength."""


def muted(rng: Rng, low: float, high: float) -> Array:
    """Draw a paint colour, mostly grey or brown and rarely saturated."""
    strength = rng.choice([0.08, 0.25, 0.9], p=(0.5, 0.35, 0.15))
    hue = _HUES[rng.integers(len(_HUES))]
    return (rng.uniform(low, high) * (1 + strength * (hue - 1))).astype(np.float32)


def panes(x_edges: tuple[float, ...], y_edges: tuple[float, ...], bar: float) -> Iterator[Pane]:
    """Panes of a grid with bars of width `bar` between them."""
    for x0, x1 in zip(x_edges[:-1], x_edges[1:], strict=True):
        for y0, y1 in zip(y_edges[:-1], y_edges[1:], strict=True):
            yield x0 + bar / 2, y0 + bar / 2, x1 - bar / 2, y1 - bar / 2


def glaze(canvas: Canvas, panes: Iterator[Pane], behind: Array, bead: Array | float) -> None:
    """Draw panes that show the image `behind`, each outlined in the colour `bead`."""
    for x0, y0, x1, y1 in panes:
        canvas.rectangle(x0 - 0.006, y0 - 0.004, x1 + 0.006, y1 + 0.01, bead)
        canvas.rectangle(x0, y0, x1, y1, behind)


def dark_room(rng: Rng, canvas: Canvas) -> Canvas:
    """Look of a pane by day: a dim room, and the sky reflected above a skyline."""
    room = Canvas(*canvas.image.shape[:2], rng.uniform(0.012, 0.03))
    x, y, w = rng.uniform(0.2, 0.5), rng.uniform(0.15, 0.35), rng.uniform(0.2, 0.4)
    wall = rng.uniform(0.02, 0.06) * np.array([1.0, 0.85, 0.68])
    room.rectangle(x, y, x + w, y + rng.uniform(0.3, 0.5), wall)
    if rng.random() < 0.3:  # a window on the far side of the house
        room.rectangle(x + 0.1, 0.45, x + 0.2, 0.62, rng.uniform(0.10, 0.25))
    skyline = rng.uniform(0.45, 0.75) + rng.uniform(-0.2, 0.2) * (room.x - 0.5)
    sky = np.array([0.075, 0.095, 0.12]) * rng.uniform(0.3, 1.1)
    above = np.clip((room.y - skyline) * 9, 0, 1) * (0.55 + 0.45 * room.y)
    room.image += (above[..., None] * sky).astype(np.float32)
    return room
