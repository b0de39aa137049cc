"""Cancelling long work in a thread, and the loops that heed it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from scmpr_ros.cancellation import Cancelled, cancellable, raise_if_cancelled
from scmpr_ros.datasets.drive import FrameReader
from scmpr_ros.errors import ScmprError


def test_raises_only_inside_a_cancelled_block() -> None:
    cancelled = threading.Event()
    with cancellable(cancelled.is_set):
        raise_if_cancelled()
        cancelled.set()
        with pytest.raises(Cancelled):
            raise_if_cancelled()
    raise_if_cancelled()


def test_belongs_to_its_thread() -> None:
    with cancellable(lambda: True), ThreadPoolExecutor(1) as pool:
        pool.submit(raise_if_cancelled).result(5)


def test_reading_frames_stops_and_is_not_taken_for_a_bad_frame() -> None:
    """`skip_bad` skips user errors; a cancellation is none."""
    assert not issubclass(Cancelled, ScmprError)
    read: list[int] = []
    with cancellable(lambda: len(read) == 2), pytest.raises(Cancelled):
        for frame, _ in FrameReader(range(10), lambda frame: frame, skip_bad=True):
            read.append(frame)
    assert read == [0, 1]
