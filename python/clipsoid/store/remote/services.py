"""Which service a URL belongs to, and how it is reached: clients, keys, credentials, patience."""

from __future__ import annotations

import os
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

#: What the clients read from the environment; another value is another client.
_PREFIXES = ("AWS_", "GOOGLE_", "HF_")


def locate(url: str) -> tuple[ObjectStore, str]:
    """Return the client that reaches `url`, and its key there.

    Raises
    ------
    StoreError
        If the URL names no file of a service that is known.
    UnavailableError
        If obstore is not installed.
    """
    check_cloud(url)
    scheme, rest = url.split("://", 1)
    scheme = scheme.lower()
    place, _, key = rest.partition("/")
    if scheme not in SCHEMES:
        listed = ", ".join(f"{known}://" for known in SCHEMES)
        raise StoreError(f"{url}: the scheme is {scheme}://; wanted a local path or {listed}")
    check_url(url)
    if scheme == "hf":
        repository, revision, path = split_hub(url)
        key = f"datasets/{repository}/resolve/{revision}/{path}"
        return client("http", hub_endpoint(), _environment()), key
    if scheme in ("http", "https"):
        return client("http", f"{scheme}://{place}", _environment()), unquote(key)
    return client(scheme, place, _environment()), key


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
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def hub_token() -> str | None:
    """Token of the Hugging Face Hub: of the environment, or of the file where its tools keep it."""
    if token := os.environ.get("HF_TOKEN"):
        return token.strip()
    home = os.environ.get("HF_HOME") or Path("~/.cache/huggingface").expanduser()
    try:
        return Path(os.environ.get("HF_TOKEN_PATH") or Path(home, "token")).read_text().strip()
    except OSError:
        return None


def _environment() -> frozenset[tuple[str, str]]:
    return frozenset(item for item in os.environ.items() if item[0].startswith(_PREFIXES))


@lru_cache(maxsize=64)
def client(kind: str, place: str, environment: frozenset[tuple[str, str]]) -> ObjectStore:
    """Client of a bucket or a host; it is kept, for its connections are."""
    from obstore.store import GCSStore, HTTPStore, S3Store

    options: Any = dict(TIMEOUTS)
    retry: Any = {
        "max_retries": RETRIES,
        "backoff": {"init_backoff": FIRST_PAUSE, "base": 2},
        "retry_timeout": PATIENCE,
    }
    if kind == "s3":
        known = dict(environment)
        endpoint = known.get("AWS_ENDPOINT_URL_S3") or known.get("AWS_ENDPOINT_URL") or ""
        # Elsewhere, plain http would show credentials and rows to the network.
        loopback = urlsplit(endpoint).hostname in ("localhost", "127.0.0.1", "::1")
        options["allow_http"] = loopback or known.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")
        return S3Store(place, client_options=options, retry_config=retry)
    if kind == "gs":
        return GCSStore(place, client_options=options, retry_config=retry)
    options["allow_http"] = place.startswith("http://")
    if place == hub_endpoint() and (token := hub_token()):
        options["default_headers"] = {"Authorization": f"Bearer {token}"}
    return HTTPStore(place, client_options=options, retry_config=retry)
