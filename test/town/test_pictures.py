"""Sheets of pictures: albedos, distinct cells, and colours of signs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from scmpr_ros.town.textures.canvas import LETTERS, Canvas, word
from scmpr_ros.town.textures.pictures import (
    DOOR_KINDS,
    POSTERS,
    SHEET_CELLS,
    SHOP_KINDS,
    WINDOW_KINDS,
    door_sheet,
    shop_sheet,
    window_sheet,
)
from scmpr_ros.town.textures.sign_faces import SIGN_FACES, SignFace, sign_sheet

SIZE = 256
Draw = Callable[[np.random.Generator, int], np.ndarray]
every_sheet = pytest.mark.parametrize("draw", [window_sheet, door_sheet, shop_sheet, sign_sheet])


def _cells(sheet: np.ndarray) -> np.ndarray:
    cell = len(sheet) // SHEET_CELLS
    rows = sheet.reshape(SHEET_CELLS, cell, SHEET_CELLS, cell, 3)
    return rows.swapaxes(1, 2).reshape(-1, cell, cell, 3)


@every_sheet
def test_sheets_hold_albedos_in_distinct_cells(draw: Draw) -> None:
    sheet = draw(np.random.default_rng(0), SIZE)
    assert sheet.shape == (SIZE, SIZE, 3) and sheet.dtype == np.float32
    assert sheet.min() >= 0 and sheet.max() <= 1
    cells = _cells(sheet)
    for i, one in enumerate(cells):
        assert one.std() > 0.1 * one.mean(), f"cell {i} is blank"
        assert min(np.abs(one - other).mean() for other in np.delete(cells, i, axis=0)) > 0.003


@every_sheet
def test_sheets_are_reproducible(draw: Draw) -> None:
    first, again, other = (draw(np.random.default_rng(seed), SIZE) for seed in (3, 3, 4))
    assert first.tobytes() == again.tobytes() and not np.array_equal(first, other)


def test_every_cell_has_a_kind() -> None:
    assert {len(kinds) for kinds in (WINDOW_KINDS, DOOR_KINDS, SHOP_KINDS)} == {SHEET_CELLS**2}
    for u, v in POSTERS:
        cell = int(v * SHEET_CELLS) * SHEET_CELLS + int(u * SHEET_CELLS)
        assert SHOP_KINDS[cell] == "posters"


def test_panes_are_dark_and_most_frames_pale() -> None:
    """Frames are at the left edge of windows; bare panes are dark by day."""
    cells = np.concatenate(
        [_cells(window_sheet(np.random.default_rng(seed), SIZE)) for seed in range(4)]
    )
    edge = cells[:, 20:44, :2].mean(axis=(1, 2, 3))
    assert 0.55 < (edge > 0.5).mean() < 0.95
    assert np.percentile(cells, 10) < 0.06


def _at(sheet: np.ndarray, face: SignFace, x: float, y: float) -> np.ndarray:
    """Colour of a face at (x, y), each from -1 (left, bottom) to 1."""
    share = 0.5 + 0.47 * np.array([x, y])
    u, v = np.array(face.low) + share * (np.array(face.high) - face.low)
    return sheet[int(v * len(sheet)), int(u * len(sheet))]


def test_sign_faces_have_the_legal_colours() -> None:
    sheet = sign_sheet(np.random.default_rng(1), 512)
    faces = {face.name: face for face in SIGN_FACES}

    def colour(name: str, x: float, y: float) -> str:
        r, g, b = _at(sheet, faces[name], x, y)
        if max(r, g, b) < 0.1:
            return "black"
        if min(r, g, b) > 0.3:
            return "white"
        if r > g:
            return "red" if r > 4 * g else "yellow"
        return "blue" if b > g else "green"

    assert [colour("no_entry", *p) for p in ((0, 0), (0, 0.7))] == ["white", "red"]
    assert [colour("priority", *p) for p in ((0, 0), (0, 0.8))] == ["yellow", "white"]
    assert [colour("give_way", *p) for p in ((0, 0.35), (0, 0.95))] == ["white", "red"]
    assert [colour("no_parking", *p) for p in ((0, 0), (0.4, 0.4), (0, 0.9))] == [
        "red", "blue", "red"]  # fmt: skip
    assert [colour("no_stopping", *p) for p in ((0.4, 0.4), (0, 0.5))] == ["red", "blue"]
    assert [colour("keep_right", *p) for p in ((0, 0), (-0.5, -0.5), (0.4, -0.4))] == [
        "white", "blue", "white"]  # fmt: skip
    assert colour("stop", -0.6, 0.6) == colour("stop", 0, -0.7) == "red"
    assert [colour("bus_stop", *p) for p in ((0, 0.6), (0.85, 0.2))] == ["yellow", "green"]


def test_faces_are_inside_their_cells_and_disjoint() -> None:
    boxes = np.array([[*face.low, *face.high] for face in SIGN_FACES])
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            apart = (one[:2] >= other[2:] - 1e-9) | (one[2:] <= other[:2] + 1e-9)
            assert apart.any()
    for face in SIGN_FACES:
        metres, uv = face.outline()
        assert np.ptp(metres, axis=0) == pytest.approx([face.width_m, face.height_m])
        assert (uv > face.low).all() and (uv < face.high).all()
        area = np.sum(
            metres[:, 0] * np.roll(metres[:, 1], -1) - metres[:, 1] * np.roll(metres[:, 0], -1)
        )
        assert area > 0, "the outline runs clockwise"


def test_canvas_fills_the_area_of_shapes() -> None:
    """With antialiasing, sums of painted texels equal areas."""
    for draw, area in (
        (lambda c: c.rectangle(0.13, 0.2, 0.61, 0.55, 1.0), 0.48 * 0.35),
        (lambda c: c.disc(0.5, 0.48, 0.3, 1.0), np.pi * 0.09),
        (lambda c: c.polygon([[0.1, 0.1], [0.9, 0.2], [0.4, 0.8]], 1.0), 0.5 * (0.8 * 0.7 - 0.03)),
        (lambda c: c.stroke([[0.2, 0.3], [0.8, 0.3]], 0.1, 1.0), 0.06 + np.pi * 0.0025),
    ):
        canvas = Canvas(64, 64)
        draw(canvas)
        assert canvas.image[..., 0].mean() == pytest.approx(area, abs=0.004)


def test_letters_have_the_requested_height() -> None:
    for letter in LETTERS:
        canvas = Canvas(64, 64)
        canvas.text(letter, 0.5, 0.3, 0.4, 1.0)
        rows = np.flatnonzero(canvas.image[..., 0].max(axis=1) > 0.5) / 64
        assert 0.28 < rows.min() < 0.34 and 0.66 < rows.max() < 0.72
    assert 4 <= len(word(np.random.default_rng(0), 4, 6)) <= 6
