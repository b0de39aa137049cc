"""The file that tells how a town was made, written last: without it a town is not finished."""

from __future__ import annotations

from pathlib import Path

import yaml

RECORD, STARTED = "town.yaml", "town.started.yaml"
"""How a town was made: written when all is done; and when it is begun."""


def is_unfinished(folder: Path) -> bool:
    """Whether a folder holds a town that `make_town` began and did not end."""
    return (folder / STARTED).is_file() and not (folder / RECORD).is_file()


def town_conditions(folder: Path) -> dict[str, str]:
    """Light and season of each drive of a town by name, such as `night/winter`; {} elsewhere."""
    record = folder / RECORD
    if not record.is_file():
        return {}
    skies = yaml.safe_load(record.read_text())["conditions"]
    return {f"{number:02d}": sky for number, sky in enumerate(skies)}


SEEDS: dict[str, range] = {
    "train": range(0, 1000),
    "validation": range(1000, 2000),
    "test": range(2000, 3000),
}
"""Seeds by use, so that train, validation and test towns never share a seed."""


def town_split(folder: Path) -> str | None:
    """The use that a town's seed is reserved for, a key of `SEEDS`; None if it is no such town."""
    record = folder / RECORD
    seed = (yaml.safe_load(record.read_text()) or {}).get("seed") if record.is_file() else None
    return next((name for name, seeds in SEEDS.items() if seed in seeds), None)
