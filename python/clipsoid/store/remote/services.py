"""Which service a URL belongs to, and how it is reached: clients, keys, credentials, patience."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from clipsoid._extras import check_cloud
from clipsoid.errors import StoreError
from clipsoid.store.remote.path import check_url

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "hf", "http", "https")

#: A connection, an answer that stands still, and a request as a whole. A block that takes longer
#: than that comes through a line of less than 15 kB/s.
TIMEOUTS = {"connect_timeout": "10s", "read_timeout": "30s", "timeout": "300s"}

#: Requests that fail for a reason that may pass, such as status 500, are made again: after about
#: 0.2, 0.4, 0.8 seconds and so on, 25 seconds in all.
RETRIES = 7
FIRST_PAUSE = timedelta(milliseconds=200)
PATIENCE = timedelta(seconds=180)

_SERVER = re.compile(r"https?://([\w.-]+|\[[\da-fA-F:.]+\])(:\d+)?(/.*)?")

#: What the clients read from the environment; another value is another client.
_PREFIXES = ("AWS_", "GOOGLE_", "HF_")


def locate(url: str) -> tuple[ObjectStore, str]:
    """Return the client that reaches `url`, and its key there.

    Raises
    ------
    StoreError
        If the URL names no file of a service that is known, or what the environment says of the
        service is malformed.
    UnavailableError
        If obstore is not installed.
    """
    check_cloud(url)
    from obstore.exceptions import BaseError

    scheme, rest = url.split("://", 1)
    scheme = scheme.lower()
    place, _, key = rest.partition("/")
    if scheme not in SCHEMES:
        listed = ", ".join(f"{known}://" for known in SCHEMES)
        raise StoreError(f"{url}: the scheme is {scheme}://; wanted a local path or {listed}")
    check_url(url)
    kind = scheme
    if scheme == "hf":
        repository, revision, path = split_hub(url)
        kind, place = "http", hub_endpoint()
        key = f"datasets/{repository}/resolve/{revision}/{path}"
    elif scheme in ("http", "https"):
        kind, place, key = "http", f"{scheme}://{place}", unquote(key)
    try:
        return client(kind, place, _environment()), key
    except BaseError as error:
        # "Generic GCS error: ..." and a dump of structures.
        reason = str(error).partition("\n")[0].partition(" error: ")[2]
        raise StoreError(f"{url}: cannot be reached as the environment says: {reason}") from None


def split_hub(url: str) -> tuple[str, str, str]:
    """Repository, revision and path of ``hf://datasets/owner/name@revision/path``."""
    kind, *parts = url.split("://", 1)[1].split("/")
    if kind != "datasets" or len(parts) < 2 or not all(parts[:2]):
        raise StoreError(f"{url}: wanted hf://datasets/OWNER/NAME/PATH, or NAME@REVISION")
    owner, name = parts[:2]
    name, _, revision = name.partition("@")
    return f"{owner}/{name}", revision or "main", "/".join(parts[2:])


def hub_endpoint() -> str:
    """Where the Hugging Face Hub is."""
    return _server("HF_ENDPOINT") or "https://huggingface.co"


def hub_token() -> str | None:
    """Token of the Hugging Face Hub: of the environment, or of the file where its tools keep it."""
    if token := os.environ.get("HF_TOKEN"):
        return token.strip()
    home = os.environ.get("HF_HOME") or Path("~/.cache/huggingface").expanduser()
    try:
        return Path(os.environ.get("HF_TOKEN_PATH") or Path(home, "token")).read_text().strip()
    except OSError:
        return None


def _server(name: str) -> str:
    """URL of a server that a variable of the environment names; empty if it does not."""
    url = os.environ.get(name, "").rstrip("/")
    # What is no host would end a request of the client's in a panic.
    if url and not _SERVER.fullmatch(url):
        raise StoreError(f"{name}={url}: wanted the URL of a server, such as https://host:9000")
    return url


def _on_loopback(server: str) -> bool:
    """Whether plain http may be spoken: elsewhere it would show credentials and rows to others."""
    return urlsplit(server).hostname in ("localhost", "127.0.0.1", "::1")


def _environment() -> frozenset[tuple[str, str]]:
    return frozenset(item for item in os.environ.items() if item[0].startswith(_PREFIXES))


@lru_cache(maxsize=64)
def client(kind: str, place: str, environment: frozenset[tuple[str, str]]) -> ObjectStore:
    """Client of a bucket or a host, in an environment; it is kept, for its connections are."""
    from obstore.store import GCSStore, HTTPStore, S3Store

    options: Any = dict(TIMEOUTS)
    retry: Any = {
        "max_retries": RETRIES,
        "backoff": {"init_backoff": FIRST_PAUSE, "base": 2},
        "retry_timeout": PATIENCE,
    }
    if kind == "s3":
        server = _server("AWS_ENDPOINT_URL_S3") or _server("AWS_ENDPOINT_URL")
        allowed = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")
        options["allow_http"] = allowed or _on_loopback(server)
        return S3Store(place, client_options=options, retry_config=retry)
    if kind == "gs":
        options["allow_http"] = _on_loopback(_server("GOOGLE_BASE_URL"))
        return GCSStore(place, client_options=options, retry_config=retry)
    options["allow_http"] = place.startswith("http://")
    if place == hub_endpoint() and (token := hub_token()):
        options["default_headers"] = {"Authorization": f"Bearer {token}"}
    try:
        return HTTPStore(place, client_options=options, retry_config=retry)
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise StoreError(f"{place}: is not the URL of a server: {reason}") from None
