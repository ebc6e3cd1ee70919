"""Files of a selection: their bytes by the rules of those who read them, and what is left alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from selection.makers import scores, uid, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(scores(), tmp_path / "scores")


def test_the_uid_file_is_what_datacomp_writes(folder: Path, tmp_path: Path) -> None:
    selection = cs.select(folder, top=77)
    selection.write(tmp_path / "subset.npy")
    uids = selection.frame.collect()["uid"].to_list()
    # The two lines of DataComp's baselines.
    want = np.array([(int(uid[:16], 16), int(uid[16:32], 16)) for uid in uids], np.dtype("u8,u8"))
    want.sort()
    np.save(tmp_path / "want.npy", want)
    assert (tmp_path / "subset.npy").read_bytes() == (tmp_path / "want.npy").read_bytes()


def test_uids_of_any_digits_and_case(tmp_path: Path) -> None:
    ids = ["F" * 32, "0" * 32, "8" + "0" * 31, "0" * 15 + "1" + "f" * 16, "0" * 16 + "f" * 16]
    frame = pl.DataFrame({"key": ids, "conformity": [1.0] * 5})
    cs.select(frame).write(tmp_path / "a.npy", id_column="key")
    found = np.load(tmp_path / "a.npy")
    assert [(a << 64) + b for a, b in found.tolist()] == sorted(int(one, 16) for one in ids)


@pytest.mark.parametrize("bad", ["0" * 31, "0" * 33, "g" * 32, "0x" + "0" * 30, " " * 32, None])
def test_malformed_uids_are_named(tmp_path: Path, bad: str | None) -> None:
    frame = scores((9, 9), steps=1).with_columns(status=pl.lit("ok"), conformity=pl.lit(1.0))
    at = (pl.col("shard") == "img_1.npy") & (pl.col("row") == 4)
    frame = frame.with_columns(uid=pl.when(at).then(pl.lit(bad)).otherwise("uid"))
    with pytest.raises(
        cs.SelectionError, match=r"^scores: img_1.npy, row 4: uid is .*wanted 32 hexadecim"
    ):
        cs.select(frame).write(tmp_path / "a.npy")
    assert not [*tmp_path.iterdir()]


def test_uids_that_are_there_twice_are_named(tmp_path: Path) -> None:
    frame = scores((9, 9), steps=1).with_columns(status=pl.lit("ok"), conformity=pl.lit(1.0))
    same = frame.with_columns(
        uid=pl.when(pl.col("row") == 5).then(pl.lit(uid(3).upper())).otherwise("uid")
    )
    with pytest.raises(
        cs.SelectionError, match=r"^scores: img_0.npy, row 5: uid .* is that of img_0.npy, row 3"
    ):
        cs.select(same).write(tmp_path / "a.npy", tmp_path / "a.parquet")
    assert not [*tmp_path.iterdir()]
    with pytest.raises(cs.SelectionError, match=r"row 1 of those kept: .* is that of row 0 of"):
        cs.select(same.filter(row=5).select("uid", "conformity")).write(tmp_path / "a.npy")


def test_rows_as_parquet(folder: Path, tmp_path: Path) -> None:
    selection = cs.select(folder, bottom=40)
    selection.write(tmp_path / "all.parquet", tmp_path / "again.parquet")
    assert pl.read_parquet(tmp_path / "all.parquet").equals(selection.frame.collect())
    found = pl.read_parquet(tmp_path / "all.parquet")
    assert found.equals(found.sort("shard", "row"))
    assert found.schema["status"] == scores().schema["status"]
    selection.write(tmp_path / "places.parquet", columns=["shard", "row"])
    assert pl.read_parquet(tmp_path / "places.parquet").equals(found.select("shard", "row"))
    made = json.loads(pl.read_parquet_metadata(tmp_path / "all.parquet")["clipsoid"])
    assert made["reference"] == "r"


def test_ids_as_text(folder: Path, tmp_path: Path) -> None:
    selection = cs.select(folder, bottom=40)
    selection.write(tmp_path / "ids.txt", tmp_path / "rows.txt")
    want = "".join(f"{one}\n" for one in selection.frame.collect()["uid"])
    assert (tmp_path / "ids.txt").read_bytes() == want.encode()
    alone = cs.select(scores((90,)), bottom=40)
    alone.write(tmp_path / "n.txt", id_column="row")
    assert (tmp_path / "n.txt").read_text().split() == [
        str(n) for n in alone.frame.collect()["row"]
    ]
    for bad in ("a\nb", None):
        frame = pl.DataFrame({"uid": ["a", bad], "conformity": [1.0, 2.0]})
        with pytest.raises(cs.SelectionError, match=r"row 1 of those kept: uid is .*of one line"):
            cs.select(frame).write(tmp_path / "bad.txt")


def test_ids_of_text_that_are_there_twice_are_named(folder: Path, tmp_path: Path) -> None:
    # Row numbers are those of one shard each: the first that comes again is named.
    with pytest.raises(
        cs.SelectionError, match=r"row '\d+' is that of img_\d.npy, row \d+; wanted"
    ):
        cs.select(folder).write(tmp_path / "a.txt", id_column="row")
    frame = pl.DataFrame({"uid": ["a", "A", "b", "b", "a "], "conformity": [1.0] * 5})
    with pytest.raises(
        cs.SelectionError, match=r"row 3 of those kept: uid 'b' is that of row 2 of those kept"
    ):
        cs.select(frame).write(tmp_path / "a.txt", tmp_path / "a.parquet")
    assert [*tmp_path.iterdir()] == [folder]
    cs.select(frame[[0, 1, 2, 4]]).write(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "a\nA\nb\na \n"


def test_ids_of_one_hash_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alike = lambda column: pl.Series([7] * len(column), dtype=pl.UInt64)  # noqa: E731
    monkeypatch.setattr(pl.Series, "hash", alike)
    frame = pl.DataFrame({"uid": ["a", "b", "c"], "conformity": [1.0] * 3})
    cs.select(frame).write(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "a\nb\nc\n"
    with pytest.raises(cs.SelectionError, match=r"row 3 of those kept: uid 'b' is that of row 1"):
        cs.select(pl.concat([frame, frame[1:2]])).write(tmp_path / "b.txt")


OPTIONS: list[dict[str, Any]] = [
    {"where": "norm > 9.5", "quantiles": (0.1, 0.8), "fraction": 0.5, "pick": "random", "seed": 7},
    {"balance": True, "rows": "20%", "bins": 9, "seed": 3},
    {"target": {"edges": [0.0, 0.2, 0.6], "weights": [1, 3]}, "rows": 40},
    {"target": "other.parquet", "rows": 30, "bins": 4},
    {"column": "norm", "top": 12, "above": 9.0},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: next(iter(options)))
def test_a_recipe_makes_the_same_bytes_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    scores((30, 40), seed=9)[["conformity"]].write_parquet("other.parquet")
    names = ("a.npy", "a.parquet", "a.txt")
    cs.select(folder, **options).write(*names)
    Path("other.parquet").unlink()
    moved = folder.rename(tmp_path / "elsewhere")
    for name in names:
        recipe = json.loads(Path(f"{name}.json").read_text())
        again = tmp_path / "again"
        again.mkdir(exist_ok=True)
        cs.select_again(recipe, moved).write(again / name)
        assert (again / name).read_bytes() == Path(name).read_bytes()
        assert (again / f"{name}.json").read_bytes() == Path(f"{name}.json").read_bytes()


def test_a_recipe_says_what_it_needs_and_no_more(folder: Path, tmp_path: Path) -> None:
    cs.select(folder, top=5).write(tmp_path / "a.npy")
    text = (tmp_path / "a.npy.json").read_text()
    assert str(tmp_path) not in text
    recipe = json.loads(text)
    assert recipe["rules"] == {"column": "conformity", "top": 5}
    assert [one["name"] for one in recipe["scores"]] == [f"img_{i}.parquet" for i in range(3)]
    assert [one["rows"] for one in recipe["scores"]] == [50, 150, 100]
    assert recipe["rows_kept"] == 5 and recipe["reference"] == "r"
    assert recipe["bytes"] == (tmp_path / "a.npy").stat().st_size
    assert set(recipe["versions"]) == {"clipsoid", "numpy", "polars"}


def test_recipes_that_do_not_fit(folder: Path, tmp_path: Path) -> None:
    cs.select(folder, top=5).write(tmp_path / "a.npy")
    recipe = json.loads((tmp_path / "a.npy.json").read_text())
    with pytest.raises(cs.SelectionError, match="has 200 rows; the recipe was made of 300"):
        cs.select_again(recipe, sorted(folder.iterdir())[:2])
    with pytest.raises(cs.SelectionError, match="found 0 files; the recipe was made of 3"):
        cs.select_again(recipe, scores())
    other = write(scores(seed=1), tmp_path / "other", dim=3)
    with pytest.raises(cs.SelectionError, match=r"img_0.parquet has \w+ .*the recipe was made of"):
        cs.select_again(recipe, other)
    with pytest.raises(cs.SelectionError, match="rules: found 'colour'; wanted above"):
        cs.select_again({**recipe, "rules": {"colour": "red"}}, folder)
    cs.select(folder, where=pl.col("norm") > 9).write(tmp_path / "b.npy")
    asked = json.loads((tmp_path / "b.npy.json").read_text())
    with pytest.raises(cs.SelectionError, match=r"was the Polars expression .*only Python can say"):
        cs.select_again(asked, folder)


def test_only_own_files_are_replaced(folder: Path, tmp_path: Path) -> None:
    first, second = cs.select(folder, top=5), cs.select(folder, top=6)
    path = tmp_path / "a.npy"
    first.write(path)
    second.write(path)
    assert len(np.load(path)) == 6
    np.save(path, np.zeros(3))
    with pytest.raises(cs.OutputError, match=r"a.npy: is there already and was not written by sel"):
        first.write(tmp_path / "b.parquet", path)
    assert len(np.load(path)) == 3 and not (tmp_path / "b.parquet").exists()
    (tmp_path / "c.npy.json").write_text("{}")
    with pytest.raises(cs.OutputError, match=r"c.npy.json: is there already"):
        first.write(tmp_path / "c.npy")


def test_outputs_that_cannot_be(folder: Path, tmp_path: Path) -> None:
    selection = cs.select(folder, top=5)
    for names, message in (
        (["a.csv"], r"a.csv: the suffix is '.csv'; wanted .npy for uids"),
        (["a.npy", "./a.npy"], r"a.npy: is named twice"),
        (["nowhere/a.npy"], "there is no folder"),
    ):
        with pytest.raises(cs.OutputError, match=message):
            selection.write(*(tmp_path / name for name in names))
    with pytest.raises(cs.SelectionError, match=r"has no column 'id' \(id column\)"):
        selection.write(tmp_path / "a.txt", id_column="id")
    with pytest.raises(cs.SelectionError, match=r"has no column 'url' \(columns\)"):
        selection.write(tmp_path / "a.parquet", columns=["url"])
    with pytest.raises(cs.SelectionError, match="'norm' is Float32; wanted uids of 32"):
        selection.write(tmp_path / "a.npy", id_column="norm")
    assert [path.name for path in tmp_path.iterdir()] == ["scores"]


def test_options_without_a_file_that_uses_them(folder: Path, tmp_path: Path) -> None:
    selection = cs.select(folder, top=5)
    with pytest.raises(ValueError, match=r"^id_column= needs a file of ids, .npy or .txt"):
        selection.write(tmp_path / "a.parquet", id_column="row")
    with pytest.raises(ValueError, match=r"^columns= needs a .parquet file"):
        selection.write(tmp_path / "a.txt", columns=["uid"])
    with pytest.raises(cs.OutputError, match=r"a\.csv: the suffix is '\.csv'; wanted \.npy for"):
        selection.write(tmp_path / "a.csv", id_column="row")
    with pytest.raises(cs.SelectionError, match="columns: found row, row; wanted each once"):
        selection.write(tmp_path / "a.parquet", columns=["row", "row"])
    assert [path.name for path in tmp_path.iterdir()] == ["scores"]
