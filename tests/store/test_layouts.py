"""Every layout of a producer is recognised, and read row by row with its metadata."""

from __future__ import annotations

import json
from pathlib import Path, PurePath

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

import clipsoid as cs
from clipsoid.errors import EmbedWarning, MismatchError, StoreError
from clipsoid.store.layouts.names import (
    looks_unfinished,
    modality_of_name,
    number_of,
    paired_arrays,
)
from store import layouts as made


def rows_of(store: cs.Store) -> np.ndarray:
    return np.concatenate([np.array(batch.rows) for batch in store.batches(300)])


def column_of(store: cs.Store, name: str) -> list:
    return [value for shard in store.shards for value in shard.columns([name])[name]]


@pytest.mark.parametrize("kind", made.SINGLE)
def test_one_modality(tmp_path: Path, kind: str):
    lay_out, ids = made.SINGLE[kind]
    lay_out(tmp_path / "set")
    found = cs.open_set(tmp_path / "set")
    assert (found.kind, found.image, found.text) == (kind, None, None)
    assert np.array_equal(rows_of(found.rows), made.pairs(*found.dtypes)[0])
    assert found.notes == ()
    if ids is None:
        with pytest.raises(StoreError, match=r"has no column|no columns"):
            found.rows.shards[0].check_columns(["uid"])
    else:
        assert found.rows.shards[0].schema()[ids] == pl.String
        assert column_of(found.rows, ids) == made.UIDS


@pytest.mark.parametrize("padded", [False, True])
def test_clip_retrieval(tmp_path: Path, padded: bool):
    made.clip_retrieval(tmp_path / "set", padded=padded)
    found = cs.open_set(tmp_path / "set")
    assert (found.kind, found.rows, found.notes) == ("clip-retrieval", None, ())
    for store, rows in zip((found.image, found.text), made.pairs(), strict=True):
        # Shard 10 comes after shard 9, not after shard 1.
        assert np.array_equal(rows_of(store), rows)
        assert column_of(store, "caption") == made.CAPTIONS
        assert column_of(store, "image_path") == made.PATHS
        assert dict(store.shards[0].schema()) == {"image_path": pl.String, "caption": pl.String}
    # As where its folder alone is opened.
    assert found.image.shards[2].name == ("img_emb_02.npy" if padded else "img_emb_2.npy")
    assert repr(found).startswith("EmbeddingSet(clip-retrieval, image=Store(11 shards, 104 x 16")


