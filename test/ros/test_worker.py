"""One thread, a bounded queue, and futures that always come to an end."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from scmpr_ros.ros.worker import Worker


def test_runs_in_order_and_hands_results_over() -> None:
    worker: Worker[int] = Worker("test", capacity=100)
    futures = [worker.submit(lambda i=i: i * i) for i in range(50)]
    assert [f.result(5) for f in futures] == [i * i for i in range(50)]
    assert worker.stop(5)
    assert worker.submit(lambda: 1).cancelled()


def test_full_queue_drops_its_oldest() -> None:
    worker: Worker[str] = Worker("test", capacity=2)
    gate, started = threading.Event(), threading.Event()

    def hold() -> str:
        started.set()
        gate.wait(5)
        return "held"

    running = worker.submit(hold)
    assert started.wait(5)
    waiting = [worker.submit(lambda i=i: str(i)) for i in range(4)]
    gate.set()
    assert running.result(5) == "held"
    assert [f.result(5) for f in waiting[2:]] == ["2", "3"]
    assert all(f.cancelled() for f in waiting[:2])
    assert worker.stop(5)


def test_errors_belong_to_their_job() -> None:
    worker: Worker[float] = Worker("test", capacity=2)
    with pytest.raises(ZeroDivisionError):
        worker.submit(lambda: 1 / 0).result(5)
    assert worker.submit(lambda: 1.0).result(5) == 1.0
    assert worker.stop(5)


def test_stop_cancels_what_waits_and_tells_of_what_runs() -> None:
    worker: Worker[None] = Worker("test", capacity=5)
    gate, started = threading.Event(), threading.Event()

    def hold() -> None:
        started.set()
        gate.wait(5)

    worker.submit(hold)
    assert started.wait(5)
    waiting = worker.submit(lambda: None)
    assert not worker.stop(0.05)
    with pytest.raises(CancelledError):
        waiting.result(1)
    gate.set()
    began = time.monotonic()
    assert worker.stop(5) and time.monotonic() - began < 4
