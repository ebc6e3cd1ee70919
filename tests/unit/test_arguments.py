"""What a caller may get wrong: every message names the argument, what was found and wanted."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

import clipsoid as cs
from unit.samples import cloud, snapshot

X = cloud(20, 4)
BAD_THREADS = [0, -1, 1.5, "2", float("nan")]


@pytest.fixture
def e() -> cs.Ellipsoid:
    fitted = cs.Ellipsoid.fit(X)
    fitted.calibrate(X)
    return fitted


def heavy_calls(e: cs.Ellipsoid) -> dict[str, Any]:
    calls = {
        name: getattr(e, name)
        for name in ("conformity", "cosine_to_mean", "calibrate", "estimated_conformity", "shell")
    }
    return calls | {"fit": cs.Ellipsoid.fit, "update": e.update, "conformity()": cs.conformity}


@pytest.mark.parametrize("n_threads", BAD_THREADS)
def test_a_bad_number_of_threads(e: cs.Ellipsoid, n_threads: object) -> None:
    before = snapshot(e)
    for name, call in heavy_calls(e).items():
        with pytest.raises(ValueError, match=r"n_threads=.*wanted None") as caught:
            call(X, n_threads=n_threads)
        assert repr(n_threads) in str(caught.value), name
    assert snapshot(e) == before


@pytest.mark.parametrize("policy", ["raise", "", None, "SKIP"])
def test_a_bad_policy_for_invalid_rows(e: cs.Ellipsoid, policy: object) -> None:
    before = snapshot(e)
    for name, call in heavy_calls(e).items():
        with pytest.raises(ValueError, match=r"on_invalid=.*'error', 'skip' or 'null'") as caught:
            call(X, on_invalid=policy)
        assert repr(policy) in str(caught.value), name
    assert snapshot(e) == before


def test_a_bad_method() -> None:
    with pytest.raises(ValueError, match=r"method='quadratic'.*linear, pairwise, estimated"):
        cs.conformity(X, method="quadratic")


def test_a_calibration_where_it_is_needed_and_nowhere_else(e: cs.Ellipsoid) -> None:
    with pytest.raises(cs.UnavailableError, match="calibration="):
        cs.conformity(X, method="estimated")
    for method in ("linear", "pairwise"):
        with pytest.raises(ValueError, match=f"method='{method}'.*calibration"):
            cs.conformity(X, method=method, calibration=e.calibration)
    with pytest.raises(cs.UnavailableError, match="calibrate"):
        cs.Ellipsoid.fit(X).estimated_conformity(X)


@pytest.mark.parametrize("dim", [0, -3, 2.5, "4", None])
def test_a_bad_dimension(dim: object) -> None:
    with pytest.raises(cs.ShapeError, match=r"dim=.*1 or more"):
        cs.Ellipsoid(dim)


def test_a_bad_precision_or_temperature() -> None:
    for make in (lambda **o: cs.Ellipsoid(4, **o), lambda **o: cs.Ellipsoid.fit(X, **o)):
        with pytest.raises(ValueError, match=r"precision='float32'.*'auto' or 'float64'"):
            make(precision="float32")
        for temperature in (0, -1.0, float("nan")):
            with pytest.raises(ValueError, match=f"temperature={temperature!r}.*above 0"):
                make(temperature=temperature)


def test_rows_of_another_dimension(e: cs.Ellipsoid) -> None:
    before = snapshot(e)
    calls = [e.update, e.conformity, e.cosine_to_mean, e.calibrate, e.estimated_conformity, e.shell]
    for call in calls:
        with pytest.raises(cs.MismatchError, match=r"5 features.*4"):
            call(np.ones((3, 5)))
    assert snapshot(e) == before


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4), (), (3, 0)])
def test_an_array_that_is_no_matrix(shape: tuple[int, ...]) -> None:
    with pytest.raises(cs.ShapeError, match=r"^x: found shape .*wanted \(n, d\)") as caught:
        cs.Ellipsoid.fit(np.ones(shape))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("dtype", ["int8", "int64", "bool", "complex64", "longdouble", "U3", "O"])
def test_elements_that_are_no_embeddings(dtype: str) -> None:
    found = np.dtype(dtype)
    with pytest.raises(
        cs.DTypeError, match="wanted float16, bfloat16, float32 or float64"
    ) as error:
        cs.conformity(np.zeros((3, 2), found))
    assert str(found) in str(error.value)
    assert isinstance(error.value, TypeError)


@pytest.mark.parametrize("x", [[[1.0, 2.0]], (1.0,), 3, None, {"a": 1}, iter([])])
def test_objects_that_are_no_rows(x: object) -> None:
    with pytest.raises(cs.DTypeError, match=r"^x: found .*wanted an array") as caught:
        cs.Ellipsoid.fit(x)
    assert type(x).__name__ in str(caught.value)


def test_a_masked_array_is_refused_and_not_read_through_its_mask() -> None:
    masked = np.ma.MaskedArray(np.ones((3, 2)), mask=[[True, False]] * 3)
    with pytest.raises(cs.DTypeError, match="masked"):
        cs.Ellipsoid.fit(masked)


@pytest.mark.parametrize("method", ["linear", "pairwise"])
@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_rows_have_no_conformity(n: int, method: str) -> None:
    with pytest.raises(cs.ShapeError, match=f"found {n}"):
        cs.conformity(X[:n], method=method)


def test_no_rows_at_all_are_no_error_where_nothing_is_asked_of_them(e: cs.Ellipsoid) -> None:
    before = snapshot(e) | {"calibration": None}
    assert e.conformity(X[:0]).shape == (0,)
    assert snapshot(e.update(X[:0])) == before
    assert cs.Ellipsoid.fit(X[:0]).count == 0
    with pytest.raises(cs.ShapeError, match="found 1 valid row, wanted 2 or more"):
        e.calibrate(X[:1])


def test_results_are_frozen_and_go_to_json(e: cs.Ellipsoid) -> None:
    for result in (e.norms, e.invalid, e.shell(X), e.calibration):
        assert result is not None
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(result, dataclasses.fields(result)[0].name, 3)
        made = json.loads(json.dumps(result.to_dict()))
        for field in dataclasses.fields(result):
            assert made[field.name] == getattr(result, field.name)
    assert {"rms", "relative_error"} <= e.shell(X).to_dict().keys()


def test_the_repr_says_how_it_was_made() -> None:
    text = repr(cs.Ellipsoid.fit(X, encoder="ViT-B/32"))
    for part in ("count=20", "dim=4", "float32", "raw", "covariance", "ViT-B/32"):
        assert part in text
    means = cs.Ellipsoid.fit(X, covariance=False)
    means.calibrate(X)
    assert "means only" in repr(means)
    assert "calibrated" in repr(means)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    assert "normalized" in repr(cs.Ellipsoid.fit(unit))


def test_progress_is_told_of_every_row() -> None:
    told: list[int] = []
    cs.Ellipsoid.fit(cloud(5000, 4), progress=told.append)
    assert sum(told) == 5000
