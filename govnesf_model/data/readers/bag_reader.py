"""A bag on disk, opened as seldom as can be: opening costs many times what reading an image does.

    bag = Bag(path)
    with bag.open() as reader: ...                     # rosbags' AnyReader
    message = bag.message("/camera/image", time)

A `Bag` can be pickled and used by several threads and processes; each has its own open file.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from govnesf_model.data.posed_scene import SceneError

MOST_OPEN = 8  # bags per thread; the one used longest ago is closed
# rosbags has an error class per storage and lets those of sqlite3 and struct through.
_FOREIGN_ERRORS = ("rosbags", "sqlite3", "struct", "zstandard")


class Bag:
    """A bag.

    Args:
        path: what rosbags opens: a folder with metadata.yaml, or a single file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def open(self) -> Iterator[object]:
        """Give the open reader.

        Raises:
            SceneError: the bag cannot be read; the message says what to do.
        """
        try:
            yield _OPEN.reader(self.path)
        except SceneError:
            raise
        except Exception as error:
            _OPEN.forget(self.path)
            foreign = type(error).__module__.split(".")[0] in _FOREIGN_ERRORS
            if foreign or isinstance(error, OSError):
                raise _unreadable(self.path, error) from error
            raise

    def message(self, topic: str, time: int) -> object:
        """Return the message of a topic that was recorded at a time in nanoseconds.

        Raises:
            SceneError: the bag cannot be read, or has no such message.
        """
        with self.open() as reader:
            connections = [c for c in reader.connections if c.topic == topic]
            for connection, _, data in reader.messages(connections, start=time, stop=time + 1):
                return reader.deserialize(data, connection.msgtype)
        raise SceneError(f"{self.path} lost the message of {topic} at {time}")


class _OpenBags(threading.local):
    """The readers of one thread: sqlite3 ties a connection to the thread that made it."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.held: OrderedDict[Path, tuple[int, object]] = OrderedDict()
        self.of_parent: OrderedDict | None = None

    def reader(self, path: Path) -> object:
        if self.process != os.getpid():
            # A forked process shares file positions with its parent: neither use nor close them.
            self.of_parent, self.held, self.process = self.held, OrderedDict(), os.getpid()
        changed = path.stat().st_mtime_ns
        if path in self.held and self.held[path][0] != changed:
            self.forget(path)
        if path not in self.held:
            self.held[path] = (changed, _opened(path))
        self.held.move_to_end(path)
        while len(self.held) > MOST_OPEN:
            self.forget(next(iter(self.held)))
        return self.held[path][1]

    def forget(self, path: Path) -> None:
        _, reader = self.held.pop(path, (0, None))
        if reader is not None:
            reader.close()


_OPEN = _OpenBags()


def _opened(path: Path) -> object:
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    # Bags of older distros carry no definitions of their messages; these never changed.
    reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_HUMBLE))
    reader.open()
    return reader


def _unreadable(path: Path, error: Exception) -> SceneError:
    return SceneError(
        f"{path} cannot be read as a bag: {' '.join(str(error).split())} (a recording that was cut "
        "off is mended by `ros2 bag reindex` or `mcap recover`)"
    )
