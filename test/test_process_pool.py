"""Worker processes use one thread each and end with their parent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from scmpr_ros.errors import ConfigError
from scmpr_ros.process_pool import process_pool, run_all

ROOT = str(Path(__file__).resolve().parents[1])
SLEEP = """
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
COUNT_THREADS = """
import os
import numpy as np  # loads BLAS in each worker before anything else runs there
from threadpoolctl import threadpool_info
from scmpr_ros.process_pool import process_pool

def threads():
    np.ones((500, 500)) @ np.ones((500, 500))
    return [library["num_threads"] for library in threadpool_info()], os.environ["OMP_NUM_THREADS"]

if __name__ == "__main__":
    with process_pool(1) as pool:
        (worker, variable), (own, _) = pool.submit(threads).result(60), threads()
        print(set(worker), variable, set(own), os.environ["OMP_NUM_THREADS"])
"""


def start(script: Path, text: str, *arguments: Path, **environment: str) -> subprocess.Popen[str]:
    script.write_text(text)
    return subprocess.Popen(
        [sys.executable, str(script), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": ROOT, **environment}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_workers_exit_when_their_parent_is_killed(tmp_path: Path) -> None:
    started = tmp_path / "started"
    started.mkdir()
    parent = start(tmp_path / "script.py", SLEEP, started)
    wait_until(lambda: len(list(started.iterdir())) == 2)
    parent.kill()
    parent.wait()
    workers = [int(path.name) for path in started.iterdir()]
    wait_until(lambda: not any(map(is_running, workers)))


def test_workers_use_one_thread_and_the_parent_keeps_its_own(tmp_path: Path) -> None:
    parent = start(tmp_path / "script.py", COUNT_THREADS, OMP_NUM_THREADS="2")
    assert parent.communicate(timeout=60)[0] == "{1} 1 {2} 2\n"


def test_a_pool_needs_a_process() -> None:
    with pytest.raises(ConfigError, match="0 processes do nothing"), process_pool(0):
        pass


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_order_and_the_first_error_is_raised(tmp_path: Path, jobs: int) -> None:
    run = partial(subprocess.check_output, shell=True, text=True, cwd=tmp_path)
    assert run_all(run, ["sleep 0.5; echo a", "echo b"], jobs, "running", "command") == [
        "a\n",
        "b\n",
    ]
    assert run_all(run, [], jobs, "running", "command") == []
    commands = ["exit 3", *(f"sleep 0.2; touch {number}" for number in range(30))]
    with pytest.raises(subprocess.CalledProcessError, match="exit 3"):
        run_all(run, commands, jobs, "running", "command")
    assert len(list(tmp_path.iterdir())) < 10, "without working on what has not started"


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    give_up = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
