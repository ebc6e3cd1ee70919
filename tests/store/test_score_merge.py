"""Parts of a job that share a folder, or are merged into one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from clipsoid.cli import main
from clipsoid.errors import MismatchError, OutputError, StoreError
from clipsoid.store.score_merge import merge_scores
from clipsoid.store.scores import finished
from store.score_jobs import SHARDS, contents, make_shards, score, stopped


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return make_shards(tmp_path / "in")


def test_parts_make_one_folder_together_or_merged(shards, tmp_path) -> None:
    shared, apart, merged = tmp_path / "shared", [], tmp_path / "merged"
    assert score(shards, tmp_path / "whole") == 0
    for i in range(3):
        assert score(shards, shared, "--shards", f"{i}/3") == 0
        apart.append(tmp_path / f"part {i}")
        assert score(shards, apart[-1], "--shards", f"{i}/3") == 0
        if i < 2:
            with pytest.raises(StoreError, match=rf"not scored yet \({2 - (i == 0)}\.npy, "):
                finished(shared)
    result = merge_scores(apart, merged)
    assert (result.files, result.shards, result.missing) == (SHARDS, SHARDS, ())
    assert contents(merged) == contents(shared)
    whole = contents(tmp_path / "whole")
    assert {name: digest for name, digest in contents(merged).items() if name in whole} == {
        name: digest for name, digest in whole.items() if not name.endswith(".journal")
    }
    assert result.rows == pl.read_parquet(merged / "*.parquet").height
    assert [path.name for path in finished(merged)] == [f"{i}.parquet" for i in range(SHARDS)]


def test_a_merge_says_what_is_missing_and_the_rest_can_follow(shards, tmp_path, capsys) -> None:
    for i in (0, 2):
        assert score(shards, tmp_path / f"{i}", "--shards", f"{i}/3") == 0
    folders = [str(tmp_path / "0"), str(tmp_path / "2")]
    assert main(["merge", *folders, "--out", str(tmp_path / "m")]) == 3
    refused = capsys.readouterr().err
    assert "m: 2 of 7 shards are in none of the folders (1.npy, 4.npy); wanted" in refused
    assert not (tmp_path / "m").exists() and not list(tmp_path.glob(".m*"))
    assert main(["merge", *folders, "--out", str(tmp_path / "m"), "--partial"]) == 0
    assert "missing  2 of 7 shards: 1.npy, 4.npy\n" in capsys.readouterr().out
    assert score(shards, tmp_path / "m", "--shards", "1/3") == 0
    assert len(finished(tmp_path / "m")) == SHARDS


def test_parts_with_a_shard_in_common(shards, tmp_path, capsys) -> None:
    assert score(shards, tmp_path / "s", "--shards", "1/3") == 0
    before = contents(tmp_path / "s")
    assert score(shards, tmp_path / "s", "--shards", "1/2") == 4
    assert "part 1/3 was begun in it, which has 1.npy too" in capsys.readouterr().err
    assert contents(tmp_path / "s") == before
    assert score(shards, tmp_path / "t", "--shards", "1/2") == 0
    with pytest.raises(MismatchError, match=r"t: has 1\.npy, and so has .*s; wanted every shard"):
        merge_scores([tmp_path / "s", tmp_path / "t"], tmp_path / "m")


def test_merges_that_are_refused(shards, tmp_path) -> None:
    for i, options in enumerate(((), ("--on-invalid", "skip"))):
        assert score(shards, tmp_path / f"{i}", "--shards", f"{i}/2", *options) == 0
    first, second, out = tmp_path / "0", tmp_path / "1", tmp_path / "m"
    with pytest.raises(MismatchError, match=r"1: was scored with on_invalid 'skip', .*0 with"):
        merge_scores([first, second], out)
    with pytest.raises(MismatchError, match="is named twice"):
        merge_scores([first, first], out)
    with pytest.raises(StoreError, match=r"in: is not a folder that clipsoid score wrote"):
        merge_scores([first, shards], out)
    with pytest.raises(OutputError, match="is there already"):
        merge_scores([first], second)
    before = contents(first)
    for inside in (first / "sub", first / "a" / "b"):
        with pytest.raises(OutputError, match=r"(sub|b): lies in .*0; wanted a folder apart"):
            merge_scores([first, second], inside)
    (tmp_path / "around").mkdir()
    shutil.move(second, tmp_path / "around" / "1")
    with pytest.raises(OutputError, match=r"1: lies in .*around; wanted a folder apart"):
        merge_scores([first, tmp_path / "around" / "1"], tmp_path / "around")
    shutil.move(tmp_path / "around" / "1", second)
    (tmp_path / "around").rmdir()
    assert contents(first) == before
    stopped(4, shards, tmp_path / "half", "--shards", "1/2")
    with pytest.raises(StoreError, match=r"half: part 1/2 is incomplete, without 2 of 3 shards"):
        merge_scores([first, tmp_path / "half"], out)
    np.save(shards / "6.npy", np.load(shards / "6.npy")[1:])
    assert score(shards, tmp_path / "other", "--shards", "1/2") == 0
    with pytest.raises(
        MismatchError, match=r"other: was scored with 6\.npy: rows 259, .*0 with 260"
    ):
        merge_scores([first, tmp_path / "other"], out)
    assert not out.exists() and not list(tmp_path.glob(".m*"))


def test_a_copy_of_the_set_is_the_same_set_to_a_merge(shards, tmp_path) -> None:
    copy = tmp_path / "elsewhere" / "in"
    shutil.copytree(shards, copy, copy_function=shutil.copyfile)
    for i, folder in enumerate((shards, copy)):
        assert score(folder, tmp_path / f"{i}", "--shards", f"{i}/2") == 0
    assert not merge_scores([tmp_path / "0", tmp_path / "1"], tmp_path / "m").missing


def test_what_is_merged_of_copies_can_be_gone_on_with(shards, tmp_path, capsys) -> None:
    copy = tmp_path / "elsewhere" / "in"
    shutil.copytree(shards, copy, copy_function=shutil.copyfile)
    for i, folder in ((0, shards), (2, copy)):
        assert score(folder, tmp_path / f"{i}", "--shards", f"{i}/3") == 0
    merge_scores([tmp_path / "0", tmp_path / "2"], tmp_path / "m", partial=True)
    # A part of its own is held to the times of its own files.
    assert score(copy, tmp_path / "m", "--shards", "0/3") == 3
    assert "0.npy: has changed since" in capsys.readouterr().err
    assert score(copy, tmp_path / "m", "--shards", "1/3") == 0
    assert len(finished(tmp_path / "m")) == SHARDS


def test_a_copy_with_another_content_is_another_set(shards, tmp_path, capsys) -> None:
    assert score(shards, tmp_path / "s", "--shards", "0/3") == 0
    copy = tmp_path / "elsewhere" / "in"
    shutil.copytree(shards, copy)
    np.save(copy / "2.npy", -np.load(copy / "2.npy"))
    assert score(copy, tmp_path / "s", "--shards", "1/3") == 3
    assert "2.npy: has changed since" in (refused := capsys.readouterr().err)
    assert ": ends was " in refused
    assert score(copy, tmp_path / "t", "--shards", "1/3") == 0
    with pytest.raises(MismatchError, match=r"t: was scored with 2\.npy: ends '\w+', .*s with"):
        merge_scores([tmp_path / "s", tmp_path / "t"], tmp_path / "m", partial=True)
