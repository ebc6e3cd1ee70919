"""What ``clipsoid info`` says of a set of embeddings."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipsoid.store import EmbeddingSet, Store
    from clipsoid.store.layouts import PairCheck
    from clipsoid.store.layouts.looks import NormSample

WIDTH = 79

#: Rows whose norms are taken, of each modality.
SAMPLE = 1024

#: Notes that are shown to people; as JSON, all of them.
SHOWN = 12


def show_set(options: argparse.Namespace) -> None:
    """Print what a set is, and what looks wrong.

    Raises
    ------
    StoreError
        At the end, if a file cannot be read.
    """
    from clipsoid.cli.output import show
    from clipsoid.errors import StoreError
    from clipsoid.store.layouts.embedding_set import survey
    from clipsoid.store.layouts.looks import norm_sample, repeated_ids

    path = options.path if len(options.path) > 1 else options.path[0]
    found, faults = survey(path, key=options.key, dtype=options.dtype)
    if found is None:
        raise StoreError(faults[0])
    samples = {name: norm_sample(store, SAMPLE) for name, store in found.stores.items()}
    notes = [*faults, *found.notes]
    for name, store in found.stores.items():
        # Both sides of a set may share their metadata.
        repeated = repeated_ids(store)
        if repeated is not None and not any(note.endswith(repeated) for note in notes):
            notes.append(repeated if name == "rows" else f"{name}: {repeated}")
    for name, sample in samples.items():
        if sample.invalid:
            notes.append(
                f"{name}: {sample.invalid:,} of {sample.rows:,} sampled rows are missing, not "
                "finite or zero"
            )
    pairs = _pairs(found, notes)
    if pairs is not None and pairs.is_paired is False:
        notes.append("the images and texts of the sample are no nearer than shuffled ones")
    result = {
        "kind": "embeddings",
        "layout": found.kind,
        **_totals(list(found.stores.values())),
        "encoder": found.encoder,
        "temperature": found.temperature,
        "modalities": {
            name: _described(store, samples[name]) for name, store in found.stores.items()
        },
        "pairs": None if pairs is None else asdict(pairs),
        "notes": notes,
    }
    show(options, result, "\n".join(_text(found, samples, pairs, notes)))
    if faults:
        raise StoreError(f"{len(faults)} of the files cannot be read: {faults[0]}")


def _pairs(found: EmbeddingSet, notes: list[str]) -> PairCheck | None:
    """Look at a sample of the pairs; where the sides do not go together, that is a note."""
    import warnings

    from clipsoid.errors import ClipsoidError, PairingWarning

    if found.image is None or found.text is None:
        return None
    with warnings.catch_warnings():
        # It is a note.
        warnings.simplefilter("ignore", PairingWarning)
        try:
            return found.check_pairs(sample=SAMPLE)
        except ClipsoidError as error:
            if str(error) not in notes:
                notes.append(str(error))
            return None


def _totals(stores: list[Store]) -> dict[str, Any]:
    return {
        "shards": sum(len(store.shards) for store in stores),
        "rows": sum(store.count for store in stores),
        "dim": stores[0].dim,
        "dtypes": sorted(frozenset[str]().union(*(store.dtypes for store in stores))),
        "bytes": _bytes(stores),
    }


def _bytes(stores: list[Store]) -> int:
    """Sum the sizes of all files, each once: two arrays may lie in one."""
    return sum({shard.path: shard.stamp.size for s in stores for shard in s.shards}.values())


def _described(store: Store, sample: NormSample) -> dict[str, Any]:
    """Return all that is known of one modality."""
    first = store.shards[0]
    return {
        **_totals([store]),
        "array": first.part,
        "columns": {name: str(kind) for name, kind in _columns(store).items()},
        "sample": {
            "rows": sample.rows,
            "invalid": sample.invalid,
            "least_norm": sample.least,
            "greatest_norm": sample.greatest,
            "is_normalized": sample.is_normalized,
        },
        "files": [
            {
                "name": shard.name,
                "rows": shard.count,
                "dtype": shard.dtype,
                "metadata": None if shard.metadata is None else shard.metadata.path,
            }
            for shard in store.shards
        ],
    }


def _columns(store: Store) -> Mapping[str, Any]:
    from clipsoid.errors import ClipsoidError

    try:
        return store.shards[0].schema()
    except ClipsoidError:
        # A damaged footer is among the notes.
        return {}


def _text(
    found: EmbeddingSet,
    samples: dict[str, NormSample],
    pairs: PairCheck | None,
    notes: list[str],
) -> Iterator[str]:
    """Yield the same for people."""
    from clipsoid.cli.output import number, plural, size_of

    stores = found.stores
    held = {"rows": "one modality, not named"}
    yield line("layout", found.kind + ", " + " and ".join(held.get(n, n) for n in stores))
    for name, store in stores.items():
        what = f"{plural(store.count, 'row')} x {plural(store.dim, 'feature')}"
        yield line(name, f"{what}, {', '.join(sorted(store.dtypes))}")
        files = plural(len(store.shards), "shard")
        array = store.shards[0].part
        ends = [store.shards[0].name, store.shards[-1].name][: len(store.shards)]
        yield line("", files + (f", array {array!r}" if array else "") + ": " + " to ".join(ends))
        yield line("", _norms(samples[name]))
    if pairs is not None:
        cosines = (
            f"cosine {number(pairs.cosine)}, of shuffled pairs {number(pairs.shuffled_cosine)}"
        )
        by = "" if pairs.id_column is None else f"by {pairs.id_column}: "
        few = "too few rows to compare cosines"
        told = f"{cosines}, in a sample of {pairs.sample:,}" if pairs.sample > 1 else few
        yield line("pairs", by + told)
    yield line("size", size_of(_bytes(list(stores.values()))))
    unread = [array for array in found.arrays if array not in _parts(found)]
    if unread:
        yield line("other arrays", f"{', '.join(unread)} (--key)")
    if found.encoder is not None:
        yield line("encoder", f"{found.encoder}, temperature {found.temperature:.4g}")
    columns = _columns(next(iter(stores.values())))
    yield line("columns", ", ".join(columns) or "none beside the embeddings")
    for note in notes[:SHOWN]:
        yield line("looks wrong", note)
    if len(notes) > SHOWN:
        yield line("", f"and {len(notes) - SHOWN:,} more: --json lists them")


def _parts(found: EmbeddingSet) -> set[str]:
    return {shard.part for store in found.stores.values() for shard in store.shards}


def _norms(sample: NormSample) -> str:
    from clipsoid.cli.output import number, plural

    if sample.least is None or sample.greatest is None:
        return f"no valid row in a sample of {sample.rows:,}"
    kind = "normalised" if sample.is_normalized else "raw"
    span = f"norms {number(sample.least)} to {number(sample.greatest)}"
    return f"{kind}: {span} in a sample of {plural(sample.rows, 'row')}"


def line(name: str, value: str) -> str:
    """Return a name and a value, which goes on under itself; paths are not broken."""
    return textwrap.fill(
        value,
        WIDTH,
        initial_indent=f"{name:<14}",
        subsequent_indent=" " * 14,
        break_long_words=False,
        break_on_hyphens=False,
    )
