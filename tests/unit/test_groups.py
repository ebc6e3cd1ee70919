"""Ellipsoids by group: against float64 numpy, group by group."""

from __future__ import annotations

import pickle

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from clipsoid import _labels
from oracle import reference
from unit.samples import BLOCK, DTYPES, cloud, wide

N = 4 * BLOCK + 300


def sample(dtype: str = "float32", d: int = 70, n: int = N) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and labels of very different frequency: one of them has a single row."""
    x = cloud(n, d, dtype)
    rng = np.random.default_rng(5)
    by = rng.choice(["cat", "dog", "eel", "fox"], n, p=[0.6, 0.3, 0.09, 0.01])
    by[17] = "one"
    return x, by


def close(got: np.ndarray, want: np.ndarray, scale: float = 1.0) -> bool:
    return bool(np.abs(got - want).max() <= 1e-12 * scale)


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_group_has_the_figures_of_its_rows(dtype: str) -> None:
    x, by = sample(dtype)
    groups = cs.GroupedEllipsoids.fit(x, by)
    assert groups.labels == ("cat", "dog", "eel", "fox", "one")
    assert groups.dtypes == {dtype}
    for label in groups:
        rows, e = wide(x[by == label]), groups[label]
        norms = np.linalg.norm(rows, axis=1)
        assert e.count == len(rows)
        assert close(e.mean, rows.mean(0))
        assert close(e.unit_mean, (rows / norms[:, None]).mean(0))
        assert close(e.std, rows.std(0))
        assert e.norms.min == pytest.approx(norms.min(), rel=1e-15)
        assert e.norms.max == pytest.approx(norms.max(), rel=1e-15)
        assert e.norms.mean == pytest.approx(norms.mean(), rel=1e-12)
        assert e.norms.variance == pytest.approx(norms.var(), rel=1e-10)
        assert not e.has_covariance


@pytest.mark.parametrize("dtype", DTYPES)
def test_conformity_within_groups(dtype: str) -> None:
    x, by = sample(dtype)
    groups = cs.GroupedEllipsoids.fit(x, by)
    scores = groups.score(x, by, member=True)
    assert close(scores.conformity, reference.conformity(wide(x)))
    for label in ("cat", "dog", "eel", "fox"):
        own = by == label
        assert close(scores.group_conformity[own], reference.conformity(wide(x[own])))
        assert set(scores.group_rows[own]) == {own.sum()}
    alone = np.flatnonzero(by == "one")
    assert np.isnan(scores.group_conformity[alone]).all() and scores.group_rows[alone] == 1
    assert np.isfinite(np.delete(scores.group_conformity, alone)).all()


def test_outsiders_of_known_and_unknown_groups() -> None:
    x, by = sample()
    new = cloud(40, 70, "float16", seed=9)
    labels = np.resize(["cat", "one", "gnu"], 40)
    scores = cs.GroupedEllipsoids.fit(x, by).score(new, labels)
    for label in ("cat", "one"):
        want = reference.conformity_of_outsiders(wide(new[labels == label]), wide(x[by == label]))
        assert close(scores.group_conformity[labels == label], want)
    assert np.isnan(scores.group_conformity[labels == "gnu"]).all()
    assert set(scores.group_rows[labels == "gnu"]) == {0}
    assert not scores.status.any()


def test_threads_and_batches_never_show() -> None:
    x, by = sample()
    column = pl.concat(
        [pl.Series(part, dtype=pl.Array(pl.Float32, 70)) for part in np.split(x, [1, 700, 3333])],
        rechunk=False,
    )
    whole = cs.GroupedEllipsoids.fit(x, by, n_threads=1)
    for rows, threads in ((x, 2), (x, 7), (column, 1), (column, 3)):
        other = cs.GroupedEllipsoids.fit(rows, by, n_threads=threads)
        for name in ("count", "mean", "squares", "unit_sum", "norms"):
            assert np.array_equal(getattr(whole, name), getattr(other, name)), name
        got, want = (
            whole.score(one, by, member=True, n_threads=n).group_conformity
            for one, n in ((rows, threads), (x, 1))
        )
        assert np.array_equal(got, want, equal_nan=True)


def test_parts_merge_to_the_whole() -> None:
    x, by = sample()
    # The second part has no fox before row 2000, and the third has labels of its own.
    parts = [
        cs.GroupedEllipsoids.fit(x[at], by[at], encoder="B")
        for at in (slice(0, 100), slice(100, 2000), slice(2000, None))
    ]
    whole = cs.GroupedEllipsoids.fit(x, by, encoder="B")
    for merged in (parts[0].merge(*parts[1:]), parts[2].merge(parts[0]).merge(parts[1])):
        assert merged.labels == whole.labels and merged.encoder == "B"
        assert np.array_equal(merged.count, whole.count)
        for name in ("mean", "unit_sum", "squares", "norms"):
            assert close(getattr(merged, name), getattr(whole, name), N), name


def test_all_groups_together_are_the_set() -> None:
    x, by = sample()
    e, whole = cs.Ellipsoid.fit(x, covariance=False), cs.GroupedEllipsoids.fit(x, by).whole
    assert whole.count == e.count
    assert close(whole.mean, e.mean) and close(whole.unit_mean, e.unit_mean)
    assert close(whole.std, e.std)
    assert whole.center_ratio == pytest.approx(e.center_ratio, rel=1e-12)
    assert whole.norms.variance == pytest.approx(e.norms.variance, rel=1e-10)


def test_values_of_any_kind_and_nulls() -> None:
    x = cloud(6, 4)
    for by, want in (
        ([3, 1, 3, None, 1, 3], (None, 1, 3)),
        (np.array([3, 1, 3, 7, 1, 3], np.uint8), (1, 3, 7)),
        ([True, False, True, None, True, True], (None, False, True)),
        (pl.Series(["b", "a", "b", None, "a", "b"], dtype=pl.Categorical), (None, "a", "b")),
        ([None] * 6, (None,)),
    ):
        groups = cs.GroupedEllipsoids.fit(x, by)
        assert groups.labels == want
        assert int(groups.count.sum()) == 6
        scores = groups.score(x, by, member=True)
        assert [*scores.group_rows] == [
            sum(1 for other in list(by) if other == one) for one in list(by)
        ]
    nulls = cs.GroupedEllipsoids.fit(x, ["a", None, "a", None, None, "a"])
    assert nulls[None].count == 3 and "a" in nulls and "b" not in nulls
    with pytest.raises(KeyError, match="b"):
        nulls["b"]


def test_invalid_rows() -> None:
    x, by = sample()
    x[5], x[4 * BLOCK + 9, 3] = 0, np.nan
    with pytest.raises(cs.InvalidRowError, match=r"x: row 5 has zero norm"):
        cs.GroupedEllipsoids.fit(x, by)
    with pytest.raises(cs.InvalidRowError, match=rf"x: row {4 * BLOCK + 3} holds a value"):
        cs.GroupedEllipsoids.fit(x[6:], by[6:])
    groups = cs.GroupedEllipsoids.fit(x, by, on_invalid="skip")
    assert groups.invalid == cs.Invalid(non_finite=1, zero_norm=1)
    kept = np.ones(N, bool)
    kept[[5, 4 * BLOCK + 9]] = False
    valid = cs.GroupedEllipsoids.fit(x[kept], by[kept])
    assert np.array_equal(groups.mean, valid.mean) and np.array_equal(groups.count, valid.count)
    scores = groups.score(x, by, member=True, on_invalid="null")
    assert [*np.flatnonzero(scores.status)] == [5, 4 * BLOCK + 9]
    assert np.isnan(scores.group_conformity[[5, 4 * BLOCK + 9]]).all()


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x, by = sample()
    with pytest.raises(cs.ShapeError, match=rf"by: found 3 values, wanted {N}, one for each row"):
        cs.GroupedEllipsoids.fit(x, ["a", "b", "c"])
    with pytest.raises(cs.DTypeError, match=r"by: found values of type Float64; wanted text"):
        cs.GroupedEllipsoids.fit(x, np.zeros(N))
    with pytest.raises(cs.DTypeError, match=r"by='label' names a column, which only files have"):
        cs.GroupedEllipsoids.fit(x, "label")
    groups = cs.GroupedEllipsoids.fit(x, by)
    with pytest.raises(cs.MismatchError, match=r"found values of type Int64, wanted String"):
        groups.score(x, np.arange(N))
    with pytest.raises(cs.MismatchError, match=r"features"):
        groups.score(x[:, :5], by)
    with pytest.raises(cs.MismatchError, match=r"encoders of the groups differ: 'A' and 'B'"):
        one, other = (cs.GroupedEllipsoids.fit(x, by, encoder=name) for name in "AB")
        one.merge(other)
    monkeypatch.setattr(_labels, "MOST_NUMBERS", 4 * 70)
    with pytest.raises(cs.ShapeError, match=r"by: found 5 values .* at most 4 groups .* 70 feat"):
        cs.GroupedEllipsoids.fit(x, by)


def test_file_and_pickle_keep_everything(tmp_path) -> None:
    x, by = sample()
    groups = cs.GroupedEllipsoids.fit(x, by, encoder="ViT-B-32", temperature=0.01)
    groups.save(tmp_path / "a.groups")
    for copy in (
        cs.GroupedEllipsoids.load(tmp_path / "a.groups"),
        pickle.loads(pickle.dumps(groups)),
    ):
        assert repr(copy) == repr(groups) and copy.labels == groups.labels
        assert (copy.encoder, copy.temperature) == ("ViT-B-32", 0.01)
        for name in ("count", "mean", "squares", "unit_sum", "norms"):
            assert np.array_equal(getattr(copy, name), getattr(groups, name))
    copy.save(tmp_path / "b.groups")
    assert (tmp_path / "a.groups").read_bytes() == (tmp_path / "b.groups").read_bytes()


def test_damaged_files_are_refused(tmp_path) -> None:
    x, by = sample(n=50)
    path = tmp_path / "a.groups"
    cs.GroupedEllipsoids.fit(x, by).save(path)
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[: len(whole) // 2], b"", whole.replace(b'"cat"', b'"dog"')):
        path.write_bytes(damaged)
        with pytest.raises(cs.StoreError, match=r"a\.groups: is (not a groups file|damaged)"):
            cs.GroupedEllipsoids.load(path)
    cs.Ellipsoid.fit(x).save(path)
    with pytest.raises(cs.StoreError, match=r"is of format 'clipsoid.ellipsoid'"):
        cs.GroupedEllipsoids.load(path)


def test_columns_of_shards_may_be_categorical_or_null_alone(tmp_path) -> None:
    x = cloud(30, 6)
    kinds = [pl.String, pl.Categorical, pl.Null]
    labels = [["a", "b"] * 5, ["b", None] * 5, [None] * 10]
    for i, (kind, values) in enumerate(zip(kinds, labels, strict=True)):
        rows = pl.Series(x[10 * i : 10 * i + 10], dtype=pl.Array(pl.Float32, 6))
        column = pl.Series(values, dtype=kind)
        pl.DataFrame({"kind": column, "emb": rows}).write_parquet(tmp_path / f"{i}.parquet")
    groups = cs.GroupedEllipsoids.fit(tmp_path, "kind")
    assert groups.labels == (None, "a", "b") and [*groups.count] == [15, 5, 10]
    assert groups.by == "kind" and len(groups.inputs) == 3
    flat = [label for values in labels for label in values]
    memory = cs.GroupedEllipsoids.fit(x, flat)
    assert np.array_equal(memory.unit_sum, groups.unit_sum)
    with pytest.raises(cs.StoreError, match=r"0\.parquet: has no column 'colour'; found kind, emb"):
        cs.GroupedEllipsoids.fit(tmp_path, "colour")
