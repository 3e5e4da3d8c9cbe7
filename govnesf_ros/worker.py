"""One thread that does the heavy work; when it falls behind, the newest item wins.

worker = NewestWorker("mapper", add_keyframe, replaced=count_as_skipped)
worker.submit(frame)          # never blocks
worker.call(scene_map.reset)  # runs between two items; returns its result
"""

import threading
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class NewestWorker(Generic[Item]):
    """A thread with room for one waiting item of each key.

    Args:
        name: of the thread, for debuggers.
        process: called with each item on the thread.
        replaced: called, on the submitting thread, with an item that a newer one pushed out, and
            by `stop` with the item that was still waiting.
        failed: called with the item and the exception when `process` raises; the thread lives on.
        key: items of one key push each other out; different keys take turns. One key by default.
    """

    def __init__(
        self,
        name: str,
        process: Callable[[Item], object],
        replaced: Callable[[Item], object] = lambda item: None,
        failed: Callable[[Item, Exception], object] = lambda item, error: None,
        key: Callable[[Item], Hashable] = lambda item: None,
    ) -> None:
        self._process = process
        self._key = key
        self._replaced = replaced
        self._failed = failed
        self._wake = threading.Condition()
        self._items: dict[Hashable, Item] = {}  # the key that has waited longest comes first
        self._calls: deque[tuple[Future, Callable[[], object]]] = deque()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: Item) -> None:
        """Leave an item for the thread, in place of one that it has not begun."""
        with self._wake:
            if self._stopping:
                pushed_out = item
            else:
                key = self._key(item)
                pushed_out = self._items.get(key)
                self._items[key] = item  # in the place of the one before, if any
                self._wake.notify()
        if pushed_out is not None:
            self._replaced(pushed_out)

    def call(self, function: Callable[[], Result], timeout: float | None = None) -> Result:
        """Run a function on the thread before its next item and return what it returns.

        Raises:
            TimeoutError: the thread was busy for longer than the timeout; nothing was run.
            RuntimeError: the worker was stopped.
        """
        future: Future = Future()
        with self._wake:
            if self._stopping:
                raise RuntimeError("the worker has stopped")
            self._calls.append((future, function))
            self._wake.notify()
        try:
            return future.result(timeout)
        except FutureTimeout:
            # A call that has begun is no longer pending: its result is worth the wait.
            if future.cancel():
                raise TimeoutError(f"the thread was busy for more than {timeout} s") from None
            return future.result()

    def discard(self) -> None:
        """Give up the items that wait, if any."""
        with self._wake:
            pushed_out = list(self._items.values())
            self._items.clear()
        for item in pushed_out:
            self._replaced(item)

    def stop(self, timeout: float | None = None) -> bool:
        """End the thread after what it is doing now; return whether it ended in time."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self.discard()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._stopping or self._calls or self._items)
                if self._stopping:
                    for future, _ in self._calls:
                        future.cancel()
                    return
                call = self._calls.popleft() if self._calls else None
                item = None
                if call is None:
                    item = self._items.pop(next(iter(self._items)))
            if call is not None:
                _run_call(*call)
            else:
                try:
                    self._process(item)
                except Exception as error:
                    self._failed(item, error)


def _run_call(future: Future, function: Callable[[], object]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except Exception as error:
        future.set_exception(error)
