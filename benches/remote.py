"""A pass over shards behind a server on loopback, against plain concurrent ranged reads."""

import asyncio
import json
import multiprocessing
import os
import statistics
import threading
import time
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import rounds
import shards

ROWS = 200_000

#: Seconds before an answer begins, as of an object store in the same place.
LATENCY = 0.02

#: A pass may take this much longer than the same reads by the library alone.
MARK = 1.25


class Handler(BaseHTTPRequestHandler):
    """Ranges of local files; ``/count`` says what was sent since it was last asked."""

    protocol_version = "HTTP/1.1"
    guard = threading.Lock()
    sent = in_flight = most = 0

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path == "/count":
            body = json.dumps({"sent": Handler.sent, "most": Handler.most}).encode()
            Handler.sent = Handler.most = 0
            self._head(200, len(body))
            self.wfile.write(body)
            return
        with Handler.guard:
            Handler.in_flight += 1
            Handler.most = max(Handler.most, Handler.in_flight)
        try:
            self._range()
        finally:
            with Handler.guard:
                Handler.in_flight -= 1

    def _range(self):
        time.sleep(LATENCY)
        with open(self.path, "rb") as file:  # noqa: PTH123
            size = os.fstat(file.fileno()).st_size
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            start, stop = int(first), min(int(last) + 1, size)
            self._head(206, stop - start, f"bytes {start}-{stop - 1}/{size}")
            self.wfile.flush()
            at = start
            while at < stop:
                at += os.sendfile(self.connection.fileno(), file.fileno(), at, stop - at)
        with Handler.guard:
            Handler.sent += stop - start

    def _head(self, status, length, span=None):
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if span:
            self.send_header("Content-Range", span)
            self.send_header("ETag", '"same"')
        self.end_headers()


def serve(pipe):
    """Body of the server's process: it shares no interpreter lock with who reads."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    pipe.send(server.server_port)
    server.serve_forever()


@contextmanager
def serving():
    """Address of a server that runs until the block ends."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def by_clipsoid(store):
    """All batches, in order."""
    for batch in store.batches():
        del batch


def by_library(address, paths, in_flight, block):
    """The same bytes, by as many requests at one time, in no order and kept nowhere."""
    import obstore
    from obstore.store import HTTPStore

    client = HTTPStore(address, client_options={"allow_http": True})

    async def run():
        free = asyncio.Semaphore(in_flight)

        async def one(path, start, stop):
            async with free:
                await obstore.get_range_async(client, str(path)[1:], start=start, end=stop)

        sizes = {path: path.stat().st_size for path in paths}
        await asyncio.gather(
            *(
                one(path, start, min(start + block, size))
                for path, size in sizes.items()
                for start in range(128, size, block)
            )
        )

    asyncio.run(run())


def measure(scale, folder):
    """Seconds of both, and what the server saw of a pass."""
    from clipsoid.store import open_store
    from clipsoid.store.remote.ahead import BLOCK_BYTES, IN_FLIGHT

    rows = ROWS // scale
    paths = shards.make_shards(folder / f"remote-{rows}", rows)
    with serving() as address:
        store = open_store([f"{address}{path}" for path in paths])

        def count():
            with urllib.request.urlopen(f"{address}/count") as answer:
                return json.load(answer)

        count()
        by_clipsoid(store)
        seen = count()
        turns = {
            "clipsoid": lambda: rounds.seconds_of(lambda: by_clipsoid(store)),
            "obstore": lambda: rounds.seconds_of(
                lambda: by_library(address, paths, IN_FLIGHT, BLOCK_BYTES)
            ),
        }
        seconds = rounds.take_turns(turns, 5)
    needed = sum(path.stat().st_size - 128 for path in paths)
    return {
        "job": "pass over a server, float16",
        "rows": rows,
        "seconds": {name: statistics.median(times) for name, times in seconds.items()},
        "ratio": rounds.ratio(seconds, "clipsoid", "obstore"),
        "mark": MARK,
        "in_flight": seen["most"],
        "in_flight_mark": 8,
        "fetched": seen["sent"] / needed,
    }
