"""A plain web server on loopback: files of a folder, whole or in part; and a stub of the Hub."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Web(ThreadingHTTPServer):
    """Answers ranges of the files in `folder`; `seen` are the paths and headers asked for."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.seen: list[tuple[str, dict[str, str]]] = []
        #: Whether ranges are understood, and whether files have an ETag.
        self.ranges, self.tags = True, True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Web

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.server.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        parts = unquote(url.path).strip("/").split("/")
        match parts:
            case ["api", "datasets", owner, name, "tree", revision, *within]:
                self._tree(Path(owner, name, revision), "/".join(within))
                return
            case ["datasets", owner, name, "resolve", revision, *rest]:
                parts = [owner, name, revision, *rest]
        path = self.server.folder.joinpath(*parts)
        if not path.is_file():
            self._answer(404, b"no such file", {})
            return
        size = path.stat().st_size
        headers = {"ETag": f'"{path.stat().st_mtime_ns}"'} if self.server.tags else {}
        asked = self.headers.get("Range") if self.server.ranges else None
        with path.open("rb") as file:
            if asked is None:
                self._answer(200, file.read(), headers)
                return
            first, last = asked.removeprefix("bytes=").split("-")
            start = int(first) if first else max(0, size - int(last))
            stop = min(int(last) + 1, size) if first and last else size
            if start >= size:
                self._answer(416, b"", {"Content-Range": f"bytes */{size}"})
                return
            file.seek(start)
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
            self._answer(206, file.read(stop - start), headers)

    do_HEAD = do_GET

    def _tree(self, repository: Path, within: str) -> None:
        root = self.server.folder / repository
        files = [path for path in sorted((root / within).rglob("*")) if path.is_file()]
        listed = [
            {
                "type": "file",
                "path": path.relative_to(root).as_posix(),
                "size": path.stat().st_size,
                "oid": "0" * 40,
            }
            for path in files
        ]
        if root.is_dir():
            self._answer(200, json.dumps(listed).encode(), {})
        else:
            self._answer(404, b'{"error": "Repository not found"}', {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@contextmanager
def web_serving(folder: Path) -> Iterator[Web]:
    """Run the server until the block ends."""
    with Web(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
