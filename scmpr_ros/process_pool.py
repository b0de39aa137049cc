"""A pool of single-threaded worker processes."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

from scmpr_ros.errors import ConfigError

Task = TypeVar("Task")
Result = TypeVar("Result")


@contextmanager
def process_pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Run `jobs` worker processes with one thread each: more would only compete for the cores.

    On an error, tasks that have not started are cancelled. Workers exit when this process dies.
    """
    if jobs < 1:
        raise ConfigError(f"{jobs} processes do nothing: at least 1")
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, initializer=_start_worker)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def run_all(
    work: Callable[[Task], Result], tasks: Sequence[Task], jobs: int, what: str, unit: str
) -> list[Result]:
    """Results of the work on each task, in order: in this process if there is one task or job only.

    jobs: processes at the most. what: description of the progress bar. unit: what it counts.
    The first error is raised at once, and tasks that have not started are dropped.
    """
    if jobs == 1 or len(tasks) < 2:
        return [work(task) for task in tqdm(tasks, what, unit=unit, disable=not tasks)]
    with process_pool(min(jobs, len(tasks))) as pool:
        futures = [pool.submit(work, task) for task in tasks]
        for future in tqdm(as_completed(futures), what, len(futures), unit=unit):
            future.result()
        return [future.result() for future in futures]


def _start_worker() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in worker processes only"
    from threadpoolctl import threadpool_limits  # of an extra

    threading.Thread(target=_exit_with, args=(parent.sentinel,), daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = "1"  # for libraries that are loaded later
    threadpool_limits(1)  # for those that the main module has loaded already


def _exit_with(parent_sentinel: int) -> None:
    """Exit when the parent process dies."""
    multiprocessing.connection.wait([parent_sentinel])
    os._exit(1)
