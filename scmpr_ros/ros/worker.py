"""One thread for a node's heavy work, so that its executor stays free for everything else."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from scmpr_ros.cancellation import Cancelled, cancellable

T = TypeVar("T")


class Job:
    """One unit of work in the worker's thread."""

    def __init__(self, work: Callable[[Job], Any], droppable: bool) -> None:
        self.work, self.droppable = work, droppable
        self.future: Future[Any] = Future()
        self._lock = threading.Lock()
        self._is_cancelled = False

    def is_cancelled(self) -> bool:
        """Whether the result is no longer wanted."""
        return self._is_cancelled

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Guard the use of the node's topics and state; raises Cancelled if it is too late.

        Cancelling waits for the end of the block, so a cancelled job never publishes.
        """
        with self._lock:
            if self._is_cancelled:
                raise Cancelled
            yield

    def cancel(self, reason: str) -> None:
        """Fail the future with `Cancelled(reason)`; the work goes on until it notices."""
        with self._lock:
            self._is_cancelled = True
        with suppress(InvalidStateError):
            self.future.set_exception(Cancelled(reason))

    def run(self) -> None:
        """Do the work and settle the future, unless it was cancelled meanwhile."""
        with suppress(InvalidStateError), cancellable(self.is_cancelled):
            try:
                result = self.work(self)
            except BaseException as error:  # the future hands it to whoever waits
                self.future.set_exception(error)
            else:
                self.future.set_result(result)


class Worker:
    """Runs jobs in order in one thread that lasts as long as its node.

    Jobs are accepted between `resume` and `cancel`. A cancelled job may still be running after
    `resume`; the next one waits for it, so there are never two at a time.
    """

    def __init__(self, name: str, capacity: int = 1) -> None:
        """Start the thread, paused. capacity: number of droppable jobs that may wait."""
        self.capacity = capacity
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._changed = threading.Condition()
        self._paused = True
        self._stopped = False
        # A daemon: work that does not notice its cancellation must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Job], T], droppable: bool = False) -> Future[T]:
        """Queue a job and return the future of its result; while paused it fails with `Cancelled`.

        droppable: the job may be dropped, with its future cancelled, in favour of newer ones.
        """
        job = Job(work, droppable)
        dropped: list[Job] = []
        with self._changed:
            paused = self._paused
            if not paused:
                self._waiting.append(job)
                queue = [waiting for waiting in self._waiting if waiting.droppable]
                dropped = queue[: max(0, len(queue) - self.capacity)]
                for old in dropped:
                    self._waiting.remove(old)
                self._changed.notify_all()
        if paused:
            job.cancel("the node is not active")
        for old in dropped:  # outside the lock: futures call their listeners
            old.future.cancel()
        return job.future

    def resume(self) -> None:
        """Accept jobs."""
        with self._changed:
            self._paused = False

    def cancel(self, reason: str) -> None:
        """Cancel all jobs and refuse new ones; their futures fail with `Cancelled(reason)`.

        When this returns no job publishes any more.
        """
        with self._changed:
            self._paused = True
            jobs = [*self._waiting, *([self._running] if self._running else [])]
            self._waiting.clear()
        for job in jobs:
            job.cancel(reason)

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait until no job runs or waits; False if that takes longer than `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._running is None and not self._waiting, timeout_s
            )

    def stop(self, timeout_s: float) -> bool:
        """Cancel all jobs and end the thread; False if the running job outlasts `timeout_s`."""
        self.cancel("the node is shutting down")
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._running = None
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._stopped or bool(self._waiting))
                if self._stopped:
                    return
                job = self._running = self._waiting.popleft()
            job.run()
            del job  # else its work, and the network it holds, would live until the next one
