"""Inputs that fuzzing found: points or an error of one sentence, fast and in little memory."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fuzz_clouds import CORPUS, FORMATS, read_or_refuse, write_seeds

NEEDS = {"las": "laspy", "laz": "lazrs", "e57": "pye57"}
MAX_GROWTH_KIB = 400 * 1024


@pytest.mark.parametrize("suffix", FORMATS)
def test_corpus(suffix: str) -> None:
    if suffix in NEEDS:
        pytest.importorskip(NEEDS[suffix])
    files = sorted(CORPUS.glob(f"*.{suffix}"))
    assert files
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in files:
        started = time.process_time()
        read_or_refuse(path)
        assert time.process_time() - started < 5, path
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    assert growth < MAX_GROWTH_KIB


@pytest.mark.parametrize("suffix", FORMATS)
def test_seeds_are_good_files(suffix: str, tmp_path: Path) -> None:
    if suffix in NEEDS:
        pytest.importorskip(NEEDS[suffix])
    write_seeds(tmp_path, suffix)
    for path in tmp_path.iterdir():
        assert read_or_refuse(path), path
