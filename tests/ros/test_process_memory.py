"""Memory of the C library, in a process of its own: the settings hold for as long as it lives."""

import subprocess
import sys

SCRIPT = """
import sys, threading
import numpy as np
from govnesf_ros.process_memory import give_back, keep_few_arenas

def own():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024

if sys.argv[1] == "few":
    keep_few_arenas()
before = own()

def work():
    # Small enough for an arena, and one in a hundred stays: as in a map.
    blocks = [np.ones(5000) for _ in range(1500)]
    kept.append(blocks[::100])

kept = []
for _ in range(8):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
held = own() - before
give_back()
print(held, own() - before)
"""


def mebibytes(arenas: str) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, arenas], capture_output=True, text=True, check=True
    )
    held, left = map(float, done.stdout.split())
    return held, left


def test_what_was_freed_is_given_back() -> None:
    held, left = mebibytes("few")
    needed = 8 * 15 * 5000 * 8 / 2**20
    assert left < needed + 10
    assert left <= held
