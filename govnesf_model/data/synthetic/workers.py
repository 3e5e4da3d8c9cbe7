"""Worker processes for rooms.

    for result in map_in_processes(make_room, jobs, workers=2, ordered=True): ...

A worker is a fresh interpreter that imports this module and nothing of what started the command: a
fork would share open zips and the ray caster's threads, and the pools of the standard library run
the launching script again, which not every launcher survives. It reads jobs from its standard input
and ends when that ends, so it never outlives its parent, however that goes.
"""

import os
import pickle
import queue
import selectors
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

_START = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    "from govnesf_model.data.synthetic.workers import serve; serve()"
)
_HEADER = struct.Struct("<Q")


def map_in_processes(
    function: Callable[[Job], Result], jobs: Iterable[Job], workers: int, ordered: bool = False
) -> Iterator[Result]:
    """Yield the results of a function over jobs, made by worker processes of one thread each.

    Jobs are taken as workers get free, so they may be endless. Closing the iterator, or an
    exception anywhere, ends the workers.

    Args:
        function: importable by its module and name.
        jobs: picklable arguments.
        workers: processes.
        ordered: whether results come in the order of their jobs, at the price of keeping a few.

    Raises:
        ChildProcessError: a worker died; it is not started again.
        Exception: what a job raised.
    """
    pool = [_start() for _ in range(workers)]
    try:
        yield from _exchange(pool, function, enumerate(jobs), ordered)
    finally:
        for process in pool:
            process.kill()
        for process in pool:
            process.wait()
            process.stdin.close()
            process.stdout.close()


def _exchange(pool, function, jobs, ordered: bool):
    waiting = selectors.DefaultSelector()
    for process in pool:
        waiting.register(process.stdout, selectors.EVENT_READ, process)
    idle = list(pool)
    finished: dict[int, object] = {}
    given = due = 0
    more = True
    while True:
        # Results that wait for an earlier one are bounded: workers pause instead.
        while idle and more and given - due < 3 * len(pool):
            job = next(jobs, None)
            if job is None:
                more = False
                break
            _give(idle.pop(), (function, *job))
            given += 1
        if due == given and not more:
            return
        for key, _ in waiting.select():
            process = key.data
            index, good, value = _take(process)
            idle.append(process)
            if not good:
                raise value
            finished[index if ordered else due + len(finished)] = value
        while due in finished:
            yield finished.pop(due)
            due += 1


def _start() -> subprocess.Popen:
    # A session of its own: Ctrl-C is for the parent, which then ends its workers.
    return subprocess.Popen(
        [sys.executable, "-c", _START, *(path or os.getcwd() for path in sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def _give(process: subprocess.Popen, job: tuple) -> None:
    try:
        _send(process.stdin, pickle.dumps(job))
    except BrokenPipeError:
        raise ChildProcessError(_epitaph(process)) from None


def _take(process: subprocess.Popen):
    try:
        return pickle.loads(_receive(process.stdout))
    except EOFError:
        raise ChildProcessError(_epitaph(process)) from None


def _epitaph(process: subprocess.Popen) -> str:
    code = process.wait()
    if code < 0:
        how = f"was ended by {signal.Signals(-code).name}"
        advice = "was there too little memory? use fewer --workers"
    else:
        how = f"ended with code {code}"
        advice = "its last words are above; --workers 1 works without worker processes"
    return f"a worker process {how}; {advice}"


def serve() -> None:
    """Work on jobs from standard input until it ends; run by worker processes alone."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between the replies
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    while True:
        function, index, job = pickle.loads(jobs.get())
        try:
            reply = pickle.dumps((index, True, function(job)), pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            reply = pickle.dumps((index, False, _portable(error)))
        try:
            _send(replies, reply)
        except BrokenPipeError:
            os._exit(0)


def _listen(jobs: "queue.SimpleQueue[bytes]") -> None:
    stream = os.fdopen(0, "rb", closefd=False)
    try:
        while True:
            jobs.put(_receive(stream))
    except EOFError:
        os._exit(0)  # the parent is gone, and with it the use of an unfinished room


def _portable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception whose constructor wants more than its message
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _send(stream: BinaryIO, data: bytes) -> None:
    stream.write(_HEADER.pack(len(data)))
    stream.write(data)
    stream.flush()


def _receive(stream: BinaryIO) -> bytes:
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise EOFError
    (size,) = _HEADER.unpack(header)
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data
