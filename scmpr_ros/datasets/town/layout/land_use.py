"""What is built in each quarter: how far off the street, how close together, in what rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from scmpr_ros.datasets.town.layout.street_network import Quarter
from scmpr_ros.datasets.town.objects.house_styles import House, draw_house

Rng = np.random.Generator
Range = tuple[float, float]


@dataclass(frozen=True)
class LandUse:
    """How the land along the streets of a quarter is divided. Lengths in metres.

    rows: kinds of rows (see `ROWS`) and their shares. setback_m: from the plot's edge to the house
    fronts, one value for a whole street side, from which `deviating` of the houses fall back by up
    to 3 m. gap_m: between rows. garden_m: land behind the houses. front_garden, verge: shares of
    street sides that stand back behind a narrow garden, or have a grass verge. drive, vacant,
    fenced: shares of houses with a driveway, of plots without a house, with a fence or hedge.
    covers: what paths and yards are paved with (`surfaces.COVERS`).
    """

    rows: tuple[tuple[str, float], ...]
    setback_m: Range
    deviating: float
    gap_m: Range
    garden_m: Range
    front_garden: float
    verge: float
    drive: float
    vacant: float
    fenced: float
    covers: tuple[str, ...]


LAND: dict[Quarter, LandUse] = {
    Quarter.OLD_TOWN: LandUse((("closed", 1.0),), (0.0, 0.25), 0.0, (0.0, 0.0), (4.0, 8.0),
                              0.2, 0.0, 0.0, 0.0, 1.0, ("setts",)),
    Quarter.SUBURB: LandUse((("detached", 0.5), ("pair", 0.2), ("terrace", 0.2), ("slab", 0.1)),
                            (3.0, 6.5), 0.2, (3.5, 8.0), (7.0, 12.0),
                            0.0, 0.35, 0.65, 0.04, 0.9, ("slabs", "setts", "slabs", "gravel")),
    Quarter.INDUSTRIAL: LandUse((("hall", 1.0),), (7.0, 14.0), 0.3, (7.0, 16.0), (4.0, 10.0),
                                0.0, 0.4, 1.0, 0.12, 0.95, ("asphalt", "asphalt", "gravel")),
    Quarter.PARK: LandUse((("detached", 0.8), ("pair", 0.2)), (7.0, 12.0), 0.3, (12.0, 34.0),
                          (8.0, 14.0), 0.0, 0.7, 0.5, 0.3, 0.75, ("gravel", "setts")),
}  # fmt: skip
FRONT_GARDEN_M = (2.6, 4.0)
"""How far a street side with front gardens stands back beyond its setback."""


def draw_row(rng: Rng, quarter: Quarter, room_m: float, before: House | None) -> list[House]:
    """Houses of one row wall to wall, none wider together than `room_m`.

    before: the house that the row follows, which it must not look like.
    """
    kinds, shares = zip(*LAND[quarter].rows, strict=True)
    row = ROWS[kinds[rng.choice(len(kinds), p=shares)]](rng, quarter, room_m, before)
    width = sum(house.width for house in row)
    if width > room_m:
        row = [replace(house, width=house.width * room_m / width) for house in row]
    return row


def draw_plain(rng: Rng, quarter: Quarter) -> House:
    """A house for where nobody sees details, no larger than a second row has room for."""
    house = draw_house(rng, quarter)
    house = replace(house, surround=0.0, cornice=False, shop=False, blind_sides=False)
    return replace(house, width=min(house.width, 16.0), depth=min(house.depth, 11.0))


def draw_hut(rng: Rng, width: float, depth: float, height: float) -> House:
    """A small flat-roofed building: a garage, a shed."""
    return replace(
        draw_house(rng, Quarter.SUBURB), width=width, depth=depth, floors=1, floor_height=height,
        plinth=0.1, roof="flat", balconies=False, surround=0.0, blind_sides=True,
    )  # fmt: skip


def is_alike(a: House, b: House) -> bool:
    """Whether two houses could be taken for each other from across the street."""
    same_size = a.floors == b.floors and abs(a.width - b.width) < 2
    return same_size or float(np.abs(a.wall_colour - b.wall_colour).max()) < 0.06


def _unlike(rng: Rng, quarter: Quarter, before: House | None) -> House:
    house = draw_house(rng, quarter)
    for _ in range(6):
        if before is None or not is_alike(house, before):
            break
        house = draw_house(rng, quarter)
    return house


def _closed(rng: Rng, quarter: Quarter, room_m: float, before: House | None) -> list[House]:
    """Different houses that fill all the room, with eaves at about the same height."""
    row: list[House] = []
    floors = draw_house(rng, quarter).floors
    width = 0.0
    while width < room_m:
        house = _unlike(rng, quarter, row[-1] if row else before)
        row.append(replace(house, floors=int(np.clip(house.floors, floors - 1, floors + 1))))
        width += house.width
    if len(row) > 1 and width - room_m > row[-1].width / 2:
        width -= row.pop().width
    row = [replace(house, width=house.width * room_m / width) for house in row]
    # The ends stand at crossings or passages and look on them with windows.
    return [replace(h, blind_sides=0 < i < len(row) - 1) for i, h in enumerate(row)]


def _detached(rng: Rng, quarter: Quarter, room_m: float, before: House | None) -> list[House]:
    return [replace(_unlike(rng, quarter, before), blind_sides=False)]


def _pair(rng: Rng, quarter: Quarter, room_m: float, before: House | None) -> list[House]:
    """Two halves of one house."""
    house = _unlike(rng, quarter, before)
    return _twins(rng, replace(house, width=rng.uniform(7.0, 9.5), roof="gable"), 2, 0.25)


def _terrace(rng: Rng, quarter: Quarter, room_m: float, before: House | None) -> list[House]:
    """Equal narrow houses, of which their owners have painted one or another."""
    house = replace(
        _unlike(rng, quarter, before), width=rng.uniform(5.6, 7.4), depth=rng.uniform(8.5, 10.5),
        floors=2, roof="gable",
    )  # fmt: skip
    count = min(int(rng.integers(3, 8)), max(1, int(room_m / house.width)))
    return _twins(rng, house, count, 0.3)


def _twins(rng: Rng, house: House, count: int, repainted: float) -> list[House]:
    row = [replace(house, blind_sides=0 < i < count - 1) for i in range(count)]
    for i in np.flatnonzero(rng.random(count) < repainted):
        paint = draw_house(rng, Quarter.SUBURB)
        row[i] = replace(row[i], wall_colour=paint.wall_colour, trim_colour=paint.trim_colour)
    return row


def _slab(rng: Rng, quarter: Quarter, room_m: float, before: House | None) -> list[House]:
    """A block of flats of the fifties or sixties, lengthways to the street."""
    house = _unlike(rng, quarter, before)
    return [
        replace(
            house, width=rng.uniform(22, 38), depth=rng.uniform(10, 12),
            floors=int(rng.integers(3, 6)), roof=str(rng.choice(["gable", "hip", "flat"])),
            roof_pitch=0.6, balconies=True, blind_sides=False,
        )
    ]  # fmt: skip


ROWS: dict[str, Callable[[Rng, Quarter, float, House | None], list[House]]] = {
    "closed": _closed, "detached": _detached, "pair": _pair, "terrace": _terrace, "slab": _slab,
    "hall": _detached,
}  # fmt: skip
"""How a row of houses is drawn; arguments as of `draw_row`."""
