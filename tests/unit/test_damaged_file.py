"""Damaged and foreign files: a StoreError that names the file, never code run, never a crash."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

import clipsoid as cs
from unit.samples import cloud, run_python

Metadata = dict[str, Any]
Tensors = dict[str, np.ndarray]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    x = cloud(60, 5)
    e = cs.Ellipsoid.fit(x)
    e.calibrate(x)
    e.save(tmp_path / "image.ellipsoid")
    return tmp_path / "image.ellipsoid"


def taken_apart(path: Path) -> tuple[Metadata, Tensors]:
    contents = path.read_bytes()
    length = int.from_bytes(contents[:8], "little")
    header = json.loads(contents[8 : 8 + length])["__metadata__"]
    return json.loads(header["clipsoid"]), load(contents)


def put_together(path: Path, metadata: object, tensors: Tensors) -> None:
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    path.write_bytes(save(tensors, metadata={"clipsoid": text}))


def assert_refused(path: Path) -> None:
    with pytest.raises(cs.StoreError, match=path.name):
        cs.Ellipsoid.load(path)


def test_what_is_put_together_again_is_read(path: Path) -> None:
    # Or the tests below would prove nothing.
    whole = cs.Ellipsoid.load(path)
    put_together(path, *taken_apart(path))
    again = cs.Ellipsoid.load(path)
    np.testing.assert_array_equal(again.covariance, whole.covariance)
    assert again.calibration == whole.calibration


def test_a_truncated_file_at_every_length(path: Path) -> None:
    contents = path.read_bytes()
    for length in (*range(0, len(contents) - 1, 13), len(contents) - 8, len(contents) - 1):
        path.write_bytes(contents[:length])
        assert_refused(path)


def test_bytes_that_are_no_ellipsoid(path: Path) -> None:
    rng = np.random.default_rng(0)
    foreign = [b"", b"\0" * 100, b"\xff" * 100, b"{}", b"PK\3\4" + rng.bytes(50), b"PAR1" * 9]
    foreign += [rng.bytes(int(n)) for n in rng.integers(1, 3000, 50)]
    foreign += [(2).to_bytes(8, "little") + b"{}", (10**15).to_bytes(8, "little") + b"{}"]
    foreign += [save({"mean": np.ones(3)}), save({"mean": np.ones(3)}, metadata={"format": "pt"})]
    foreign += [path.read_bytes() + b"more"]
    for contents in foreign:
        path.write_bytes(contents)
        assert_refused(path)


def test_a_flipped_byte_of_the_header_is_refused_or_harmless(path: Path) -> None:
    contents = path.read_bytes()
    length = 8 + int.from_bytes(contents[:8], "little")
    rng = np.random.default_rng(1)
    for at in rng.integers(0, length, 400):
        damaged = bytearray(contents)
        damaged[at] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            e = cs.Ellipsoid.load(path)
        except cs.StoreError:
            continue
        # What is read is an ellipsoid in every respect, if one of other numbers.
        assert e.mean.shape == (e.dim,)
        assert e.covariance.shape == (e.dim, e.dim)
        assert isinstance(repr(e), str)
        e.update(np.ones((2, e.dim)))


METADATA: dict[str, Callable[[Metadata], object]] = {
    "a list": lambda m: [],
    "null": lambda m: None,
    "a number": lambda m: 3,
    "no JSON": lambda m: "{",
    "empty": lambda m: {},
    "another format": lambda m: m | {"format": "clipsoid.whitening"},
    "a future version": lambda m: m | {"format_version": 2},
    "a version in words": lambda m: m | {"format_version": "1"},
    "no version": lambda m: {k: v for k, v in m.items() if k != "format_version"},
    "a negative count": lambda m: m | {"count": -1},
    "a fractional count": lambda m: m | {"count": 1.5},
    "a huge count": lambda m: m | {"count": 2**70},
    "another dimension": lambda m: m | {"dim": 7},
    "a negative dimension": lambda m: m | {"dim": -5},
    "a dimension in words": lambda m: m | {"dim": "5"},
    "missing rows in words": lambda m: m | {"missing": "none"},
    "an unknown precision": lambda m: m | {"precision": "float128"},
    "a negative temperature": lambda m: m | {"temperature": -1},
    "a temperature in words": lambda m: m | {"temperature": "cold"},
    "an encoder that is no name": lambda m: m | {"encoder": {"a": 1}},
    "element types that are no list": lambda m: m | {"dtypes": 3},
    "a calibration of nothing": lambda m: m | {"calibration": {}},
    "a calibration that is no mapping": lambda m: m | {"calibration": [1, 2]},
    "a calibration in words": lambda m: m | {"calibration": m["calibration"] | {"slope": "a"}},
    "a calibration with more": lambda m: m | {"calibration": m["calibration"] | {"more": 1}},
}


@pytest.mark.parametrize("what", METADATA)
def test_damaged_metadata(path: Path, what: str) -> None:
    metadata, tensors = taken_apart(path)
    put_together(path, METADATA[what](metadata), tensors)
    assert_refused(path)


def test_metadata_that_lacks_a_key(path: Path) -> None:
    metadata, tensors = taken_apart(path)
    # The version of the writer is for the reader's eyes only.
    needed = sorted(metadata.keys() - {"clipsoid_version"})
    assert len(needed) > 10
    for key in needed:
        lacking = {k: v for k, v in metadata.items() if k != key}
        put_together(path, lacking, tensors)
        assert_refused(path)


TENSORS: dict[str, Callable[[Tensors], Tensors]] = {
    "a short mean": lambda t: t | {"mean": t["mean"][:4]},
    "an empty mean": lambda t: t | {"mean": t["mean"][:0]},
    "a mean of two axes": lambda t: t | {"mean": t["mean"][None]},
    "a mean in float32": lambda t: t | {"mean": t["mean"].astype(np.float32)},
    "a mean in integers": lambda t: t | {"mean": t["mean"].astype(np.int64)},
    "a long unit sum": lambda t: t | {"unit_sum": np.ones(6)},
    "short squares": lambda t: t | {"squares": t["squares"][1:]},
    "a scatter of four rows": lambda t: t | {"scatter": t["scatter"][:4]},
    "a scatter in one row": lambda t: t | {"scatter": t["scatter"].reshape(1, -1)},
    "a scatter in float16": lambda t: t | {"scatter": t["scatter"].astype(np.float16)},
    "three norms": lambda t: t | {"norms": t["norms"][:3]},
    "five norms": lambda t: t | {"norms": np.ones(5)},
    "norms of two axes": lambda t: t | {"norms": t["norms"][:, None]},
    **{
        f"no {name}": lambda t, name=name: {k: v for k, v in t.items() if k != name}
        for name in ("mean", "squares", "unit_sum", "norms")
    },
}


@pytest.mark.parametrize("what", TENSORS)
def test_damaged_tensors(path: Path, what: str) -> None:
    metadata, tensors = taken_apart(path)
    damaged = {k: np.ascontiguousarray(v) for k, v in TENSORS[what](tensors).items()}
    put_together(path, metadata, damaged)
    assert_refused(path)


def test_a_dimension_beyond_all_memory_does_not_end_the_process(path: Path) -> None:
    metadata, tensors = taken_apart(path)
    put_together(path, metadata | {"dim": 10**9}, tensors)
    script = f"""
