"""What a path holds, by the names of its files and the header of the first."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from clipsoid.errors import StoreError
from clipsoid.store.files import Place
from clipsoid.store.layouts.arrays import DATACOMP_ARRAYS, array_names, wanted_arrays
from clipsoid.store.layouts.names import (
    looks_unfinished,
    modality_of_name,
    modality_of_path,
    number_of,
)
from clipsoid.store.opening import ARROW, SUFFIXES, open_each
from clipsoid.store.paths import (
    MODELS,
    AnyPath,
    check_links,
    embeddings_in,
    find_files,
    folder_of,
    in_order,
    name_in,
    walk,
)
from clipsoid.store.remote.answers import RemoteError
from clipsoid.store.remote.path import RemotePath
from clipsoid.store.score_parts import JOURNALS

#: Folders of clip-retrieval, whose files are called as the folder is.
IMAGE_FOLDER, TEXT_FOLDER, METADATA_FOLDER = "img_emb", "text_emb", "metadata"

#: Ends the names of img2dataset's statistics of a shard.
STATISTICS = "_stats.json"

NEMO_COLUMNS = ("id", "embeddings")

#: What Hugging Face datasets puts beside the Arrow files that it saves.
DATASET_FILES = ("dataset_info.json", "state.json")

PARQUET = ".parquet"


@dataclass(frozen=True, slots=True)
class Side:
    """The files of one modality, in order, each with its name in the set, and the array in them."""

    files: tuple[tuple[Place, str], ...]
    key: str | None


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a path holds; nothing but names and the header of the first file was read.

    Attributes
    ----------
    kind : str
        Name of the layout.
    sides : mapping
        By ``"image"`` and ``"text"``, or by ``"rows"``.
    metadata : mapping of Place to Place
        The file that describes the rows of an embedding file.
    manifests : tuple of Path or RemotePath
        Folders in which the manifest of `clipsoid embed` may lie, which it is to be asked for when
        the files are known to be there.
    arrays : tuple of str
        Arrays of the first file; none of .npy.
    notes : tuple of str
        What looks wrong.
    """

    kind: str
    sides: Mapping[str, Side]
    metadata: Mapping[Place, Place]
    manifests: tuple[Place, ...]
    arrays: tuple[str, ...]
    notes: tuple[str, ...]


def recognise(path: AnyPath, key: str | None) -> Recognised:
    """Find out what a path holds.

    Raises
    ------
    StoreError
        If it holds no embeddings, several formats of them, several pairs of arrays without a
        `key`, or files of which some name a modality and some do not.
    """
    folder = folder_of(path, SUFFIXES)
    listed: list[Place] = []
    if folder is None:
        files = find_files(path, SUFFIXES)
    else:
        listed = walk(folder)
        files = check_links(_embedding_files(folder, listed))
    nearby = [*listed, *_nearby(folder, files)]
    first, names = _first_arrays([file for file, _ in files])
    tables = _tables(files, nearby)
    sides = _sides(files, wanted_arrays(first, names, key), folder, given=key is not None)
    metadata = match_metadata(
        [[file for file, _ in side.files] for side in sides.values()],
        tables,
        # Beside a single file or a pattern, any table may lie.
        by_order=folder is not None and len(nearby) == len(listed),
    )
    return Recognised(
        _kind(files, names, metadata, nearby),
        sides,
        metadata,
        tuple(_manifests(folder, files[0][0])),
        tuple(names),
        # Beside a single file or a pattern, tables of anything may lie.
        () if folder is None else tuple(_notes(listed, set(tables) - set(metadata.values()))),
    )


def _first_arrays(files: Sequence[Place]) -> tuple[Place, list[str]]:
    """Return the first file whose header can be read, and its arrays."""
    faults: list[StoreError] = []
    for file in files:
        try:
            return file, array_names(file)
        except StoreError as error:
            # If it is needed, its reader says so.
            faults.append(error)
    raise faults[0]


