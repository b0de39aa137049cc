"""Drawing on textures: antialiased shapes from signed distances, and stroke letters."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating]
Rng = np.random.Generator

_OUTLINES = {
    "A": "00 03 14 23 20/02 22", "B": "00 04 14 23 12 21 10 00/02 12",
    "D": "00 04 14 23 21 10 00", "E": "24 04 00 20/02 12", "F": "24 04 00/02 12",
    "H": "00 04/20 24/02 22", "I": "10 14", "K": "00 04/24 02 20", "L": "04 00 20",
    "M": "00 04 12 24 20", "N": "00 04 20 24", "O": "10 01 03 14 23 21 10",
    "P": "00 04 14 23 12 02", "R": "00 04 14 23 12 02/12 20", "S": "01 10 21 03 14 23",
    "T": "04 24/10 14", "U": "04 01 10 21 24", "Z": "04 24 00 20",
    "0": "10 01 03 14 23 21 10", "3": "03 14 23 12 21 10 01", "5": "24 04 02 12 21 10 01",
    " ": "",
}  # fmt: skip
"""Strokes of glyphs: points (column 0 to 2, row 0 to 4), strokes separated by slashes."""

_GLYPHS = {
    glyph: [
        np.array([[int(digit) for digit in corner] for corner in stroke.split()]) / (2, 4)
        for stroke in strokes.split("/")
        if stroke
    ]
    for glyph, strokes in _OUTLINES.items()
}
LETTERS = "ABDEFHIKLMNOPRSTUZ"


def word(rng: Rng, shortest: int, longest: int) -> str:
    """A random sequence of letters."""
    return "".join(rng.choice(list(LETTERS), rng.integers(shortest, longest + 1)))


class Canvas:
    """A linear RGB image over x from 0 to 1 (to the right) and y from 0 up, with square texels.

    image: (rows, columns, 3) float32, row 0 at the bottom. x, y: (1, columns) and (rows, 1).
    """

    def __init__(self, rows: int, columns: int, colour: ArrayLike = 0.0) -> None:
        self.image = np.empty((rows, columns, 3), np.float32)
        self.image[:] = colour
        self._texels = columns
        self.x = ((np.arange(columns, dtype=np.float32) + 0.5) / columns)[None]
        self.y = ((np.arange(rows, dtype=np.float32) + 0.5) / columns)[:, None]
        self.top = rows / columns

    def fill(self, distance: Array, colour: ArrayLike) -> None:
        """Fill where the signed distance (rows, columns) is negative.

        colour: a number, (3,) or an image (rows, columns, 3).
        """
        self._blend(distance, colour, (slice(None), slice(None)))

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, colour: ArrayLike) -> None:
        """Fill a rectangle."""
        part = self._around(x0, y0, x1, y1)
        x, y = self.x[:, part[1]], self.y[part[0]]
        distance = np.maximum(np.maximum(x0 - x, x - x1), np.maximum(y0 - y, y - y1))
        self._blend(distance, colour, part)

    def disc(self, x: float, y: float, radius: float, colour: ArrayLike) -> None:
        """Fill a disc."""
        part = self._around(x - radius, y - radius, x + radius, y + radius)
        distance = np.hypot(self.x[:, part[1]] - x, self.y[part[0]] - y) - radius
        self._blend(distance, colour, part)

    def polygon(self, corners: ArrayLike, colour: ArrayLike) -> None:
        """Fill a convex polygon, corners (K, 2) counter-clockwise."""
        corners = np.asarray(corners, np.float32)
        part = self._around(*corners.min(axis=0), *corners.max(axis=0))
        distance = np.full((1, 1), -np.inf, np.float32)
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            length = np.hypot(x1 - x0, y1 - y0)
            aside = (self.x[:, part[1]] - x0) * (y1 - y0) - (self.y[part[0]] - y0) * (x1 - x0)
            distance = np.maximum(distance, aside / length)
        self._blend(distance, colour, part)

    def stroke(self, path: ArrayLike, width: float, colour: ArrayLike) -> None:
        """Draw a line of the given width with round ends along a path (K, 2)."""
        path = np.asarray(path, np.float32)
        low, high = path.min(axis=0) - width / 2, path.max(axis=0) + width / 2
        part = self._around(*low, *high)
        x, y = self.x[:, part[1]], self.y[part[0]]
        distance = np.full((1, 1), np.inf, np.float32)
        for (x0, y0), (x1, y1) in zip(path[:-1], path[1:], strict=True):
            along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / (
                (x1 - x0) ** 2 + (y1 - y0) ** 2
            )
            t = along.clip(0, 1)
            distance = np.minimum(
                distance, np.hypot(x - x0 - t * (x1 - x0), y - y0 - t * (y1 - y0))
            )
        self._blend(distance - width / 2, colour, part)

    def text(
        self, letters: str, x: float, y: float, height: float, colour: ArrayLike,
        weight: float = 0.2, slim: float = 0.5,
    ) -> None:  # fmt: skip
        """Draw letters centred at x with their base line at y.

        slim, weight: width of letters and of strokes over the height.
        """
        pitch = height * (slim + 1.6 * weight)
        start = x - pitch * (len(letters) - 1) / 2 - height * slim / 2
        scale = np.array([height * slim, height * (1 - weight)])
        for i, letter in enumerate(letters):
            foot = np.array([start + i * pitch, y + height * weight / 2])
            for path in _GLYPHS[letter]:
                self.stroke(foot + path * scale, height * weight, colour)

    def _around(self, x0: float, y0: float, x1: float, y1: float) -> tuple[slice, slice]:
        """Rows and columns that a box overlaps."""
        n = self._texels

        def reach(low: float, high: float) -> slice:
            return slice(max(int(low * n) - 1, 0), max(int(high * n) + 2, 0))

        return reach(y0, y1), reach(x0, x1)

    def _blend(self, distance: Array, colour: ArrayLike, part: tuple[slice, slice]) -> None:
        coverage = np.clip(0.5 - distance * self._texels, 0, 1)[..., None]
        colour = np.asarray(colour, np.float32)
        if colour.ndim == 3:
            colour = colour[part]
        self.image[part] += coverage * (colour - self.image[part])
