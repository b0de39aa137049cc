"""The quarters of a town."""

from __future__ import annotations

from enum import Enum


class Quarter(Enum):
    """The character of a street: what stands beside it, how wide and how green it is."""

    OLD_TOWN = "old_town"
    SUBURB = "suburb"
    INDUSTRIAL = "industrial"
    PARK = "park"
