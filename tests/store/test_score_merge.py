"""Parts of a job that share a folder, or are merged into one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

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


def test_a_merge_says_what_is_missing_and_the_rest_can_follow(shards, tmp_path) -> None:
    for i in (0, 2):
        assert score(shards, tmp_path / f"{i}", "--shards", f"{i}/3") == 0
    result = merge_scores([tmp_path / "0", tmp_path / "2"], tmp_path / "m")
    assert result.missing == ("1.npy", "4.npy")
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
    stopped(4, shards, tmp_path / "half", "--shards", "1/2")
    with pytest.raises(StoreError, match=r"half: part 1/2 is incomplete, without 2 of 3 shards"):
        merge_scores([first, tmp_path / "half"], out)
    np.save(shards / "6.npy", np.load(shards / "6.npy")[1:])
    assert score(shards, tmp_path / "other", "--shards", "1/2") == 0
    with pytest.raises(MismatchError, match=r"other: was scored with (own reference|shard)"):
        merge_scores([first, tmp_path / "other"], out)
    assert not out.exists() and not list(tmp_path.glob(".m*"))


def test_a_copy_of_the_set_is_the_same_set_to_a_merge(shards, tmp_path) -> None:
    copy = tmp_path / "elsewhere" / "in"
    shutil.copytree(shards, copy, copy_function=shutil.copyfile)
    for i, folder in enumerate((shards, copy)):
        assert score(folder, tmp_path / f"{i}", "--shards", f"{i}/2") == 0
    assert not merge_scores([tmp_path / "0", tmp_path / "1"], tmp_path / "m").missing
