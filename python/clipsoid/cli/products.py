"""What ``clipsoid info`` says of scores and of what was selected by them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipsoid.selection.inputs import Files

#: Uids that are compared at a time.
UIDS = 1 << 20

#: Bytes of a list of ids that are read at a time.
BLOCK = 1 << 24

#: What files of uids hold: both halves of 128 bits.
UID_HEADER = b"[('f0', '<u8'), ('f1', '<u8')]"


def show_product(options: argparse.Namespace, path: Path) -> bool:
    """Print what scores, a recipe or a file of uids are; False of anything else."""
    from clipsoid.selection.outputs import recipe_path
    from clipsoid.selection.recipe import is_recipe
    from clipsoid.store.score_parts import JOURNALS

    if path.is_dir() and any(path.glob(JOURNALS)):
        _show_scores(options, path)
    elif (found := _score_files(path)) is not None:
        _show_score_files(options, found)
    elif path.suffix.lower() == ".json" and path.is_file():
        _show_recipe(options, path)
    elif path.suffix.lower() == ".npy" and path.is_file() and _holds_uids(path):
        _show_uids(options, path)
    elif path.suffix.lower() == ".txt" and is_recipe(recipe_path(path)):
        _show_ids(options, path)
    else:
        return False
    return True


def _show_scores(options: argparse.Namespace, folder: Path) -> None:
    """Say what is finished of a folder of scores; raise at the end for a file that is damaged."""
    from clipsoid.cli.output import show
    from clipsoid.errors import StoreError
    from clipsoid.results import Scores
    from clipsoid.store.parquet_columns import read_header
    from clipsoid.store.score_parts import (
        check_file,
        missing_shards,
        read_parts,
        score_path,
        without_parts,
    )

    parts = read_parts(folder)
    if not parts:
        raise without_parts(folder)
    records = {name: record for part in parts for name, record in part.records.items()}
    faults: list[str] = []
    columns: dict[str, str] = {}
    for name, record in records.items():
        path = score_path(folder, name)
        try:
            check_file(path, record, StoreError)
            columns = columns or {one: str(kind) for one, kind in read_header(path).types.items()}
        except StoreError as error:
            faults.append(str(error))
    # What a folder has fitted itself is known later than the other parameters.
    own = {name: digest for part in parts for name, digest in part.kept.items()}
    counts = [sum(each) for each in zip(*(one["status"] for one in records.values()), strict=True)]
    result = {
        "kind": "scores",
        "shards": len(parts[0].job.rows),
        "shards_finished": len(records),
        "missing": missing_shards(parts),
        "rows": sum(record["rows"] for record in records.values()),
        "status": dict(zip(Scores.STATUS, counts, strict=False)),
        "bytes": sum(record["bytes"] for record in records.values()),
        "columns": columns,
        "parts": [
            {"part": list(part.part), "shards": len(part.shards), "finished": len(part.records)}
            for part in parts
        ],
        "made": parts[0].job.parameters | own,
        "faults": faults,
    }
    show(options, result, "\n".join(_scores_text(result)))
    if faults:
        raise StoreError(faults[0])


def _scores_text(found: dict[str, Any]) -> Iterator[str]:
    from clipsoid.cli.output import plural, size_of
    from clipsoid.cli.survey import line
    from clipsoid.store.score_parts import some_of

    done = f"{found['shards_finished']:,} of {plural(found['shards'], 'shard')} finished"
    yield line("scores", f"{done}, {plural(found['rows'], 'row')}")
    if found["missing"]:
        yield line("not finished", some_of(found["missing"]))
    for part in found["parts"]:
        i, n = part["part"]
        if n > 1:
            yield line(
                "part", f"{i}/{n}: {part['finished']:,} of {plural(part['shards'], 'shard')}"
            )
    invalid = {name: n for name, n in found["status"].items() if n and name != "ok"}
    if invalid:
        yield line("invalid", ", ".join(f"{n:,} {name}" for name, n in invalid.items()))
    if found["columns"]:
        yield line("columns", ", ".join(found["columns"]))
    yield line("size", size_of(found["bytes"]))
    yield line("how made", _pairs(found["made"]))
    for fault in found["faults"]:
        yield line("looks wrong", fault)


def _score_files(path: Path) -> Files | None:
    """Return a score file, or those of a folder that begins with one: copied out, say."""
    from clipsoid.errors import ClipsoidError
    from clipsoid.selection.inputs import files_of, footers
    from clipsoid.selection.recipe import FORMAT

    if not path.is_dir() and not (path.suffix.lower() == ".parquet" and path.is_file()):
        return None
    each = footers(path)
    try:
        first = next(each)
    except ClipsoidError:
        # Whoever reads embeddings says what is wrong.
        return None
    # The metadata of an embedded set say how they were made, too.
    is_ours = "shard" in first.made or first.made.get("format") == FORMAT
    return files_of(path, [first, *each]) if is_ours else None


def _show_score_files(options: argparse.Namespace, found: Files) -> None:
    """Say what score files hold of which no journal is there, or rows selected from such."""
    from clipsoid.cli.output import plural, show, size_of
    from clipsoid.cli.survey import line
    from clipsoid.selection.recipe import FORMAT

    made = found.made[0]
    selected = made.get("format") == FORMAT
    own = ("format", "shard", "shard_rows")
    result: dict[str, Any] = {
        "kind": "selection" if selected else "scores",
        "files": len(found.paths),
        "rows": found.count,
        "bytes": sum(one.stat().st_size for one in found.paths),
        "columns": {name: str(kind) for name, kind in found.schemas[0].items()},
        "made": {name: value for name, value in made.items() if name not in own},
    }
    held = f"{plural(len(found.paths), 'file')}, {plural(found.count, 'row')}"
    text = [line(result["kind"], held if selected else f"{held}, without a journal")]
    if len(found.paths) == 1 and not selected:
        text.append(line("shard", f"{made['shard']}, {plural(made['shard_rows'], 'row')}"))
    text.append(line("columns", ", ".join(result["columns"])))
    text.append(line("size", size_of(result["bytes"])))
    text.append(line("how made", _pairs(result["made"])))
    show(options, result, "\n".join(text))


def _show_recipe(options: argparse.Namespace, path: Path) -> None:
    """Say how a file of a selection was made, and whether it is still that file."""
    from clipsoid.cli.output import plural, show
    from clipsoid.cli.survey import line
    from clipsoid.selection.recipe import is_recipe, read_recipe

    found = read_recipe(path)
    of = path.with_name(found["file"])
    state = "is not beside it"
    if of.is_file():
        state = "is as it was written" if is_recipe(path, of) else "has changed since"
    text = [line("recipe", f"of {of.name}, which {state}")]
    rules = dict(found["rules"])
    if "target" in rules:
        rules["target"] = plural(len(rules["target"]["weights"]), "bin")
    text.append(line("rules", _pairs(rules)))
    more = {name: found[name] for name in ("on", "id_column", "columns") if found.get(name)}
    if more:
        text.append(line("columns", _pairs(more)))
    for name in ("scores", "metadata"):
        if found[name]:
            rows = sum(one["rows"] for one in found[name])
            text.append(line(name, f"{plural(len(found[name]), 'file')}, {plural(rows, 'row')}"))
    kept, rows = found["rows_kept"], found["rows_in"]
    text.append(line("kept", f"{kept:,} of {rows:,} rows ({100 * kept / rows:.3g} %)"))
    text.append(line("removed", _pairs({name: f"{n:,}" for name, n in found["removed"].items()})))
    if found["reference"] is not None:
        text.append(line("reference", found["reference"]))
    text.append(line("versions", _pairs(found["versions"])))
    show(options, {"kind": "recipe", **found}, "\n".join(text))


def _holds_uids(path: Path) -> bool:
    """Whether the header says so; what is wrong with it, whoever reads embeddings says."""
    with suppress(OSError), path.open("rb") as file:
        return UID_HEADER in file.read(128)
    return False


def _show_uids(options: argparse.Namespace, path: Path) -> None:
    """Say how many uids a file has, and whether they are in the order that its readers want."""
    import numpy as np

    from clipsoid.cli.output import lines, show, size_of
    from clipsoid.errors import StoreError
    from clipsoid.selection.outputs import recipe_path
    from clipsoid.selection.recipe import is_recipe

    try:
        uids = np.load(path, mmap_mode="r")
    except (OSError, ValueError, OverflowError, EOFError) as error:
        raise StoreError(f"{path}: is damaged: {error}") from None
    ascends = True
    for first in range(0, len(uids), UIDS):
        part = uids[first : first + UIDS + 1]
        high, low = part["f0"], part["f1"]
        tied = high[1:] == high[:-1]
        ascends &= bool(((high[1:] > high[:-1]) | tied & (low[1:] > low[:-1])).all())
    recipe = recipe_path(path)
    as_written = is_recipe(recipe, path)
    size = path.stat().st_size
    result = {
        "kind": "uids",
        "rows": len(uids),
        "is_ascending": ascends,
        "bytes": size,
        "recipe": recipe.name if as_written else None,
    }
    order = "ascending, each once" if ascends else "not ascending: wanted sorted, each once"
    text = {"uids": f"{len(uids):,} of 128 bits, {order}", "size": size_of(size)}
    if as_written:
        text["how made"] = f"clipsoid info {recipe}"
    show(options, result, lines({f"{name:<12}": value for name, value in text.items()}))


def _show_ids(options: argparse.Namespace, path: Path) -> None:
    """Say how many ids a list has, and whether it is as select wrote it."""
    from clipsoid.cli.output import lines, show, size_of
    from clipsoid.errors import StoreError
    from clipsoid.selection.outputs import recipe_path
    from clipsoid.selection.recipe import is_recipe, read_recipe

    recipe = recipe_path(path)
    try:
        with path.open("rb") as file:
            rows = sum(block.count(b"\n") for block in iter(lambda: file.read(BLOCK), b""))
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror or error}") from None
    column = read_recipe(recipe)["id_column"]
    as_written = is_recipe(recipe, path)
    size = path.stat().st_size
    result = {
        "kind": "ids",
        "rows": rows,
        "id_column": column,
        "bytes": size,
        "recipe": recipe.name if as_written else None,
    }
    text = {"ids": f"{rows:,} of column {column!r}, one per line", "size": size_of(size)}
    if as_written:
        text["how made"] = f"clipsoid info {recipe}"
    else:
        text["looks wrong"] = f"has changed since select wrote it, says {recipe.name}"
    show(options, result, lines({f"{name:<12}": value for name, value in text.items()}))


def _pairs(values: dict[str, Any]) -> str:
    """Return names and values on one line, without those that say nothing."""
    given = {name: value for name, value in values.items() if value not in (None, [], "")}
    shown = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in given.items()
    }
    return "; ".join(f"{name} {value}" for name, value in shown.items())
