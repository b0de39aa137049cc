"""Time the named stages of a query.

The pipeline marks its stages with `stage`. Times are recorded inside `recording_stages` only;
elsewhere a mark costs less than a microsecond.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

_NOT_RECORDING: AbstractContextManager[None] = nullcontext()


class StageTimes:
    """Seconds per stage, in order of first appearance.

    synchronise: called at both ends of a stage, so that GPU work counts for the stage that
        launched it.
    """

    def __init__(self, synchronise: Callable[[], None] = lambda: None) -> None:
        self.seconds: dict[str, float] = {}
        self._synchronise = synchronise

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the duration of a block to a stage."""
        self._synchronise()
        began_s = time.perf_counter()
        try:
            yield
        finally:
            self._synchronise()
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began_s


_recorder: ContextVar[StageTimes | None] = ContextVar("stage times", default=None)


def stage(name: str) -> AbstractContextManager[None]:
    """Mark a block as a stage."""
    recorder = _recorder.get()
    return _NOT_RECORDING if recorder is None else recorder.measure(name)


@contextmanager
def recording_stages(times: StageTimes) -> Iterator[StageTimes]:
    """Record all stages inside a block in `times`."""
    token = _recorder.set(times)
    try:
        yield times
    finally:
        _recorder.reset(token)
