"""Inputs that fuzzing found: a drive, a trajectory or an error of one sentence, and fast."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fuzz_recordings import BAGS, CORPUS, TRAJECTORIES, read_or_refuse, write_seeds

FILES = sorted(path for path in CORPUS.iterdir() if path.suffix)


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_corpus(path: Path) -> None:
    started = time.process_time()
    read_or_refuse(path)
    assert time.process_time() - started < 5


def test_corpus_is_small() -> None:
    assert 0 < sum(path.stat().st_size for path in FILES) < 100_000


@pytest.mark.parametrize("suffix", BAGS + TRAJECTORIES)
def test_seeds_are_good_files(suffix: str, tmp_path: Path) -> None:
    write_seeds(tmp_path, suffix)
    seeds = [path for path in tmp_path.iterdir() if path.suffix]
    assert seeds
    for path in seeds:
        assert read_or_refuse(path), path
