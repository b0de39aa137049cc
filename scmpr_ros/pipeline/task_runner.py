"""Run a function over many tasks: here, in local processes, or on the workers of a Dask cluster.

Tasks write their results into files and return small summaries, so it does not matter where they
run, as long as all workers see the same folders. A worker that dies costs its tasks only: they are
run again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol, TypeVar

import torch
from tqdm import tqdm

from scmpr_ros.cancellation import raise_if_cancelled
from scmpr_ros.errors import ConfigError, ScmprError

Task = TypeVar("Task")
Result = TypeVar("Result")
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many tasks are done, and how many there are."""

_RETRIES = 3
_POLL_S = 0.5


class TaskRunner(Protocol):
    """Runs tasks; see `task_runner`."""

    def run(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], what: str
    ) -> list[Result]:
        """Return the results in the order of the tasks. Raises the first error of a task."""


class InProcess:
    """Runs tasks one after the other in this thread.

    single_threaded: let tasks use one core, as in processes: sums of floats depend on how many
        threads share them.
    """

    def __init__(self, single_threaded: bool, progress: Progress | None = None) -> None:
        self._single_threaded, self._progress = single_threaded, progress

    def run(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], what: str
    ) -> list[Result]:
        """Return the results in the order of the tasks."""
        results = []
        with _one_thread() if self._single_threaded else nullcontext():
            for task in tqdm(tasks, what, unit="tile", disable=_no_bar(tasks)):
                raise_if_cancelled()
                results.append(function(task))
                if self._progress is not None:
                    self._progress(what, len(results), len(tasks))
        return results


class OnDask:
    """Runs tasks on the workers of a Dask client."""

    def __init__(self, client: Any, progress: Progress | None = None) -> None:
        self._client, self._progress = client, progress

    def run(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], what: str
    ) -> list[Result]:
        """Return the results in the order of the tasks."""
        futures = [
            self._client.submit(_run_in_worker, function, task, pure=False, retries=_RETRIES)
            for task in tasks
        ]
        try:
            for done, future in enumerate(self._finished(futures, what), start=1):
                if isinstance(result := future.result(), ScmprError):
                    raise result
                if self._progress is not None:
                    self._progress(what, done, len(tasks))
            return [future.result() for future in futures]
        except ScmprError:
            raise
        except Exception as error:
            if type(error).__module__.startswith("distributed"):
                raise ConfigError(f"the Dask cluster failed while {what}: {error}") from error
            raise
        finally:
            self._client.cancel(futures)

    def _finished(self, futures: Sequence[Any], what: str) -> Iterator[Any]:
        """Yield futures as they finish; look for a cancellation meanwhile."""
        from distributed import wait

        waiting = list(futures)
        with tqdm(total=len(futures), desc=what, unit="tile", disable=_no_bar(futures)) as bar:
            while waiting:
                raise_if_cancelled()
                try:
                    wait(waiting, timeout=_POLL_S, return_when="FIRST_COMPLETED")
                except TimeoutError:
                    continue
                finished = [future for future in waiting if future.done()]
                waiting = [future for future in waiting if not future.done()]
                bar.update(len(finished))
                yield from finished


@contextmanager
def task_runner(
    scheduler: str, workers: int, single_threaded: bool, progress: Progress | None = None
) -> Iterator[TaskRunner]:
    """Open the runner that a user asked for.

    scheduler: address of a Dask scheduler, such as tcp://host:8786; empty for this machine.
    workers: local processes, without a scheduler; 1 runs in this process.
    single_threaded: of tasks in this process; those of others always are.

    Raises ConfigError for fewer than one process, if Dask is needed and missing, or if the
    scheduler does not answer.
    """
    if not scheduler and workers < 1:
        raise ConfigError(f"{workers} workers: at least 1 process must do the work")
    if not scheduler and workers == 1:
        yield InProcess(single_threaded, progress)
        return
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ConfigError(
            'tiles in several processes need Dask: pip install "scmpr_ros[cluster]", or set '
            "workers to 1"
        ) from error
    logging.getLogger("distributed").setLevel(logging.WARNING)  # it tells each worker's life
    if scheduler:
        try:
            client = Client(scheduler, timeout="4s")
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"no Dask scheduler answers at {scheduler}: start one with `dask scheduler`"
            ) from error
        with client:
            yield OnDask(client, progress)
        return
    with (
        _environment_restored(),
        LocalCluster(
            n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield OnDask(client, progress)


@contextmanager
def _environment_restored() -> Iterator[None]:
    """Undo what Dask does to the environment of this process: one thread, and for good."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def local_workers(tasks: int) -> int:
    """Number of local processes that suits a number of tasks: 1 where Dask is not installed."""
    try:
        import distributed  # noqa: F401
    except ImportError:
        return 1
    return max(1, min(tasks, os.cpu_count() or 1))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Have torch compute with a single thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _run_in_worker(function: Callable[[Task], Result], task: Task) -> Result | ScmprError:
    """Run a task in a worker, whose siblings use the other cores.

    A ScmprError is returned, as Dask would run a task that raises it again.
    """
    with _one_thread():
        try:
            return function(task)
        except ScmprError as error:
            return error


def _no_bar(tasks: Sequence[object]) -> bool | None:
    """No progress bar for a single task, nor where nobody looks."""
    return True if len(tasks) < 2 else None
