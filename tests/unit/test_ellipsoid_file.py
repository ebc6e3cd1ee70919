"""The ellipsoid file: a round trip to the bit, written completely or not at all."""

from __future__ import annotations

import copy
import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import clipsoid as cs
from unit.samples import BLOCK, DTYPES, cloud, run_python, snapshot

RoundTrip = Callable[[cs.Ellipsoid, Path], cs.Ellipsoid]


def by_file(e: cs.Ellipsoid, folder: Path) -> cs.Ellipsoid:
    e.save(folder / "round.ellipsoid")
    return cs.Ellipsoid.load(folder / "round.ellipsoid")


def by_pickle(e: cs.Ellipsoid, _: Path) -> cs.Ellipsoid:
    return pickle.loads(pickle.dumps(e))


def by_deepcopy(e: cs.Ellipsoid, _: Path) -> cs.Ellipsoid:
    return copy.deepcopy(e)


every_way = pytest.mark.parametrize("round_trip", [by_file, by_pickle, by_deepcopy])


@every_way
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("covariance", [True, False])
@pytest.mark.parametrize("n", [3, BLOCK - 1, BLOCK, 2 * BLOCK + 9])
def test_a_round_trip_keeps_every_bit(
    tmp_path: Path, n: int, covariance: bool, dtype: str, round_trip: RoundTrip
) -> None:
    x = cloud(n, 7, dtype)
    e = cs.Ellipsoid.fit(x, covariance=covariance, encoder="ViT-B/32 é", temperature=0.01)
    e.calibrate(x)
    back = round_trip(e, tmp_path)
    assert snapshot(back) == snapshot(e)
    assert repr(back) == repr(e)
    assert back.calibration == e.calibration
    np.testing.assert_array_equal(back.estimated_conformity(x), e.estimated_conformity(x))


@every_way
def test_what_a_merge_dropped_and_what_was_left_out_are_kept(
    tmp_path: Path, round_trip: RoundTrip
) -> None:
    x = cloud(100, 3, "float64")
    x[5], x[17, 0] = 0, np.inf
    e = cs.Ellipsoid.fit(x, on_invalid="skip", precision="float64")
    e = e.merge(cs.Ellipsoid.fit(cloud(20, 3, "float16"), covariance=False))
    back = round_trip(e, tmp_path)
    assert snapshot(back) == snapshot(e)
    assert (back.invalid.non_finite, back.invalid.zero_norm) == (1, 1)
    assert back.dropped == ("covariance",)


@every_way
def test_an_empty_ellipsoid(tmp_path: Path, round_trip: RoundTrip) -> None:
    back = round_trip(cs.Ellipsoid(5), tmp_path)
    assert (back.count, back.dim) == (0, 5)
    x = cloud(30, 5)
    assert snapshot(back.update(x)) == snapshot(cs.Ellipsoid.fit(x))


@every_way
def test_fitting_goes_on_after_a_round_trip(tmp_path: Path, round_trip: RoundTrip) -> None:
    x = cloud(3 * BLOCK, 6)
    half = round_trip(cs.Ellipsoid.fit(x[:BLOCK]), tmp_path)
    # At the edge of a block nothing waits, so that the bits are those of one fit.
    assert snapshot(half.update(x[BLOCK:])) == snapshot(cs.Ellipsoid.fit(x))


@every_way
def test_a_calibration_is_void_after_update_and_merge(
    tmp_path: Path, round_trip: RoundTrip
) -> None:
    x = cloud(60, 6)
    e = cs.Ellipsoid.fit(x)
    e.calibrate(x)
    for changed in (round_trip(e, tmp_path).update(x[:1]), round_trip(e, tmp_path).merge(e)):
        assert changed.calibration is None
        with pytest.raises(cs.UnavailableError):
            changed.estimated_conformity(x)
        assert round_trip(changed, tmp_path).calibration is None


def test_extreme_figures_survive(tmp_path: Path) -> None:
    x = np.array([[3e-308, 5e-324], [1e308, -0.0], [np.pi, 1 / 3]])
    e = cs.Ellipsoid.fit(x, covariance=False)
    back = by_file(e, tmp_path)
    assert (back.mean.tobytes(), back.norms.min) == (e.mean.tobytes(), e.norms.min)


def test_the_same_rows_give_the_same_file(tmp_path: Path) -> None:
    x = cloud(2000, 5)
    first, second = tmp_path / "a", tmp_path / "b"
    cs.Ellipsoid.fit(x, n_threads=1).save(first)
    e = cs.Ellipsoid(5)
    for part in np.array_split(x, 9):
        e.update(part)
    e.save(second)
    assert first.read_bytes() == second.read_bytes()
    cs.Ellipsoid.load(first).save(second)
    assert first.read_bytes() == second.read_bytes()


def test_the_file_is_plain_safetensors(tmp_path: Path) -> None:
    from safetensors import safe_open

    x = cloud(50, 4)
    e = cs.Ellipsoid.fit(x)
    e.save(str(tmp_path / "e.ellipsoid"))
    with safe_open(tmp_path / "e.ellipsoid", framework="numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("mean"), e.mean)


def test_a_pickle_goes_to_another_process() -> None:
    x = cloud(40, 3)
    hexadecimal = pickle.dumps(cs.Ellipsoid.fit(x)).hex()
    script = f"""
import pickle
e = pickle.loads(bytes.fromhex({hexadecimal!r}))
print(e.mean.tobytes().hex(), e.covariance.tobytes().hex())
"""
    e = cs.Ellipsoid.fit(x)
    want = [e.mean.tobytes().hex(), e.covariance.tobytes().hex()]
    assert run_python(script).stdout.split() == want


class Interrupted(BaseException):
    """Like KeyboardInterrupt, but not one that would end the test run."""


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupted(*_: object) -> None:
    raise Interrupted


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("step", ["write_bytes", "fsync", "replace"])
@pytest.mark.parametrize(("fail", "error"), [(full, cs.OutputError), (interrupted, Interrupted)])
def test_a_failed_save_leaves_the_folder_as_it_was(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    exists: bool,
    fail: Callable[..., None],
    error: type[BaseException],
) -> None:
    target = tmp_path / "image.ellipsoid"
    if exists:
        cs.Ellipsoid.fit(cloud(30, 4)).save(target)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    e = cs.Ellipsoid.fit(cloud(40, 4))
    reached: list[str] = []

    def failing(*arguments: object, **_: object) -> None:
        reached.append(step)
        fail(*arguments)

    with monkeypatch.context() as patch:
        if step == "fsync":
            patch.setattr(os, "fsync", failing)
        else:
            patch.setattr(Path, step, failing)
        with pytest.raises(error) as caught:
            e.save(target)
    assert reached == [step]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    if error is cs.OutputError:
        assert "image.ellipsoid" in str(caught.value)
        assert caught.value.errno == errno.ENOSPC
    e.save(target)
    assert snapshot(cs.Ellipsoid.load(target)) == snapshot(e)


def test_a_folder_that_is_missing_and_a_target_that_is_a_folder(tmp_path: Path) -> None:
    e = cs.Ellipsoid.fit(cloud(30, 4))
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "none" / "e.ellipsoid", tmp_path / "folder"):
        with pytest.raises(cs.OutputError, match=target.name) as caught:
            e.save(target)
        assert isinstance(caught.value, OSError)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "e.ellipsoid"
    for n in (30, 40):
        cs.Ellipsoid.fit(cloud(n, 4)).save(target)
    assert cs.Ellipsoid.load(target).count == 40
    assert list(tmp_path.iterdir()) == [target]
