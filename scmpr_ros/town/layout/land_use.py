"""Land use by quarter: kinds of houses, setbacks and gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from scmpr_ros.town.buildings.house_styles import House, Kind, draw_kind
from scmpr_ros.town.quarters import Quarter

Rng = np.random.Generator
Range = tuple[float, float]


@dataclass(frozen=True)
class LandUse:
    """Division of the land along the streets of a quarter. Lengths in metres.

    rows: kinds of rows (see `ROWS`) and their shares. setback_m: from the plots' edge to the house
    fronts, one value per street side; a share `deviating` of rows is set back by up to 3 m more.
    gap_m: gap between rows. garden_m: depth of the land behind houses. front_garden: share of
    street sides with narrow front gardens. vacant, fenced: shares of plots without a house, and
    with a border. covers: names of `surfaces.COVERS` for paths and yards.
    """

    rows: tuple[tuple[str, float], ...]
    setback_m: Range
    deviating: float
    gap_m: Range
    garden_m: Range
    front_garden: float
    vacant: float
    fenced: float
    covers: tuple[str, ...]


LAND: dict[Quarter, LandUse] = {
    Quarter.OLD_TOWN: LandUse((("tenements", 1.0),), (0.0, 0.25), 0.0, (0.0, 0.0), (4.0, 8.0),
                              0.2, 0.0, 1.0, ("setts",)),
    Quarter.SUBURB: LandUse((("detached", 0.55), ("pair", 0.2), ("terrace", 0.13), ("slab", 0.12)),
                            (3.0, 6.5), 0.2, (3.5, 8.0), (7.0, 12.0),
                            0.0, 0.04, 0.9, ("slabs", "setts", "slabs", "gravel")),
    Quarter.INDUSTRIAL: LandUse((("hall", 0.82), ("market", 0.18)), (7.0, 14.0), 0.3,
                                (7.0, 16.0), (4.0, 10.0), 0.0, 0.12, 0.95,
                                ("asphalt", "asphalt", "gravel")),
    Quarter.PARK: LandUse((("villa", 0.6), ("detached", 0.12), ("school", 0.1), ("church", 0.1),
                           ("kiosk", 0.08)), (7.0, 12.0), 0.3, (12.0, 34.0),
                          (8.0, 14.0), 0.0, 0.3, 0.75, ("gravel", "setts")),
}  # fmt: skip
FRONT_GARDEN_M = (2.6, 4.0)
"""Depth of narrow front gardens, added to the setback."""


def draw_row(rng: Rng, quarter: Quarter, room_m: float, before: House | None) -> list[House]:
    """Draw a row of adjoining houses, together at most `room_m` wide.

    before: preceding house, from which the row should differ in looks.
    """
    kinds, shares = zip(*LAND[quarter].rows, strict=True)
    row = ROWS[kinds[rng.choice(len(kinds), p=shares)]](rng, room_m, before)
    width = sum(house.width for house in row)
    if width > room_m:
        row = [replace(house, width=house.width * room_m / width) for house in row]
    return row


def draw_plain(rng: Rng) -> House:
    """Draw a plain house for distant places, small enough for a second row."""
    house = draw_kind(rng, Kind.DETACHED)
    windows = replace(house.windows, surround="", shutters="")
    width, depth = min(house.width, 16.0), min(house.depth, 11.0)
    return replace(house, width=width, depth=depth, windows=windows)


def is_alike(a: House, b: House) -> bool:
    """Whether two houses are similar in size or colour."""
    same_size = a.floors == b.floors and abs(a.width - b.width) < 2
    return same_size or float(np.abs(a.finish.colour - b.finish.colour).max()) < 0.06


def _unlike(rng: Rng, kind: Kind, before: House | None) -> House:
    house = draw_kind(rng, kind)
    for _ in range(6):
        if before is None or not is_alike(house, before):
            break
        house = draw_kind(rng, kind)
    return house


def _tenements(rng: Rng, room_m: float, before: House | None) -> list[House]:
    """Dissimilar houses that fill the room, with eaves at about the same height."""
    row: list[House] = []
    floors = draw_kind(rng, Kind.TENEMENT).floors
    width = 0.0
    while width < room_m:
        house = _unlike(rng, Kind.TENEMENT, row[-1] if row else before)
        row.append(replace(house, floors=int(np.clip(house.floors, floors - 1, floors + 1))))
        width += house.width
    if len(row) > 1 and width - room_m > row[-1].width / 2:
        width -= row.pop().width
    return [replace(house, width=house.width * room_m / width) for house in row]


def _pair(rng: Rng, room_m: float, before: House | None) -> list[House]:
    """A semi-detached pair, at times with different finishes."""
    house = _unlike(rng, Kind.DETACHED, before)
    roof = replace(house.roof, shape="gable", verge=0.0)
    half = replace(house, width=rng.uniform(7.0, 9.5), roof=roof)
    paint = draw_kind(rng, Kind.DETACHED).finish
    return [half, replace(half, finish=paint) if rng.random() < 0.25 else half]


def _single(kind: Kind) -> Callable[[Rng, float, House | None], list[House]]:
    """A single building that fits the room, or a detached house."""

    def draw(rng: Rng, room_m: float, before: House | None) -> list[House]:
        for _ in range(4):
            house = _unlike(rng, kind, before)
            if house.width <= room_m:
                return [house]
        return [_unlike(rng, Kind.DETACHED, before)]

    return draw


ROWS: dict[str, Callable[[Rng, float, House | None], list[House]]] = {
    "tenements": _tenements,
    "pair": _pair,
    **{kind.name.lower(): _single(kind) for kind in Kind if kind is not Kind.TENEMENT},
}
"""Functions that draw a row, with arguments as of `draw_row`. A terrace is one building."""
