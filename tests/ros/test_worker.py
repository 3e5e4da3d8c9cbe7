import threading
import time

import pytest

from govnesf_ros.worker import NewestWorker


@pytest.fixture
def gate():
    """A worker that processes one item per release, and what became of each item."""
    done, replaced, release = [], [], threading.Semaphore(0)

    def process(item):
        release.acquire()
        done.append(item)

    worker = NewestWorker("test", process, replaced.append)
    yield worker, done, replaced, release
    release.release(100)
    worker.stop(2.0)


def test_the_newest_item_wins_when_the_worker_is_behind(gate) -> None:
    worker, done, replaced, release = gate
    worker.submit(1)
    wait_until(lambda: not worker._items)  # begun
    begin = time.perf_counter()
    for item in (2, 3, 4):
        worker.submit(item)
    assert time.perf_counter() - begin < 0.1  # submitting never waits
    assert replaced == [2, 3]
    release.release(2)
    wait_until(lambda: done == [1, 4])


def test_keys_take_turns_and_push_out_only_their_own() -> None:
    done, replaced, release = [], [], threading.Semaphore(0)

    def process(item):
        release.acquire()
        done.append(item)

    worker = NewestWorker("test", process, replaced.append, key=lambda item: item[0])
    worker.submit("a0")
    wait_until(lambda: not worker._items)
    for item in ("b1", "a1", "b2", "a2", "b3"):
        worker.submit(item)
    assert replaced == ["b1", "a1", "b2"]
    release.release(3)
    wait_until(lambda: done == ["a0", "b3", "a2"])
    worker.stop(2.0)


def test_calls_run_between_items_on_the_thread(gate) -> None:
    worker, done, _, release = gate
    worker.submit(1)
    wait_until(lambda: not worker._items)
    worker.submit(2)
    threading.Timer(0.05, release.release).start()
    seen = worker.call(lambda: (list(done), threading.current_thread().name), timeout=2.0)
    assert seen == ([1], "test")


def test_a_call_that_never_began_is_not_run_later(gate) -> None:
    worker, done, _, release = gate
    worker.submit(1)
    wait_until(lambda: not worker._items)
    ran = []
    with pytest.raises(TimeoutError, match="busy"):
        worker.call(lambda: ran.append(1), timeout=0.05)
    release.release()
    wait_until(lambda: done == [1])
    assert worker.call(lambda: "alive", timeout=2.0) == "alive"
    assert ran == []


def test_exceptions_reach_the_caller_and_do_not_end_the_thread() -> None:
    failed = []
    worker = NewestWorker("test", lambda item: 1 / item, failed=lambda i, e: failed.append((i, e)))
    worker.submit(0)
    wait_until(lambda: failed)
    assert isinstance(failed[0][1], ZeroDivisionError)
    with pytest.raises(KeyError):
        worker.call(lambda: {}["missing"], timeout=2.0)
    assert worker.call(lambda: 7, timeout=2.0) == 7
    assert worker.stop(2.0)


def test_a_stopped_worker_gives_back_what_waits(gate) -> None:
    worker, _, replaced, release = gate
    worker.submit(1)
    wait_until(lambda: not worker._items)
    worker.submit(2)
    release.release(1)
    assert worker.stop(2.0)
    worker.submit(3)
    assert 3 in replaced
    with pytest.raises(RuntimeError):
        worker.call(lambda: None)


def wait_until(condition, seconds: float = 2.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)
