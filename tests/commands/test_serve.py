"""A serving process gives the memory of its pages back."""

from __future__ import annotations

import subprocess
import sys

import pytest

# As a server under load: threads that each make pages of 300 dpi and smaller pictures of them, and drop them again.
_LOAD = """
import threading, time
import numpy as np
from backend.commands.serve import give_back_pages

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

def client():
    for _ in range(3):
        page = np.ones((3508, 2480, 3), np.uint8)
        halves = page[::2, ::2].copy()
        steps = [np.ones(2**20, np.uint8) for _ in range(6)]
        del page
        time.sleep(0.01)

{prepare}
before = resident()
clients = [threading.Thread(target=client) for _ in range(16)]
for one in clients:
    one.start()
for one in clients:
    one.join()
print(resident() - before)
"""


def left_behind(prepare: str) -> float:
    """MB that are still resident when the pages of 16 threads are gone."""
    script = _LOAD.format(prepare=prepare)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True)
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the resident memory on Linux only")
def test_the_memory_of_pages_goes_back_to_the_system() -> None:
    kept = left_behind("")
    if kept < 200:
        pytest.skip("this C library keeps little without being told")
    assert left_behind("give_back_pages()") < kept / 2