def test_a_part_of_clip_retrieval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made.clip_retrieval(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    for path in ("set/text_emb", "set/text_emb/*.npy", "set/text_emb/text_emb_{0..10}.npy"):
        found = cs.open_set(path)
        assert (found.kind, [*found.stores]) == ("clip-retrieval", ["text"])
        assert column_of(found.text, "caption") == made.CAPTIONS
    one = cs.open_set("set/img_emb/img_emb_3.npy")
    assert column_of(one.image, "image_path") == made.parts(made.PATHS)[3]
    for path in Path("set/text_emb").iterdir():
        path.unlink()
    assert [*cs.open_set("set").stores] == ["image"]


def test_datacomp(tmp_path: Path):
    made.datacomp(tmp_path / "set")
    found = cs.open_set(tmp_path / "set")
    assert (found.kind, found.encoder, found.temperature) == ("DataComp", "ViT-L-14 openai", 0.01)
    assert found.arrays == ("l14_img", "l14_txt", "b32_img", "b32_txt")
    order = made.datacomp_order()
    image, text = (rows[order] for rows in made.pairs())
    assert np.array_equal(rows_of(found.image), image)
    assert np.array_equal(rows_of(found.text), text)
    assert column_of(found.image, "uid") == [made.UIDS[row] for row in order]
    scores = column_of(found.text, "clip_l14_similarity_score")
    assert np.allclose(scores, (image.astype(float) * text.astype(float)).sum(axis=1))
    small = cs.open_set(tmp_path / "set", key="b32")
    assert (small.encoder, small.dim) == ("ViT-B-32 openai", 8)
    assert np.array_equal(rows_of(small.text), text[:, :8])
    pattern = cs.open_set(str(tmp_path / "set/*.npz"), key="l14_img")
    assert [*pattern.stores] == ["image"]
    assert column_of(pattern.image, "uid") == [made.UIDS[row] for row in order]
    with pytest.raises(StoreError, match="has no member 'l15'; found l14_img, l14_txt, b32_img"):
        cs.open_set(tmp_path / "set", key="l15")


def test_a_set_of_clipsoid(tmp_path: Path):
    made.clip_retrieval(tmp_path / "set")
    model = {"name": "ViT", "pretrained": "x", "weights": "0123456789", "temperature": 0.02}
    manifest = {
        "format": "clipsoid.embed",
        "format_version": 1,
        "complete": False,
        "made": {"model": {**model, "logit_bias": None}},
    }
    (tmp_path / "set/manifest.json").write_text(json.dumps(manifest))
    with pytest.warns(EmbedWarning, match="set: its manifest says that it is not finished: rows"):
        found = cs.open_set(tmp_path / "set")
    assert (found.kind, found.encoder, found.temperature) == ("clipsoid", "ViT x (01234567)", 0.02)
    assert "is not finished, its manifest says" in found.notes[0]
    (tmp_path / "set/manifest.json").write_text(json.dumps({**manifest, "complete": True}))
    assert cs.open_set(tmp_path / "set/img_emb").kind == "clipsoid"


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (("image", "text"), ("image", "text")),
        (("text_embeds", "image_embeds"), ("image_embeds", "text_embeds")),
        (
            ("image_features", "text_features", "image_ids", "text_ids"),
            ("image_features", "text_features"),
        ),
        (("img.emb", "txt.emb", "logit_scale"), ("img.emb", "txt.emb")),
    ],
)
@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".parquet"])
def test_one_file_with_both(tmp_path: Path, suffix: str, names: tuple, keys: tuple):
    path = tmp_path / f"x{suffix}"
    sides = dict(zip(keys, made.pairs("float32"), strict=True))
    arrays = {name: sides.get(name, np.ones((4, 3), np.float32)) for name in names}
    if suffix == ".parquet":
        sides = {name: rows[:4] for name, rows in sides.items()}
        lists = {name: rows[:4].tolist() for name, rows in arrays.items()}
        pl.DataFrame(lists, {name: pl.List(pl.Float32) for name in lists}).write_parquet(path)
    elif suffix == ".npz":
        np.savez(path, **arrays)
    else:
        save_file(arrays, path)
    for where in (path, tmp_path):
        found = cs.open_set(where)
        assert found.kind == suffix[1:]
        assert np.array_equal(rows_of(found.image), sides[keys[0]])
        assert np.array_equal(rows_of(found.text), sides[keys[1]])
        assert np.array_equal(rows_of(cs.open_set(where, key=keys[1]).text), sides[keys[1]])


def test_several_pairs_need_a_key(tmp_path: Path):
    arrays = {f"{m}_{n}": np.ones((3, 2)) for n in ("small", "large") for m in ("img", "txt")}
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(StoreError, match=r"x\.npz: holds 2 pairs .* one of 'small', 'large'"):
        cs.open_set(tmp_path)
    assert cs.open_set(tmp_path, key="large").text.shards[0].part == "txt_large"


