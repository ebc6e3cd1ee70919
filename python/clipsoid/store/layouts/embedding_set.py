"""EmbeddingSet: what a path holds, by modality, with its metadata and what made it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clipsoid._checks import checked_count, checked_seed
from clipsoid._shown import Shown
from clipsoid.errors import (
    ClipsoidError,
    EmbedWarning,
    MismatchError,
    PairingWarning,
    StoreError,
)
from clipsoid.store.base import Shard, Store
from clipsoid.store.files import Place
from clipsoid.store.layouts.arrays import OPENAI_TEMPERATURE, encoder_of
from clipsoid.store.layouts.notes import notes_of
from clipsoid.store.layouts.pairing import (
    PairCheck,
    check_cosines,
    check_shards,
    paired_by_id,
    some_shards,
)
from clipsoid.store.layouts.recognise import Recognised, Side, recognise
from clipsoid.store.opening import check_wanted, open_each, open_shard, store_of
from clipsoid.store.origin import Origin, origin, read_manifest

if TYPE_CHECKING:
    from clipsoid.store.metadata import Metadata
    from clipsoid.store.paths import AnyPath

#: Pairs that tell whether all are pairs.
SAMPLE = 2_000

#: The layout of `clipsoid embed`, which its manifest tells from that of clip-retrieval.
MADE_BY_US = "clipsoid"


@dataclass(frozen=True, slots=True)
class EmbeddingSet(Shown):
    """An embedding set as its producer laid it out: one or two modalities, and what is known of it.

    Attributes
    ----------
    path : str
        As given; of several paths, the first.
    kind : str
        The layout: ``"clipsoid"``, ``"clip-retrieval"``, ``"DataComp"``, ``"NeMo Curator"``,
        ``"img2dataset"``, or the format of the files, such as ``"npy"`` or ``"npy + parquet"``.
    image, text : Store or None
        Rows of each modality.
    rows : Store or None
        Rows of which no name says the modality; the two others are then None.
    origin : Origin or None
        The model that made it, if the layout says so.
    arrays : tuple of str
        Names of the arrays, tensors or columns of the first file that may be embeddings.
    seen : tuple of str
        What looks wrong by names alone; `EmbeddingSet.notes` has all.
    """

    path: str
    kind: str
    image: Store | None = None
    text: Store | None = None
    rows: Store | None = None
    origin: Origin | None = None
    arrays: tuple[str, ...] = field(default=(), repr=False)
    seen: tuple[str, ...] = field(default=(), repr=False)

    @property
    def stores(self) -> dict[str, Store]:
        """The rows, by ``"image"`` and ``"text"``, or by ``"rows"``."""
        sides = {"image": self.image, "text": self.text, "rows": self.rows}
        return {name: store for name, store in sides.items() if store is not None}

    @property
    def encoder(self) -> str | None:
        """Name of the model, if it is known."""
        return None if self.origin is None else self.origin.encoder

    @property
    def temperature(self) -> float | None:
        """Temperature of the model's loss, if it is known."""
        return None if self.origin is None else self.origin.temperature

    @property
    def dim(self) -> int:
        """Features of a row."""
        return next(iter(self.stores.values())).dim

    @property
    def dtypes(self) -> frozenset[str]:
        """Element types that occur."""
        return frozenset[str]().union(*(store.dtypes for store in self.stores.values()))

    @property
    def notes(self) -> tuple[str, ...]:
        """What looks wrong; the footers of metadata files are read for it, one per shard."""
        return (*self.seen, *notes_of(self))

    def only(self) -> Store:
        """Return the rows of a set that has one modality.

        Raises
        ------
        StoreError
            If it has both.
        """
        found = self.stores
        if len(found) > 1:
            counts = " and ".join(f"{store.count} {name} rows" for name, store in found.items())
            raise StoreError(
                f"{self.path}: holds {counts}; wanted one modality (--modality image or text, "
                "or .image or .text of open_set)"
            )
        return next(iter(found.values()))

    def modality(self, name: str) -> Store:
        """Return the rows of ``"image"`` or ``"text"``.

        Raises
        ------
        StoreError
            If the set has none of that modality.
        """
        store = self.stores.get(name)
        if store is None:
            found = "rows of no known modality" if self.rows else ", ".join(self.stores)
            raise StoreError(f"{self.path}: found {found}, no {name} embeddings; wanted some")
        return store

    def pairs(self) -> tuple[Store, Store]:
        """Return images and texts that pair up, row by row.

        Shards must have the same numbers and as many rows on both sides. Where each side has an id
        column of its own (``uid``, ``id``, ``key``, ``sample_id`` or ``image_id``) and the ids of a
        shard are in another order, its texts come in the order of the images; they are held in
        memory then, one shard at a time. Headers are read, and these columns.

        Raises
        ------
        StoreError
            If the set lacks a modality.
        MismatchError
            If shards or counts differ, or an id is on one side only; file and row are named.
        """
        image, text = self.modality("image"), self.modality("text")
        check_shards(image, text)
        return image, paired_by_id(image, text)[0]

    def check_pairs(self, *, sample: int = SAMPLE, seed: int = 0) -> PairCheck:
        """Compare pairs with shuffled pairs: in an order that is right, pairs are nearer.

        Ids are compared in the shards that are looked at: 16 of them, spread over the set.

        Parameters
        ----------
        sample : int, default=2_000
            About as many pairs are read, from 16 places of the set.
        seed : int, default=0
            Of the places and of the shuffling.

        Returns
        -------
        PairCheck

        Raises
        ------
        StoreError, MismatchError
            As by `pairs`.

        Warns
        -----
        PairingWarning
            If the pairs of the sample are no nearer than shuffled ones.

        Examples
        --------
        >>> import numpy as np
        >>> from pathlib import Path
        >>> import clipsoid as cs
        >>> image, text, _ = cs.double_ellipsoid(500, seed=0)
        >>> np.savez("pairs.npz", image=image, text=text)
        >>> found = cs.open_set("pairs.npz").check_pairs()
        >>> found.is_paired, found.cosine > found.shuffled_cosine
        (True, True)
        >>> Path("pairs.npz").unlink()
        """
        image, text = self.modality("image"), self.modality("text")
        check_shards(image, text)
        some = some_shards(image, text)
        text_by_id, id_column = paired_by_id(*some)
        found = checked_pairs(some[0], text_by_id, self.path, id_column, sample, seed)
        return replace(found, count=image.count)

    def __repr__(self) -> str:
        """Kind, and rows of each modality."""
        found = ", ".join(f"{name}={store!r}" for name, store in self.stores.items())
        return f"EmbeddingSet({self.kind}, {found})"


