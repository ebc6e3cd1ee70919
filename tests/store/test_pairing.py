"""Whether images and texts of a set are pairs: by shards, by ids, by their cosines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

import clipsoid as cs
from clipsoid.errors import MismatchError, PairingWarning, ShapeError
from clipsoid.store.layouts.pairing import check_cosines
from clipsoid.store.layouts.sample import places, sample_rows
from clipsoid.store.mapped import MappedShard
from clipsoid.store.parquet import ParquetShard
from store import layouts as made


def saved(path: Path, image: np.ndarray, text: np.ndarray) -> cs.EmbeddingSet:
    np.savez(path, image=image, text=text)
    return cs.open_set(path)


def test_pairs_are_nearer_than_shuffled_pairs(tmp_path: Path):
    image, text = made.pairs("float64")
    found = saved(tmp_path / "x.npz", image, text).check_pairs()
    assert (found.count, found.sample, found.id_column) == (made.ROWS, made.ROWS, None)
    assert found.is_paired is True
    assert found.cosine == pytest.approx((image * text).sum(axis=1).mean(), abs=1e-12)
    # The mean over all other texts is what shuffled ones come to, within their error.
    other = (image @ text.T).sum() - (image * text).sum()
    error = 4 * (image @ text.T).std() / np.sqrt(made.ROWS)
    assert found.shuffled_cosine == pytest.approx(other / (made.ROWS * (made.ROWS - 1)), abs=error)
    again = saved(tmp_path / "x.npz", image, text).check_pairs()
    assert again == found


def test_the_p_value_is_that_of_student(tmp_path: Path):
    rng = np.random.default_rng(0)
    for noise in (3, 6, 10):
        image = rng.standard_normal((60, 8))
        text = image + noise * rng.standard_normal((60, 8))
        found = check_cosines(*cs.open_set(_npz(tmp_path, image, text)).pairs(), sample=100, seed=0)
        want = stats.t.sf(found.statistic, found.sample - 1)
        assert found.p_value == pytest.approx(want, rel=0.02)


def _npz(folder: Path, image: np.ndarray, text: np.ndarray) -> Path:
    np.savez(folder / "pairs.npz", image=image, text=text)
    return folder / "pairs.npz"


def test_shuffled_texts_are_warned_of(tmp_path: Path):
    image, text = made.pairs()
    order = np.random.default_rng(1).permutation(made.ROWS)
    found = saved(tmp_path / "x.npz", image, text[order])
    with pytest.warns(PairingWarning, match=r"x\.npz: in a sample of 104 rows, the mean cosine"):
        assert found.check_pairs().is_paired is False
    with pytest.warns(PairingWarning):
        cs.analyze(found, leave_out=[*cs.analysis.PARTS])
    # Too few to tell.
    few = saved(tmp_path / "few.npz", image[:10], text[order][:10])
    assert few.check_pairs().is_paired is None


def test_invalid_rows_are_left_out(tmp_path: Path):
    image, text = made.pairs("float32")
    image[3], text[5], text[9, 0] = 0, np.nan, np.inf
    assert saved(tmp_path / "x.npz", image, text).check_pairs().sample == made.ROWS - 3


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_a_sample_of_a_large_set(tmp_path: Path, write):
    rng = np.random.default_rng(0)
    image = rng.standard_normal((30_000, 4)).astype(np.float32)
    for i, part in enumerate(np.split(image, 3)):
        write(tmp_path / f"{i}.npz", image=part, text=part + 1)
    found = cs.open_set(tmp_path)
    checked = found.check_pairs(sample=500, seed=3)
    assert 500 <= checked.sample < 520
    cosines = (image * (image + 1)).sum(axis=1) / np.linalg.norm(image, axis=1)
    cosines /= np.linalg.norm(image + 1, axis=1)
    assert checked.cosine == pytest.approx(cosines.mean(), abs=5 * cosines.std() / np.sqrt(500))
    # Each run is of rows of the set, from every shard; those of one set do not overlap.
    chosen = places(found.image, 500, 3)
    assert {i for i, _, _ in chosen} == {0, 1, 2}
    seen = np.concatenate(list(sample_rows(found.image, 500, 3)))
    want = [np.split(image, 3)[i][first : first + rows] for i, first, rows in chosen]
    assert np.array_equal(seen, np.concatenate(want).astype(np.float64))
    assert len(np.unique(seen, axis=0)) == len(seen)


def test_sides_of_other_shards(tmp_path: Path):
    image, text = made.pairs()
    for folder, rows, cuts in (("img", image, [10, 60]), ("txt", text, [33])):
        (tmp_path / folder).mkdir()
        for i, part in enumerate(np.split(rows, cuts)):
            np.save(tmp_path / folder / f"{i}.npy", part)
    found = cs.open_set(tmp_path)
    sides = cs.open_set(tmp_path / "img").image, cs.open_set(tmp_path / "txt").text
    assert check_cosines(*sides, sample=60, seed=0).is_paired
    with pytest.raises(MismatchError, match=r"img/2\.npy: there are no texts of this number"):
        found.pairs()
    (tmp_path / "img/2.npy").unlink()
    with pytest.raises(
        MismatchError, match=r"img/0\.npy: has 10 rows, .*txt/0\.npy has 33; wanted"
    ):
        cs.open_set(tmp_path).pairs()
    with pytest.raises(ShapeError, match="image has 60 rows, text has 104"):
        check_cosines(cs.open_set(tmp_path).image, sides[1], sample=60, seed=0)


def with_ids(path: Path, rows: np.ndarray, ids: list[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"uid": ids, "embedding": rows.astype(np.float32).tolist()}).write_parquet(path)


def with_ids_of(folder: Path, image: np.ndarray, text: np.ndarray) -> None:
    for side, rows in (("images", image), ("texts", text)):
        for i, (part, ids) in enumerate(zip(made.parts(rows), made.parts(made.UIDS), strict=True)):
            with_ids(folder / side / f"{i}.parquet", part, ids)


def test_texts_come_in_the_order_of_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    image, text = made.pairs("float32")
    with_ids_of(tmp_path, image, text)
    found = cs.open_set(tmp_path).check_pairs()
    assert found.id_column == "uid" and found.is_paired
    read: list[str] = []
    columns = ParquetShard.columns
    monkeypatch.setattr(
        ParquetShard, "columns", lambda self, names: read.append(self.name) or columns(self, names)
    )
    whole = cs.analyze(tmp_path, leave_out=[*cs.analysis.PARTS]).to_json()
    # Of each side, once.
    assert sorted(read) == sorted(2 * [shard.name for shard in cs.open_set(tmp_path).image.shards])
    # One shard is shuffled, and lacks an embedding.
    ids, rows = made.parts(made.UIDS)[2], made.parts(text)[2].copy()
    order = np.random.default_rng(3).permutation(len(ids))
    with_ids(tmp_path / "texts/2.parquet", rows[order], [ids[i] for i in order])
    again = cs.open_set(tmp_path)
    assert again.check_pairs() == found
    images, texts = again.pairs()
    for max_bytes in (None, 600):
        got = np.concatenate([batch.rows for batch in texts.batches(max_bytes)])
        assert np.array_equal(got, text)
    assert images.shards[2].columns(["uid"]).equals(texts.shards[2].columns(["uid"]))
    assert cs.analyze(tmp_path, leave_out=[*cs.analysis.PARTS]).to_json() == whole
    frame = pl.read_parquet(tmp_path / "texts/2.parquet")
    at = int(np.flatnonzero(order == 4)[0])
    nulls = frame["embedding"].to_list()
    nulls[at] = None
    frame.with_columns(embedding=pl.Series(nulls)).write_parquet(tmp_path / "texts/2.parquet")
    texts = cs.open_set(tmp_path).pairs()[1]
    shard = texts.shards[2]
    (batch,) = shard.batches()
    assert batch.missing is not None and np.flatnonzero(batch.missing).tolist() == [4]


def test_names_of_their_own_pair_up_by_row(tmp_path: Path):
    image, text = made.pairs("float32")
    with_ids_of(tmp_path, image, text)
    for i, (part, ids) in enumerate(zip(made.parts(text), made.parts(made.UIDS), strict=True)):
        with_ids(tmp_path / f"texts/{i}.parquet", part, [f"text of {one}" for one in ids])
    found = cs.open_set(tmp_path).check_pairs()
    assert found.is_paired and found.id_column is None


def test_ids_of_some_shards_only(tmp_path: Path):
    image, text = made.pairs("float32")
    with_ids_of(tmp_path, image, text)
    # The first is in another order, so that pairs by row would be others.
    ids, rows = made.parts(made.UIDS)[0], made.parts(text)[0]
    with_ids(tmp_path / "texts/0.parquet", rows[::-1], ids[::-1])
    last = tmp_path / "texts/3.parquet"
    pl.read_parquet(last).drop("uid").write_parquet(last)
    with pytest.raises(MismatchError, match=r"texts/3\.parquet: have no column 'uid' in common"):
        cs.open_set(tmp_path).pairs()


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (lambda ids: [*ids[:5], ids[6], "other", *ids[7:]], "row 5 has uid '{5}', which no row of"),
        (lambda ids: [ids[1], ids[1], *ids[2:]], "row 0 has uid '{1}', which is no id of one row"),
        (lambda ids: [*ids[:3], None, *ids[4:]], "row 3 has uid None, which is no id of one row"),
        (lambda ids: [*range(len(ids))], "column uid is String, that of .* is Int64; wanted one"),
        (lambda ids: [f"text {i}" for i in ids], "row 0 has uid '{0}', which no row of"),
    ],
)
def test_ids_that_do_not_pair_up(tmp_path: Path, ids, message: str):
    with_ids_of(tmp_path, *made.pairs("float32"))
    stored = made.parts(made.UIDS)[2]
    with_ids(tmp_path / "texts/2.parquet", made.parts(made.pairs("float32")[1])[2], ids(stored))
    where = "texts" if "no id of one row" in message else "images"
    with pytest.raises(MismatchError, match=rf"{where}/2\.parquet: {message.format(*stored)}"):
        cs.open_set(tmp_path).pairs()
    with pytest.raises(MismatchError, match="wanted"):
        cs.analyze(tmp_path)


def test_an_analysis_of_a_set(tmp_path: Path):
    made.clip_retrieval(tmp_path / "set")
    leave_out = [*cs.analysis.PARTS]
    want = cs.analyze(
        *made.pairs(), leave_out=leave_out, captions=made.CAPTIONS, image_paths=made.PATHS
    )
    for given in (tmp_path / "set", str(tmp_path / "set"), cs.open_set(tmp_path / "set")):
        found = cs.analyze(given, leave_out=leave_out)
        assert found.items.equals(want.items)
        assert found.image.mean_conformity == want.image.mean_conformity
    made.datacomp(tmp_path / "datacomp")
    found = cs.analyze(tmp_path / "datacomp", leave_out=leave_out)
    assert found.items["caption"][0] == made.CAPTIONS[made.datacomp_order()[0]]
    with pytest.raises(ValueError, match="text=None; wanted images and texts, or one set"):
        cs.analyze(made.pairs()[0])
    with pytest.raises(cs.StoreError, match="found image, no text embeddings"):
        cs.analyze(tmp_path / "set/img_emb")


def test_ids_in_shards_of_another_place(tmp_path: Path):
    image, text = made.pairs("float32")
    with_ids_of(tmp_path, image, text)
    # Each shard of texts goes to the next place: no shard has an id in common with its partner.
    size = min(made.SIZES)
    ids = [made.parts(made.UIDS)[i][:size] for i in range(len(made.SIZES))]
    for i, own in enumerate(ids):
        with_ids(tmp_path / f"images/{i}.parquet", made.parts(image)[i][:size], own)
        with_ids(tmp_path / f"texts/{(i + 1) % len(ids)}.parquet", made.parts(text)[i][:size], own)
    message = (
        rf"images/0\.parquet: uid '{ids[0][0]}' is in .*texts/1\.parquet, not in .*texts/0\.parq"
    )
    for ask in (cs.open_set(tmp_path).pairs, cs.open_set(tmp_path).check_pairs):
        with pytest.raises(MismatchError, match=message):
            ask()


def test_a_sample_of_reordered_shards_reads_the_rows_of_the_sample(tmp_path: Path, monkeypatch):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(40, 100, 8)).astype(np.float32)
    for folder in ("img_emb", "text_emb", "metadata/image", "metadata/text"):
        (tmp_path / folder).mkdir(parents=True)
    for i, rows in enumerate(image):
        order = rng.permutation(len(rows))
        ids = pl.DataFrame({"uid": [f"{i}-{j}" for j in range(len(rows))]})
        for side, own in (("img", np.arange(len(rows))), ("text", order)):
            np.save(tmp_path / f"{side}_emb/{side}_emb_{i}.npy", rows[own])
            ids[own].write_parquet(tmp_path / f"{side}_emb/{side}_emb_{i}.parquet")
    found = cs.open_set(tmp_path)
    asked, read = [], []
    columns, batches = MappedShard.columns, MappedShard.batches

    def noted_columns(shard, names):
        asked.append(shard.name)
        return columns(shard, names)

    def noted_batches(shard, max_bytes=None):
        for batch in batches(shard, max_bytes):
            read.append(len(batch))
            yield batch

    monkeypatch.setattr(MappedShard, "columns", noted_columns)
    monkeypatch.setattr(MappedShard, "batches", noted_batches)
    check = found.check_pairs(sample=160)
    assert check.count == 4000 and check.sample == 160 and check.cosine > 1 - 1e-6
    # 16 places of both sides, and no more than a few rows of each.
    assert len({*asked}) == 32 and sum(read) == 320
