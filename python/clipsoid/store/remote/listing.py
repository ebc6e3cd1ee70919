"""From a URL that a user writes (file, prefix, glob pattern) to the files that it means."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import translate
from pathlib import PurePosixPath
from typing import Any

from clipsoid._extras import has_module
from clipsoid.errors import StoreError, UnavailableError
from clipsoid.store.remote.answers import explained
from clipsoid.store.remote.path import RemotePath
from clipsoid.store.remote.services import hub_endpoint, hub_token, locate, split_hub
from clipsoid.store.remote.session import Session

#: Characters that make a pattern.
MAGIC = re.compile(r"[*?[]")


def find_remote(url: str, suffixes: Sequence[str]) -> tuple[list[RemotePath], bool]:
    """Files of one URL without braces, in no order; whether the URL is one file's own.

    A key that ends in a known suffix is a file, and nothing is asked: that it is missing shows when
    it is opened. Anything else is a pattern, or a prefix that acts as a folder.

    Raises
    ------
    StoreError
        If it cannot be listed.
    """
    path = RemotePath(url)
    folder, pattern = _split(url)
    if not pattern and not url.endswith("/") and path.suffix.lower() in suffixes:
        locate(url)
        return [path], True
    if path.scheme in ("http", "https"):
        what = "a pattern" if pattern else "a folder"
        raise StoreError(
            f"{url}: is {what}, and web servers give no list of files; wanted the URL of a file "
            f"({', '.join(suffixes)}), or braces such as {{00..41}}"
        )
    start = len(folder.rstrip("/")) + 1
    return [
        file
        for file in below(RemotePath(folder))
        if not pattern or _matches(file.url[start:], pattern)
    ], False


def below(folder: RemotePath) -> list[RemotePath]:
    """Files below a folder that are not hidden, in no order.

    Raises
    ------
    StoreError
        If it cannot be listed.
    """
    url = folder.url.rstrip("/")
    keys = _keys_of_hub(url) if folder.scheme == "hf" else _keys(url)
    visible = (key for key in keys if not any(part.startswith(".") for part in key.split("/")))
    return [RemotePath(f"{url}/{key}") for key in visible]


def _split(url: str) -> tuple[str, list[str]]:
    """Folder before the first special character, and the parts of the pattern behind it."""
    scheme, rest = url.split("://", 1)
    special = MAGIC.search(rest)
    fixed = rest[: special.start()].rpartition("/")[0] if special else rest.rstrip("/")
    pattern = rest[len(fixed) :].lstrip("/").split("/") if special else []
    return f"{scheme}://{fixed}", pattern


def _matches(key: str, pattern: Sequence[str]) -> bool:
    """Whether a key matches, part by part; ``**`` stands for any number of folders."""
    parts = key.split("/")

    def rest(at: int, wanted: int) -> bool:
        if wanted == len(pattern):
            return at == len(parts)
        if pattern[wanted] == "**":
            if wanted + 1 == len(pattern):
                return at < len(parts)
            return any(rest(later, wanted + 1) for later in range(at, len(parts)))
        return (
            at < len(parts)
            and re.match(translate(pattern[wanted]), parts[at]) is not None
            and rest(at + 1, wanted + 1)
        )

    return rest(0, 0)


def _keys(folder: str) -> list[str]:
    """Keys below a folder of a bucket, relative to it."""
    client, prefix = locate(folder)

    async def listed() -> list[str]:
        import obstore

        try:
            found: Any = await obstore.list(client, prefix or None).collect_async()
        except Exception as error:
            raise explained(folder, error) from None
        return [str(item["path"]) for item in found]

    keys = Session().do(RemotePath(folder), listed())
    base = PurePosixPath(prefix)
    # Some tools make an empty object that stands for the folder.
    inside = [key for key in keys if PurePosixPath(key) != base]
    return [PurePosixPath(key).relative_to(base).as_posix() for key in inside]


@contextmanager
def _in_silence(name: str) -> Iterator[None]:
    """Keep a library from saying that it tries again: what comes of it is said once."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _keys_of_hub(folder: str) -> list[str]:
    """Paths below a folder of a dataset on the Hugging Face Hub, relative to it."""
    repository, revision, within = split_hub(folder)
    if not has_module("huggingface_hub"):
        raise UnavailableError(
            f"{folder}: listing it needs huggingface_hub, not installed here: "
            "pip install huggingface_hub"
        )
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    # Where no answer comes, the HTTP library in use raises errors of its own, which HfHubHTTPError
    # derives from; names that can be no dataset's, and answers that are no JSON, are ValueErrors.
    failures: Any = (*HfHubHTTPError.__bases__, OSError, ValueError)
    try:
        tree = HfApi(endpoint=hub_endpoint(), token=hub_token()).list_repo_tree(
            repository,
            within or None,
            recursive=True,
            revision=revision,
            repo_type="dataset",
        )
        with _in_silence("huggingface_hub"):
            paths = [item.path for item in tree if hasattr(item, "size")]
    except failures as error:
        line = str(error).strip().partition("\n")[0]
        raise StoreError(f"{folder}: cannot be listed: {line}") from None
    return [path.removeprefix(f"{within}/") for path in paths]
