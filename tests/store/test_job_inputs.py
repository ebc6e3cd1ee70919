"""Whatever a job reads belongs to it: partners, another set, metadata, groups."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from clipsoid.cli import main
from clipsoid.cli import score as module
from clipsoid.errors import MismatchError
from clipsoid.store.fingerprint import ends
from clipsoid.store.score_merge import merge_scores
from store.layouts import SIZES, clip_retrieval
from store.score_jobs import contents, journal, stopped

ALL = (
    *("--modality", "image", "--partner", "--by", "label"),
    *("--id-column", "caption", "--quiet"),
)

#: A file of each section, in which the others of the job lie.
FILES = {
    "": "img_emb/img_emb_2.npy",
    "partner ": "text_emb/text_emb_2.npy",
    "metadata ": "metadata/metadata_2.parquet",
}


@pytest.fixture
def laid_out(tmp_path: Path) -> Path:
    """A folder of clip-retrieval, with labels in its metadata."""
    folder = tmp_path / "set"
    clip_retrieval(folder)
    for i, table in enumerate(sorted((folder / "metadata").iterdir())):
        frame = pl.read_parquet(table)
        labels = [f"label {(i + row) % 3}" for row in range(len(frame))]
        frame.with_columns(pl.Series("label", labels)).write_parquet(table)
    return folder


def score(folder: Path, out: Path, *options: str) -> int:
    return main(["score", str(folder), "--out", str(out), *options])


def rewrite(path: Path, how: str) -> None:
    """Change the time of a file, or nothing but its content."""
    before = path.stat()
    if how == "ends":
        whole = bytearray(path.read_bytes())
        # Of an array, the last number; of a table, what lies behind the magic at its beginning.
        whole[5 if path.suffix == ".parquet" else -1] ^= 1
        path.write_bytes(whole)
    later = 10**9 if how == "modified" else 0
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + later))


@pytest.mark.parametrize("how", ["modified", "ends"])
@pytest.mark.parametrize("section", FILES)
def test_a_file_that_changes_between_two_runs(laid_out, tmp_path, capsys, section, how) -> None:
    out = tmp_path / "s"
    stopped(6, laid_out, out, *ALL)
    before = contents(out)
    changed = laid_out / FILES[section]
    rewrite(changed, how)
    capsys.readouterr()
    assert score(laid_out, out, *ALL) == 3
    error = capsys.readouterr().err
    assert f"clipsoid: {section}{changed.name}: has changed since {out} was begun: " in error
    assert f": {how} was " in error and "wanted the same files" in error
    assert contents(out) == before


def test_the_journal_has_every_file(laid_out, tmp_path) -> None:
    assert score(laid_out, tmp_path / "s", *ALL) == 0
    inputs = journal(tmp_path / "s")[0]["inputs"]
    assert list(inputs) == ["rows", "partner", "metadata"]
    for files, name in zip(inputs.values(), FILES.values(), strict=True):
        assert [one["rows"] for one in files] == list(SIZES)
        path = laid_out / name
        found = files[2]
        assert found["name"] == path.name
        assert (found["size"], found["modified"]) == (path.stat().st_size, path.stat().st_mtime_ns)
    # Without columns, metadata are not looked at.
    assert score(laid_out, tmp_path / "t", "--modality", "image", "--quiet") == 0
    assert list(journal(tmp_path / "t")[0]["inputs"]) == ["rows"]


def test_a_set_that_rows_are_scored_against(laid_out, tmp_path, capsys) -> None:
    options = ("--modality", "image", "--against", str(laid_out / "text_emb"), "--quiet")
    stopped(6, laid_out, tmp_path / "s", *options)
    rewrite(laid_out / "text_emb" / "text_emb_4.npy", "ends")
    assert score(laid_out, tmp_path / "s", *options) == 3
    error = capsys.readouterr().err
    assert "against text_emb_4.npy: has changed since" in error and "ends was" in error


def test_metadata_that_change_after_the_job_has_begun(
    laid_out, tmp_path, capsys, monkeypatch
) -> None:
    how_made = module.how_made

    def late(*arguments: object, **options: object) -> dict[str, object]:
        rewrite(laid_out / "metadata" / "metadata_2.parquet", "modified")
        return how_made(*arguments, **options)

    monkeypatch.setattr(module, "how_made", late)
    options = ("--modality", "image", "--id-column", "caption", "--quiet")
    assert score(laid_out, tmp_path / "s", *options) == 3
    assert "metadata_2.parquet: was changed while it was being read" in capsys.readouterr().err
    assert not (tmp_path / "s" / "img_emb_2.parquet").exists()


def test_ends_are_those_of_the_file(tmp_path) -> None:
    path = tmp_path / "0.npy"
    np.save(path, np.arange(30_000.0).reshape(-1, 3))
    stamp = cs.open_store(path).shards[0].stamp

    def digest(at: int) -> str | None:
        whole = bytearray(original)
        whole[at] ^= 1
        path.write_bytes(whole)
        os.utime(path, ns=(0, stamp.modified))
        return ends(path, stamp)

    original = path.read_bytes()
    os.utime(path, ns=(0, stamp.modified))
    want = ends(path, stamp)
    assert want is not None and len(want) == 32
    assert want not in {digest(at) for at in (0, 4095, -4096, -1)}
    assert {digest(at) for at in (4096, -4097)} == {want}


def test_other_groups_in_the_folder_are_refused(laid_out, tmp_path, capsys) -> None:
    out, groups = tmp_path / "s", tmp_path / "s" / "reference.groups"
    stopped(6, laid_out, out, *ALL)
    whole = groups.read_bytes()
    images = cs.open_store(laid_out / "img_emb")
    cs.GroupedEllipsoids.fit(images, ["a", "b"] * 52).save(groups)
    assert score(laid_out, out, *ALL) == 3
    assert f"{groups}: is not the one that the scores beside it" in capsys.readouterr().err
    # Before its digest is kept, its features tell.
    shutil.rmtree(out)
    stopped(3, laid_out, out, *ALL)
    assert groups.read_bytes() == whole
    narrow = np.ones((4, 3)) + np.arange(12).reshape(4, 3)
    cs.GroupedEllipsoids.fit(narrow, ["a", "b"] * 2).save(groups)
    assert score(laid_out, out, *ALL) == 3
    assert f"{groups}: is of rows of 3 features, these have 16" in capsys.readouterr().err


def test_a_merge_brings_groups_and_compares_them(laid_out, tmp_path) -> None:
    folders = [tmp_path / "0", tmp_path / "1"]
    for i, folder in enumerate(folders):
        assert score(laid_out, folder, *ALL, "--shards", f"{i}/2") == 0
    merge_scores(folders, tmp_path / "m")
    for name in ("reference.groups", "reference.ellipsoid"):
        assert (tmp_path / "m" / name).read_bytes() == (folders[0] / name).read_bytes()
    # It is what one folder would be, and has nothing left to do.
    before = contents(tmp_path / "m")
    assert score(laid_out, tmp_path / "m", *ALL, "--shards", "0/2") == 0
    assert contents(tmp_path / "m") == before
    images = cs.open_store(laid_out / "img_emb")
    other = cs.GroupedEllipsoids.fit(images, ["a", "b"] * 52)
    other.save(folders[0] / "reference.groups")
    with pytest.raises(MismatchError, match=r"0/reference\.groups: is not the one"):
        merge_scores(folders, tmp_path / "n")
    lines = (folders[1] / ".scores-1-of-2.journal").read_text().splitlines(keepends=True)
    lines[2] = json.dumps({"groups": "0" * 32}) + "\n"
    (folders[1] / ".scores-1-of-2.journal").write_text("".join(lines))
    with pytest.raises(MismatchError, match=r"1: was scored with own\.groups '000"):
        merge_scores(folders, tmp_path / "n")


def test_groups_of_another_column_and_rows_without_one(
    laid_out, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    groups = Path("some.groups")
    fit = ["fit", str(laid_out), "--modality", "image", "--by", "label", "--out", str(groups)]
    assert main([*fit, "--shards", "0/11", "--quiet"]) == 0
    options = ("--modality", "image", "--ellipsoid", str(groups), "--outsiders")
    assert score(laid_out, Path("s"), *options, "--by", "caption") == 3
    error = capsys.readouterr().err
    assert f"{groups}: has the groups of column 'label', --by says 'caption'; wanted" in error
    assert not (Path("s")).exists()
    table = laid_out / "metadata" / "metadata_1.parquet"
    frame = pl.read_parquet(table).with_columns(label=pl.lit("strange"))
    frame.write_parquet(table)
    stopped(4, laid_out, Path("s"), *options, "--by", "label")
    assert score(laid_out, Path("s"), *options, "--by", "label") == 0
    told = capsys.readouterr().out
    assert "no group     20 of 104 rows: the groups do not have their value of 'label'" in told
    assert max(map(len, told.splitlines())) <= 80
    assert score(laid_out, Path("s"), *options, "--by", "label", "--json") == 0
    assert json.loads(capsys.readouterr().out)["without_group"] == 20


def test_a_second_fit_of_groups_is_refused(laid_out, tmp_path, capsys) -> None:
    from clipsoid.store.journal import lock_beside

    out = tmp_path / "x.groups"
    fit = ["fit", str(laid_out), "--modality", "image", "--by", "label", "--out", str(out)]
    with lock_beside(out):
        assert main([*fit, "--quiet"]) == 4
    assert f"{out}: another run writes into it" in capsys.readouterr().err
    (tmp_path / ".x.groups.123.part").write_bytes(b"left by a kill")
    assert main([*fit, "--quiet"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"set", "x.groups"}


def test_ids_that_partners_are_found_by(tmp_path, capsys) -> None:
    rows = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    for side, order in (("image", range(30)), ("text", range(29, -1, -1))):
        (tmp_path / side).mkdir()
        for i in range(2):
            np.save(tmp_path / side / f"emb_{i}.npy", rows[list(order)])
            frame = pl.DataFrame({"uid": [f"{row:04}" for row in order]})
            frame.write_parquet(tmp_path / side / f"emb_{i}.parquet")
    out, options = tmp_path / "s", ("--partner", str(tmp_path / "text"), "--quiet")
    assert score(tmp_path / "image", out, *options, "--shards", "0/2") == 0
    assert np.allclose(pl.read_parquet(out / "emb_0.parquet")["cosine_to_partner"], 1)
    pl.DataFrame({"uid": [f"{row:04}" for row in range(30)]}).write_parquet(
        tmp_path / "text" / "emb_0.parquet"
    )
    assert score(tmp_path / "image", out, *options, "--shards", "1/2") == 3
    error = capsys.readouterr().err
    assert "metadata text/emb_0.parquet: has changed since" in error
