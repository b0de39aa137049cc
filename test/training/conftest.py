"""The pairs of two tiny recordings."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_runs import PAIRS, TINY, TOWN

from scmpr_ros.training.pairs import PairDataset
from scmpr_ros.training.towns import find_towns, load_town


@pytest.fixture(scope="session")
def dataset(recordings: Path) -> PairDataset:
    """Both recordings, prepared."""
    sources = find_towns(recordings)
    towns = [load_town(source, TINY, TOWN, recordings / ".prepared") for source in sources]
    return PairDataset(towns, PAIRS, TINY.mask_grid, TINY.panorama)
