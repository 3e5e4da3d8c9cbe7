"""Work in chunks that fit: where memory runs out, it goes on in smaller ones.

    chunks = FittingChunks(8192)
    for rows, part in chunks.run(len(points), lambda rows: look_up(points[rows])):
        found[rows] = part

Other programs share a robot's GPU; what fitted a minute ago need not fit now.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

Result = TypeVar("Result")
_LEAST = 64  # rows; work that fails on so few needs memory for something else


class FittingChunks:
    """Remembers the size of chunk that worked.

    Args:
        size: rows at once, to begin with.

    Attributes:
        size: rows at once as of now.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, count: int, work: Callable[[slice], Result]) -> Iterator[tuple[slice, Result]]:
        """Yield the rows and the result of each chunk, in order.

        Args:
            count: rows in all.
            work: called with some rows; called again with fewer when it runs out of memory.

        Raises:
            torch.OutOfMemoryError: there is no memory for the fewest rows either.
        """
        start = 0
        while start < count:
            rows = slice(start, min(start + self.size, count))
            try:
                result = work(rows)
            except torch.OutOfMemoryError:
                if rows.stop - rows.start <= _LEAST:
                    raise
                self.size = max(_LEAST, (rows.stop - rows.start) // 2)
                result = None
            if result is None:  # outside of the handler, which holds on to what was allocated
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            yield rows, result
            start = rows.stop
