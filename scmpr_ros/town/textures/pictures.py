"""Sheets of pictures for façades: windows, doors and shop fronts, as linear albedo.

A sheet is a grid of cells; cell i is in column i % SHEET_CELLS and row i // SHEET_CELLS, row 0 at
the bottom. `WINDOW_KINDS`, `DOOR_KINDS` and `SHOP_KINDS` name the contents of the cells. For
traffic signs see `sign_faces`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.materials import SHEET_CELLS, Material
from scmpr_ros.town.textures.canvas import Canvas
from scmpr_ros.town.textures.glazing import Pane, dark_room, glaze, muted, panes
from scmpr_ros.town.textures.shop_fronts import SHOP_KINDS, draw_shop

Array = NDArray[np.floating]
Rng = np.random.Generator

WINDOW_KINDS = (
    "casement", "casement", "casement", "casement", "single", "single", "double", "double",
    "transom", "transom", "cross", "cross", "arched", "shutter", "shutter", "roof",
)  # fmt: skip
DOOR_KINDS = (
    "panelled", "panelled", "panelled", "panelled", "glazed", "glazed", "glazed", "glazed",
    "side_light", "side_light", "portal", "portal", "portal", "garage", "garage", "garage",
)  # fmt: skip
IN_WALLS = {
    Material.WINDOW: ("casement", "single", "double", "transom", "cross", "shutter"),
    Material.DOOR: ("panelled", "glazed", "side_light", "portal"),
    Material.SHOP: ("display", "awning", "cafe"),
}
"""Kinds of pictures for ordinary openings in walls."""


def picture_cells(material: Material, kinds: Sequence[str] = ()) -> NDArray[np.intp]:
    """Cells (K, 2), as column and row, that show one of `kinds`, by default of `IN_WALLS`."""
    sheet = {
        Material.WINDOW: WINDOW_KINDS, Material.DOOR: DOOR_KINDS, Material.SHOP: SHOP_KINDS
    }[material]  # fmt: skip
    index = np.flatnonzero(np.isin(sheet, kinds or IN_WALLS[material]))
    return np.stack([index % SHEET_CELLS, index // SHEET_CELLS], axis=1)


POSTERS = tuple(
    ((i % SHEET_CELLS + x) / SHEET_CELLS, (i // SHEET_CELLS + y) / SHEET_CELLS)
    for i, kind in enumerate(SHOP_KINDS)
    if kind == "posters"
    for y in (0.0, 0.5)
    for x in (0.0, 0.5)
)
"""Lower left corners of the posters on the sheet of shops; each is half a cell in size."""


def window_sheet(rng: Rng, size: int) -> Array:
    """Sheet of windows, (size, size, 3)."""
    return _sheet(rng, size, WINDOW_KINDS, _window)


def door_sheet(rng: Rng, size: int) -> Array:
    """Sheet of house doors, portals and garage doors, (size, size, 3)."""
    return _sheet(rng, size, DOOR_KINDS, _door)


def shop_sheet(rng: Rng, size: int) -> Array:
    """Sheet of shop fronts, with four posters in each of two cells, (size, size, 3)."""
    return _sheet(rng, size, SHOP_KINDS, draw_shop)


def _sheet(
    rng: Rng, size: int, kinds: tuple[str, ...], draw: Callable[[Rng, Canvas, str], None]
) -> Array:
    cell = size // SHEET_CELLS
    sheet = np.empty((size, size, 3), np.float32)
    for i, kind in enumerate(kinds):
        canvas = Canvas(cell, cell)
        draw(rng, canvas, kind)
        row, column = divmod(i, SHEET_CELLS)
        part = slice(row * cell, (row + 1) * cell), slice(column * cell, (column + 1) * cell)
        sheet[part] = canvas.image
    return np.clip(sheet, 0.0, 1.0)


def _hang_curtains(rng: Rng, room: Canvas) -> None:
    """Draw side curtains, net curtains, blinds, or nothing."""
    cloth = rng.uniform(0.25, 0.55) * np.array([1, rng.uniform(0.93, 1), rng.uniform(0.82, 1)])
    phase = room.x * rng.uniform(50, 110) + 2 * np.sin(6 * room.x + rng.uniform(0, 6))
    shade = np.broadcast_to(1 + 0.16 * np.sin(phase), room.image.shape[:2])[..., None]
    folds = cloth * shade * (0.8 + 0.2 * room.y[..., None])
    kind = rng.choice(["none", "sides", "net", "half", "blind"], p=[0.38, 0.2, 0.17, 0.12, 0.13])
    if kind == "sides":
        reach = rng.uniform(0.16, 0.3, 2) + 0.03 * np.sin(7 * room.y)[..., None]
        room.fill(np.minimum(room.x - reach[..., 0], 1 - reach[..., 1] - room.x), folds)
        room.rectangle(0.0, 0.9, 1.0, 1.0, folds)
    elif kind == "net":  # translucent
        room.image[:] = 0.4 * room.image + 0.75 * folds
    elif kind == "half":
        hem = rng.uniform(0.4, 0.6) + 0.02 * np.abs(np.sin(room.x * 40))
        room.fill(room.y - hem, 0.2 * room.image + 0.8 * folds)
    elif kind == "blind":
        slats = 1 + 0.25 * np.sign(np.sin(room.y * rng.uniform(130, 200)))
        slats = np.broadcast_to(slats, room.image.shape[:2])
        room.rectangle(0.0, rng.uniform(0.1, 0.7), 1.0, 1.0, cloth * slats[..., None])


def _pot_plants(rng: Rng, room: Canvas) -> None:
    """Draw potted plants on the inner sill."""
    for x in rng.uniform(0.12, 0.88, rng.integers(1, 4)):
        room.rectangle(x - 0.04, 0.04, x + 0.04, 0.15, muted(rng, 0.1, 0.35))
        green = np.array([0.05, 0.10, 0.03]) * rng.uniform(0.5, 1.3)
        for dx, dy in rng.normal(0, 0.04, (14, 2)):
            room.disc(x + dx, 0.2 + 1.4 * dy, 0.025, green * rng.uniform(0.5, 1.5))
        if rng.random() < 0.4:
            for dx, dy in rng.normal(0, 0.04, (4, 2)):
                room.disc(x + dx, 0.25 + dy, 0.014, (0.45, 0.03, 0.05))


def _roller_shutter(rng: Rng, canvas: Canvas, bottom: float) -> None:
    """Draw a roller shutter lowered to `bottom`."""
    tone = rng.choice([0.55, 0.45, 0.33]) * np.array([1, 0.98, rng.uniform(0.85, 0.97)])
    slat = (canvas.y * 22) % 1
    ribs = np.where(slat < 0.16, 0.55, 0.9 + 0.14 * slat) * np.ones_like(canvas.x)
    canvas.rectangle(0.035, bottom, 0.965, 0.98, tone * ribs[..., None])
    canvas.rectangle(0.035, bottom, 0.965, bottom + 0.02, 0.5 * tone)


def _window(rng: Rng, canvas: Canvas, kind: str) -> None:
    pale, brown, dark = (0.66, 0.65, 0.62), (0.10, 0.05, 0.025), (0.05, 0.055, 0.06)
    frame = np.array((pale, brown, dark)[rng.choice(3, p=[0.76, 0.15, 0.09])])
    if kind == "roof":
        frame = np.array(dark)
    canvas.image[:] = frame
    room = dark_room(rng, canvas)
    _hang_curtains(rng, room)
    if rng.random() < 0.25:
        _pot_plants(rng, room)
    room.image *= 1 - 0.5 * np.clip((room.y - 0.88) * 12, 0, 1)[..., None]  # the lintel's shadow
    f, middle = 0.05, float(rng.choice([0.5, 0.5, 0.36, 0.64]))
    edges = (f, 1 - f)
    grids = {
        "casement": ((f, 0.5, 1 - f), edges, 0.06),
        "double": ((f, middle, 1 - f), edges, 0.07),
        "transom": ((f, 0.5, 1 - f), (f, 0.7, 1 - f), 0.055),
        "cross": ((f, 0.29, 0.5, 0.71, 1 - f), (f, 0.36, 0.64, 1 - f), 0.032),
        "arched": ((f, 0.5, 1 - f), (f, 0.62, 1 - f), 0.05),
        "roof": (edges, edges, 0.05),
    }  # fmt: skip
    glaze(canvas, panes(*grids.get(kind, (edges, edges, 0.03))), room.image, 0.35 * frame)
    if kind == "cross":
        canvas.rectangle(0.47, f, 0.53, 1 - f, frame)
    elif kind == "arched":
        _arch(canvas, frame)
    elif kind == "shutter":
        _roller_shutter(rng, canvas, float(rng.choice([0.03, 0.03, rng.uniform(0.2, 0.7)])))
    elif rng.random() < 0.12:
        _roller_shutter(rng, canvas, rng.uniform(0.5, 0.85))
    canvas.rectangle(0.0, 0.0, 1.0, 0.022, 0.3)  # the outer sill


def _arch(canvas: Canvas, frame: Array) -> None:
    """Round the top: a frame along the arch, stone outside it."""
    from_springing = np.hypot((canvas.x - 0.5) / 0.5, np.maximum(canvas.y - 0.55, 0) / 0.45)
    canvas.fill((0.86 - from_springing) * 0.48 + 0.5 * (canvas.y < 0.55), frame)
    canvas.fill((1.0 - from_springing) * 0.48 + 0.5 * (canvas.y < 0.55), (0.36, 0.31, 0.25))


_DOOR_COLOURS = (
    (0.60, 0.60, 0.58), (0.14, 0.065, 0.03), (0.07, 0.035, 0.02), (0.02, 0.06, 0.035),
    (0.05, 0.055, 0.06), (0.18, 0.02, 0.02), (0.30, 0.31, 0.31), (0.03, 0.05, 0.12),
)  # fmt: skip
_DOOR_SHARES = (0.24, 0.2, 0.16, 0.08, 0.12, 0.05, 0.1, 0.05)


def _inlay(canvas: Canvas, pane: Pane, colour: Array) -> None:
    """Draw a panel with lit and shaded edges."""
    x0, y0, x1, y1 = pane
    canvas.rectangle(x0, y0, x1, y1, 0.45 * colour)
    canvas.rectangle(x0 + 0.012, y0, x1, y1 - 0.012, 1.25 * colour)
    canvas.rectangle(x0 + 0.012, y0 + 0.012, x1 - 0.012, y1 - 0.012, 0.85 * colour)


def _furnish(rng: Rng, canvas: Canvas, x: float) -> None:
    """Draw a handle at x, and the dark gap below the door leaf."""
    metal = float(rng.choice([0.4, 0.3, 0.06]))
    if rng.random() < 0.5:
        canvas.stroke([[x, 0.35], [x, 0.62]], 0.03, metal)
    else:
        canvas.rectangle(x - 0.02, 0.42, x + 0.02, 0.52, metal)
        canvas.stroke([[x, 0.485], [x + (0.08 if x < 0.5 else -0.08), 0.485]], 0.018, metal)
    canvas.rectangle(0.05, 0.0, 0.95, 0.014, 0.01)


def _door(rng: Rng, canvas: Canvas, kind: str) -> None:
    colour = np.array(_DOOR_COLOURS[rng.choice(len(_DOOR_COLOURS), p=_DOOR_SHARES)])
    colour = colour * rng.uniform(0.8, 1.15)
    canvas.image[:] = 0.8 * colour
    glass = dark_room(rng, canvas).image
    if kind == "garage":
        _garage(rng, canvas, colour)
        return
    left, right = (0.34, 0.95) if kind == "side_light" else (0.05, 0.95)
    top = float(rng.choice([0.97, 0.8])) if kind != "portal" else 0.78
    canvas.rectangle(left - 0.015, 0.0, right + 0.015, top + 0.015, 0.3 * colour)
    canvas.rectangle(left, 0.0, right, top, colour)
    if top < 0.9:
        glaze(canvas, panes((0.05, 0.95), (top + 0.03, 0.98), 0.03), glass, 0.3 * colour)
    if kind == "side_light":
        glaze(canvas, panes((0.04, 0.31), (0.03, top), 0.04), glass, 0.3 * colour)
    columns = (0.05, 0.5, 0.95) if kind == "portal" else (left, (left + right) / 2, right)
    if kind in ("panelled", "portal"):
        rows = (0.02, *sorted(rng.uniform(0.25, 0.6, rng.integers(1, 3))), top)
        bottom_row = rows[:2] if kind == "portal" and rng.random() < 0.6 else rows
        for pane in panes(columns, bottom_row, 0.09):
            _inlay(canvas, pane, colour)
        if kind == "panelled" and rng.random() < 0.5:
            canvas.rectangle(0.38, 0.41, 0.62, 0.44, 0.35)  # a letter slot
        if bottom_row is not rows:
            glaze(canvas, panes(columns, rows[1:], 0.1), glass, 0.3 * colour)
    else:
        low = float(rng.choice([0.05, 0.3, 0.45]))
        whole = rng.choice([0.1, 0.2])
        glaze(canvas, panes((left, right), (low, top), whole), glass, 0.3 * colour)
        if low > 0.2:
            for pane in panes(columns, (0.02, low), 0.1):
                _inlay(canvas, pane, colour)
    if kind == "portal":
        canvas.rectangle(0.495, 0.0, 0.505, top, 0.2 * colour)
    _furnish(rng, canvas, 0.56 if kind == "portal" else float(rng.choice([left + 0.06, 0.88])))


def _garage(rng: Rng, canvas: Canvas, colour: Array) -> None:
    """Draw a garage door with vertical grooves or with panels."""
    if rng.random() < 0.5:
        groove = (canvas.x * 16) % 1 < 0.14
        canvas.image[:] = colour * np.where(groove, 0.45, 1.0)[..., None]
    else:
        canvas.image[:] = colour
        edges = tuple(np.linspace(0.02, 0.98, int(rng.integers(4, 6))))
        for pane in panes((0.0, 0.25, 0.5, 0.75, 1.0), edges, 0.06):
            _inlay(canvas, pane, colour)
    canvas.rectangle(0.46, 0.3, 0.54, 0.33, 0.05)
    canvas.rectangle(0.0, 0.0, 0.03, 1.0, 0.6 * colour)
    canvas.rectangle(0.97, 0.0, 1.0, 1.0, 0.6 * colour)
    canvas.rectangle(0.0, 0.96, 1.0, 1.0, 0.6 * colour)
    canvas.rectangle(0.0, 0.0, 1.0, 0.018, 0.01)
