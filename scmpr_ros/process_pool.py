"""Processes of our own that share out work of many parts."""

from __future__ import annotations

import multiprocessing.connection
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

from scmpr_ros.errors import ConfigError

Result = TypeVar("Result")


@contextmanager
def process_pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that each keep to one core: threads of matrix products would only wait there.

    After an error what has not begun yet is not begun. Processes whose parent was killed end, too.
    """
    if jobs < 1:
        raise ConfigError(f"{jobs} processes do nothing: at least 1")
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # read by each process when it loads its libraries
    pool = ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), initializer=_end_with_parent
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        os.environ.pop("OMP_NUM_THREADS")
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


def results(asked: Sequence[Future[Result]], what: str, unit: str) -> list[Result]:
    """What a pool's tasks give, in their order, with a progress bar; the first error ends it."""
    for done in tqdm(as_completed(asked), what, len(asked), unit=unit):
        done.result()
    return [future.result() for future in asked]


def _end_with_parent() -> None:
    """Do not go on alone: half a town a minute, for nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "this is for processes of a pool"
    threading.Thread(target=_wait_and_end, args=(parent.sentinel,), daemon=True).start()


def _wait_and_end(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
