"""One thread for the heavy calls of a node, so that its executor stays free for everything else."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Worker(Generic[T]):
    """Runs jobs in order in one thread; a full queue drops its oldest waiting job.

    A dropped job's future is cancelled. A job's exception is its future's: a job whose future
    nobody looks at must report its own failures.
    """

    def __init__(self, name: str, capacity: int) -> None:
        """Start the thread. capacity: how many jobs may wait behind the one that runs."""
        self._capacity = capacity
        self._waiting: deque[tuple[Callable[[], T], Future[T]]] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        # A daemon: a job that outlives `stop`, like a map build of minutes, must not hold exit up.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Queue a job; its future carries the result."""
        future: Future[T] = Future()
        with self._changed:
            if self._stopped:
                future.cancel()
                return future
            if len(self._waiting) >= self._capacity:
                self._waiting.popleft()[1].cancel()
            self._waiting.append((job, future))
            self._changed.notify()
        return future

    def stop(self, timeout_s: float) -> bool:
        """Cancel what waits and let the running job end; False if it outlasts `timeout_s`."""
        with self._changed:
            self._stopped = True
            while self._waiting:
                self._waiting.popleft()[1].cancel()
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or bool(self._waiting))
                if self._stopped:
                    return
                job, future = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job())
            except BaseException as error:  # the future hands it to whoever waits
                future.set_exception(error)
