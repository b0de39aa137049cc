"""The pairs of two tiny recordings."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_runs import PAIRS, TINY, TOWN

from scmpr_ros.training.pairs import PairDataset
from scmpr_ros.training.preparation import find_recordings, load_recording


@pytest.fixture(scope="session")
def dataset(recordings: Path) -> PairDataset:
    """Both recordings, prepared."""
    sources = find_recordings(recordings)
    prepared = [load_recording(source, TINY, TOWN, recordings / ".prepared") for source in sources]
    return PairDataset(prepared, PAIRS, TINY.mask_grid, TINY.panorama)
