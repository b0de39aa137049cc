"""Processes that share out work end when they should."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scmpr_ros.errors import ConfigError
from scmpr_ros.process_pool import process_pool

SCRIPT = """
import os, sys, time
from pathlib import Path
from scmpr_ros.process_pool import process_pool

def work(folder):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)

if __name__ == "__main__":
    with process_pool(2) as pool:
        list(pool.map(work, [sys.argv[1]] * 2))
"""


def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script, began = tmp_path / "script.py", tmp_path / "began"
    script.write_text(SCRIPT)
    began.mkdir()
    root = str(Path(__file__).resolve().parents[1])
    parent = subprocess.Popen(
        [sys.executable, str(script), str(began)], env={**os.environ, "PYTHONPATH": root}
    )
    _until(lambda: len(list(began.iterdir())) == 2)
    parent.kill()
    parent.wait()
    workers = [int(path.name) for path in began.iterdir()]
    _until(lambda: not any(map(_runs, workers)))


def test_each_keeps_to_one_core_and_the_environment_is_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with process_pool(1) as pool:
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result(60) == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    with pytest.raises(ConfigError, match="0 processes do nothing"), process_pool(0):
        pass


def _until(condition, timeout_s: float = 30.0) -> None:
    give_up = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    """Whether a process is there and more than an entry that nobody has read."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