import clipsoid as cs
try:
    cs.Ellipsoid.load({str(path)!r})
except cs.StoreError as error:
    print("refused", error)
"""
    assert run_python(script).stdout.startswith("refused")


def test_what_is_no_file(tmp_path: Path) -> None:
    assert_refused(tmp_path)
    assert_refused(tmp_path / "nowhere.ellipsoid")


class Planted:
    """Whoever unpickles this creates a file."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.sign,)


@pytest.fixture
def unpickled() -> Iterator[list[str]]:
    """What any unpickler of this process looks up while the test runs."""
    names: list[str] = []
    watched.append(names)
    yield names
    watched.remove(names)


watched: list[list[str]] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "pickle.find_class":
        for names in watched:
            names.append(".".join(map(str, arguments)))


# A hook cannot be taken off; without a test that watches it does nothing.
sys.addaudithook(_watch)


def test_loading_never_unpickles(path: Path, tmp_path: Path, unpickled: list[str]) -> None:
    sign = tmp_path / "sign"
    metadata, tensors = taken_apart(path)
    cs.Ellipsoid.load(path)
    planted = pickle.dumps(Planted(sign))
    objects = np.array([Planted(sign)], dtype=object)
    for contents in (planted, pickle.dumps(cs.Ellipsoid.load(path)), planted + path.read_bytes()):
        path.write_bytes(contents)
        assert_refused(path)
    np.save(path.with_suffix(".npy"), objects, allow_pickle=True)
    np.savez(path.with_suffix(".npz"), mean=objects)
    assert_refused(path.with_suffix(".npy"))
    assert_refused(path.with_suffix(".npz"))
    raw = np.frombuffer(planted, np.uint8).copy()
    for name in tensors:
        put_together(path, metadata, tensors | {name: raw})
        assert_refused(path)
    put_together(path, metadata | {"encoder": planted.decode("latin-1")}, tensors)
    assert isinstance(cs.Ellipsoid.load(path).encoder, str)
    assert unpickled == []
    assert not sign.exists()
    # And the watch does see an unpickler at work.
    pickle.loads(planted)
    assert unpickled != []
    assert sign.exists()