def _embedding_files(folder: Place, listed: Sequence[Place]) -> list[tuple[Place, str]]:
    """Files of a folder that hold embeddings: arrays, or else tables with a column of them."""
    suffixes = {file.suffix.lower() for file in listed} & set(SUFFIXES).difference(MODELS)
    if PARQUET in suffixes and len(suffixes) == 2:
        (suffix,) = suffixes - {PARQUET}
        arrays = [file for file in listed if file.suffix.lower() == suffix]
        tables = [file for file in listed if file.suffix.lower() == PARQUET]
        if not _holds_embeddings(tables[0]):
            return [(file, name_in(folder, file)) for file in arrays]
    files = embeddings_in(folder, listed, SUFFIXES)
    if suffixes == {PARQUET}:
        # One look into each folder: tables without embeddings may lie beside those with them.
        first = {file.parent: file for file, _ in reversed(files)}
        looks = open_each(
            [(file, file.name) for file in first.values()], lambda file, _: _holds_embeddings(file)
        )
        holding = {parent for parent, holds in zip(first, looks, strict=True) if holds}
        return [one for one in files if one[0].parent in holding] or files
    return files


def _holds_embeddings(table: Place) -> bool:
    """Whether a table has a column of embeddings; that it cannot be read shows where it is used."""
    try:
        return bool(array_names(table))
    except StoreError:
        return False


def _tables(files: Sequence[tuple[Place, str]], nearby: Iterable[Place]) -> list[Place]:
    """Parquet files that may describe the rows of `files`; tables of embeddings have their own."""
    if files[0][0].suffix.lower() in (PARQUET, *ARROW):
        return []
    tables = [file for file in nearby if file.suffix.lower() == PARQUET]
    scores = {parent for parent in {file.parent for file in tables} if _holds_scores(parent)}
    return sorted((file for file in tables if file.parent not in scores), key=in_order)


def _holds_scores(folder: Place) -> bool:
    """Whether clipsoid scored a set into a folder, or into one above it: no metadata lie there."""
    if not isinstance(folder, Path):
        return False
    return any(any(place.glob(JOURNALS)) for place in (folder, *islice(folder.parents, 2)))


def _nearby(folder: Place | None, files: Iterable[tuple[Place, str]]) -> list[Place]:
    """Files that belong to a part of a set: in the folders of its files, and beside img_emb.

    Of URLs, only in the folder beside img_emb: what a pattern lies among may be a whole bucket.
    """
    parents = dict.fromkeys(file.parent for file, _ in files) if folder is None else {folder: None}
    folders = [] if folder is not None else [*parents]
    for parent in parents:
        if parent.absolute().name in (IMAGE_FOLDER, TEXT_FOLDER):
            folders.append(parent.parent / METADATA_FOLDER)
    return [file for place in folders for file in _listed_in(place)]


def _listed_in(folder: Place) -> Iterator[Place]:
    if isinstance(folder, Path):
        if folder.is_dir():
            yield from (file for file in folder.iterdir() if not file.name.startswith("."))
    elif folder.name == METADATA_FOLDER and folder.scheme not in ("http", "https"):
        try:
            yield from walk(folder)
        except RemoteError as error:
            # Nobody named the folder, and a key to read files may be none to list them.
            if not error.absent:
                raise


def match_metadata(
    sides: Iterable[Sequence[Place]], tables: Sequence[Place], *, by_order: bool
) -> dict[Place, Place]:
    """Find for each embedding file the table that describes it.

    That of the same name in the same folder; or that of the same number in the same folder, or in
    one beside it; or, `by_order`, where no name of a side says it and there are as many tables,
    that of the same place in the order.
    """
    matched: dict[Place, Place] = {}
    for files in sides:
        alike = named_alike(files, tables)
        # Of several tables in one place, none is known to be that of the file.
        found = {file: own[0] for file, own in alike.items() if len(own) == 1}
        if by_order and not found and len(files) == len(tables):
            found = dict(zip(files, tables, strict=True))
        matched |= found
    return matched


def named_alike(files: Sequence[Place], tables: Sequence[Place]) -> dict[Place, list[Place]]:
    """Find for each file the tables whose names say that they describe it.

    One table, of the surest place that has only one; several where every place has several; none
    where no name says it.
    """
    at: dict[tuple[str, str | int], list[Place]] = defaultdict(list)
    for table in tables:
        for place in dict.fromkeys(_places(table)):
            at[place].append(table)
    found = {}
    for file in files:
        places = [at[place] for place in _places(file) if place in at]
        found[file] = min(places, key=lambda own: len(own) > 1, default=[])
    return found


