"""What is read: score files, frames, metadata beside them; and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from selection.makers import ok, scores, write

SIZES = (50, 150, 100)


@pytest.fixture
def frame() -> pl.DataFrame:
    return scores(SIZES)


@pytest.fixture
def folder(frame: pl.DataFrame, tmp_path: Path) -> Path:
    return write(frame, tmp_path / "scores")


def captions(frame: pl.DataFrame) -> pl.DataFrame:
    n = frame.height
    return pl.DataFrame(
        {
            "uid": frame["uid"],
            "caption": [f"a {'cat' if i % 3 else 'dog'} {i}" for i in range(n)],
            "width": pl.Series([None if i % 10 == 0 else i for i in range(n)], dtype=pl.Int32),
        }
    )


def beside(frame: pl.DataFrame, folder: Path) -> Path:
    """Write what is known of each shard's rows, as clip-retrieval does."""
    folder.mkdir()
    shards = frame["shard"].unique(maintain_order=True)
    for i, shard in enumerate(shards):
        own = captions(frame).filter(frame["shard"] == shard).drop("uid")
        own.write_parquet(folder / f"metadata_{i}.parquet")
    return folder


def test_frames_lazy_or_not_and_files_are_one(frame: pl.DataFrame, folder: Path) -> None:
    want = cs.select(frame, top=50).frame.collect()
    for given in (frame.lazy(), folder, [str(p) for p in folder.iterdir()]):
        assert cs.select(given, top=50).frame.collect().equals(want)


def test_one_file_of_several_shards(frame: pl.DataFrame, tmp_path: Path) -> None:
    frame.write_parquet(tmp_path / "all.parquet")
    found = cs.select(tmp_path / "all.parquet", fraction=0.4, pick="random")
    assert found.frame.collect().equals(
        cs.select(frame, fraction=0.4, pick="random").frame.collect()
    )


def test_a_selection_can_be_selected_from(folder: Path, tmp_path: Path) -> None:
    cs.select(folder, above=0.2).write(tmp_path / "half.parquet")
    twice = cs.select(tmp_path / "half.parquet", top=9).frame.collect()
    assert twice.equals(cs.select(folder, above=0.2, top=9).frame.collect())


@pytest.mark.parametrize("gaps", [False, True])
def test_metadata_row_by_row(frame: pl.DataFrame, tmp_path: Path, gaps: bool) -> None:
    rows = ok(frame) if gaps else range(frame.height)
    folder = tmp_path / "scores"
    folder.mkdir()
    for i, shard in enumerate(frame["shard"].unique(maintain_order=True)):
        own = frame[list(rows)].filter(pl.col("shard") == shard)
        made = {"reference": "r", "shard": shard, "shard_rows": SIZES[i]}
        own.write_parquet(folder / f"img_{i}.parquet", metadata={"clipsoid": json.dumps(made)})
    metadata = beside(frame, tmp_path / "metadata")
    selection = cs.select(folder, metadata=metadata, where="caption LIKE '%dog%' AND width > 20")
    want = [i for i in ok(frame) if i % 3 == 0 and i % 10 and i > 20]
    found = selection.frame.collect()
    assert found["caption"].to_list() == [f"a dog {i}" for i in want]
    assert found["uid"].to_list() == [frame["uid"][i] for i in want]
    assert found.columns == [*frame.columns, "caption", "width"]
    left_out = f"{300 - len(ok(frame))} rows of the shards have no line in their score files"
    unknown = sum(i % 3 == 0 and i % 10 == 0 for i in ok(frame))
    null = f"where is null for {unknown} rows, which are left out"
    assert selection.notes == ((left_out, null) if gaps else (null,))
    several = selection.frame.filter(pl.col("width") > 100).select("width").head(5).collect()
    assert several["width"].to_list() == [i for i in want if i > 100][:5]


def test_metadata_by_id(frame: pl.DataFrame, folder: Path, tmp_path: Path) -> None:
    known = captions(frame).sample(fraction=1, shuffle=True, seed=1).filter(pl.col("width") != 7)
    known.write_parquet(tmp_path / "meta.parquet")
    missing = frame.height - known.height
    want = [i for i in ok(frame) if i % 3 and i % 10 and i != 7]
    for given in (tmp_path / "meta.parquet", known, known.lazy()):
        selection = cs.select(folder, metadata=given, on="uid", where="caption LIKE '%cat%'")
        assert selection.frame.collect()["uid"].to_list() == [frame["uid"][i] for i in want]
        assert selection.notes[0] == f"{missing} rows have no metadata"
    column = cs.select(frame, metadata=known, on="uid", column="width", top=5)
    assert column.removed["no score"] == len(ok(frame)) - sum(
        bool(i % 10) and i != 7 for i in ok(frame)
    )


