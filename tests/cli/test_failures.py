"""What goes wrong: exit codes, messages, and nothing left behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


def test_usage(run, shards):
    assert run().code == 2
    assert run("fit", shards).code == 2
    assert run("score", shards, "--out", "s", "--threads", "0").code == 2
    outcome = run("score", shards, "--out", "s", "--outsiders")
    assert outcome.code == 2 and "--ellipsoid" in outcome.err
    assert run("fit", shards, "--out", "e", "--shards", "3/3").code == 2


def test_input_at_fault_leaves_nothing(run, shards, tmp_path):
    bad = np.load(shards / "img_emb" / "img_emb_2.npy")
    bad[40, 3] = np.inf
    np.save(shards / "img_emb" / "img_emb_2.npy", bad)
    before = files(tmp_path)
    for arguments in (("fit", shards, "--out", "e.ellipsoid"), ("score", shards, "--out", "a/b")):
        outcome = run(*arguments)
        assert outcome.code == 3
        assert "img_emb_2.npy: row 40" in outcome.err and "not finite" in outcome.err
        assert files(tmp_path) == before


def test_an_invalid_row_met_while_scoring_keeps_earlier_scores(run, shards, tmp_path):
    run("fit", shards, "--out", "e.ellipsoid")
    bad = np.load(shards / "img_emb" / "img_emb_2.npy")
    bad[99] = 0
    np.save(shards / "img_emb" / "img_emb_2.npy", bad)
    arguments = ("score", shards, "--ellipsoid", "e.ellipsoid", "--members", "--out")
    outcome = run(*arguments, "s")
    assert outcome.code == 3 and "row 99 has zero norm" in outcome.err
    assert run(*arguments, "whole", "--shards", "0/3").code == 0
    assert run(*arguments, "whole", "--shards", "1/3").code == 0
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").rglob("*.parquet")}
    kept = {path.name: path.read_bytes() for path in (tmp_path / "s").rglob("*.parquet")}
    assert kept == whole and len(kept) == 2
    assert [path.name for path in (tmp_path / "s").rglob(".*")] == [".scores-0-of-1.journal"]


def test_ellipsoids_that_do_not_fit(run, shards, tmp_path):
    np.save(tmp_path / "wide.npy", np.ones((5, 7), np.float32))
    run("fit", "wide.npy", "--out", "wide.ellipsoid")
    run("fit", shards, "--out", "e.ellipsoid", "--encoder", "B")
    (tmp_path / "copy.ellipsoid").write_bytes((tmp_path / "e.ellipsoid").read_bytes())
    np.save(tmp_path / "other.npy", np.eye(24, dtype=np.float32))
    run("fit", "other.npy", "--out", "other.ellipsoid", "--encoder", "A")
    for arguments, words in (
        (("score", shards, "--ellipsoid", "wide.ellipsoid", "--out", "s"), ("7", "24")),
        (
            ("score", shards, "--ellipsoid", "e.ellipsoid", "--encoder", "C", "--out", "s"),
            ("'B'", "'C'"),
        ),
        (("merge", "e.ellipsoid", "wide.ellipsoid", "--out", "m"), ("24", "7")),
        (("merge", "e.ellipsoid", "other.ellipsoid", "--out", "m"), ("'A'", "'B'")),
        (("merge", "e.ellipsoid", "e.ellipsoid", "--out", "m"), ("e.ellipsoid: is named twice",)),
        (
            ("merge", "other.ellipsoid", "e.ellipsoid", "copy.ellipsoid", "--out", "m"),
            ("'A'", "'B'"),
        ),
        (
            ("merge", "e.ellipsoid", "copy.ellipsoid", "--out", "m"),
            ("copy.ellipsoid: was fitted on 3 of the 3 shards of e.ellipsoid",),
        ),
        (("info", "nowhere.ellipsoid"), ("nowhere.ellipsoid",)),
        (("score", shards, "--ellipsoid", "wide.npy", "--out", "s"), ("not an ellipsoid file",)),
    ):
        outcome = run(*arguments)
        assert outcome.code == 3
        assert all(word in outcome.err for word in words), outcome.err
    assert not (tmp_path / "s").exists() and not (tmp_path / "m").exists()


def test_fewer_than_two_rows(run, tmp_path):
    np.save(tmp_path / "one.npy", np.ones((1, 4), np.float32))
    outcome = run("score", "one.npy", "--out", "s")
    assert outcome.code == 3 and "one.npy: found 1 valid row, wanted 2 or more" in outcome.err


@pytest.mark.parametrize("name", ["notes.txt", "img_emb/extra.parquet", "img_emb_0.parquet"])
def test_a_folder_with_foreign_contents(run, shards, tmp_path, name):
    foreign = tmp_path / "s" / name
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    outcome = run("score", shards, "--out", "s")
    assert outcome.code == 4 and Path(name).name in outcome.err
    assert foreign.read_text() == "mine" and len(files(tmp_path / "s")) <= 2


def test_outputs_that_cannot_be_written_are_refused_before_the_work(run, shards, tmp_path):
    for out in ("no/such/e.ellipsoid", shards):
        outcome = run("fit", shards, "--out", out)
        assert outcome.code == 4 and "rows/s" not in outcome.err
    (tmp_path / "file").write_text("")
    assert run("score", shards, "--out", "file").code == 4


def test_an_id_column_that_a_later_shard_lacks_is_refused_before_the_work(run, rows, tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for i, ids in enumerate(("uid", "url")):
        emb = pl.Series(rows.tolist(), dtype=pl.List(pl.Float32))
        pl.DataFrame({ids: range(len(rows)), "emb": emb}).write_parquet(folder / f"{i}.parquet")
    before = files(tmp_path)
    outcome = run("score", folder, "--out", "s", "--id-column", "uid")
    assert outcome.code == 3 and "rows/s" not in outcome.err
    assert "1.parquet: has no column 'uid'; found url, emb" in outcome.err
    assert files(tmp_path) == before


def limited(bytes_: int) -> None:
    """Make files end as on a full disk: a write beyond the limit fails."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_))


