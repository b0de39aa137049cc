"""Seeds of the train, validation and test towns; no seed is in two splits."""

from __future__ import annotations

SEEDS: dict[str, range] = {
    "train": range(0, 1000),
    "validation": range(1000, 2000),
    "test": range(2000, 3000),
}
