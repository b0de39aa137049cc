"""Record files of a town: `town.yaml`, written last, marks it as finished."""

from __future__ import annotations

from pathlib import Path

import yaml

RECORD, STARTED = "town.yaml", "town.started.yaml"
"""Names of the record of a finished town, and of one in the making."""


def is_unfinished(folder: Path) -> bool:
    """Whether a folder holds a town that `make_town` started but did not finish."""
    return (folder / STARTED).is_file() and not (folder / RECORD).is_file()


def town_conditions(folder: Path) -> dict[str, str]:
    """Light and season by sequence of a town, such as `night/winter`; {} if it is no town."""
    record = folder / RECORD
    if not record.is_file():
        return {}
    conditions = yaml.safe_load(record.read_text())["conditions"]
    return {f"{number:02d}": condition for number, condition in enumerate(conditions)}


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
