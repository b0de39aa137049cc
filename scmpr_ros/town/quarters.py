"""The quarters of a town."""

from __future__ import annotations

from enum import Enum


class Quarter(Enum):
    """Character of a street: its buildings, width and greenery."""

    OLD_TOWN = "old_town"
    SUBURB = "suburb"
    INDUSTRIAL = "industrial"
    PARK = "park"
