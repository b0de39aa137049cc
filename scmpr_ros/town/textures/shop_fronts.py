"""Pictures of shop fronts: goods behind panes, sign boards, posters, awnings."""

from __future__ import annotations

import numpy as np

from scmpr_ros.town.textures.canvas import Canvas, word
from scmpr_ros.town.textures.glazing import dark_room, glaze, muted, panes

Rng = np.random.Generator

SHOP_KINDS = (
    *("display",) * 8, "awning", "awning", "awning", "cafe", "cafe", "cafe", "posters", "posters",
)  # fmt: skip
_FRONTS = (
    (0.04, 0.042, 0.045), (0.55, 0.55, 0.53), (0.12, 0.06, 0.03), (0.02, 0.06, 0.04),
    (0.14, 0.02, 0.02), (0.25, 0.25, 0.25), (0.36, 0.31, 0.24), (0.03, 0.05, 0.12),
)  # fmt: skip
_BOARDS = (
    (0.60, 0.60, 0.58), (0.02, 0.02, 0.02), (0.01, 0.06, 0.25), (0.40, 0.02, 0.02),
    (0.02, 0.15, 0.05), (0.65, 0.40, 0.02), (0.10, 0.05, 0.03), (0.30, 0.28, 0.25),
)  # fmt: skip


def draw_shop(rng: Rng, canvas: Canvas, kind: str) -> None:
    """Draw one of `SHOP_KINDS`."""
    if kind == "posters":
        for x, y in ((0, 0), (0.5, 0), (0, 0.5), (0.5, 0.5)):
            _poster(rng, canvas, x, y, 0.5, 0.5)
        return
    frame = np.array(_FRONTS[rng.integers(len(_FRONTS))]) * rng.uniform(0.7, 1.2)
    canvas.image[:] = frame
    sill, lintel = rng.uniform(0.06, 0.2), rng.uniform(0.74, 0.82)
    inside = _show_room(rng, canvas, kind, sill, lintel)
    door = float(rng.choice([0.03, 0.69, -1.0]))
    left, right = (0.02, 0.98) if door < 0 else (0.32, 0.98) if door < 0.5 else (0.02, 0.67)
    edges = (left, right) if rng.random() < 0.5 else (left, (left + right) / 2, right)
    glaze(canvas, panes(edges, (sill, lintel), 0.025), inside.image, 0.3 * frame)
    if door >= 0:
        glaze(canvas, panes((door, door + 0.28), (0.03, lintel), 0.06), inside.image, 0.3 * frame)
        canvas.stroke([[door + 0.06, 0.3], [door + 0.06, 0.5]], 0.014, 0.4)
    for x in rng.uniform(0.05, 0.75, rng.integers(0, 4)):  # on the pane
        _poster(rng, canvas, x, rng.uniform(sill, 0.45), *rng.uniform(0.07, 0.17, 2))
    _sign_board(rng, canvas, lintel)
    if kind == "awning":
        _awning(rng, canvas, lintel)


def _show_room(rng: Rng, canvas: Canvas, kind: str, sill: float, lintel: float) -> Canvas:
    """A dim room with a few lamps, and goods on shelves, or tables in a café."""
    room = dark_room(rng, canvas)
    room.image += (0.03 * np.clip(1 - np.abs(room.y - 0.6) * 3, 0, 1))[..., None] * (1, 0.8, 0.55)
    for x in rng.uniform(0.1, 0.9, rng.integers(2, 6)):
        room.disc(x, lintel - 0.06, 0.014, (0.7, 0.6, 0.42))
    if kind == "cafe":
        for x in rng.uniform(0.1, 0.9, 5):
            wood = rng.uniform(0.05, 0.16) * np.array([1.0, 0.7, 0.45])
            room.rectangle(x - 0.07, 0.30, x + 0.07, 0.32, wood)
            room.rectangle(x - 0.008, sill, x + 0.008, 0.3, wood)
        return room
    for shelf in sill + 0.03 + rng.uniform(0.13, 0.2) * np.arange(rng.integers(1, 4)):
        x = 0.03
        while x < 0.95:
            w, h = rng.uniform(0.015, 0.07), rng.uniform(0.03, 0.13)
            if rng.random() < 0.75:
                room.rectangle(x, shelf, x + w, shelf + h, muted(rng, 0.04, 0.4))
            x += w + rng.uniform(0.0, 0.03)
        room.rectangle(0.0, shelf - 0.01, 1.0, shelf, 0.12)
    return room


def _poster(rng: Rng, canvas: Canvas, x: float, y: float, w: float, h: float) -> None:
    """Draw a poster with a picture and lines of text, its lower left corner at (x, y)."""
    paper, ink = muted(rng, 0.25, 0.6), muted(rng, 0.01, 0.08)
    canvas.rectangle(x, y, x + w, y + h, 0.62)
    canvas.rectangle(x + 0.02 * w, y + 0.02 * h, x + 0.98 * w, y + 0.98 * h, paper)
    split = y + h * rng.uniform(0.25, 0.5)
    canvas.rectangle(x + 0.02 * w, split, x + 0.98 * w, y + 0.98 * h, muted(rng, 0.03, 0.4))
    for _ in range(3):
        r = rng.uniform(0.08, 0.2) * min(w, h)
        spot = rng.uniform(x + r, x + w - r), rng.uniform(split + r, max(split + r, y + h - r))
        canvas.disc(*spot, r, muted(rng, 0.05, 0.5))
    if h > 0.3:
        canvas.text(word(rng, 4, 5), x + w / 2, split - 0.16 * h, 0.12 * h, ink)
    for line in np.arange(y + 0.06 * h, split - 0.2 * h, 0.07 * h):
        canvas.rectangle(x + 0.1 * w, line, x + rng.uniform(0.5, 0.9) * w, line + 0.025 * h, ink)


def _sign_board(rng: Rng, canvas: Canvas, lintel: float) -> None:
    """Draw a sign board with a name, light on dark or dark on light."""
    board = np.array(_BOARDS[rng.integers(len(_BOARDS))]) * rng.uniform(0.7, 1.1)
    letters = 0.65 if board.mean() < 0.25 else 0.02
    canvas.rectangle(0.0, lintel + 0.015, 1.0, 1.0, 0.5 * board)
    canvas.rectangle(0.01, lintel + 0.03, 0.99, 0.985, board)
    name = word(rng, 5, 9)
    height = min((0.97 - lintel) * rng.uniform(0.4, 0.62), 1.15 / len(name))
    foot = lintel + 0.03 + (0.955 - lintel - height) / 2
    canvas.text(name, rng.uniform(0.48, 0.52), foot, height, letters, 0.17)


def _awning(rng: Rng, canvas: Canvas, lintel: float) -> None:
    """Draw a striped or plain awning over the upper part of the pane, with a scalloped edge."""
    one, other = muted(rng, 0.1, 0.35), rng.choice([0.6, 0.45]) * np.ones(3)
    stripes = (canvas.x * rng.integers(7, 14)) % 1 < rng.choice([0.5, 1.0])
    stripes = np.broadcast_to(stripes, canvas.image.shape[:2])[..., None]
    light = 0.65 + 0.4 * (canvas.y[..., None] - lintel + 0.2) / 0.2
    cloth = np.where(stripes, one, other) * light
    hem = lintel - 0.2 - 0.012 * np.abs(np.sin(canvas.x * 45))
    canvas.fill(np.maximum(hem - canvas.y, canvas.y - lintel - 0.01), cloth)
    canvas.rectangle(0.0, lintel - 0.17, 1.0, lintel - 0.163, 0.4 * one)
