"""One thread, a bounded queue, futures that always settle, and jobs that cannot publish late."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from scmpr_ros.cancellation import Cancelled, raise_if_cancelled
from scmpr_ros.ros.worker import Job, Worker


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker("test", capacity=2)
    worker.resume()
    yield worker
    assert worker.stop(5)


class Held:
    """A job that runs until it is released, and whether it published then."""

    def __init__(self, worker: Worker) -> None:
        self.started, self.gate, self.published = threading.Event(), threading.Event(), False
        self.future = worker.submit(self._run)
        assert self.started.wait(5)

    def _run(self, job: Job) -> str:
        self.started.set()
        assert self.gate.wait(5)
        with job.publishing():
            self.published = True
        return "held"


def test_runs_in_order_and_returns_results(worker: Worker) -> None:
    futures = [worker.submit(lambda job, i=i: i * i) for i in range(50)]
    assert [f.result(5) for f in futures] == [i * i for i in range(50)]


def test_full_queue_drops_the_oldest_droppable_job(worker: Worker) -> None:
    held = Held(worker)
    kept = worker.submit(lambda job: "kept")
    waiting = [worker.submit(lambda job, i=i: str(i), droppable=True) for i in range(4)]
    held.gate.set()
    assert held.future.result(5) == "held" and held.published
    assert kept.result(5) == "kept"
    assert [f.result(5) for f in waiting[2:]] == ["2", "3"]
    for dropped in waiting[:2]:
        with pytest.raises(CancelledError):
            dropped.result(5)


def test_errors_belong_to_their_job(worker: Worker) -> None:
    with pytest.raises(ZeroDivisionError):
        worker.submit(lambda job: 1 / 0).result(5)
    assert worker.submit(lambda job: 1.0).result(5) == 1.0


def test_cancelled_jobs_settle_at_once_and_never_publish(worker: Worker) -> None:
    held, order = Held(worker), []
    waiting = worker.submit(lambda job: order.append("waiting"))
    worker.cancel("enough")
    for future in (held.future, waiting):
        with pytest.raises(Cancelled, match="enough"):
            future.result(1)
    with pytest.raises(Cancelled, match="not active"):
        worker.submit(lambda job: order.append("paused")).result(1)
    worker.resume()
    following = worker.submit(lambda job: order.append("following"))
    assert not worker.wait_until_idle(0.05) and not order, "one job at a time"
    held.gate.set()
    following.result(5)
    assert order == ["following"] and not held.published
    assert worker.wait_until_idle(5)


def test_cancelling_waits_for_a_publication_in_progress(worker: Worker) -> None:
    inside, leave, published = threading.Event(), threading.Event(), []

    def publish(job: Job) -> None:
        with job.publishing():
            inside.set()
            assert leave.wait(5)
            published.append(1)

    worker.submit(publish)
    assert inside.wait(5)
    canceller = threading.Thread(target=worker.cancel, args=("enough",))
    canceller.start()
    canceller.join(0.05)
    assert canceller.is_alive() and not published
    leave.set()
    canceller.join(5)
    assert published and not canceller.is_alive()


def test_long_work_notices_its_cancellation(worker: Worker) -> None:
    started = threading.Event()

    def work(job: Job) -> None:
        while True:
            started.set()
            raise_if_cancelled()

    future = worker.submit(work)
    assert started.wait(5)
    worker.cancel("enough")
    assert worker.wait_until_idle(5)
    with pytest.raises(Cancelled, match="enough"):
        future.result(0)


def test_stop_reports_a_job_that_goes_on() -> None:
    worker = Worker("test")
    worker.resume()
    held = Held(worker)
    assert not worker.stop(0.05)
    held.gate.set()
    assert worker.stop(5)