def test_metadata_of_other_rows(frame: pl.DataFrame) -> None:
    other = captions(frame).with_columns(pl.col("uid") + " of another set")
    with pytest.raises(cs.SelectionError, match=r"metadata: has no uid of the scores: its first"):
        cs.select(frame, metadata=other, on="uid", where="width > 1")


def test_columns_that_both_have_are_those_of_the_scores(
    frame: pl.DataFrame, folder: Path, tmp_path: Path
) -> None:
    metadata = tmp_path / "metadata"
    metadata.mkdir()
    for i, size in enumerate(SIZES):
        pl.DataFrame({"status": ["failed"] * size, "url": ["u"] * size}).write_parquet(
            metadata / f"{i}.parquet"
        )
    selection = cs.select(folder, metadata=metadata, where="url = 'u'")
    assert selection.rows_kept == len(ok(frame))
    assert selection.notes == (
        "columns of the metadata that the scores have as well: status; those of the scores count",
    )


def test_metadata_that_does_not_fit(frame: pl.DataFrame, folder: Path, tmp_path: Path) -> None:
    metadata = beside(frame, tmp_path / "metadata")
    known = captions(frame)
    with pytest.raises(
        cs.SelectionError, match=r"img_2.parquet: no metadata of its name or its number"
    ):
        cs.select(folder, metadata=sorted(metadata.iterdir())[:2])
    with pytest.raises(ValueError, match="needs on="):
        cs.select(folder, metadata=known)
    with pytest.raises(ValueError, match="needs on="):
        cs.select(frame, metadata=metadata)
    with pytest.raises(cs.SelectionError, match=r"metadata: uid '\w{32}' is there twice"):
        cs.select(folder, metadata=pl.concat([known, known[:1]]), on="uid")
    with pytest.raises(cs.SelectionError, match="'uid' is Int64, in the scores String"):
        cs.select(folder, metadata=known.with_columns(uid=pl.int_range(pl.len())), on="uid")
    with pytest.raises(cs.SelectionError, match=r"metadata: has no column 'url' \(on\)|'url'"):
        cs.select(folder, metadata=known, on="url")
    odd = metadata / "metadata_1.parquet"
    pl.read_parquet(odd)[:-1].write_parquet(odd)
    with pytest.raises(cs.MismatchError, match=r"metadata_1.*149 rows, but img_1.npy has 150 emb"):
        cs.select(folder, metadata=metadata)
    pl.DataFrame({"caption": ["x"] * 150}).write_parquet(odd)
    with pytest.raises(cs.SelectionError, match=r"metadata_1.* differs from .*metadata_0.*width"):
        cs.select(folder, metadata=metadata)


def test_scores_of_another_reference(frame: pl.DataFrame, tmp_path: Path) -> None:
    folder = write(frame, tmp_path / "scores")
    one = folder / "img_1.parquet"
    made = json.loads(pl.read_parquet_metadata(one)["clipsoid"])
    pl.read_parquet(one).write_parquet(
        one, metadata={"clipsoid": json.dumps({**made, "reference": "s"})}
    )
    with pytest.raises(
        cs.MismatchError, match=r"img_1.*reference 's', .*img_0.* 'r'; wanted one ref"
    ):
        cs.select(folder)
    pl.read_parquet(one).write_parquet(one)
    with pytest.raises(cs.SelectionError, match=r"img_1.*was not written by clipsoid score"):
        cs.select(folder)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("whitening", "log_likelihood"),
        ("partner", "cosine_to_partner"),
        ("groups", "group_conformity"),
        ("by", "group_rows"),
    ],
)
def test_columns_that_were_made_in_several_ways(
    frame: pl.DataFrame, tmp_path: Path, name: str, column: str
) -> None:
    mixed = frame.with_columns(pl.col("norm").alias(column))
    folder = write(mixed, tmp_path / "scores", **{name: "a"})
    odd = folder / "img_2.parquet"
    made = json.loads(pl.read_parquet_metadata(odd)["clipsoid"]) | {name: "b"}
    pl.read_parquet(odd).write_parquet(odd, metadata={"clipsoid": json.dumps(made)})
    message = rf"img_2.parquet: was scored with {name} 'b', .*img_0.parquet with 'a'; .*'{column}'"
    for options in ({"column": column}, {"where": f"{column} > 9"}, {"fraction": 1, "per": column}):
        with pytest.raises(cs.MismatchError, match=message):
            cs.select(folder, **options)
    selection = cs.select(folder, top=5)
    assert f"with {name} 'b'" in selection.notes[-1]
    with pytest.raises(cs.MismatchError, match=message):
        selection.write(tmp_path / "a.parquet")
    selection.write(tmp_path / "a.parquet", tmp_path / "a.txt", columns=["shard", "row"])
    # Files that agree are as good as ever.
    cs.select([folder / "img_0.parquet", folder / "img_1.parquet"], column=column, top=5)