def _places(path: Place) -> Iterator[tuple[str, str | int]]:
    """Where a table and the file that it describes meet, the surest place first."""
    # Not pathlib, which takes a second for ten thousand files.
    text = path.url if isinstance(path, RemotePath) else os.path.abspath(path)  # noqa: PTH100
    here = os.path.dirname(text)  # noqa: PTH120
    yield here, path.stem
    number = number_of(path)
    if number is not None:
        yield here, number
        yield os.path.dirname(here), number  # noqa: PTH120


def _sides(
    files: Sequence[tuple[Place, str]],
    keys: Mapping[str, str | None],
    folder: Place | None,
    *,
    given: bool,
) -> dict[str, Side]:
    """Divide files by modality: by the arrays in them, or else by their names.

    A key that was `given` holds for all; the name of the one array of the first file, for those of
    its modality.
    """
    if len(keys) > 1:
        return {modality: Side(tuple(files), key) for modality, key in keys.items()}
    ((by_array, key),) = keys.items()
    divided: dict[str, list[tuple[Place, str]]] = defaultdict(list)
    for file, name in files:
        divided[modality_of_path(Path(name)) or by_array].append((file, name))
    if "rows" in divided and len(divided) > 1:
        said = next(one for modality, one in divided.items() if modality != "rows")
        if len(divided) > 2:
            raise StoreError(
                f"{divided['rows'][0][0]}: its name says neither image nor text, those of "
                f"{said[0][0]} and others do; wanted a pattern that chooses"
            )
        divided = defaultdict(list, rows=[*files])
    if folder is not None and divided.keys() == {"rows"}:
        # The folder itself may say it: img_emb.
        divided = defaultdict(list, {modality_of_name(folder.absolute().name) or "rows": [*files]})
    order = ("image", "text", "rows")
    return {
        name: Side(_own_names(name, divided[name]), key if given or name == by_array else None)
        for name in order
        if name in divided
    }


def _own_names(modality: str, files: list[tuple[Place, str]]) -> tuple[tuple[Place, str], ...]:
    """Name the files of a modality within its folder, as where the folder itself is opened."""
    folder = os.path.commonpath([os.path.dirname(name) for _, name in files])  # noqa: PTH120
    if modality == "rows" or not folder:
        return tuple(files)
    return tuple((file, name.removeprefix(f"{folder}/")) for file, name in files)


def _kind(
    files: Sequence[tuple[Place, str]],
    names: Sequence[str],
    metadata: Mapping[Place, Place],
    nearby: Iterable[Place],
) -> str:
    """Name the layout, but for what a manifest says."""
    first = files[0][0].absolute()
    suffix = first.suffix.lower().removeprefix(".")
    if suffix == "npy" and first.parent.name in (IMAGE_FOLDER, TEXT_FOLDER):
        return "clip-retrieval"
    if suffix == "npz" and DATACOMP_ARRAYS.intersection(names):
        return "DataComp"
    if suffix == "parquet" and list(names) == [NEMO_COLUMNS[1]]:
        from clipsoid.store.parquet_columns import read_header

        if NEMO_COLUMNS[0] in read_header(first).types:
            return "NeMo Curator"
    here = {file.name for file in nearby if file.absolute().parent == first.parent}
    if f".{suffix}" in ARROW and here.issuperset(DATASET_FILES):
        return "Hugging Face datasets"
    if metadata and any(file.name.endswith(STATISTICS) for file in nearby):
        return "img2dataset"
    return f"{suffix} + parquet" if metadata else suffix


def _manifests(folder: Place | None, first: Place) -> Iterator[Place]:
    """Yield the folders in which a manifest of the set may lie."""
    if first.suffix.lower() != ".npy":
        return
    here = first.absolute().parent if folder is None else folder.absolute()
    yield here
    if folder is None or here.name in (IMAGE_FOLDER, TEXT_FOLDER):
        yield here.parent


def _notes(listed: Iterable[Place], unused: Iterable[Place]) -> Iterable[str]:
    """Say what looks wrong by its name."""
    unfinished = [file for file in listed if looks_unfinished(file)]
    if unfinished:
        yield f"left unfinished, by the name: {_listed(unfinished)}"
    tables = sorted(unused, key=in_order)
    if tables:
        yield f"no embeddings belong to {_listed(tables)}"


def _listed(files: Sequence[Place], most: int = 3) -> str:
    names = ", ".join(file.name for file in files[:most])
    return names + (f" and {len(files) - most:,} more" if len(files) > most else "")