def checked_pairs(
    image: Store,
    text: Store,
    name: str,
    id_column: str | None = None,
    sample: int = SAMPLE,
    seed: int = 0,
) -> PairCheck:
    """Check a sample of the pairs of two stores, and warn if they are none."""
    found = check_cosines(
        image,
        text,
        sample=checked_count("sample", sample),
        seed=checked_seed(seed),
        id_column=id_column,
    )
    if found.is_paired is False:
        warnings.warn(
            f"{name}: in a sample of {found.sample} rows, the mean cosine of image and text is "
            f"{found.cosine:.4f}, that of shuffled pairs is {found.shuffled_cosine:.4f}; wanted "
            "pairs row by row, these look unrelated",
            PairingWarning,
            stacklevel=3,
        )
    return found


def open_set(path: AnyPath, *, key: str | None = None, dtype: str | None = None) -> EmbeddingSet:
    """Open an embedding set in the layout that its producer gave it, without being told which.

    Parameters
    ----------
    path : str, Path, or list or tuple of these
        As for `open_store`: a folder of clip-retrieval, DataComp, NeMo Curator, img2dataset or
        `clipsoid.embed.embed`, any folder of one format, one file, or a pattern.
    key : str, optional
        The array that holds the embeddings, as for `open_store`; or what the names of an image and
        a text array share, such as ``"b32"`` of ``b32_img`` and ``b32_txt``.
    dtype : str, optional
        Element type that every shard must have.

    Returns
    -------
    EmbeddingSet

    Raises
    ------
    StoreError, DTypeError, ShapeError, MismatchError
        As by `open_store`; also if names do not tell which arrays or files are wanted.

    Warns
    -----
    EmbedWarning
        If `clipsoid.embed.embed` has not finished the set.

    Notes
    -----
    The layout is recognised by names and the header of one file; then every header is read. No row
    is.

    Examples
    --------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> import clipsoid as cs
    >>> for name in ("img_emb", "text_emb"):
    ...     Path("laion", name).mkdir(parents=True)
    ...     np.save(Path("laion", name, f"{name}_0.npy"), np.ones((3, 2), np.float16))
    >>> found = cs.open_set("laion")
    >>> found.kind, found.image.count, found.text.dtypes
    ('clip-retrieval', 3, frozenset({'float16'}))
    >>> import shutil
    >>> shutil.rmtree("laion")
    """
    check_wanted(dtype)
    found = _opened(path, recognise(path, key), dtype, None)
    if found.origin is not None and not found.origin.is_complete:
        warnings.warn(
            f"{found.path}: its manifest says that it is not finished: rows are missing; clipsoid "
            "embed goes on with it",
            EmbedWarning,
            stacklevel=2,
        )
    return found