def test_modalities_by_folder_and_by_file(tmp_path: Path):
    image, text = made.pairs()
    for a, b in (("image/part_0.npy", "text/part_0.npy"), ("image_0.npy", "text_0.npy")):
        folder = tmp_path / f"set-{len(a)}"
        for name, rows in ((a, image), (b, text)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            np.save(folder / name, rows)
        found = cs.open_set(folder)
        assert np.array_equal(rows_of(found.image), image)
        assert np.array_equal(rows_of(found.text), text)
    np.save(folder / "other.npy", image)
    with pytest.raises(StoreError, match=r"other\.npy: its name says neither image nor text"):
        cs.open_set(folder)
    (folder / "text_0.npy").unlink()
    assert cs.open_set(folder).rows.count == 2 * made.ROWS


def test_arrays_of_other_names_are_no_part_of_a_modality(tmp_path: Path):
    for folder in ("a", "b", "image", "text"):
        (tmp_path / folder).mkdir()
    rows = made.pairs("float32")
    for folder, name, side in (("a", "image_embeds", 0), ("b", "text_embeds", 1)):
        save_file({name: rows[side]}, tmp_path / folder / "0.safetensors")
    with pytest.raises(
        StoreError, match=r"b/0\.safetensors: has no tensor 'image_embeds'; found te"
    ):
        cs.open_set(tmp_path)
    (tmp_path / "a/0.safetensors").rename(tmp_path / "image/0.safetensors")
    (tmp_path / "b/0.safetensors").rename(tmp_path / "text/0.safetensors")
    found = cs.open_set(tmp_path)
    assert np.array_equal(rows_of(found.image), rows[0])
    assert np.array_equal(rows_of(found.text), rows[1])


def test_several_formats_are_refused_as_by_open_store(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.ones((2, 2)))
    np.savez(tmp_path / "b.npz", np.ones((2, 2)))
    with pytest.raises(StoreError, match=r"holds several formats \(1 \.npy, 1 \.npz\)"):
        cs.open_set(tmp_path)
    (tmp_path / "b.npz").unlink()
    for name in ("b", "c"):
        pl.DataFrame({"e": [[1.0, 2.0]]}).write_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(StoreError, match=r"holds several formats \(1 \.npy, 2 \.parquet\)"):
        cs.open_set(tmp_path)


def test_tables_beside_tables_of_embeddings(tmp_path: Path):
    made.nemo(tmp_path / "set/embeddings")
    (tmp_path / "set/metadata").mkdir()
    pl.DataFrame({"id": made.UIDS}).write_parquet(tmp_path / "set/metadata/all.parquet")
    assert len(cs.open_set(tmp_path / "set").rows.shards) == len(made.SIZES)


def test_metadata_of_another_count(tmp_path: Path):
    made.clip_retrieval(tmp_path / "set")
    table = tmp_path / "set/metadata/metadata_4.parquet"
    pl.DataFrame({"caption": ["a", "b"]}).write_parquet(table)
    found = cs.open_set(tmp_path / "set")
    (note,) = found.notes
    assert "metadata_4.parquet: has 2 rows, " in note
    assert note.endswith("img_emb_4.npy has 9 embeddings")
    shard = found.image.shards[4]
    message = r"metadata_4\.parquet: has 2 rows, but .*img_emb_4\.npy has 9 embeddings; wanted one"
    for ask in (shard.check_columns, shard.columns):
        with pytest.raises(MismatchError, match=message):
            ask(["caption"])
    with pytest.raises(
        StoreError, match=r"metadata_4\.parquet: has no column 'uid'; found caption"
    ):
        shard.columns(["uid"])


def test_img2dataset_of_another_count(tmp_path: Path):
    made.img2dataset(tmp_path / "set")
    np.save(tmp_path / "set/00001.npy", np.ones((21, made.DIM), np.float16))
    shard = cs.open_set(tmp_path / "set").rows.shards[1]
    with pytest.raises(MismatchError, match="has 40 rows, 20 of them with status 'success', but"):
        shard.check_columns(["key"])


def test_what_looks_wrong(tmp_path: Path):
    made.clip_retrieval(tmp_path / "set")
    emb = tmp_path / "set/text_emb"
    (emb / "text_emb_3.npy").unlink()
    np.save(emb / "text_emb_5.npy", np.zeros((0, made.DIM), np.float32))
    (tmp_path / "set/img_emb/img_emb_9.npy.tmp").touch()
    (tmp_path / "set/metadata/metadata_11.parquet").write_bytes(
        (tmp_path / "set/metadata/metadata_0.parquet").read_bytes()
    )
    notes = "\n".join(cs.open_set(tmp_path / "set").notes)
    for said in (
        "left unfinished, by the name: img_emb_9.npy.tmp",
        "no embeddings belong to metadata_11.parquet",
        "img_emb_3.npy: there are no texts of this number; wanted both",
        "text: shards differ in element type: 9 of float16, 1 of float32",
        "text: no shard of number 3 (an empty partition writes none)",
        "text: shards without rows: text_emb_5.npy",
        "metadata_5.parquet: has 11 rows, ",
    ):
        assert said in notes


@pytest.mark.parametrize("contents", [b"not json", b"\xff\xfe{}", b"[1]", b'{"format": 1}', None])
def test_manifests_of_other_programs_are_passed_over(tmp_path: Path, contents: bytes | None):
    made.clip_retrieval(tmp_path / "set")
    manifest = tmp_path / "set/manifest.json"
    if contents is None:
        manifest.mkdir()
    else:
        manifest.write_bytes(contents)
    found = cs.open_set(tmp_path / "set")
    assert (found.kind, found.origin, found.notes) == ("clip-retrieval", None, ())


def test_a_manifest_of_ours_that_is_damaged_is_not(tmp_path: Path):
    made.clip_retrieval(tmp_path / "set")
    (tmp_path / "set/manifest.json").write_text('{"format": "clipsoid.embed", ')
    with pytest.raises(StoreError, match=r"manifest\.json: cannot be read: Expecting"):
        cs.open_set(tmp_path / "set")


def test_what_is_named_by_itself_lacks_nothing(tmp_path: Path):
    made.clip_retrieval(tmp_path / "set", metadata=False)
    emb = tmp_path / "set/img_emb"
    (tmp_path / "set/img_emb/strangers.parquet").write_bytes(b"")
    assert any("strangers" in note for note in cs.open_set(emb).notes)
    assert cs.open_set(emb / "img_emb_3.npy").notes == ()
    assert cs.open_set(f"{emb}/img_emb_{{3..4}}.npy").notes == ()
    (emb / "img_emb_2.npy").unlink()
    assert "image: no shard of number 2 (an" in " ".join(cs.open_set(emb).notes)


def test_errors_are_those_of_the_readers(tmp_path: Path):
    with pytest.raises(StoreError, match="found no such file or folder"):
        cs.open_set(tmp_path / "none")
    with pytest.raises(StoreError, match="none: holds no files; wanted"):
        (tmp_path / "none").mkdir()
        cs.open_set(tmp_path / "none")
    with pytest.raises(cs.DTypeError, match="dtype is 'int8'; wanted one of"):
        cs.open_set(tmp_path, dtype="int8")
    np.save(tmp_path / "img_emb.npy", made.pairs()[0])
    with pytest.raises(cs.DTypeError, match="elements are float16; wanted float32"):
        cs.open_set(tmp_path / "img_emb.npy", dtype="float32")
    found = cs.open_set(tmp_path / "img_emb.npy")
    with pytest.raises(StoreError, match="found image, no text embeddings"):
        found.pairs()


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("img_emb_07", "image"),
        ("Images", "image"),
        ("text_embeds", "text"),
        ("l14_txt", "text"),
        ("captions0", "text"),
        ("image_text", None),
        ("imagenet", None),
        ("context", None),
        ("img2dataset", None),
        ("", None),
    ],
)
def test_modality_of_a_name(name: str, modality: str | None):
    assert modality_of_name(name) == modality


