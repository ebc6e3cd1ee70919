"""Candidates against a reference: figures, tests, intervals and their coverage, bad input."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import clipsoid as cs
from bounds import assert_within, stated_conformity
from clipsoid._native import simd_level
from clipsoid._t_tests import holm
from oracle import expressiveness as oracle
from unit.samples import DTYPES, cloud, wide

every_dtype = pytest.mark.parametrize("dtype", DTYPES)

FIGURES = ("difference", "lower", "upper", "statistic", "degrees_of_freedom", "p_value")


def check_test(test: cs.ComparisonTest, want: dict[str, float]) -> None:
    for name in FIGURES:
        # Conformities are within 1e-12 or so of the definition, deviations are near 0.1: relative
        # to them, t and p lose three digits.
        assert_within(getattr(test, name), want[name], 1e-8 * max(1, abs(want[name])), name)


@every_dtype
def test_equals_the_definition(dtype: str) -> None:
    real = cloud(300, 9, dtype)
    made = {"a": cloud(200, 9, dtype, seed=1), "b": cloud(131, 9, dtype, seed=2, offset=0.9)}
    found = cs.compare(real, made, interval=0.9, bins=20)
    assert list(found.candidates) == ["b", "a"] and found.notes == ()
    p_values = []
    for name, rows in made.items():
        own, other = oracle.conformities(real, rows)
        part = found.candidates[name]
        (test,) = (test for test in found.tests if test.first == name)
        assert_within(part.conformity, other, stated_conformity(dtype), "conformity")
        assert_within(found.reference.conformity, own, stated_conformity(dtype), "reference")
        check_test(test, oracle.welch(other, own, 0.9))
        p_values.append(test.p_value)
        assert (test.kind, test.second, test.count) == ("welch", "reference", len(rows))
        assert (part.shift, part.shift_lower, part.shift_upper) == (
            test.difference,
            test.lower,
            test.upper,
        )
        assert part.hedges_g == pytest.approx(oracle.hedges_g(other, own), rel=1e-9)
        assert part.mean == pytest.approx(other.mean()) and part.count == len(rows)
        assert part.std == pytest.approx(other.std(ddof=1))
        assert list(part.quantiles.values()) == pytest.approx(
            np.quantile(other, [0.05, 0.25, 0.5, 0.75, 0.95]).tolist()
        )
        want = cs.divergence(part.conformity, found.reference.conformity, bins=20)
        assert part.divergence.kl_pq == want.kl_pq and part.divergence.js == want.js
    assert [test.p_corrected for test in found.tests] == pytest.approx(oracle.holm(p_values))
    assert found.reference.mean == pytest.approx(own.mean())
    assert found.reference.std == pytest.approx(own.std(ddof=1))
    table = found.table
    assert table["order"].to_list() == [1, 2] and table["name"].to_list() == ["b", "a"]
    assert table["mean"].is_sorted(descending=True)
    assert table["kl_candidate_reference"][1] == found.candidates["a"].divergence.kl_pq
    assert found.tests_table["kind"].to_list() == ["welch", "welch"]
    assert found.to_dict()["candidates"] == table.rows(named=True)
    assert found.to_dict()["tests"] == found.tests_table.rows(named=True)


def test_an_ellipsoid_is_a_mean_that_is_known() -> None:
    real, rows = cloud(300, 9), cloud(100, 9, seed=1)
    e = cs.Ellipsoid.fit(real)
    found = cs.compare(e, {"a": rows})
    _, other = oracle.conformities(real, rows)
    (test,) = found.tests
    assert test.kind == "one-sample"
    check_test(test, oracle.one_sample(other, e.mean_conformity, 0.95))
    part = found.candidates["a"]
    assert part.hedges_g is part.divergence is found.reference.conformity is None
    assert found.reference.mean == e.mean_conformity and found.reference.std is None
    row = found.table.row(0, named=True)
    assert row["hedges_g"] is row["js"] is None and found.table["js"].dtype == pl.Float64
    # The same conformities, whatever the reference is given as.
    assert (part.conformity == cs.compare(real, {"a": rows}).candidates["a"].conformity).all()


def test_paired_row_by_row() -> None:
    real, a = cloud(120, 9), cloud(120, 9, seed=1)
    b = (a + 0.2 * cloud(120, 9, seed=2)).astype(np.float32)
    found = cs.compare(real, {"a": a, "b": b}, paired=True)
    kinds = [(test.kind, test.first, test.second) for test in found.tests]
    assert kinds == [
        ("welch", "a", "reference"),
        ("welch", "b", "reference"),
        ("paired", "a", "reference"),
        ("paired", "b", "reference"),
        ("paired", "a", "b"),
    ]
    own, of_a = oracle.conformities(real, a)
    _, of_b = oracle.conformities(real, b)
    wanted = [
        oracle.welch(of_a, own, 0.95),
        oracle.welch(of_b, own, 0.95),
        oracle.paired(of_a, own, 0.95),
        oracle.paired(of_b, own, 0.95),
        oracle.paired(of_a, of_b, 0.95),
    ]
    for test, want in zip(found.tests, wanted, strict=True):
        check_test(test, want)
        assert test.count == 120
    assert [test.cohens_dz for test in found.tests] == [
        None,
        None,
        *(
            pytest.approx(oracle.cohens_dz(x, y), rel=1e-9)
            for x, y in ((of_a, own), (of_b, own), (of_a, of_b))
        ),
    ]
    assert found.tests_table["cohens_dz"].to_list() == [t.cohens_dz for t in found.tests]
    assert found.to_dict()["tests"][-1]["cohens_dz"] == found.tests[-1].cohens_dz
    corrected = oracle.holm([want["p_value"] for want in wanted])
    assert [test.p_corrected for test in found.tests] == pytest.approx(corrected)
    # A reference of another length does not pair; nor does an ellipsoid.
    for other in (cloud(121, 9), cs.Ellipsoid.fit(real)):
        tests = cs.compare(other, {"a": a, "b": b}, paired=True).tests
        assert [test.kind for test in tests][2:] == ["paired"]


@pytest.mark.parametrize("kind", [int, str])
def test_paired_by_prompt(kind: type) -> None:
    rng = np.random.default_rng(0)
    real, a, b, c = (cloud(n, 6, seed=n) for n in (150, 90, 100, 80))
    prompts = {
        "a": rng.integers(0, 60, 90),
        "b": rng.integers(10, 70, 100),
        "reference": rng.permutation(150),
    }
    given_prompts = {name: list(map(kind, value)) for name, value in prompts.items()}
    found = cs.compare(real, {"a": a, "b": b, "c": c}, paired=given_prompts)
    values = {name: part.conformity for name, part in found.candidates.items()}
    values["reference"] = found.reference.conformity
    paired = {(t.first, t.second): t for t in found.tests if t.kind == "paired"}
    assert list(paired) == [("a", "reference"), ("b", "reference"), ("a", "b")]
    for (first, second), test in paired.items():
        both = sorted(set(prompts[first]) & set(prompts[second]))
        means = [
            np.array([values[name][prompts[name] == p].mean() for p in both])
            for name in (first, second)
        ]
        assert test.count == len(both)
        assert test.cohens_dz == pytest.approx(oracle.cohens_dz(*means), rel=1e-9)
        check_test(test, oracle.paired(*means, 0.95))
    # Several rows for a prompt are not independent, and this is said.
    notes = [note for note in found.notes if "rows of one prompt are not independent" in note]
    assert [note.split(":")[0] for note in notes] == ["a", "b"]
    one_for_all = cs.compare(real, {"a": a, "b": b[:90]}, paired=given_prompts["a"])
    assert one_for_all.tests[-1].count == len(set(prompts["a"]))


def test_a_planted_shift_is_found_and_ordered() -> None:
    rng = np.random.default_rng(0)
    center = np.full(32, 0.5)
    real = center + rng.normal(size=(2000, 32))
    made = {
        "rare": 0.8 * center + rng.normal(size=(400, 32)),
        "like": center + rng.normal(size=(400, 32)),
        "generic": 1.2 * center + rng.normal(size=(400, 32)),
    }
    found = cs.compare(real, made)
    assert list(found.candidates) == ["generic", "like", "rare"]
    generic, like, rare = found.candidates.values()
    assert rare.shift_upper < 0 < generic.shift_lower and like.shift_lower < 0 < like.shift_upper
    assert rare.hedges_g < -0.5 < 0.5 < generic.hedges_g
    assert max(rare.p_corrected, generic.p_corrected) < 1e-6 < like.p_corrected
    assert "generic 0." in repr(found) and "3 tests, intervals of 95 %" in repr(found)


def test_rejections_and_coverage_are_nominal() -> None:
    # Halves of one population against each other, 400 times at a level of 0.1: rejections are
    # binomial, and 4 standard deviations are 24. The other candidate's true shift is known: given
    # the reference, its conformity to it is s . u, and means of u are those of 400,000 rows, off by
    # 1/12 of the standard error of 200 rows at most.
    rng = np.random.default_rng(5)
    center = np.linspace(0.2, 0.6, 16)
    widths = np.geomspace(1.5, 0.5, 16)

    def rows(n: int, factor: float) -> np.ndarray:
        return factor * center + widths * rng.normal(size=(n, 16))

    def mean_direction(factor: float) -> np.ndarray:
        x = rows(400_000, factor)
        return (x / np.linalg.norm(x, axis=1)[:, None]).mean(0)

    same, shifted = mean_direction(1.0), mean_direction(1.5)
    repetitions, rejected, covered = 400, 0, 0
    for _ in range(repetitions):
        real = rows(200, 1.0)
        found = cs.compare(real, {"half": rows(150, 1.0), "other": rows(150, 1.5)}, interval=0.9)
        rejected += found.candidates["half"].p_value < 0.1
        truth = cs.Ellipsoid.fit(real, covariance=False).unit_mean @ (shifted - same)
        other = found.candidates["other"]
        covered += other.shift_lower <= truth <= other.shift_upper
    reach = 4 * math.sqrt(repetitions * 0.1 * 0.9)
    assert abs(rejected - 0.1 * repetitions) < reach
    assert abs(covered - 0.9 * repetitions) < reach


def test_holm_by_hand() -> None:
    # Four tests: 0.01 x 4, 0.02 x 3, then 0.03 x 2 = 0.06 again, then 0.5 x 1.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.4, None, 0.9]) == [pytest.approx(0.8), None, pytest.approx(0.9)]
    assert holm([0.6, 0.7]) == [1, 1] and holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12, unique=True))
def test_holm_equals_its_definition(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(oracle.holm(p_values)) or not p_values


def test_threads_batches_and_layouts_give_the_same_bits(tmp_path: Path) -> None:
    real, a, b = cloud(1500, 9), cloud(1100, 9, seed=1), cloud(1100, 9, seed=2)
    one = cs.compare(real, {"a": a, "b": b}, paired=True, n_threads=1)
    for i, part in enumerate(np.split(a, [1, 700])):
        np.save(tmp_path / f"{i}.npy", part)
    seen: list[int] = []
    two = cs.compare(
        np.asfortranarray(real),
        {"a": tmp_path, "b": pl.Series(b)},
        paired=True,
        n_threads=2,
        progress=seen.append,
    )
    assert one.to_dict() == two.to_dict() and sum(seen) == 2 * 1500 + 2 * 1100
    for name in ("a", "b"):
        assert (one.candidates[name].conformity == two.candidates[name].conformity).all()


def test_normalised_rows_are_compared_and_noted() -> None:
    real, a = cloud(100, 9, "float64"), cloud(100, 9, "float64", seed=1)
    unit = a / np.linalg.norm(a, axis=1)[:, None]
    raw, normalised = cs.compare(real, {"a": a}), cs.compare(real, {"a": unit})
    assert (
        raw.notes == ()
        and "rows are normalised, those of the reference raw" in (normalised.notes[0])
    )
    assert raw.candidates["a"].mean == pytest.approx(normalised.candidates["a"].mean, abs=1e-14)
    assert normalised.candidates["a"].is_normalized and not normalised.reference.is_normalized


def test_small_samples_are_pointed_out() -> None:
    real, a = cloud(29, 5), cloud(30, 5, seed=1)
    with pytest.warns(cs.SmallSampleWarning, match=r"^reference: 29 rows; intervals") as caught:
        found = cs.compare(real, {"a": a})
    assert len(caught) == len(found.notes) == 1 and caught[0].filename == __file__
    prompts = {"a": np.arange(30), "b": np.arange(10, 40)}
    with pytest.warns(cs.SmallSampleWarning, match=r"^a and b: 20 shared prompts; their test"):
        cs.compare(cloud(40, 5), {"a": a, "b": a[::-1]}, paired=prompts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cs.compare(cloud(30, 5), {"a": a})


def test_where_nothing_varies() -> None:
    same = np.tile(cloud(1, 5, seed=3), (40, 1))
    found = cs.compare(cs.Ellipsoid.fit(cloud(50, 5)), {"same": same, "a": cloud(40, 5, seed=1)})
    part = found.candidates["same"]
    assert part.std == 0 and part.p_value is part.p_corrected is part.shift_lower is None
    # It is no test: the other is corrected for itself alone.
    assert found.candidates["a"].p_corrected == found.candidates["a"].p_value
    both = cs.compare(same, {"same": same}, paired=True)
    assert [test.p_value for test in both.tests] == [None, None]
    assert [test.cohens_dz for test in both.tests] == [None, None]
    assert both.candidates["same"].hedges_g is None


REAL, A = cloud(60, 4), cloud(50, 4, seed=1)


def test_bad_candidates() -> None:
    with pytest.raises(ValueError, match=r"^candidates: found none; wanted one or more"):
        cs.compare(REAL, {})
    with pytest.raises(TypeError, match=r"^candidates: found ndarray; wanted a mapping of names"):
        cs.compare(REAL, A)
    for name in ("reference", "", 3):
        with pytest.raises(ValueError, match=r"^candidates: found the name .*; wanted another"):
            cs.compare(REAL, {name: A})
    with pytest.raises(cs.MismatchError, match=r"^candidates\['a'\]: the rows have 3 features, r"):
        cs.compare(REAL, {"a": A[:, :3]})
    with pytest.raises(cs.MismatchError, match=r"3 features, the ellipsoid has 4$"):
        cs.compare(cs.Ellipsoid.fit(REAL), {"a": A[:, :3]})
    with pytest.raises(cs.ShapeError, match=r"^candidates\['a'\]: found 1 rows, wanted 2 or more"):
        cs.compare(REAL, {"a": A[:1]})
    with pytest.raises(cs.ShapeError, match=r"^reference: found 1 rows, wanted 2 or more"):
        cs.compare(REAL[:1], {"a": A})
    bad = A.copy()
    bad[7] = np.nan
    with pytest.raises(cs.InvalidRowError, match=r"^candidates\['a'\]: row 7 holds .* is not$"):
        cs.compare(REAL, {"a": bad})
    with pytest.raises(cs.InvalidRowError, match=r"^reference: row 7 holds a value .* is not$"):
        cs.compare(bad, {"a": A})


def test_bad_options() -> None:
    for interval in (0, 1, -0.1, np.nan, "95 %", True, 0.5j, None, np.array([0.9, 0.95])):
        with pytest.raises(ValueError, match=r"^interval=.*; wanted a number between 0 and 1"):
            cs.compare(REAL, {"a": A}, interval=interval)
    with pytest.raises(ValueError, match=r"^bins=0; wanted"):
        cs.compare(REAL, {"a": A}, bins=0)
    with pytest.raises(ValueError, match=r"^n_threads=0; wanted"):
        cs.compare(REAL, {"a": A}, n_threads=0)


def test_prompts_that_do_not_pair_up() -> None:
    def paired(value: Any, **made: Any) -> None:
        cs.compare(REAL, made or {"a": A, "b": A}, paired=value)

    with pytest.raises(cs.ShapeError, match=r"^candidates\['b'\] has 49 rows, candidates\['a'\]"):
        paired(True, a=A, b=A[:49])
    with pytest.raises(cs.MismatchError, match=r"^paired=True: found nothing that pairs with the "):
        paired(True, a=A)
    with pytest.raises(cs.ShapeError, match=r"^paired: the prompts of 'a' have shape \(49,\)"):
        paired(np.arange(49))
    with pytest.raises(cs.DTypeError, match=r"^paired: the prompts of 'a' are float64; wanted int"):
        paired(np.arange(50.0))
    with pytest.raises(cs.MismatchError, match=r"^paired\['c'\]: no set of this name .*'a', 'b'"):
        paired({"a": np.arange(50), "c": np.arange(50)})
    with pytest.raises(cs.MismatchError, match=r"integers in one set and strings in another"):
        paired({"a": np.arange(50), "b": [str(i) for i in range(50)]})
    with pytest.raises(cs.MismatchError, match=r"^paired: 'a' shares 1 of its 50 prompts with any"):
        paired({"a": np.arange(50), "b": np.arange(49, 99)})
    with pytest.raises(cs.MismatchError, match=r"^paired: 'a' shares 0 of its 50 prompts"):
        paired({"a": np.arange(50)})


def test_prompts_without_a_partner_are_noted() -> None:
    a, b = cloud(1000, 4, seed=1), cloud(1000, 4, seed=2)
    found = cs.compare(REAL, {"a": a, "b": b}, paired={"a": range(1000), "b": range(960, 1960)})
    assert found.tests[-1].count == 40
    assert found.notes == (
        "a: 960 of 1,000 prompts have no partner in b",
        "b: 960 of 1,000 prompts have no partner in a",
    )
    whole = cs.compare(REAL, {"a": a, "b": b}, paired=np.arange(1000))
    assert whole.notes == ()


def test_a_test_that_is_not_made_is_noted() -> None:
    # a and b share prompt 49 alone; c has all of both.
    made = {"a": A, "b": A[::-1], "c": cloud(99, 4, seed=3)}
    prompts = {"a": range(50), "b": range(49, 99), "c": range(99)}
    found = cs.compare(REAL, made, paired=prompts)
    pairs = [(test.first, test.second) for test in found.tests if test.kind == "paired"]
    assert pairs == [("a", "c"), ("b", "c")]
    assert found.notes == (
        "c: 49 of 99 prompts have no partner in a, 49 none in b",
        "a and b share 1 prompt: too few for a test of the two",
    )


def test_it_says_how_it_was_made() -> None:
    real = cloud(60, 4, "float16")
    said = cs.compare(real, {"a": A}).to_dict()
    assert (said["version"], said["simd_level"]) == (cs.__version__, simd_level())
    assert (said["dim"], said["interval"], said["bins"]) == (4, 0.95, 50)
    assert said["reference"]["dtype"] == "float16" and said["candidates"][0]["dtype"] == "float32"
    of_ellipsoid = cs.compare(cs.Ellipsoid.fit(real), {"a": A})
    assert of_ellipsoid.reference.dtype == "float16"


def test_float64_conformity_of_wide_rows() -> None:
    # Norms from 1e-150 to 1e150 do not matter.
    scales = np.geomspace(1e-150, 1e150, 50)[:, None]
    got = cs.compare(REAL, {"a": wide(A) * scales}).candidates["a"].conformity
    want = cs.compare(REAL, {"a": wide(A)}).candidates["a"].conformity
    np.testing.assert_allclose(got, want, atol=1e-14)