def survey(
    path: AnyPath, *, key: str | None = None, dtype: str | None = None
) -> tuple[EmbeddingSet | None, list[str]]:
    """Open what can be opened of a set; the second is what is wrong with the files that cannot."""
    faults: list[str] = []
    found = _opened(path, recognise(path, key), dtype, faults)
    # A file with both modalities is met twice.
    return (found if found.stores else None), [*dict.fromkeys(faults)]


def _opened(
    path: AnyPath, found: Recognised, dtype: str | None, faults: list[str] | None
) -> EmbeddingSet:
    """Open the shards of each side; with `faults`, pass over those that cannot be opened."""
    stores: dict[str, Store] = {}
    described = _described(found.metadata)
    for name, side in found.sides.items():
        shards = list(_shards(side, described, dtype, faults))
        try:
            if shards or faults is None:
                stores[name] = store_of(shards)
        except ClipsoidError as error:
            if faults is None:
                raise
            faults.append(str(error))
    first = (
        path
        if isinstance(path, (str, Path))
        else path[0]
        if isinstance(path, (list, tuple))
        else path
    )
    return EmbeddingSet(
        str(first),
        # Only now: of files that cannot be had, no manifest says more.
        MADE_BY_US if any(map(read_manifest, found.manifests if stores else ())) else found.kind,
        **stores,
        origin=_origin(found, stores),
        arrays=found.arrays,
        seen=found.notes,
    )


def _shards(
    side: Side, described: Mapping[Place, Metadata], dtype: str | None, faults: list[str] | None
) -> Iterator[Shard]:
    def open_one(file: Place, name: str) -> Shard | str:
        try:
            return open_shard(file, name, key=side.key, dtype=dtype)
        except ClipsoidError as error:
            if faults is None:
                raise
            return str(error)

    for shard in open_each(side.files, open_one):
        if isinstance(shard, str):
            assert faults is not None
            faults.append(shard)
            continue
        yield replace(shard, metadata=described.get(shard.path))


def _described(tables: Mapping[Place, Place]) -> dict[Place, Metadata]:
    """Return the metadata of files that have some."""
    if not tables:
        return {}
    # Brings polars with it.
    from clipsoid.store.metadata import Metadata, Tables

    among = Tables(tables.values())
    return {file: Metadata(table, among) for file, table in tables.items()}


def _origin(found: Recognised, stores: dict[str, Store]) -> Origin | None:
    """Return the model that made all sides, if their manifest or the names of arrays say it."""
    encoder = encoder_of({name: side.key for name, side in found.sides.items()})
    if encoder is not None:
        return Origin(encoder, OPENAI_TEMPERATURE, None)
    made = [origin(store) for store in stores.values()]
    if len(made) == 2 and None not in made and made[0] != made[1]:
        names = " and of ".join(repr(one.encoder) for one in made if one is not None)
        raise MismatchError(f"images and texts are of {names}; wanted one model")
    return next((one for one in made if one is not None), None)
