"""Cooperative cancellation: long work asks, between its steps, whether its result is still wanted.

Whoever starts the work wraps it in `cancellable`; loops call `raise_if_cancelled`, which does
nothing outside such a block. Both belong to the current thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Cancelled(Exception):  # noqa: N818 - not an error: somebody wanted it
    """The work was cancelled. No `ScmprError`: code that skips bad input must not swallow it."""


_is_cancelled: ContextVar[Callable[[], bool]] = ContextVar("is_cancelled", default=lambda: False)


@contextmanager
def cancellable(is_cancelled: Callable[[], bool]) -> Iterator[None]:
    """Let `raise_if_cancelled` raise inside the block once `is_cancelled()` returns True."""
    token = _is_cancelled.set(is_cancelled)
    try:
        yield
    finally:
        _is_cancelled.reset(token)


def raise_if_cancelled() -> None:
    """Raise Cancelled if the work in this thread was cancelled; costs well below a microsecond."""
    if _is_cancelled.get()():
        raise Cancelled
