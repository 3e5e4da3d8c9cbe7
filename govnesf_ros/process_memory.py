"""The C library's share of the node's memory: how much of what is free it keeps for later.

keep_few_arenas()     # once, before threads begin
give_back()           # after much was freed
"""

import ctypes
import sys
from contextlib import suppress

_M_ARENA_MAX = -8  # of mallopt, in GNU's malloc.h


def keep_few_arenas() -> None:
    """Let all threads allocate from two pools.

    By default each thread has one of its own, and none of them lends what it holds free: a map
    that is made on one thread, sent on another and asked on six more grew to half its size again.
    """
    with suppress(OSError, AttributeError):  # another C library than GNU's
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def give_back() -> None:
    """Return freed memory to the system and to the GPU."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