@pytest.mark.parametrize("command", ["fit", "score"])
def test_a_full_disk(shards, tmp_path, command):
    out = {"fit": "e.ellipsoid", "score": "s"}[command]
    done = subprocess.run(
        [sys.executable, "-m", "clipsoid", command, str(shards), "--out", out],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: limited(1000),
    )
    assert done.returncode == 4, done.stderr
    assert "cannot be written" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / out).exists() and not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("finished", [0, 3])
def test_ctrl_c_keeps_what_is_finished_and_nothing_else(tmp_path, finished):
    # Enough rows that a run takes seconds: one file, mapped by many names.
    rows = np.random.default_rng(0).normal(size=(100_000, 256)).astype(np.float32)
    np.save(tmp_path / "x_0.npy", rows)
    for i in range(1, 60):
        os.link(tmp_path / "x_0.npy", tmp_path / f"x_{i}.npy")
    command = [sys.executable, "-m", "clipsoid", "score", "x_{0..59}.npy", "--out", "s"]
    if finished:
        command += ["--ellipsoid", "e.ellipsoid", "--members"]
        fit = [sys.executable, "-m", "clipsoid", "fit", "x_0.npy", "--no-covariance"]
        subprocess.run([*fit, "--quiet", "--out", "e.ellipsoid"], cwd=tmp_path, check=True)
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    wanted = "*.parquet" if finished else ".*"
    while len(list(tmp_path.glob(f"s/{wanted}"))) < max(1, finished):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in err and "Traceback" not in err
    # Ctrl-C works within a second; the rest is for a machine under load.
    assert time.monotonic() - sent < 5
    if finished:
        assert len(list((tmp_path / "s").glob("*.parquet"))) >= finished
        hidden = [path.name for path in (tmp_path / "s").glob(".*")]
        assert hidden == [".scores-0-of-1.journal"]
    else:
        assert not (tmp_path / "s").exists()


def test_two_runs_into_one_place(run, shards, tmp_path):
    from clipsoid.store.journal import locked

    (tmp_path / "s").mkdir()
    for lock, command, out in (
        ("s/.scores-0-of-1.journal", "score", "s"),
        (".e.ellipsoid.lock", "fit", "e.ellipsoid"),
    ):
        handle = locked(tmp_path / lock, tmp_path / out)
        refused = run(command, shards, "--out", out)
        os.close(handle)
        assert refused.code == 4 and f"{out}: another run writes into it" in refused.err
        assert run(command, shards, "--out", out).code == 0


