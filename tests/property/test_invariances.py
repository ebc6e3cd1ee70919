"""What must not change when rows are permuted, split, rotated, scaled or repeated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import clipsoid as cs
from bounds import REORDERED, SINGLE, Bounds, assert_within
from oracle import reference
from unit.samples import DTYPES, cloud, snapshot

#: Up to two blocks and a rest; up to two vectors and a rest.
counts = st.one_of(st.integers(2, 70), st.integers(1020, 1030), st.integers(2040, 2110))
dims = st.integers(1, 37)
dtypes = st.sampled_from(list(DTYPES))
seeds = st.integers(0, 2**32 - 1)


@st.composite
def sets(draw: st.DrawFn, dtype: st.SearchStrategy[str] = dtypes) -> tuple[np.ndarray, str]:
    name = draw(dtype)
    x = cloud(draw(counts), draw(dims), name, draw(seeds), draw(st.sampled_from([0.0, 0.7, 5.0])))
    return x[reference.valid(x)], name


@st.composite
def small_sets(draw: st.DrawFn) -> np.ndarray:
    """Any finite float32 that is neither vast nor tiny, in any arrangement that has a direction."""
    shape = draw(st.tuples(st.integers(2, 12), st.integers(1, 9)))
    elements = st.floats(-100, 100, width=32, allow_subnormal=False)
    x = draw(hnp.arrays(np.float32, shape, elements=elements))
    x[~reference.valid(x)] = 1
    return x


doubles = sets(st.just("float64"))


@given(small_sets())
def test_any_small_set_equals_the_oracle(x: np.ndarray) -> None:
    e, bound = cs.Ellipsoid.fit(x), Bounds(x, "float32")
    assert_within(e.mean, reference.mean(x), bound.mean, "mean")
    assert_within(e.unit_mean, reference.unit_mean(x), bound.unit_mean, "unit mean")
    assert_within(e.std, reference.std(x), bound.std, "std")
    assert_within(e.covariance, reference.covariance(x), bound.covariance, "covariance")
    want = reference.conformity(x)
    assert_within(cs.conformity(x), want, bound.conformity, "linear")
    assert_within(cs.conformity(x, method="pairwise"), want, bound.pairwise, "pairwise")


@given(sets())
def test_linear_equals_pairwise_equals_the_definition(drawn: tuple[np.ndarray, str]) -> None:
    x, dtype = drawn
    bound, linear = Bounds(x, dtype), cs.conformity(x)
    want = reference.conformity_of_members(x)
    assert_within(linear, want, bound.conformity, "linear")
    assert_within(cs.conformity(x, method="pairwise"), linear, bound.pairwise, "pairwise")
    assert_within(linear.mean(), cs.Ellipsoid.fit(x).mean_conformity, bound.conformity, "mean")


@given(sets(), seeds)
def test_a_permutation_permutes_the_scores(drawn: tuple[np.ndarray, str], seed: int) -> None:
    x, dtype = drawn
    order = np.random.default_rng(seed).permutation(len(x))
    e, shuffled, bound = cs.Ellipsoid.fit(x), cs.Ellipsoid.fit(x[order]), Bounds(x, dtype)
    assert_within(shuffled.mean, e.mean, bound.mean, "mean")
    assert_within(shuffled.std, e.std, bound.std, "std")
    assert_within(shuffled.covariance, e.covariance, 2 * bound.covariance, "covariance")
    assert (shuffled.norms.min, shuffled.norms.max) == (e.norms.min, e.norms.max)
    for method, allowed in (("linear", bound.conformity), ("pairwise", 2 * bound.pairwise)):
        want = cs.conformity(x, method=method)[order]
        assert_within(cs.conformity(x[order], method=method), want, allowed, method)


@given(sets(), st.lists(st.integers(0, 2110), max_size=5), seeds)
def test_parts_merge_to_the_whole(
    drawn: tuple[np.ndarray, str], cuts: list[int], seed: int
) -> None:
    x, dtype = drawn
    parts = [cs.Ellipsoid.fit(part) for part in np.split(x, sorted(min(c, len(x)) for c in cuts))]
    whole, bound = cs.Ellipsoid.fit(x), Bounds(x, dtype)
    merged = parts[0].merge(*parts[1:])
    assert merged.count == len(x)
    assert_within(merged.mean, whole.mean, bound.mean, "mean")
    assert_within(merged.unit_mean, whole.unit_mean, bound.unit_mean, "unit mean")
    assert_within(merged.std, whole.std, bound.std, "std")
    assert_within(merged.covariance, whole.covariance, 2 * bound.covariance, "covariance")
    assert_within(
        merged.norms.variance, whole.norms.variance, bound.norm_variance, "variance of the norms"
    )
    # Another order of the same parts.
    order = np.random.default_rng(seed).permutation(len(parts))
    first, *rest = (parts[i] for i in order)
    again = first.merge(*rest)
    size = np.abs(x.astype(np.float64)).max()
    assert_within(again.mean, merged.mean, REORDERED * size, "mean, reordered")
    assert_within(again.covariance, merged.covariance, REORDERED * size**2, "reordered")


@given(sets(), st.lists(st.integers(1, 1100), max_size=6), st.sampled_from([1, 2, 3, None]))
def test_batches_and_threads_change_no_bit(
    drawn: tuple[np.ndarray, str], lengths: list[int], n_threads: int | None
) -> None:
    x, _ = drawn
    whole, e, at = cs.Ellipsoid.fit(x, n_threads=1), cs.Ellipsoid(x.shape[1]), 0
    for length in [*lengths, len(x)]:
        e.update(x[at : at + length], n_threads=n_threads)
        at = min(at + length, len(x))
        if at == len(x):
            break
    assert snapshot(e) == snapshot(whole)
    assert e.shell(x, n_threads=n_threads) == whole.shell(x, n_threads=1)


@given(doubles, seeds)
def test_a_rotation_turns_the_ellipsoid_and_leaves_the_scores(
    drawn: tuple[np.ndarray, str], seed: int
) -> None:
    x, _ = drawn
    d = x.shape[1]
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0]
    turned = x @ rotation
    e, other = cs.Ellipsoid.fit(x), cs.Ellipsoid.fit(turned)
    # Turning itself rounds, by d units of the length of a row.
    bound, after = Bounds(x), Bounds(turned)
    length, allowed = reference.norms(x).max(), bound.conformity + after.conformity
    assert_within(cs.conformity(turned), cs.conformity(x), allowed, "conformity")
    assert_within(other.unit_mean, e.unit_mean @ rotation, 2 * bound.eps, "unit mean")
    assert_within(other.mean, e.mean @ rotation, 2 * bound.eps * length, "mean")
    error = 8 * bound.eps * length**2
    want = rotation.T @ e.covariance @ rotation
    assert_within(other.covariance, want, error, "covariance")
    assert_within(np.trace(other.covariance), np.trace(e.covariance), d * error, "trace")
    radii = bound.radius + after.radius
    assert_within(other.shell(turned).mean, e.shell(x).mean, radii, "shell")


@given(sets(), seeds)
def test_scaling_rows_by_powers_of_two_changes_no_bit_of_their_conformity(
    drawn: tuple[np.ndarray, str], seed: int
) -> None:
    x, _ = drawn
    # In float64, where every product is exact.
    x = x.astype(np.float64)
    scale = 2.0 ** np.random.default_rng(seed).integers(-30, 30, (len(x), 1))
    for method in ("linear", "pairwise"):
        want = cs.conformity(x, method=method)
        np.testing.assert_array_equal(cs.conformity(x * scale, method=method), want)


@given(doubles, seeds)
def test_scaling_rows_leaves_their_conformity(drawn: tuple[np.ndarray, str], seed: int) -> None:
    x, _ = drawn
    scale = np.random.default_rng(seed).uniform(0.01, 100, (len(x), 1))
    bound = Bounds(x)
    # Each product rounds by one unit: as much as a dot product over two more features.
    for method, allowed in (("linear", bound.conformity), ("pairwise", bound.pairwise)):
        want = cs.conformity(x, method=method)
        assert_within(cs.conformity(x * scale, method=method), want, 2 * allowed, method)


@given(doubles, st.floats(1e-6, 1e6))
def test_scaling_the_set_scales_the_ellipsoid(drawn: tuple[np.ndarray, str], factor: float) -> None:
    x, _ = drawn
    e, other, bound = cs.Ellipsoid.fit(x), cs.Ellipsoid.fit(x * factor), Bounds(x)
    assert_within(other.mean / factor, e.mean, 2 * bound.mean, "mean")
    assert_within(other.std / factor, e.std, 2 * bound.std, "std")
    assert_within(other.covariance / factor**2, e.covariance, 2 * bound.covariance, "covariance")
    assert_within(other.center_ratio, e.center_ratio, 2 * bound.center_ratio, "centre ratio")


@given(sets(), st.integers(2, 4))
def test_repeating_every_row_repeats_the_ellipsoid(
    drawn: tuple[np.ndarray, str], times: int
) -> None:
    x, dtype = drawn
    n, many = len(x), np.tile(x, (times, 1))
    e, repeated, bound = cs.Ellipsoid.fit(x), cs.Ellipsoid.fit(many), Bounds(many, dtype)
    assert_within(repeated.mean, e.mean, bound.mean, "mean")
    assert_within(repeated.unit_mean, e.unit_mean, bound.unit_mean, "unit mean")
    assert_within(repeated.std, e.std, bound.std, "std")
    # Each row now meets itself times - 1 times, with a cosine of 1.
    once = cs.conformity(x)
    want = (times * (n - 1) * once + times - 1) / (times * n - 1)
    got = cs.conformity(many)
    assert_within(got, np.tile(want, times), bound.conformity, "conformity")
    copies = got.reshape(times, n)
    np.testing.assert_array_equal(copies, np.broadcast_to(copies[0], copies.shape))


@given(sets(), seeds)
def test_copies_of_a_row_tie_exactly(drawn: tuple[np.ndarray, str], seed: int) -> None:
    x, _ = drawn
    rng = np.random.default_rng(seed)
    same = rng.choice(len(x), max(2, len(x) // 10), replace=False)
    x[same] = x[same[0]]
    for method in ("linear", "pairwise"):
        assert len(set(cs.conformity(x, method=method)[same])) == 1, method


@given(sets())
def test_every_figure_lies_in_its_range(drawn: tuple[np.ndarray, str]) -> None:
    x, dtype = drawn
    e = cs.Ellipsoid.fit(x)
    scores: list[Callable[[], np.ndarray]] = [
        lambda: cs.conformity(x),
        lambda: cs.conformity(x, method="pairwise"),
        lambda: e.conformity(x),
        lambda: e.cosine_to_mean(x),
    ]
    for score in scores:
        assert np.abs(score()).max() <= 1
    assert np.linalg.norm(e.unit_mean) <= 1 + Bounds(x).eps
    # No eigenvalue below zero but by what float32 products may add.
    slack = (SINGLE if dtype != "float64" else Bounds(x).eps) * np.trace(e.covariance)
    assert np.linalg.eigvalsh(e.covariance).min() >= -slack
    norms, shell = e.norms, e.shell(x)
    assert norms.min <= norms.mean <= norms.max
    assert norms.variance >= 0
    assert shell.min <= shell.mean <= shell.max
    assert shell.variance >= 0
    assert shell.mean <= shell.rms * (1 + Bounds(x).eps)