def test_numbers_and_leftovers():
    numbers = {"img_emb_07": 7, "12": 12, "x-3": 3, "c4ca4238a0b923820dcc509a6f75849b": None}
    assert {name: number_of(PurePath(f"{name}.npy")) for name in numbers} == numbers
    for name in ("a.npy.part", "a.part.npy", "a.npy.tmp", "a.npy~", "a.parquet.incomplete"):
        assert looks_unfinished(PurePath(name))
    for name in ("part_0.npy", "part.0.parquet", "a.npy", "temp.npy", "template.parquet"):
        assert not looks_unfinished(PurePath(name))
    assert paired_arrays(["a_img", "b_txt"]) == {}


def test_numbers_that_do_not_count_shards(tmp_path: Path):
    folder = tmp_path / "set/img_emb"
    folder.mkdir(parents=True)
    for number in (0, 1, 2, 4, 5):
        np.save(folder / f"img_emb_{number}.npy", np.ones((3, 2), np.float32))
    missing = "image: no shard of number 3 (an empty partition writes none)"
    assert missing in cs.open_set(tmp_path / "set").notes
    # A time of day is no place in a row, and the numbers below it would fill any memory.
    (folder / "img_emb_5.npy").rename(folder / "img_emb_20261122103000.npy")
    assert not any("no shard of number" in note for note in cs.open_set(tmp_path / "set").notes)
