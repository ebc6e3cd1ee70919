"""A run that is stopped at any moment goes on, redoes nothing, and ends with the same bytes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clipsoid.errors import EmbedError, MismatchError, OutputError, StoreError
from clipsoid.store.journal import Journal
from embed.models import contents


class StoppedError(Exception):
    """What a test stops a run with."""


@pytest.fixture
def table(folder: Path, tmp_path: Path) -> Path:
    """Two captions for each of the pictures of a folder, one of which is broken."""
    (folder / "08.jpg").write_bytes(b"no picture")
    names = [*sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))]
    lines = [f"{name},caption {k} of {name}" for name in names for k in range(2)]
    path = tmp_path / "captions.csv"
    path.write_text("\n".join(["image_path,caption", *lines]))
    return path


def test_a_run_that_fails_anywhere_is_gone_on_with(
    run, folder: Path, table: Path, tmp_path: Path
) -> None:
    whole = run(folder, table, shard_rows=5, out=tmp_path / "whole")
    want = contents(whole.folder)
    # Times of pictures are of no finished set.
    assert not [name for name in want if Path(name).name.startswith(".")]
    out = tmp_path / "set"
    encoded = 0
    # Three batches for each of five shards.
    for stop in (1, 10, 2, 4):
        calls = []

        def tick(items: int, busy: float, calls: list[int] = calls, stop: int = stop) -> None:
            calls.append(items)
            if len(calls) > stop:
                raise StoppedError

        before = finished(out)
        with pytest.raises(StoppedError):
            run(folder, table, shard_rows=5, out=out, progress=tick)
        assert finished(out) >= before
        # What is there is complete and as it will be; the manifest says which shards are.
        for name, data in contents(out).items():
            assert name in ("manifest.json", ".journal.jsonl") or want[name] == data
        encoded += sum(calls)
    assert 0 < len(finished(out)) < 5
    rest = run(folder, table, shard_rows=5, out=out)
    assert contents(out) == want
    assert rest.encoded < whole.encoded
    assert rest.broken == whole.broken
    again = run(folder, table, shard_rows=5, out=out)
    assert (again.encoded, again.rows) == (0, whole.rows)
    assert contents(out) == want


def finished(out: Path) -> set[int]:
    """Numbers of the shards that are finished; a line that is being written is none."""
    found = set()
    if (out / "manifest.json").exists():
        shards = json.loads((out / "manifest.json").read_text())["shards"]
        found = {shard["number"] for shard in shards}
    if (out / ".journal.jsonl").exists():
        _, *lines = (out / ".journal.jsonl").read_bytes().split(b"\n")[:-1] or [b""]
        found |= {json.loads(line)["number"] for line in lines}
    return found


def test_ctrl_c_finishes_the_shard_in_hand(run, folder: Path, tmp_path: Path) -> None:
    want = contents(run(folder, shard_rows=3, out=tmp_path / "whole").folder)
    out = tmp_path / "set"
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(
            folder,
            shard_rows=3,
            batch_size=1,
            out=out,
            progress=lambda *_: signal.raise_signal(signal.SIGINT) if not finished(out) else None,
        )
    assert signal.getsignal(signal.SIGINT) is handler
    assert finished(out) == set()
    calls = []

    def once(items: int, busy: float) -> None:
        calls.append(items)
        if len(calls) == 1:
            signal.raise_signal(signal.SIGINT)

    (out / "manifest.json").unlink()
    with pytest.raises(KeyboardInterrupt, match=r"1 of 4 shards are finished; the same command"):
        run(folder, shard_rows=3, out=out, progress=once)
    # The signal came within the first shard.
    assert finished(out) == {0}
    assert sum(calls) == 3
    run(folder, shard_rows=3, out=out)
    assert contents(out) == want


def test_other_options_and_inputs_are_refused_by_name(
    run, folder: Path, tmp_path: Path, model
) -> None:
    run(folder, shard_rows=4)
    before = contents(tmp_path / "set")
    cases = [
        ({"shard_rows": 5}, "output.shard_rows 4, this run has 5"),
        ({"batch_size": 3}, "computation.batch_size 4, this run has 3"),
        ({"precision": "bf16", "dtype": "float32"}, "precision 'fp32', this run has 'bf16'"),
        ({"dtype": "float16"}, "output.dtype 'float32', this run has 'float16'"),
        ({"normalize": True}, "output.normalized False, this run has True"),
    ]
    for options, message in cases:
        with pytest.raises(MismatchError, match=message):
            run(folder, **{"shard_rows": 4, **options})
    # What a broken picture does is of no matter to what is in order.
    run(folder, shard_rows=4, on_error="fail")
    # By default the batches of the set that was begun.
    run(folder, shard_rows=4, batch_size=None)
    # The same weights under another name are the same.
    other = tmp_path / "other.pt"
    other.write_bytes(model.checkpoint.read_bytes())
    run(folder, shard_rows=4, pretrained=other)
    assert contents(tmp_path / "set") == before
    (folder / "00.png").rename(folder / "0.png")
    with pytest.raises(MismatchError, match=r"was begun with inputs\.digest '\w+', this run has"):
        run(folder, shard_rows=4)
    assert contents(tmp_path / "set") == before


def test_folders_that_are_not_ours(run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(
        OutputError,
        match=r"holds no manifest\.json of clipsoid embed; wanted a new or empty folder",
    ):
        run(folder)
    (out / "mine.txt").unlink()
    (out / "manifest.json").write_text('{"format": "other"}')
    with pytest.raises(OutputError, match=r"holds no manifest\.json of clipsoid embed; wanted"):
        run(folder)
    (out / "manifest.json").write_text('{"format": "clipsoid.embed", "format_version": 9}')
    with pytest.raises(StoreError, match=r"manifest\.json: is of version 9; wanted 1"):
        run(folder)
    known = {"format": "clipsoid.embed", "format_version": 1}
    for damaged in (known, {**known, "made": {}}, {**known, "made": [], "shards": 3}):
        (out / "manifest.json").write_text(json.dumps(damaged))
        with pytest.raises(StoreError, match=r"manifest\.json: is damaged: .*; wanted one that"):
            run(folder)
    (out / "manifest.json").write_text('{"format": "clipsoid.embed", ')
    with pytest.raises(StoreError, match=r"manifest\.json: cannot be read"):
        run(folder)
    with pytest.raises(OutputError, match="lies among the images"):
        run(folder, out=folder / "set")
    assert not (folder / "set").exists()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="file: is a file; wanted a new or empty folder"):
        run(folder, out=tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_kill_while_the_first_manifest_is_written(run, folder: Path, tmp_path: Path) -> None:
    want = contents(run(folder, out=tmp_path / "whole").folder)
    out = tmp_path / "set"
    out.mkdir()
    (out / ".journal.jsonl").touch()
    (out / ".manifest.json.123.part").write_text('{"format": "cli')
    run(folder)
    assert contents(out) == want
    (out / "manifest.json").rename(out / "manifest.json.part")
    with pytest.raises(OutputError, match=r"set: holds no manifest\.json of clipsoid embed"):
        run(folder)


def test_failing_at_the_first_broken_row_holds_for_kept_shards(
    run, folder: Path, tmp_path: Path
) -> None:
    (folder / "03.png").write_bytes(b"broken")
    (folder / "05.png").write_bytes(b"")
    run(folder, shard_rows=2)
    before = contents(tmp_path / "set")
    with pytest.raises(EmbedError, match=r"row 3: 03\.png: is no picture that Pillow knows"):
        run(folder, shard_rows=2, on_error="fail")
    assert contents(tmp_path / "set") == before
    # A name that would move the cursor is shown as Python writes it.
    (folder / "03.png").rename(folder / "\x1b[2J.png")
    (folder / "05.png").unlink()
    for _ in range(2):
        with pytest.raises(EmbedError, match=r"row \d+: '.*\\x1b\[2J\.png': is no picture"):
            run(folder, out=tmp_path / "odd", on_error="fail")
        # The second time, an earlier run has left it out.
        run(folder, out=tmp_path / "odd")


def test_two_runs_on_one_folder(run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    out.mkdir()
    with (
        Journal.hold(out / ".journal.jsonl", {}, out),
        pytest.raises(OutputError, match="set: another run writes into it"),
    ):
        run(folder)
    run(folder)


def test_a_killed_process(run, model, folder: Path, tmp_path: Path) -> None:
    """SIGKILL at a real moment; leftovers are removed."""
    want = contents(run(folder, shard_rows=1, batch_size=1, out=tmp_path / "whole").folder)
    out = tmp_path / "set"
    command = [sys.executable, "-m", "clipsoid", "embed", folder, "--out", out, "--workers", "0"]
    command += ["--model-config", model.config, "--pretrained", model.checkpoint]
    command += ["--shard-rows", "1", "--batch-size", "1", "--device", "cpu", "--quiet"]
    process = subprocess.Popen(list(map(str, command)))
    end = time.monotonic() + 60
    while not finished(out) and time.monotonic() < end:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert finished(out)
    (out / "img_emb" / ".img_emb_0004.npy.1.part").write_bytes(b"half")
    run(folder, shard_rows=1, batch_size=1, out=out)
    assert contents(out) == want


@pytest.mark.parametrize(
    "damage",
    [
        {"files": ["a"]},
        {"files": {"img_emb/img_emb_0.npy": "12"}},
        {"number": "0"},
        {"number": 9},
        {"pictures": 3},
        {"rows": None},
        {"odd": 1},
    ],
)
def test_a_record_that_is_damaged_is_named(run, folder: Path, tmp_path: Path, damage) -> None:
    run(folder)
    path = tmp_path / "set/manifest.json"
    whole = json.loads(path.read_text())
    whole["shards"][0] |= damage
    path.write_text(json.dumps(whole))
    with pytest.raises(StoreError, match=r"manifest\.json: is damaged: .*; wanted one that"):
        run(folder)
