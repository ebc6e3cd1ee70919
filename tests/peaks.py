"""Peak anonymous memory of a piece of work: a script that watches itself, in a process of its own.

Linux only: nothing else says how much of a process's memory is neither shared nor a file's.
"""

from __future__ import annotations

_BEFORE = """
import sys, threading, time

def look():
    global peak
    with open("/proc/self/status") as status:
        now = next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024
    peak = max(peak, now)

def watch():
    while True:
        look()
        time.sleep(0.0005)

peak = 0
"""

_BETWEEN = """
peak = 0
look()
before = peak
threading.Thread(target=watch, daemon=True).start()
"""

_AFTER = """
look()
print(peak - before)
"""


def watched(prepare: str, work: str) -> str:
    """Return a script that prints how much more memory `work` had than there was before it, in MiB.

    Parameters
    ----------
    prepare : str
        Python code that is run first: imports, and whatever is started on demand.
    work : str
        Python code that is watched every half millisecond, and whenever it calls ``look()``.
    """
    return "\n".join([_BEFORE, prepare, _BETWEEN, work, _AFTER])
