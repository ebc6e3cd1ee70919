"""The journal: complete lines are read, torn ones are not, and one process holds it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clipsoid.errors import OutputError, StoreError
from clipsoid.store.journal import Journal, lock_beside, read_journal

JOB = {"parameters": {"simd": "avx2"}, "inputs": []}

#: Takes the lock of a journal, says so, and waits to be told to end.
HOLDER = """
import sys
from pathlib import Path
from clipsoid.store.journal import Journal
path = Path(sys.argv[1])
with Journal.hold(path, {}, path.parent):
    print("held", flush=True)
    sys.stdin.read()
"""


def written(path: Path, *lines: dict) -> bytes:
    with Journal.hold(path, JOB, path.parent) as journal:
        for line in lines:
            journal.add(line)
    return path.read_bytes()


def test_lines_are_json_in_the_order_of_their_adding(tmp_path: Path) -> None:
    path = tmp_path / "j"
    contents = written(path, {"shard": "a"}, {"shard": "b\n"})
    head, *lines = [json.loads(line) for line in contents.decode().split("\n")[:-1]]
    assert head == {"format": "clipsoid.journal", "format_version": 1, **JOB}
    assert lines == [{"shard": "a"}, {"shard": "b\n"}]
    assert read_journal(path) == (head, lines)


@pytest.mark.parametrize("left", [1, 5, 13, 14])
def test_a_torn_last_line_is_dropped_and_written_over(tmp_path: Path, left: int) -> None:
    path = tmp_path / "j"
    whole = written(path, {"shard": "a"}, {"shard": "b"})
    torn = whole[: whole.index(b'{"shard":"b"}') + left]
    path.write_bytes(torn)
    found = read_journal(path)
    assert (
        found is not None and [line["shard"] for line in found[1]] == ["a", "b"][: left // 14 + 1]
    )
    if left < 14:
        # It is cut off by the next line and not before: reading changes nothing.
        assert path.read_bytes() == torn
        assert written(path, {"shard": "c"}) == whole.replace(b'"b"', b'"c"')


def test_a_torn_first_line_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "j"
    whole = written(path)
    path.write_bytes(whole[:20])
    assert read_journal(path) is None
    assert written(path) == whole


def test_adding_writes_one_line_whatever_the_length(tmp_path: Path, monkeypatch) -> None:
    calls: list[int] = []
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda h, b, at: calls.append(len(b)) or write(h, b, at))
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    written(tmp_path / "j", *({"shard": f"{i:05}"} for i in range(2000)))
    assert set(calls[1:]) == {len('{"shard":"00000"}\n')} and len(calls) == 2001


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            b'"format_version":1',
            b'"format_version":2',
            "version 2; this clipsoid .* reads .* 1; wanted another --out, or this folder rem",
        ),
        (b'"clipsoid.journal"', b'"clipsoid.ellipse"', "is of format 'clipsoid.ellipse'"),
        (b'{"shard":"a"}', b'{"shard":"a"', "is damaged: line 2 is no JSON object; wanted another"),
        (b'{"shard":"a"}', b"[1]", "is damaged: line 2 is no JSON object"),
    ],
)
def test_another_version_and_damage_are_refused(tmp_path: Path, old, new, words) -> None:
    path = tmp_path / "j"
    path.write_bytes(written(path, {"shard": "a"}, {"shard": "b"}).replace(old, new))
    with pytest.raises(StoreError, match=re.escape(str(path)) + ".*" + words):
        read_journal(path)


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout.readline() == "held\n"
        before = path.read_bytes()
        with pytest.raises(OutputError, match=r"another run writes into it"):
            written(path, {"shard": "a"})
        assert path.read_bytes() == before
        other.stdin.close()
    written(path, {"shard": "a"})


def test_the_lock_of_a_file_is_held_once_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "e.ellipsoid"
    refused = pytest.raises(OutputError, match=r"e\.ellipsoid: another run writes into it")
    with lock_beside(path), refused, lock_beside(path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_that_its_holder_removes_is_no_lock(tmp_path: Path, monkeypatch) -> None:
    # Between opening the file and locking it, the holder ends and removes it.
    import clipsoid.store.journal as module

    lock = module.lock_or_refuse
    removed: list[Path] = []

    def late(handle: int, what: Path) -> None:
        if not removed:
            removed.append(what)
            (tmp_path / ".e.lock").unlink()
        lock(handle, what)

    monkeypatch.setattr(module, "lock_or_refuse", late)
    with lock_beside(tmp_path / "e"):
        assert (tmp_path / ".e.lock").exists()
