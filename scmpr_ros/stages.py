"""Named stages of a query, for whoever wants to know where the time goes.

The pipeline says which stage it is in; nobody listens unless `recording_stages` is active, and then
saying so costs less than a microsecond.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

_NOBODY: AbstractContextManager[None] = nullcontext()


class StageTimes:
    """Seconds that each stage took, in the order of their first appearance.

    synchronise: called at both ends of a stage, so that a GPU's work counts where it was asked for.
    """

    def __init__(self, synchronise: Callable[[], None] = lambda: None) -> None:
        self.seconds: dict[str, float] = {}
        self._synchronise = synchronise

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the time that a block takes to a stage."""
        self._synchronise()
        began_s = time.perf_counter()
        try:
            yield
        finally:
            self._synchronise()
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began_s


_listener: ContextVar[StageTimes | None] = ContextVar("stage times", default=None)


def stage(name: str) -> AbstractContextManager[None]:
    """Mark a block as a stage."""
    listener = _listener.get()
    return _NOBODY if listener is None else listener.measure(name)


@contextmanager
def recording_stages(times: StageTimes) -> Iterator[StageTimes]:
    """Let `times` hear of all stages inside a block."""
    token = _listener.set(times)
    try:
        yield times
    finally:
        _listener.reset(token)
