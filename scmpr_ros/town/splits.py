"""Seeds of train, validation and test towns; see `datasets.town_files`."""

from __future__ import annotations

from scmpr_ros.datasets.town_files import SEEDS

__all__ = ["SEEDS"]
