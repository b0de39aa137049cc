"""Sheets of pictures: windows, doors, shops, signs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.town.materials import SHEET_CELLS
from scmpr_ros.datasets.town.sensors.tiles import SIZE, grey

Array = NDArray[np.floating]
Rng = np.random.Generator


def _sheet(rng: Rng, draw: Callable[[Rng, Array, Array], Array]) -> Array:
    """A grid of pictures; `draw` gets the unit coordinates (x right, y up) of one picture."""
    cell = SIZE // SHEET_CELLS
    y, x = np.mgrid[0:cell, 0:cell].astype(np.float32) / cell
    rows = [
        np.concatenate([draw(rng, x, y) for _ in range(SHEET_CELLS)], axis=1)
        for _ in range(SHEET_CELLS)
    ]
    return np.concatenate(rows, axis=0)


def _paint(image: Array, where: NDArray[np.bool_], colour: NDArray[np.floating] | float) -> None:
    image[where] = colour


def _muted(rng: Rng, low: float, high: float) -> Array:
    """A colour as things are painted: mostly grey or brown, rarely strong."""
    strength = rng.choice([0.08, 0.25, 0.9], p=(0.5, 0.35, 0.15))
    hue = rng.dirichlet((4, 2.6, 2)) * 3
    return (rng.uniform(low, high) * (1 + strength * (hue - 1))).astype(np.float32)


def _window(rng: Rng, x: Array, y: Array) -> Array:
    image = grey(0.04 + 0.05 * rng.random() + 0.03 * y)
    curtain = rng.random()
    tone = rng.uniform(0.25, 0.6) * np.array([1, rng.uniform(0.93, 1), rng.uniform(0.8, 1)])
    folds = (1 + 0.12 * np.sin(x * rng.uniform(40, 90) + 3 * np.sin(5 * x)))[..., None]
    if curtain < 0.4:
        side = np.abs(x - 0.5) > rng.uniform(0.15, 0.35)
        image = np.where(side[..., None], tone * folds, image)
    elif curtain < 0.62:
        blind = y > rng.uniform(0.0, 0.8)
        image = np.where(blind[..., None], tone * (1 + 0.1 * np.sin(y * 130))[..., None], image)
    frame = rng.choice([0.75, 0.7, 0.25]) * np.array([1, 0.97, 0.9])
    edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y)) < 0.055
    bars = np.abs(x - 0.5) < 0.025 if rng.random() < 0.7 else np.zeros_like(edge)
    bars = bars | ((np.abs(y - 0.68) < 0.022) if rng.random() < 0.5 else np.zeros_like(edge))
    _paint(image, edge | bars, frame)
    return image.astype(np.float32)


def _door(rng: Rng, x: Array, y: Array) -> Array:
    colour = _muted(rng, 0.04, 0.3)
    image = np.ones((*x.shape, 3), np.float32) * colour
    columns, rows = rng.integers(1, 4), rng.integers(2, 5)
    px, py = (x * columns) % 1, (y * rows) % 1
    panel = np.minimum(np.minimum(px, 1 - px), np.minimum(py, 1 - py)) > 0.15
    image *= np.where(panel, rng.uniform(0.65, 0.95), 1.0)[..., None]
    if rng.random() < 0.6:
        _paint(image, panel & (y > rng.uniform(0.5, 0.8)), 0.06)
    return image * (1 + 0.05 * rng.standard_normal((*x.shape, 1)))


def _shop(rng: Rng, x: Array, y: Array) -> Array:
    image = grey(0.05 + 0.04 * rng.random((SIZE // SHEET_CELLS,) * 2))
    for _ in range(22):  # goods and posters behind the pane
        x0, y0, w, h = rng.random(), rng.uniform(0.05, 0.6), *rng.uniform(0.02, 0.10, 2)
        inside = (np.abs(x - x0) < w) & (np.abs(y - y0) < h)
        _paint(image, inside, _muted(rng, 0.03, 0.3))
    band = y > rng.uniform(0.78, 0.86)
    _paint(image, band, _muted(rng, 0.05, 0.5))
    letters = band & (np.abs(y - 0.9) < 0.04) & (np.abs(x - 0.5) < 0.38)
    _paint(image, letters & (rng.random(40)[(x * 39).astype(int)] > 0.35), rng.choice([0.02, 0.85]))
    panes = (x * rng.integers(1, 4)) % 1
    _paint(image, ((panes < 0.03) | (y < 0.07)) & ~band, rng.uniform(0.08, 0.4))
    return image


def _sign(rng: Rng, x: Array, y: Array) -> Array:
    r = np.hypot(x - 0.5, y - 0.5)
    image = np.full((*x.shape, 3), 0.8, np.float32)
    red, blue = np.array([0.6, 0.03, 0.03]), np.array([0.03, 0.12, 0.5])
    yellow = np.array([0.75, 0.5, 0.03])
    base = (red, blue, yellow, np.full(3, 0.8))[rng.integers(4)]
    _paint(image, r < 2, base)
    if rng.random() < 0.75:
        _paint(image, r < rng.uniform(0.25, 0.38), rng.choice([0.8, 0.8, 0.03]))
    glyph = rng.random((5, 5)) > 0.5
    inside = (np.abs(x - 0.5) < 0.2) & (np.abs(y - 0.5) < 0.2)
    picture = glyph[((y - 0.3) / 0.4 * 5).astype(int) % 5, ((x - 0.3) / 0.4 * 5).astype(int) % 5]
    _paint(image, inside & picture, rng.choice([0.02, 0.8]))
    return image


def windows(rng: Rng) -> Array:
    """Windows."""
    return _sheet(rng, _window)


def doors(rng: Rng) -> Array:
    """Doors."""
    return _sheet(rng, _door)


def shops(rng: Rng) -> Array:
    """Shop fronts."""
    return _sheet(rng, _shop)


def signs(rng: Rng) -> Array:
    """Faces of signs."""
    return _sheet(rng, _sign)
