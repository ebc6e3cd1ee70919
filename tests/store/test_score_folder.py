"""A folder of scores: what goes on, what is refused, and what a kill at any instant leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from clipsoid.cli import main
from clipsoid.cli import score as module
from clipsoid.errors import StoreError
from clipsoid.store.scores import finished
from store.score_jobs import SHARDS, contents, journal, make_shards, score, stopped

#: Scores a set, and is killed where the first arguments say.
KILLED = """
import os, sys
from pathlib import Path
from clipsoid.store import checkpoint, journal
from clipsoid.cli import main
from clipsoid.cli import score as module
where, call, *arguments = sys.argv[1:]
checkpoint.EVERY, checkpoint.SHARE = -1.0, 1e9
calls = 0
def killing(work, name, before):
    def wrapped(first, second, *rest):
        global calls
        if name in str(second):
            calls += 1
            if calls == int(call):
                if before:
                    before(first, second)
                os._exit(9)
        return work(first, second, *rest)
    return wrapped
append, replace = journal.Journal._append, Path.replace
if where == "torn line":
    def torn(self, line):
        os.pwrite(self._handle, b'{"shard":"0.np', self._end)
    journal.Journal._append = killing(append, "", torn)
elif where == "no line":
    journal.Journal._append = killing(append, "", None)
else:
    Path.replace = killing(replace, where, None)