def test_scores_of_several_encoders(frame: pl.DataFrame, tmp_path: Path) -> None:
    folder = write(frame, tmp_path / "scores")
    for i, encoder in enumerate((None, "ViT-B-32", "ViT-L-14")):
        path = folder / f"img_{i}.parquet"
        made = json.loads(pl.read_parquet_metadata(path)["clipsoid"]) | {"encoder": encoder}
        pl.read_parquet(path).write_parquet(path, metadata={"clipsoid": json.dumps(made)})
    with pytest.raises(
        cs.MismatchError, match=r"img_2.* encoder 'ViT-L-14', .*img_1.* with 'ViT-B-32'; wanted one"
    ):
        cs.select(folder)
    # Nobody has said what the first is of.
    assert cs.select([folder / "img_0.parquet", folder / "img_1.parquet"]).rows_in == 200


def test_score_files_of_several_schemas(frame: pl.DataFrame, folder: Path) -> None:
    odd = folder / "img_1.parquet"
    made = pl.read_parquet_metadata(odd)["clipsoid"]
    pl.read_parquet(odd).drop("uid").write_parquet(odd, metadata={"clipsoid": made})
    with pytest.raises(cs.SelectionError, match=r"img_1.* differs from .*img_0.* in uid; wanted"):
        cs.select(folder)


def test_what_is_wrong_is_said_before_any_row_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        raise AssertionError("a row was read")

    monkeypatch.setattr("clipsoid.selection.table.Table.batches", read)
    for options, message in (
        ({"where": "norm + 1"}, "where: gives Float32; wanted true or false"),
        ({"where": "nowhere = 1"}, r"has no column 'nowhere' \(where\)"),
        ({"fraction": 0.5, "per": "kind"}, r"has no column 'kind' \(per\)"),
        ({"column": "width"}, r"has no column 'width' \(column\)"),
        ({"target": folder, "rows": 3, "where": "norm"}, "where: gives Float32"),
    ):
        with pytest.raises(cs.SelectionError, match=message):
            cs.select(folder, **options)
    with pytest.raises(AssertionError, match="a row was read"):
        cs.select(folder)


def test_missing_shards_are_noted(frame: pl.DataFrame, tmp_path: Path) -> None:
    folder = write(frame, tmp_path / "scores", member=True, ellipsoid_rows=500)
    assert cs.select(folder).notes == (
        "these are 300 of the 500 rows of the set: shards are missing",
    )


def test_rows_that_are_there_twice(frame: pl.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(cs.SelectionError, match=r"row 0 of shard 'img_0.npy' comes after row 49"):
        cs.select(pl.concat([frame[:50], frame[:1]]))
    with pytest.raises(cs.SelectionError, match=r"shard 'img_0.npy' comes back after 'img_2.npy'"):
        cs.select(pl.concat([frame, frame[:1]]))
    with pytest.raises(cs.SelectionError, match="wanted each row once, in ascending order"):
        cs.select(frame.reverse())
    folder = write(frame, tmp_path / "scores")
    (folder / "copy.parquet").write_bytes((folder / "img_2.parquet").read_bytes())
    with pytest.raises(cs.SelectionError, match=r"'img_2.npy' comes back"):
        cs.select(folder)


def test_places_that_are_none(frame: pl.DataFrame) -> None:
    with pytest.raises(cs.SelectionError, match="'row' is String; wanted whole numbers"):
        cs.select(frame.with_columns(pl.col("row").cast(pl.String)))
    with pytest.raises(cs.SelectionError, match="'row' is null in 1 rows; wanted the place of"):
        cs.select(frame.with_columns(row=pl.when(pl.col("row") != 149).then("row")))
    with pytest.raises(cs.SelectionError, match="'status' is Int32; wanted words"):
        cs.select(frame.with_columns(status=pl.lit(0)))


def test_files_that_cannot_be_read(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(cs.StoreError, match="nowhere: found no such file or folder"):
        cs.select(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="scores: found ndarray; wanted the path of score files"):
        cs.select(np.zeros(3))
    damaged = folder / "img_1.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with pytest.raises(cs.SelectionError, match=r"img_1\.parquet: cannot be read: "):
        cs.select(folder)


def test_a_frame_that_gives_other_rows_each_time() -> None:
    sizes = iter(range(5, 100))

    def grown(_: pl.DataFrame) -> pl.DataFrame:
        return pl.DataFrame({"conformity": np.arange(next(sizes), dtype=float)})

    frame = pl.LazyFrame({"conformity": [1.0]}).map_batches(
        grown, schema={"conformity": pl.Float64}, streamable=False
    )
    with pytest.raises(cs.SelectionError, match="had 5 rows and now gives 6; wanted the same rows"):
        cs.select(frame)


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.parquet")
    for path in (tmp_path, tmp_path / "x.parquet"):
        with pytest.raises(cs.SelectionError, match=r"x\.parquet: is no regular file"):
            cs.select(path, top=1)
