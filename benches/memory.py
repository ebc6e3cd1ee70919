"""Peak anonymous memory of a piece of work, above the input and the imports.

The work runs in a process of its own, which makes the input, does the same work on a few rows (so
that whatever is imported or started on demand is there) and then waits; this process looks at its
``RssAnon`` every millisecond while the real work runs. Linux only; elsewhere the answer is None.
"""

import select
import subprocess
import sys
import time
from pathlib import Path

INTERVAL = 0.001


def anonymous_bytes(pid):
    """Resident anonymous bytes of a process; None when it is gone or the system cannot tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    found = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(found[0].split()[1]) * 1024 if found else None


def watch(process, done):
    """Highest anonymous bytes of `process` until ``done()``."""
    peak = 0
    while not done():
        now = anonymous_bytes(process.pid)
        if now is None:
            break
        peak = max(peak, now)
        time.sleep(INTERVAL)
    return peak


def peak_of_contender(job, contender, rows, folder):
    """Peak bytes above input and imports of one contender of a job, and its seconds."""
    process = subprocess.Popen(
        [sys.executable, __file__, job, contender, str(rows), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"{job}, {contender}: ended before it was ready")
        before = anonymous_bytes(process.pid)
        process.stdin.write("go\n")
        process.stdin.flush()
        peak = watch(process, _has_line(process.stdout))
        elapsed = process.stdout.readline()
        process.stdin.close()
    if process.returncode:
        raise RuntimeError(f"{job}, {contender}: failed in its own process")
    return None if before is None else max(peak - before, 0), float(elapsed)


def _has_line(stream):
    return lambda: bool(select.select([stream], [], [], 0)[0])


def peak_of_command(arguments):
    """Peak anonymous bytes of a command, all of them, and its seconds."""
    start = time.perf_counter()
    with subprocess.Popen(arguments) as process:
        peak = watch(process, lambda: process.poll() is not None)
    elapsed = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(f"{arguments[:4]} failed with code {process.returncode}")
    return peak, elapsed


def main(job, contender, rows, folder):
    """Body of the process that is watched."""
    import gc

    from jobs import MAKERS

    job = MAKERS[job](int(rows), Path(folder))
    run = job.contenders[contender]
    job.dispose(run(job.few()))
    data = job.make()
    gc.collect()
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    result = run(data)
    print(time.perf_counter() - start, flush=True)
    sys.stdin.readline()
    job.dispose(result)


if __name__ == "__main__":
    main(*sys.argv[1:])