main(["score", *arguments, "--quiet"])
"""


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return make_shards(tmp_path / "in")


def killed(where: str, call: int, shards: Path, out: Path, *options: str) -> None:
    arguments = [where, str(call), str(shards), "--out", str(out), *options]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], timeout=60)
    assert done.returncode == 9


@pytest.mark.parametrize(
    ("where", "call"),
    [
        # The first line, the reference's, those of files, and the one that says complete.
        *(("torn line", call) for call in (1, 2, 4)),
        *(("no line", call) for call in (1, 2, 3, 10)),
        # A file that is complete but for its name; checkpoints of the fit, and its result.
        *((f"{i}.parquet", 1) for i in (0, 3)),
        *((".checkpoint", call) for call in (1, 3)),
        ("reference.ellipsoid", 1),
    ],
)
def test_killed_at_a_point(shards, tmp_path, where, call) -> None:
    assert score(shards, tmp_path / "whole") == 0
    killed(where, call, shards, tmp_path / "s")
    # All files are there when nothing but the last line is not.
    if call < 10:
        with pytest.raises(
            StoreError, match=r"are not scored yet|it has no journal|its journal is empty"
        ):
            finished(tmp_path / "s")
    assert score(shards, tmp_path / "s") == 0
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")
    assert [path.name for path in finished(tmp_path / "s")] == [
        f"{i}.parquet" for i in range(SHARDS)
    ]


def test_what_is_finished_is_not_made_again(shards, tmp_path, capsys) -> None:
    out = tmp_path / "s"
    stopped(6, shards, out)
    done = {path: path.stat().st_ino for path in sorted(out.glob("*.parquet"))[:3]}
    assert len(done) == 3 and [line["shard"] for line in journal(out)[2:]] == [
        f"{i}.npy" for i in range(3)
    ]
    assert main(["score", str(shards), "--out", str(out), "--json", "--quiet"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["scored_now"] == SHARDS - 3 and len(result["files"]) == SHARDS
    lengths = [200 + 10 * i for i in range(SHARDS) if i != 3]
    assert result["rows"] == result["status"]["ok"] == sum(lengths)
    assert {path: path.stat().st_ino for path in done} == done
    before = contents(out)
    assert main(["score", str(shards), "--out", str(out)]) == 0
    assert "nothing was left to do" in capsys.readouterr().out
    assert contents(out) == before


def test_files_of_earlier_shards_stay_after_a_bad_row(shards, tmp_path, capsys) -> None:
    cs.Ellipsoid.fit(shards).save(tmp_path / "e")
    rows = np.load(shards / "5.npy")
    rows[0] = 0
    np.save(shards / "5.npy", rows)
    options = ("--ellipsoid", str(tmp_path / "e"), "--outsiders")
    assert score(shards, tmp_path / "s", *options) == 3
    assert "5.npy: row 0 has zero norm" in capsys.readouterr().err
    assert set(contents(tmp_path / "s")) == {
        ".scores-0-of-1.journal",
        *(f"{i}.parquet" for i in range(5)),
    }
    with pytest.raises(StoreError, match=r"2 of 7 shards are not scored yet \(5\.npy, 6\.npy\)"):
        finished(tmp_path / "s")
    # The file itself is put right, not the option: that is another input.
    rows[0] = 1
    np.save(shards / "5.npy", rows)
    assert score(shards, tmp_path / "s", *options) == 3
    assert "5.npy: has changed since" in capsys.readouterr().err


def test_a_shard_that_changes_while_it_is_read_has_no_file(shards, tmp_path, monkeypatch) -> None:
    cs.Ellipsoid.fit(shards).save(tmp_path / "e")

    def late(*arguments: object, **options: object) -> dict[str, object]:
        """After the job has begun, and before rows are read."""
        for name in ("4.npy", "6.npy"):
            np.save(shards / name, np.load(shards / name) + 1)
        return how_made(*arguments, **options)

    how_made = module.how_made
    monkeypatch.setattr(module, "how_made", late)
    assert score(shards, tmp_path / "s", "--ellipsoid", str(tmp_path / "e"), "--members") == 3
    names = {name for name in contents(tmp_path / "s") if name.endswith(".parquet")}
    assert names <= {f"{i}.parquet" for i in range(4)}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--on-invalid", "null"), "on_invalid 'error', this run has 'null'"),
        (("--encoder", "B"), "encoder None, this run has 'B'"),
        (("--ellipsoid", "e", "--members"), "reference 'the set itself', this run has"),
    ],
)
def test_another_job_is_refused_and_nothing_is_touched(
    shards, tmp_path, capsys, monkeypatch, options, words
) -> None:
    monkeypatch.chdir(tmp_path)
    cs.Ellipsoid.fit(shards).save("e")
    stopped(5, shards, tmp_path / "s")
    before = contents(tmp_path / "s")
    assert score(shards, Path("s"), *options) == 4
    error = capsys.readouterr().err
    assert f"s: was begun with {words}" in error and "another --out" in error
    assert contents(tmp_path / "s") == before


def test_versions_count(shards, tmp_path, capsys, monkeypatch) -> None:
    assert score(shards, tmp_path / "s") == 0
    monkeypatch.setattr(pl, "__version__", "9.9")
    assert score(shards, tmp_path / "s") == 4
    assert f"polars_version '{journal(tmp_path / 's')[0]['parameters']['polars_version']}'" in (
        capsys.readouterr().err
    )


def test_foreign_contents_are_refused(shards, tmp_path, capsys) -> None:
    for name in ("reference.ellipsoid", "0.parquet", "notes.txt"):
        out = tmp_path / f"with {name}"
        out.mkdir()
        if name == "0.parquet":
            frame = pl.DataFrame({"conformity": [1.0]})
            frame.write_parquet(out / name, metadata={"clipsoid": "{}"})
        else:
            (out / name).write_text("mine")
        before = contents(out)
        assert score(shards, out) == 4 and name in capsys.readouterr().err
        assert contents(out) == before


def test_a_file_that_another_program_changed(shards, tmp_path, capsys) -> None:
    out = tmp_path / "s"
    assert score(shards, out) == 0
    before = contents(out)
    (out / "2.parquet").write_bytes(b"short")
    assert score(shards, out) == 4
    assert "2.parquet: has 5 bytes" in capsys.readouterr().err
    with pytest.raises(StoreError, match=r"2\.parquet: has 5 bytes"):
        finished(out)
    (out / "2.parquet").unlink()
    with pytest.raises(StoreError, match=r"2\.parquet: is gone"):
        finished(out)
    # Removed on purpose: it is made again, and nothing else is.
    assert score(shards, out) == 0
    now = contents(out)
    assert now.pop(".scores-0-of-1.journal") != before.pop(".scores-0-of-1.journal")
    assert now == before


def test_another_reference_is_refused(shards, tmp_path, capsys) -> None:
    stopped(5, shards, tmp_path / "s")
    cs.Ellipsoid.fit(shards / "0.npy").save(tmp_path / "s" / "reference.ellipsoid")
    assert score(shards, tmp_path / "s") == 3
    assert (
        "s/reference.ellipsoid: is not the one that the scores beside it were made against"
        in capsys.readouterr().err
    )
