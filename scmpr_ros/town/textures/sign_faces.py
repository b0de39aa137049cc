"""Faces of German traffic signs: their pictures, cells on the sheet, and outlines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.materials import SHEET_CELLS
from scmpr_ros.town.textures.canvas import Canvas, word

Array = NDArray[np.floating]
Rng = np.random.Generator

_RED, _BLUE, _YELLOW = (0.48, 0.02, 0.015), (0.012, 0.10, 0.37), (0.78, 0.42, 0.01)
_WHITE, _BLACK, _GREEN = 0.72, 0.015, (0.01, 0.13, 0.05)
_INSET = 0.47
"""Half the extent of a face in its cell; the margin separates faces in coarse mip levels."""


def _ring(sides: int, turn: float = 0.0) -> Array:
    """A regular polygon stretched to fill [-1, 1] in both axes."""
    angle = (np.arange(sides) + turn) * 2 * np.pi / sides
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    low, high = points.min(axis=0), points.max(axis=0)
    return (2 * points - low - high) / (high - low)


_OUTLINES: dict[str, Array] = {
    "disc": _ring(16, 0.5),
    "square": np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]),
    "diamond": _ring(4),
    "octagon": _ring(8, 0.5),
    "triangle": np.array([[-1.0, -1], [1, -1], [0, 1]]),
    "yield": np.array([[0.0, -1], [1, 1], [-1, 1]]),
}


@dataclass(frozen=True)
class SignFace:
    """A plate and its picture on the sheet `Material.SIGN`.

    name: meaning of the sign. shape: key of the plate's outline. width_m, height_m: size of the
    plate. low, high: corners of the picture on the sheet, in units of the sheet.
    """

    name: str
    shape: str
    width_m: float
    height_m: float
    low: tuple[float, float]
    high: tuple[float, float]

    def outline(self) -> tuple[Array, Array]:
        """Corners of the plate in metres about its centre, and on the sheet, (K, 2) each.

        The first coordinate points to the viewer's right, the second up; counter-clockwise.
        """
        points = _OUTLINES[self.shape]
        size, low, high = np.array([self.width_m, self.height_m]), np.array(self.low), self.high
        return points * size / 2, (low + high) / 2 + points * _INSET * (high - low)


_SINGLE = {
    "stop": ("octagon", 0.9, 0.9), "priority": ("diamond", 0.84, 0.84),
    "give_way": ("yield", 0.9, 0.78), "no_entry": ("disc", 0.6, 0.6),
    "no_stopping": ("disc", 0.6, 0.6), "no_parking": ("disc", 0.6, 0.6),
    "speed_30": ("disc", 0.6, 0.6), "zone_30": ("square", 0.6, 0.6),
    "parking": ("square", 0.6, 0.6), "keep_right": ("disc", 0.6, 0.6),
    "cycle_path": ("disc", 0.42, 0.42), "crossing": ("square", 0.6, 0.6),
    "roadworks": ("triangle", 0.9, 0.78), "bus_stop": ("disc", 0.42, 0.42),
}  # fmt: skip
_WIDE = {
    "one_way": (0.8, 0.3), "street_name": (0.85, 0.2),
    "direction": (1.3, 0.38), "supplementary": (0.42, 0.2),
}  # fmt: skip


def _faces() -> tuple[SignFace, ...]:
    step = 1 / SHEET_CELLS
    faces = []
    for i, (name, (shape, width, height)) in enumerate(_SINGLE.items()):
        u, v = i % SHEET_CELLS * step, i // SHEET_CELLS * step
        faces.append(SignFace(name, shape, width, height, (u, v), (u + step, v + step)))
    for j, (name, (width, height)) in enumerate(_WIDE.items()):
        i = len(_SINGLE) + j // 2
        u, v = i % SHEET_CELLS * step, (i // SHEET_CELLS + j % 2 / 2) * step
        faces.append(SignFace(name, "square", width, height, (u, v), (u + step, v + step / 2)))
    return tuple(faces)


SIGN_FACES = _faces()
"""All faces: one per cell, then two in each of the last cells, lower half first."""


def sign_sheet(rng: Rng, size: int) -> Array:
    """Sheet of all faces, (size, size, 3) linear albedo, row 0 at the bottom."""
    sheet = np.empty((size, size, 3), np.float32)
    for face in SIGN_FACES:
        (x0, y0), (x1, y1) = ((round(c * size) for c in corner) for corner in (face.low, face.high))
        canvas = Canvas(y1 - y0, x1 - x0, _WHITE)
        _DRAW[face.name](rng, canvas)
        fading = rng.uniform(0.0, 0.08)
        dirt = rng.uniform(0.82, 1.0)
        sheet[y0:y1, x0:x1] = dirt * ((1 - fading) * canvas.image + fading * 0.5)
    return sheet


def _arrow(canvas: Canvas, tail: Array, head: Array, width: float, colour: float) -> None:
    along = (head - tail) / np.linalg.norm(head - tail)
    aside = np.array([-along[1], along[0]])
    neck = head - 2.2 * width * along
    canvas.stroke([tail, neck], width, colour)
    canvas.polygon([head, neck + 1.6 * width * aside, neck - 1.6 * width * aside], colour)


def _stop(_: Rng, canvas: Canvas) -> None:
    canvas.image[:] = _WHITE
    canvas.polygon(0.5 + 0.44 * _OUTLINES["octagon"], _RED)
    canvas.text("STOP", 0.5, 0.37, 0.26, _WHITE, 0.18)


def _priority(_: Rng, canvas: Canvas) -> None:
    for reach, colour in ((0.5, _WHITE), (0.45, _BLACK), (0.44, _WHITE), (0.31, _YELLOW)):
        canvas.polygon(0.5 + reach * _OUTLINES["diamond"], colour)


def _give_way(_: Rng, canvas: Canvas) -> None:
    canvas.image[:] = _RED
    canvas.polygon([[0.5, 0.24], [0.81, 0.865], [0.19, 0.865]], _WHITE)


def _no_entry(_: Rng, canvas: Canvas) -> None:
    canvas.disc(0.5, 0.5, 0.45, _RED)
    canvas.rectangle(0.17, 0.42, 0.83, 0.58, _WHITE)


def _no_stopping(rng: Rng, canvas: Canvas) -> None:
    _no_parking(rng, canvas)
    canvas.stroke([[0.25, 0.25], [0.75, 0.75]], 0.1, _RED)


def _no_parking(_: Rng, canvas: Canvas) -> None:
    canvas.image[:] = _RED
    canvas.disc(0.5, 0.5, 0.36, _BLUE)
    canvas.stroke([[0.25, 0.75], [0.75, 0.25]], 0.1, _RED)


def _speed_30(_: Rng, canvas: Canvas) -> None:
    canvas.image[:] = _RED
    canvas.disc(0.5, 0.5, 0.36, _WHITE)
    canvas.text("30", 0.5, 0.33, 0.34, _BLACK, 0.2)


def _zone_30(_: Rng, canvas: Canvas) -> None:
    canvas.disc(0.5, 0.61, 0.32, _RED)
    canvas.disc(0.5, 0.61, 0.24, _WHITE)
    canvas.text("30", 0.5, 0.5, 0.22, _BLACK, 0.2)
    canvas.text("ZONE", 0.5, 0.09, 0.15, _BLACK, 0.18)


def _parking(_: Rng, canvas: Canvas) -> None:
    canvas.rectangle(0.06, 0.06, 0.94, 0.94, _BLUE)
    canvas.text("P", 0.5, 0.2, 0.6, _WHITE, 0.2)


def _keep_right(_: Rng, canvas: Canvas) -> None:
    canvas.disc(0.5, 0.5, 0.45, _BLUE)
    _arrow(canvas, np.array([0.27, 0.73]), np.array([0.77, 0.23]), 0.11, _WHITE)


def _cycle_path(_: Rng, canvas: Canvas) -> None:
    canvas.disc(0.5, 0.5, 0.45, _BLUE)
    for x in (0.3, 0.7):
        canvas.disc(x, 0.42, 0.15, _WHITE)
        canvas.disc(x, 0.42, 0.105, _BLUE)
    frame = [[0.3, 0.42], [0.4, 0.6], [0.63, 0.6], [0.5, 0.42], [0.4, 0.6]]
    canvas.stroke(frame, 0.04, _WHITE)
    canvas.stroke([[0.7, 0.42], [0.61, 0.7], [0.7, 0.7]], 0.04, _WHITE)
    canvas.stroke([[0.34, 0.67], [0.44, 0.67]], 0.05, _WHITE)


def _walker(canvas: Canvas, x: float, y: float, height: float) -> None:
    """Draw a person walking to the left."""
    body = np.array([[0.02, 0.44], [0.0, 0.8]])
    limbs = ([[0.02, 0.44], [-0.2, 0.0]], [[0.02, 0.44], [0.16, 0.24], [0.24, 0.0]],
             [[0.0, 0.76], [-0.2, 0.5]], [[0.0, 0.76], [0.2, 0.54]])  # fmt: skip
    foot = np.array([x, y])
    canvas.stroke(foot + height * body, height * 0.16, _BLACK)
    for limb in limbs:
        canvas.stroke(foot + height * np.array(limb), height * 0.1, _BLACK)
    canvas.disc(x - 0.01, y + 0.93 * height, height * 0.09, _BLACK)


def _crossing(_: Rng, canvas: Canvas) -> None:
    canvas.rectangle(0.06, 0.06, 0.94, 0.94, _BLUE)
    canvas.polygon([[0.14, 0.17], [0.86, 0.17], [0.5, 0.86]], _WHITE)
    _walker(canvas, 0.5, 0.23, 0.42)
    canvas.rectangle(0.27, 0.19, 0.73, 0.22, _BLACK)


def _warning(canvas: Canvas) -> None:
    canvas.image[:] = _RED
    canvas.polygon([[0.19, 0.135], [0.81, 0.135], [0.5, 0.76]], _WHITE)


def _roadworks(_: Rng, canvas: Canvas) -> None:
    _warning(canvas)
    _walker(canvas, 0.5, 0.2, 0.34)
    canvas.disc(0.66, 0.18, 0.07, _BLACK)
    canvas.stroke([[0.4, 0.3], [0.62, 0.24]], 0.03, _BLACK)


def _bus_stop(_: Rng, canvas: Canvas) -> None:
    canvas.disc(0.5, 0.5, 0.46, _GREEN)
    canvas.disc(0.5, 0.5, 0.36, _YELLOW)
    canvas.text("H", 0.5, 0.27, 0.46, _GREEN, 0.2)


def _one_way(_: Rng, canvas: Canvas) -> None:
    canvas.rectangle(0.05, 0.03, 0.95, 0.47, _BLUE)
    _arrow(canvas, np.array([0.12, 0.25]), np.array([0.9, 0.25]), 0.13, _WHITE)


def _street_name(rng: Rng, canvas: Canvas) -> None:
    canvas.rectangle(0.045, 0.035, 0.955, 0.465, _BLUE)
    canvas.text(word(rng, 7, 8), 0.5, 0.16, 0.18, _WHITE, 0.17, 0.32)


def _direction(rng: Rng, canvas: Canvas) -> None:
    ground, ink = ((_YELLOW, _BLACK), (_WHITE, _BLACK), (_BLUE, _WHITE))[rng.integers(3)]
    canvas.image[:] = ink
    canvas.rectangle(0.05, 0.04, 0.95, 0.46, ground)
    for y in (0.28, 0.09):
        canvas.text(word(rng, 5, 8), 0.42, y, 0.13, ink, 0.15, 0.4)
    _arrow(canvas, np.array([0.82, 0.12]), np.array([0.82, 0.42]), 0.045, ink)


def _supplementary(rng: Rng, canvas: Canvas) -> None:
    canvas.image[:] = _BLACK
    canvas.rectangle(0.05, 0.04, 0.95, 0.46, _WHITE)
    for y in (0.28, 0.09):
        canvas.text(word(rng, 4, 7), 0.5, y, 0.12, _BLACK, 0.16, 0.45)


_DRAW = {
    "stop": _stop, "priority": _priority, "give_way": _give_way, "no_entry": _no_entry,
    "no_stopping": _no_stopping, "no_parking": _no_parking, "speed_30": _speed_30,
    "zone_30": _zone_30, "parking": _parking, "keep_right": _keep_right,
    "cycle_path": _cycle_path, "crossing": _crossing, "roadworks": _roadworks,
    "bus_stop": _bus_stop, "one_way": _one_way, "street_name": _street_name,
    "direction": _direction, "supplementary": _supplementary,
}  # fmt: skip
