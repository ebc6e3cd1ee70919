"""A server that speaks S3, on loopback: it counts what is asked of it, and fails when told to."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote
from urllib.request import Request, urlopen

from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

Environ = dict[str, Any]
Start = Callable[..., Any]

#: Only somebody may replace a file: who it is, as S3 is told, and as Google is.
SOMEBODY = "AWS4-HMAC-SHA256 Credential=somebody/20250101/us-east-1/s3/aws4_request"
TOKEN = "token-of-somebody"


@dataclass
class Get:
    """One GET of an object: its key, and the bytes that were sent (``start:stop``)."""

    key: str
    start: int
    stop: int


@dataclass
class Server:
    """What the server saw, and what it shall do.

    Attributes
    ----------
    fail : callable
        Of the number of a request for an object (from 0) and its key: an HTTP status to answer
        with, ``"cut"`` to break off in the middle of the body, ``"slow"`` to wait, or None.
    """

    address: str
    backend: Any
    gets: list[Get] = field(default_factory=list)
    listings: int = 0
    requests: int = 0
    in_flight: int = 0
    most: int = 0
    hold: float = 0.0
    fail: Callable[[int, str], int | str | None] = lambda number, key: None
    released: threading.Event = field(default_factory=threading.Event)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        _as_s3(environ)
        key = environ["PATH_INFO"].strip("/").partition("/")[2]
        if environ["REQUEST_METHOD"] != "GET" or not key:
            self.listings += environ["REQUEST_METHOD"] == "GET"
            return self.backend(environ, start)
        with self.guard:
            number, self.requests = self.requests, self.requests + 1
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
        try:
            return self._answer(environ, start, key, self.fail(number, key))
        finally:
            with self.guard:
                self.in_flight -= 1

    def _answer(
        self, environ: Environ, start: Start, key: str, failure: int | str | None
    ) -> Iterable[bytes]:
        time.sleep(self.hold)
        if isinstance(failure, int):
            start(f"{failure} Told", [("Content-Type", "text/plain")])
            return [b"told to fail"]
        if failure == "slow":
            self.released.wait(60)
        seen: dict[str, Any] = {}

        def begin(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            seen.update(status=status, headers={k.lower(): v for k, v in headers})
            return start(status, headers, *rest)

        body = b"".join(self.backend(environ, begin))
        span = seen["headers"].get("content-range", "").removeprefix("bytes ").split("/")[0]
        first = int(span.split("-")[0]) if span else 0
        if failure == "cut":
            body = body[: len(body) // 2]
        if seen["status"].startswith("20"):
            with self.guard:
                self.gets.append(Get(key, first, first + len(body)))
        return [body]

    def reset(self) -> None:
        """Do not fail, and do not wait."""
        self.fail = lambda number, key: None
        self.hold = 0.0
        self.released.set()
        self.released = threading.Event()

    def forget(self) -> None:
        """Begin to count anew."""
        self.gets.clear()
        self.most = self.listings = self.requests = 0

    def fetched(self) -> dict[str, list[tuple[int, int]]]:
        """Bytes that were sent of every key, in order of position."""
        spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for get in self.gets:
            spans[get.key].append((get.start, get.stop))
        return {key: sorted(found) for key, found in spans.items()}

    def total(self) -> int:
        """Bytes that were sent."""
        return sum(get.stop - get.start for get in self.gets)

    def twice(self) -> int:
        """Bytes that were sent more than once."""
        found = 0
        for spans in self.fetched().values():
            reached = 0
            for start, stop in spans:
                found += max(0, min(stop, reached) - start)
                reached = max(reached, stop)
        return found


def _as_s3(environ: Environ) -> None:
    """Make of a request to Google's XML API one to S3: the same, but for quotes and signature.

    Google's clients quote ``-``, ``.`` and ``/`` in names, and sign with a token.
    """
    path, mark, query = environ["RAW_URI"].partition("?")
    environ["RAW_URI"] = environ["REQUEST_URI"] = quote(unquote(path)) + mark + query
    if environ.get("HTTP_AUTHORIZATION") == f"Bearer {TOKEN}":
        environ["HTTP_AUTHORIZATION"] = SOMEBODY


@dataclass
class Bucket:
    """Files on the server."""

    server: Server
    name: str
    scheme: str = "s3"

    def url(self, key: str = "") -> str:
        return f"{self.scheme}://{self.name}/{key}".rstrip("/")

    def environment(self) -> dict[str, str]:
        """Variables that lead a client here, by the scheme."""
        if self.scheme == "gs":
            return {"GOOGLE_BASE_URL": self.server.address, "GOOGLE_BEARER_TOKEN": TOKEN}
        return {
            "AWS_ENDPOINT_URL": self.server.address,
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }

    def put(self, key: str, content: bytes) -> str:
        """Upload a file; its URL is returned."""
        self._ask("PUT", f"/{quote(key)}", content)
        return self.url(key)

    def put_file(self, path: Path, folder: str = "") -> str:
        return self.put(f"{folder}{path.name}", path.read_bytes())

    def put_folder(self, folder: Path, under: str = "set") -> str:
        """Upload all files of a folder; the URL of the prefix is returned."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{under}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        return self.url(under)

    def delete(self, key: str) -> None:
        self._ask("DELETE", f"/{quote(key)}")

    def create(self) -> None:
        self._ask("PUT", "")

    def _ask(self, method: str, path: str, content: bytes = b"") -> None:
        # As a form, which urllib would say it is, the server would parse it.
        headers = {"Content-Type": "application/octet-stream", "Authorization": SOMEBODY}
        url = f"{self.server.address}/{self.name}{path}"
        request = Request(url, content, headers, method=method)
        urlopen(request).close()


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    """Run the server until the block ends."""
    server = Server("", create_backend_app("s3"))
    http = make_server("127.0.0.1", 0, server, threaded=True, request_handler=_Quiet)
    server.address = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        http.shutdown()
        thread.join()
        http.server_close()
