"""Which seeds may be used for what. Train, validation and test towns never share a seed."""

from __future__ import annotations

SEEDS: dict[str, range] = {
    "train": range(0, 1000),
    "validation": range(1000, 2000),
    "test": range(2000, 3000),
}
