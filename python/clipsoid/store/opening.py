"""Opening an embedding set: its files are found, each by the reader of its format, and agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from clipsoid._batch import CARRIERS
from clipsoid.errors import DTypeError, MismatchError, StoreError
from clipsoid.store.base import Shard, Store
from clipsoid.store.files import Place
from clipsoid.store.paths import MODELS, AnyPath, find_files
from clipsoid.store.remote.path import RemotePath

#: What opening a file gives: a shard, a header, or in its place why there is none.
Opened = TypeVar("Opened")

#: Names of Arrow IPC files and streams; Feather is one since its version 2.
ARROW = (".arrow", ".feather", ".ipc")

#: Formats, by the suffix of the file.
SUFFIXES = (".npy", ".npz", ".parquet", ".safetensors", *ARROW, *MODELS)


def open_store(path: AnyPath, *, key: str | None = None, dtype: str | None = None) -> Store:
    """Open an embedding set: every header is read and checked, no row is.

    Parameters
    ----------
    path : str, Path, or list or tuple of these
        A file (``.npy``, ``.npz``, ``.parquet``, ``.safetensors``; Arrow IPC: ``.arrow``,
        ``.feather``, ``.ipc``; what ``torch.save`` wrote: ``.pt``, ``.pth``); a folder, read
        recursively and sorted by name, with numbers in names as numbers; a brace pattern such as
        ``img_emb_{00000..00041}.npy``; a glob pattern; a URL of one of these (``s3://``,
        ``gs://``, ``hf://``, ``http(s)://``), but for Arrow; or several of these.
    key : str, optional
        The member (``.npz``), tensor (``.safetensors``, ``.pt``) or column (``.parquet``, Arrow)
        that holds the embeddings; needed where a file has several.
    dtype : str, optional
        Element type that every shard must have. ``"bfloat16"`` also says that the 2-byte void or
        uint16 elements of an ``.npy`` or ``.npz`` file are bfloat16, which numpy cannot express.

    Returns
    -------
    Store
        The set.

    Raises
    ------
    StoreError
        If a file is missing, truncated, of another format, or lacks `key`.
    DTypeError
        If the elements are of another type; nothing is ever converted.
    ShapeError
        If an array is not ``(n, d)``.
    MismatchError
        If two shards differ in dimension.
    UnavailableError
        If a URL or an Arrow file needs a package that is not installed.
    """
    check_wanted(dtype)
    files = find_files(path, SUFFIXES)
    return store_of(open_each(files, partial(open_shard, key=key, dtype=dtype)))


def store_of(opened: Iterable[Shard]) -> Store:
    """Make one set of shards, which must have rows, all of one dimension."""
    shards = list(opened)
    if not any(shard.count for shard in shards):
        where = shards[0].path if len(shards) == 1 else f"{shards[0].path} and the files after it"
        raise StoreError(f"{where}: found 0 rows, wanted one or more")
    # Without any row or embedding, a parquet list column cannot tell its dimension: dim is 0.
    known = next((shard for shard in shards if shard.dim), None)
    if known is None:
        raise StoreError(f"{shards[0].path}: every embedding is null; wanted one or more")
    for shard in shards:
        if shard.dim not in (0, known.dim):
            raise MismatchError(
                f"{shard.path}: rows have {shard.dim} features, but those of {known.path} "
                f"have {known.dim}; wanted one dimension"
            )
    return Store(tuple(replace(shard, dim=known.dim) for shard in shards), known.dim)


def open_each(
    files: Sequence[tuple[Place, str]], open_one: Callable[[Place, str], Opened]
) -> list[Opened]:
    """Open files in order; remote ones side by side."""
    if any(isinstance(file, RemotePath) for file, _ in files):
        from clipsoid.store.remote.together import open_together

        return open_together(files, open_one)
    return [open_one(file, name) for file, name in files]


def open_shard(path: Place, name: str, *, key: str | None, dtype: str | None) -> Shard:
    """Open one file of a set, whose `name` in it is given; see `open_store`."""
    # Each reader is imported when a file of its kind is met: parquet brings polars with it.
    match path.suffix.lower():
        case ".npy":
            from clipsoid.store.npy import open_npy

            return open_npy(path, name, key=key, dtype=dtype)
        case ".npz":
            from clipsoid.store.npz import open_npz

            return open_npz(path, name, key=key, dtype=dtype)
        case ".parquet":
            from clipsoid.store.parquet import open_parquet

            return open_parquet(path, name, key=key, dtype=dtype)
        case ".safetensors":
            from clipsoid.store.safetensors import open_safetensors

            return open_safetensors(path, name, key=key, dtype=dtype)
        case suffix if suffix in MODELS:
            from clipsoid.store.torch_file import open_torch

            return open_torch(path, name, key=key, dtype=dtype)
        case suffix if suffix in ARROW:
            from clipsoid.store.arrow import open_arrow

            return open_arrow(path, name, key=key, dtype=dtype)
        case suffix:
            raise StoreError(
                f"{path}: the suffix is {suffix or 'missing'!r}; wanted {', '.join(SUFFIXES)}"
            )


def check_wanted(dtype: str | None) -> None:
    """Refuse an element type that there is none of."""
    if dtype is not None and dtype not in CARRIERS:
        raise DTypeError(f"dtype is {dtype!r}; wanted one of {', '.join(CARRIERS)}")


def check_dtype(label: str, found: str, wanted: str | None) -> str:
    """Return `found`, a name in ``CARRIERS``, if it is what the caller asked for."""
    if wanted is not None and found != wanted:
        raise DTypeError(f"{label}: elements are {found}; wanted {wanted}, as dtype= says")
    return found


def wanted_key(path: Place, key: str | None, found: Sequence[str], kind: str) -> str:
    """Choose the array of a file that holds several: `key`, or the only one there is."""
    listed = ", ".join(found) if found else "none"
    if key is None:
        if len(found) == 1:
            return found[0]
        found_text = f"holds {len(found)} {kind}s ({listed})"
        problem = f"{found_text}; wanted one, or its name as the key (key=, --key)"
    elif key in found:
        return key
    else:
        problem = f"has no {kind} {key!r}; found {listed}"
    raise StoreError(f"{path}: {problem}")
