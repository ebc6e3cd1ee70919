"""What the environment says of a service: credentials, and where its server is."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from clipsoid.errors import StoreError
from clipsoid.store import open_store
from store.makers import numbers
from store.remote import Bucket

ROWS = numbers(100, 32, "float32")
REFUSED = r"access is refused \(403 Forbidden\); wanted credentials of the environment"


@pytest.fixture
def stored(bucket: Bucket, tmp_path: Path) -> Bucket:
    np.save(tmp_path / "x.npy", ROWS)
    bucket.put_file(tmp_path / "x.npy")
    return bucket


def test_the_environment_decides(stored: Bucket, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    with pytest.raises(StoreError, match=REFUSED):
        open_store(stored.url("x.npy"))
    monkeypatch.delenv("AWS_SKIP_SIGNATURE")
    assert open_store(stored.url("x.npy")).count == len(ROWS)
    # Nobody listens there: whether http is spoken at all shows in the message.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.2:9")
    with pytest.raises(StoreError, match=r"cannot be read: .*builder error"):
        open_store(stored.url("x.npy"))
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    with pytest.raises(StoreError, match=r"cannot be read: .*error sending request"):
        open_store(stored.url("x.npy"))


SERVERS = {
    "s3": ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
    "gs": ("GOOGLE_BASE_URL",),
    "hf": ("HF_ENDPOINT",),
}


@pytest.mark.parametrize(
    "value", ["storage", "//storage", "ftp://storage", "http://", "http://a b"]
)
@pytest.mark.parametrize(
    ("scheme", "name"), [(s, n) for s, names in SERVERS.items() for n in names]
)
def test_a_server_that_is_none(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, scheme: str, name: str, value: str
):
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    monkeypatch.setenv(name, value)
    said = f"{name}={value.rstrip('/')}: wanted the URL of a server, such as https://host:9000"
    for path in ("datasets/owner/x.npy", "datasets/owner/folder"):
        with pytest.raises(StoreError, match=re.escape(said)):
            open_store(f"{scheme}://{path}")


def test_a_web_server_that_is_none():
    with pytest.raises(StoreError, match=r"^http://a b: is not the URL of a server: invalid "):
        open_store("http://a b/x.npy")


@pytest.mark.parametrize(
    ("scheme", "name", "value", "reason"),
    [
        ("s3", "AWS_SKIP_SIGNATURE", "perhaps", 'failed to parse "perhaps" as boolean'),
        ("gs", "GOOGLE_SKIP_SIGNATURE", "perhaps", 'failed to parse "perhaps" as boolean'),
        ("gs", "GOOGLE_APPLICATION_CREDENTIALS", "none.json", "Unable to open service account"),
        ("gs", "GOOGLE_SERVICE_ACCOUNT_KEY", '{"private_key": "se', "Unable to decode service acc"),
    ],
)
def test_what_a_client_cannot_be_made_of(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, scheme: str, name: str, value: str, reason: str
):
    monkeypatch.setenv(name, value)
    with pytest.raises(StoreError) as caught:
        open_store(f"{scheme}://bucket/x.npy")
    said = str(caught.value)
    assert said.startswith(f"{scheme}://bucket/x.npy: cannot be reached as the environment says: ")
    assert reason in said and "Debug" not in said and "private_key" not in said
