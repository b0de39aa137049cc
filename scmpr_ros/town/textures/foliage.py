"""Foliage textures with holes, for the cards of crowns, hedges and tufts.

A card is a quad that shows a spray of leaves; rays of camera and LiDAR pass where alpha is below a
half, so one quad yields dozens of leaves with gaps between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.materials import SHEET_CELLS
from scmpr_ros.town.textures.tiles import SIZE

Array = NDArray[np.floating]
Rng = np.random.Generator

_FINE = 4
"""Supersampling factor."""
_CELL = SIZE // SHEET_CELLS * _FINE


def _sheet(rng: Rng, draw: Callable[[Rng, NDArray[np.uint8], int], None]) -> Array:
    """A sheet of pictures (SIZE, SIZE, 4): albedo factors, and alpha in [0, 1]."""
    rows = []
    for row in range(SHEET_CELLS):
        cells = []
        for _ in range(SHEET_CELLS):
            canvas = np.zeros((_CELL, _CELL, 2), np.uint8)  # tone, 128 for a factor of one; alpha
            draw(rng, canvas, row)
            cells.append(canvas)
        rows.append(np.concatenate(cells, axis=1))
    sheet = np.concatenate(rows).astype(np.float32)
    alpha = _shrink(sheet[..., 1]) / 255
    tone = _shrink(sheet[..., 0] * sheet[..., 1] / 255) / np.maximum(alpha, 1e-3) / 128
    # Holes have the mean tone, so that coarse mip levels are not darker.
    tone = np.where(alpha > 0.02, tone, tone[alpha > 0.5].mean())
    return np.dstack([tone, tone, tone, alpha])


def _shrink(image: Array) -> Array:
    return image.reshape(SIZE, _FINE, SIZE, _FINE).mean(axis=(1, 3))


def _leaf(canvas: NDArray[np.uint8], at: Array, angle: float, length: float, width: float,
          tone: int) -> None:  # fmt: skip
    """Draw a pointed leaf from its stalk at `at` (2,) along `angle`, with a lighter midrib."""
    t = np.linspace(0, 1, 9)
    half = width * np.sin(np.pi * t**0.8) * (1 - 0.35 * t)
    along = _direction(angle)
    across = np.array([-along[1], along[0]])
    spine = at + length * t[:, None] * along
    outline = np.concatenate(
        [spine + half[:, None] * across, (spine - half[:, None] * across)[::-1]]
    )
    cv2.fillPoly(canvas, [np.round(outline).astype(np.int32)], (tone, 255))
    ends = np.round(spine[[0, -2]]).astype(int)
    cv2.line(canvas, ends[0].tolist(), ends[1].tolist(), (min(tone + 25, 255), 255), 2)


def _twigs(rng: Rng, count: int, spread: float) -> list[tuple[Array, float, float]]:
    """Twigs fanning out from the lower middle: start (2,), angle, length, in texels."""
    twigs = []
    for _ in range(count):
        angle = np.pi / 2 + rng.uniform(-spread, spread)
        out = _direction(angle)
        start = np.array([0.5, 0.06]) + np.sqrt(rng.random()) * 0.62 * out
        start = np.clip(start, (0.12, 0.04), (0.88, 0.8))
        twigs.append((start * _CELL, angle + rng.normal(0, 0.45), _CELL * rng.uniform(0.18, 0.34)))
    return twigs


def _draw_leaves(rng: Rng, canvas: NDArray[np.uint8], row: int) -> None:
    """Draw leaves; rows 0 and 1: broad ones of trees; 2: small ones of shrubs; 3: dense hedges."""
    twigs, leaves, length = ((26, 10, 0.155), (30, 11, 0.135), (38, 13, 0.105), (44, 15, 0.095))[
        row
    ]
    for start, angle, reach in _twigs(rng, twigs, 1.1 if row < 2 else 1.5):
        direction = _direction(angle)
        _stroke(canvas, start, start + reach * direction, 70, 3)
        for _ in range(leaves):
            at = start + reach * rng.uniform(0.1, 1.0) * direction
            turn = angle + _side(rng) * rng.uniform(0.3, 1.5)
            size = length * _CELL * rng.uniform(0.6, 1.15)
            _leaf(canvas, at, turn, size, size * rng.uniform(0.22, 0.34), _tone(rng))


def _draw_needles(rng: Rng, canvas: NDArray[np.uint8], row: int) -> None:
    """Draw needles; rows 0 and 1: spruce; 2 and 3: finer ones of thuja and yew."""
    twigs, needles, length = (36, 52, 0.085) if row < 2 else (54, 40, 0.07)
    for start, angle, reach in _twigs(rng, twigs, 0.9 if row < 2 else 1.4):
        direction = _direction(angle)
        _stroke(canvas, start, start + reach * direction, 60, 4)
        for t in rng.uniform(0, 1, needles):
            at = start + reach * t * direction
            turn = angle + _side(rng) * rng.uniform(0.4, 1.1)
            end = at + length * _CELL * rng.uniform(0.6, 1.1) * _direction(turn)
            _stroke(canvas, at, end, _tone(rng), 6)


def _draw_twigs(rng: Rng, canvas: NDArray[np.uint8], row: int) -> None:
    """Draw a bare spray, as in winter."""
    del row
    for start, angle, reach in _twigs(rng, 5, 0.9):
        end = start + reach * _direction(angle)
        _stroke(canvas, np.array([_CELL * 0.5, 0.0]), start, 110, 7)
        _stroke(canvas, start, end, 120, 5)
        for t in rng.uniform(0.1, 0.9, 4):
            turn = angle + _side(rng) * rng.uniform(0.4, 0.9)
            at = start + t * (end - start)
            tip = at + _CELL * rng.uniform(0.08, 0.22) * _direction(turn)
            _stroke(canvas, at, tip, 130, 4)


def _draw_blades(rng: Rng, canvas: NDArray[np.uint8], row: int) -> None:
    """Draw grass growing from the lower edge; row 3 has flower heads."""
    for _ in range(75 if row < 2 else 45):
        foot = np.array([_CELL * rng.uniform(0.04, 0.96), 0.0])
        height = _CELL * rng.uniform(0.25, (0.6, 0.8, 0.97, 0.8)[row])
        lean = rng.normal(0, 0.22)
        bend = foot + height * 0.6 * np.array([lean * 0.6, 1.0])
        tip = foot + height * np.array([lean * 1.6, 1.0])
        tone = _tone(rng)
        _stroke(canvas, foot, bend, tone, 9)
        _stroke(canvas, bend, tip, min(tone + 15, 255), 5)
        if row == 3 and rng.random() < 0.3:
            cv2.circle(
                canvas, np.round(tip).astype(int).tolist(), int(rng.integers(8, 16)), (250, 255), -1
            )


# A sheet has ten thousand strokes, and numpy takes longer to begin with a number than to use it.


def _direction(angle: float) -> Array:
    return np.array([math.cos(angle), math.sin(angle)])


def _side(rng: Rng) -> int:
    return 1 if rng.integers(2) else -1


def _tone(rng: Rng) -> int:
    return int(min(max(rng.normal(124, 36), 32), 240))


def _stroke(canvas: NDArray[np.uint8], start: Array, end: Array, tone: int, width: int) -> None:
    a, b = ([round(x) for x in point.tolist()] for point in (start, end))
    cv2.line(canvas, a, b, (tone, 255), width)


def leaves(rng: Rng) -> Array:
    """Sheet of broad leaves."""
    return _sheet(rng, _draw_leaves)


def needles(rng: Rng) -> Array:
    """Sheet of evergreen needles."""
    return _sheet(rng, _draw_needles)


def twigs(rng: Rng) -> Array:
    """Sheet of bare twigs."""
    return _sheet(rng, _draw_twigs)


def blades(rng: Rng) -> Array:
    """Sheet of grass and meadow flowers."""
    return _sheet(rng, _draw_blades)