@pytest.mark.parametrize("command", ["fit", "score"])
def test_a_folder_that_is_read_only(run, shards, tmp_path, command):
    (tmp_path / "out").mkdir(mode=0o500)
    if os.access(tmp_path / "out", os.W_OK):
        pytest.skip("this user may write everywhere")
    outcome = run(command, shards, "--out", "out/x")
    assert outcome.code == 4 and "cannot be written" in outcome.err


def test_a_closed_pipe_is_no_error(shards):
    command = f"{sys.executable} -m clipsoid info {shards} --json | head -c 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr


def test_an_input_is_never_overwritten(run, shards, tmp_path):
    np.save(tmp_path / "x.npy", np.eye(4, dtype=np.float32))
    before = (tmp_path / "x.npy").read_bytes()
    for command in (("fit", "x.npy"), ("merge", "x.npy")):
        outcome = run(*command, "--out", "x.npy")
        assert outcome.code == 4 and "is there already" in outcome.err
    assert (tmp_path / "x.npy").read_bytes() == before
    for out in ("shards", "shards/img_emb", "shards/scores"):
        assert run("score", shards, "--out", out).code == 4
    assert not (shards / "scores").exists()


def test_the_demo_deletes_nothing(run, tmp_path):
    precious = tmp_path / "d" / "embeddings" / "precious.npy"
    precious.parent.mkdir(parents=True)
    precious.write_text("mine")
    outcome = run("demo", "--rows", "100", "--out", "d")
    assert outcome.code == 4 and "precious.npy" in outcome.err
    assert precious.read_text() == "mine"


def test_rows_of_unknown_origin_leave_membership_unclear(run, shards, rows, tmp_path):
    import clipsoid as cs

    np.save(tmp_path / "b.npy", rows[:40])
    e = cs.Ellipsoid.fit(shards)
    e.update(rows[:40])
    e.save(tmp_path / "e.ellipsoid")
    outcome = run("score", "b.npy", "--ellipsoid", "e.ellipsoid", "--out", "s")
    assert outcome.code == 3 and "arrays in memory" in outcome.err and "--members" in outcome.err
    assert run("score", shards, "--ellipsoid", "e.ellipsoid", "--out", "t").code == 0


def test_parts_share_a_folder_if_they_were_scored_in_one_way(run, shards, tmp_path):
    run("fit", shards, "--out", "e.ellipsoid")
    for i in range(2):
        assert run("score", shards, "--shards", f"{i}/3", "--out", "s").code == 0
    last = ("score", shards, "--shards", "2/3", "--out", "s")
    other = run(*last, "--on-invalid", "skip")
    assert other.code == 4 and "was begun with on_invalid 'error', this run has 'skip'" in other.err
    other = run(*last, "--ellipsoid", "e.ellipsoid")
    assert other.code == 4 and "was begun with reference 'the set itself'" in other.err
    assert len(list((tmp_path / "s").rglob("*.parquet"))) == 2


@pytest.mark.parametrize("failure", [MemoryError(), ValueError("odd"), OSError(28, "No space")])
def test_a_writer_that_dies_is_an_error(shards, tmp_path, monkeypatch, failure):
    import polars as pl

    import clipsoid as cs
    from clipsoid.store.scores import write_scores

    def half(frame, path, **_):
        Path(path).write_bytes(b"PAR1 half")
        raise failure

    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", half)
    store = cs.open_store(shards)
    reference = cs.Ellipsoid.fit(store).reference(member=True)
    with pytest.raises(cs.OutputError, match="cannot be written"):
        write_scores(store, reference, tmp_path / "s", made={})
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", "x.npy", "--out", "e", "--temperature", "-1"),
        ("fit", "x.npy", "--out", "e", "--temperature", "nan"),
        ("fit", "x.npy", "--out", "e", "--threads", "9" * 30),
        ("demo", "--seed", "-1"),
        ("demo", "--rows", "1"),
    ],
)
def test_values_out_of_range_are_usage_errors(run, arguments):
    assert run(*arguments).code == 2


def test_rows_that_are_too_wide_for_a_covariance(run, tmp_path):
    np.save(tmp_path / "t.npy", np.ones((2, 100_000), np.float32))
    outcome = run("fit", "t.npy", "--out", "e")
    assert outcome.code == 3 and "80 GB" in outcome.err and "transposed" in outcome.err
    assert run("score", "t.npy", "--out", "s").code == 0
