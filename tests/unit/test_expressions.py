"""The expressions of ``pl.col(...).clipsoid``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
import clipsoid.polars
from clipsoid.polars import Expressions

ENGINES = ["in-memory", "streaming"]
POLARS = {"float16": pl.Float16, "float32": pl.Float32, "float64": pl.Float64}
COUNT, DIM = 500, 24


def made(count: int = COUNT, dim: int = DIM, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((count, dim)) + 0.5).astype(dtype)


def column(rows: np.ndarray, kind: str = "array", name: str = "x") -> pl.Series:
    series = pl.Series(name, rows, dtype=pl.Array(POLARS[rows.dtype.name], rows.shape[1]))
    return series.arr.to_list() if kind == "list" else series


@pytest.fixture(scope="module")
def e() -> cs.Ellipsoid:
    e = cs.Ellipsoid.fit(made(seed=1, dtype="float64"))
    e.calibrate(made(seed=1, dtype="float64"))
    return e


@pytest.fixture(scope="module")
def w(e: cs.Ellipsoid) -> cs.Whitening:
    return cs.Whitening.from_ellipsoid(e)


Pair = tuple[pl.Expr, np.ndarray]


def against_arrays(e: cs.Ellipsoid, w: cs.Whitening, rows: np.ndarray) -> dict[str, Pair]:
    """Every expression of column x that has a counterpart on arrays, and what that gives."""
    x: Expressions = pl.col("x").clipsoid
    return {
        "outsiders": (x.conformity(e), e.conformity(rows)),
        "members": (x.conformity(e, member=True), e.conformity(rows, member=True)),
        "cosine_to_mean": (x.cosine_to_mean(e), e.cosine_to_mean(rows)),
        "estimated": (x.estimated_conformity(e), e.estimated_conformity(rows)),
        "norm": (x.norm(), e.score(rows).norm),
        "likelihood": (x.log_likelihood(w), w.log_likelihood(rows)),
        "whitened": (
            x.log_likelihood(w, determinant=False, precision="float64", n_threads=1),
            w.log_likelihood(rows, determinant=False, precision="float64"),
        ),
    }


NAMES = ["outsiders", "members", "cosine_to_mean", "estimated", "norm", "likelihood", "whitened"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["array", "list"])
@pytest.mark.parametrize("dtype", POLARS)
@pytest.mark.parametrize("name", NAMES)
def test_the_bits_are_those_of_the_call_on_an_array(
    e: cs.Ellipsoid, w: cs.Whitening, name: str, dtype: str, kind: str, engine: str
) -> None:
    rows = made(dtype=dtype)
    expression, want = against_arrays(e, w, rows)[name]
    # One chunk, and several of unequal lengths.
    parts = [column(rows[a:b], kind).to_frame() for a, b in ((0, 1), (1, 300), (300, COUNT))]
    for frame in (column(rows, kind).to_frame(), pl.concat(parts, rechunk=False)):
        found = frame.lazy().select(y=expression).collect(engine=engine)["y"]
        assert found.dtype == pl.Float64
        assert found.to_numpy().tobytes() == want.tobytes()
        assert frame[100:133].select(y=expression)["y"].to_numpy().tobytes() == (
            want[100:133].tobytes()
        )


@pytest.mark.parametrize("dtype", POLARS)
def test_norm_and_cosine_are_those_of_numpy(dtype: str) -> None:
    x, y = made(dtype=dtype), made(seed=2)
    frame = pl.DataFrame([column(x), column(y, "list", "y")])
    found = frame.select(
        pl.col("x").clipsoid.norm(),
        pl.col("x").clipsoid.cosine("y"),
        same=pl.col("x").clipsoid.cosine(pl.col("x")),
    )
    x, y = x.astype(np.float64), y.astype(np.float64)
    lengths = np.linalg.norm(x, axis=1)
    cosine = np.sum(x * y, axis=1) / lengths / np.linalg.norm(y, axis=1)
    # Sums of 24 products, in any order, and a few operations more.
    assert np.allclose(found["norm"], lengths, rtol=32 * 2**-53, atol=0)
    assert np.allclose(found["cosine"], cosine, rtol=0, atol=64 * 2**-53)
    assert found["same"].is_between(1 - 1e-15, 1).all()


def test_columns_are_named_as_in_score_files(e: cs.Ellipsoid, w: cs.Whitening) -> None:
    x: Expressions = pl.col("x").clipsoid
    found = (
        column(made())
        .to_frame()
        .select(
            x.conformity(e),
            x.cosine_to_mean(e),
            x.estimated_conformity(e),
            x.norm(),
            x.log_likelihood(w),
            x.cosine("x"),
            x.norm().alias("length"),
        )
    )
    assert found.columns == [
        "conformity",
        "cosine_to_mean",
        "estimated_conformity",
        "norm",
        "log_likelihood",
        "cosine",
        "length",
    ]


def test_files_are_as_good_as_objects(e: cs.Ellipsoid, w: cs.Whitening, tmp_path: Path) -> None:
    e.save(tmp_path / "e")
    w.save(tmp_path / "w")
    x: Expressions = pl.col("x").clipsoid
    found = (
        column(made())
        .to_frame()
        .select(
            x.conformity(tmp_path / "e"),
            x.cosine_to_mean(str(tmp_path / "e")),
            x.log_likelihood(tmp_path / "w"),
            x.log_likelihood(tmp_path / "e").alias("of_e"),
        )
    )
    assert np.array_equal(found["conformity"], e.conformity(made()))
    assert np.array_equal(found["cosine_to_mean"], e.cosine_to_mean(made()))
    assert np.array_equal(found["log_likelihood"], w.log_likelihood(made()))
    of_e = cs.Whitening.from_ellipsoid(e)
    assert np.array_equal(found["of_e"], of_e.log_likelihood(made()))
    cs.Ellipsoid.fit(made(), covariance=False).save(tmp_path / "means")
    with pytest.raises(cs.UnavailableError, match=r"means: .*covariance"):
        x.log_likelihood(tmp_path / "means")
    with pytest.raises(cs.StoreError, match="absent"):
        x.conformity(tmp_path / "absent")


Made = Callable[[Expressions, cs.Ellipsoid, cs.Whitening, str], pl.Expr]

EACH: dict[str, Made] = {
    "conformity": lambda x, e, w, on: x.conformity(e, on_invalid=on),
    "cosine_to_mean": lambda x, e, w, on: x.cosine_to_mean(e, on_invalid=on),
    "estimated_conformity": lambda x, e, w, on: x.estimated_conformity(e, on_invalid=on),
    "log_likelihood": lambda x, e, w, on: x.log_likelihood(w, on_invalid=on),
    "norm": lambda x, e, w, on: x.norm(on_invalid=on),
    "cosine": lambda x, e, w, on: x.cosine(pl.col("x").reverse(), on_invalid=on),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["array", "list"])
@pytest.mark.parametrize("name", EACH)
def test_nulls_stay_null(
    e: cs.Ellipsoid, w: cs.Whitening, name: str, kind: str, engine: str
) -> None:
    x = column(made(9), kind).to_frame().with_row_index()
    x = x.select(x=pl.when(pl.col("index") % 4 == 0).then(None).otherwise(pl.col("x")))
    expression = EACH[name](pl.col("x").clipsoid, e, w, "error")
    want = [i % 4 == 0 for i in range(9)]
    assert x.lazy().select(expression).collect(engine=engine)[name].is_null().to_list() == want
    # Where nothing tells the dimension, and where there is nothing at all.
    for few, count in ((x[:1], 1), (x[:0], 0)):
        found = few.lazy().select(expression).collect(engine=engine)[name]
        assert (found.dtype, found.null_count(), len(found)) == (pl.Float64, count, count)


@pytest.mark.parametrize("bad", ["zero", "nan", "infinite"])
@pytest.mark.parametrize("name", EACH)
def test_invalid_rows(e: cs.Ellipsoid, w: cs.Whitening, name: str, bad: str) -> None:
    rows = made(11)
    rows[5] = 0 if bad == "zero" else rows[5]
    rows[5, 3] = {"zero": 0, "nan": np.nan, "infinite": np.inf}[bad]
    frame = column(rows).to_frame()
    found = frame.select(EACH[name](pl.col("x").clipsoid, e, w, "null"))[name]
    refused = EACH[name](pl.col("x").clipsoid, e, w, "error")
    if (name, bad) == ("norm", "zero"):
        assert found[5] == 0 and frame.select(refused)[name].null_count() == 0
        return
    assert found.is_null().to_list() == [i == 5 for i in range(11)]
    what = "has zero norm" if bad == "zero" else "holds a value that is not finite"
    with pytest.raises(
        cs.InvalidRowError,
        match=f"^column 'x': row 5 of a batch of 11 rows {what}.*on_invalid='null' gives null for",
    ):
        frame.select(refused)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("bad", [0.0, np.nan])
def test_the_message_has_the_filter_that_finds_invalid_rows(
    e: cs.Ellipsoid, tmp_path: Path, bad: float, engine: str
) -> None:
    rows = made(400)
    rows[[33, 250, 320]] = bad
    # Of the other kind, which that filter is not to find.
    rows[5] = np.nan if bad == 0 else 0
    for i, shard in enumerate(np.split(rows, 4)):
        frame = column(shard).to_frame().with_row_index()
        # A null is at no fault.
        frame = frame.select(emb=pl.when(pl.col("index") != 7).then(pl.col("x")))
        frame.write_parquet(tmp_path / f"x{i}.parquet")
    query = cs.scan(tmp_path).filter(pl.col("row") != 5)
    with pytest.raises(cs.InvalidRowError, match=r"^column 'embedding': row \d+ of a") as caught:
        query.select(pl.col("embedding").clipsoid.conformity(e)).collect(engine=engine)
    said = re.search(r"; \.filter\((.*)\) finds such rows", str(caught.value))
    assert said is not None
    found = eval(f"scanned.filter({said[1]})", {"pl": pl, "scanned": cs.scan(tmp_path)})
    places = found.select("shard", "row").collect(engine=engine).rows()
    assert places == [(f"x{i}.parquet", row) for i, row in ((0, 33), (2, 50), (3, 20))]


@pytest.mark.parametrize("name", ["conformity", "log_likelihood"])
@pytest.mark.parametrize("kind", ["array", "list"])
def test_other_dimensions_are_refused(
    e: cs.Ellipsoid, w: cs.Whitening, name: str, kind: str
) -> None:
    what = "ellipsoid" if name == "conformity" else "whitening"
    with pytest.raises(
        cs.MismatchError, match=f"^column 'x': the rows have 25 features, the {what} has 24"
    ):
        column(made(3, 25), kind).to_frame().select(EACH[name](pl.col("x").clipsoid, e, w, "null"))


def test_cosines_need_one_dimension() -> None:
    frame = pl.DataFrame([column(made(3, 25)), column(made(3, 24), name="y")])
    with pytest.raises(
        cs.MismatchError, match=r"^column 'x': the rows have 25 features, column 'y' has 24"
    ):
        frame.select(pl.col("x").clipsoid.cosine("y"))


@pytest.mark.parametrize(
    ("series", "found"),
    [
        (pl.Series("x", [1.0, 2.0]), "Float64"),
        (pl.Series("x", [[1, 2]]), r"List\(Int64\)"),
        (pl.Series("x", ["a"]), "String"),
        (pl.Series("x", np.zeros((1, 2, 3))), r"Array\(Float64, shape=\(2, 3\)\)"),
    ],
)
def test_other_types_are_refused(e: cs.Ellipsoid, series: pl.Series, found: str) -> None:
    for expression in (
        pl.col("x").clipsoid.conformity(e),
        pl.col("x").clipsoid.norm(),
        pl.col("x").clipsoid.cosine("x"),
    ):
        with pytest.raises(cs.DTypeError, match=f"^column 'x' is {found}; wanted a list or array"):
            series.to_frame().select(expression)


def test_lists_of_several_lengths_are_refused(e: cs.Ellipsoid) -> None:
    frame = pl.DataFrame({"x": [[1.0] * DIM, [1.0] * 3]})
    with pytest.raises(cs.ShapeError, match=r"^column 'x'.*3"):
        frame.select(pl.col("x").clipsoid.conformity(e))


def test_what_cannot_be_asked_for_is_refused_at_once(e: cs.Ellipsoid) -> None:
    x: Expressions = pl.col("x").clipsoid
    with pytest.raises(cs.UnavailableError, match="has no calibration"):
        x.estimated_conformity(cs.Ellipsoid.fit(made()))
    with pytest.raises(cs.ShapeError, match="found 1 valid row, wanted 2 or more"):
        x.conformity(cs.Ellipsoid.fit(made(1)), member=True)
    with pytest.raises(ValueError, match=r"on_invalid='skip'; wanted 'error' or 'null'"):
        x.norm(on_invalid="skip")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n_threads"):
        x.conformity(e, n_threads=0)
    with pytest.raises(TypeError, match="e: found ndarray; wanted an Ellipsoid or a path"):
        x.conformity(np.zeros(3))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="w: found Ellipsoid; wanted a Whitening or a path"):
        x.log_likelihood(e)  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", POLARS)
def test_the_whole_pipeline(tmp_path: Path, e: cs.Ellipsoid, dtype: str, engine: str) -> None:
    rows = made(dtype=dtype)
    (tmp_path / "set").mkdir()
    np.save(tmp_path / "set" / "a.npy", rows[:200])
    column(rows[200:]).to_frame().write_parquet(tmp_path / "b.parquet", row_group_size=70)
    for source, part in ((tmp_path / "set", rows[:200]), (tmp_path / "b.parquet", rows[200:])):
        scored = cs.scan(source).with_columns(pl.col("embedding").clipsoid.conformity(e))
        scored.sink_parquet(tmp_path / "out", engine=engine)
        found = pl.read_parquet(tmp_path / "out")
        assert found.columns == ["shard", "row", "embedding", "conformity"]
        assert found["conformity"].to_numpy().tobytes() == e.conformity(part).tobytes()
        # Within a filter, the expression is evaluated by the scan itself.
        want = e.conformity(part)
        median = float(np.median(want))
        kept = cs.scan(source).filter(pl.col("embedding").clipsoid.conformity(e) > median)
        found = kept.select("row").collect(engine=engine)["row"]
        assert np.array_equal(found, np.flatnonzero(want > median))


def test_a_scan_is_scored_in_the_streaming_engine(tmp_path: Path, e: cs.Ellipsoid) -> None:
    np.save(tmp_path / "a.npy", made())
    scored = cs.scan(tmp_path).select("row", pl.col("embedding").clipsoid.conformity(e))
    graph = scored.show_graph(engine="streaming", plan_stage="physical", raw_output=True)
    assert graph is not None
    nodes = [line for line in graph.splitlines() if 'label="' in line]
    assert len(nodes) == 2
    assert "streaming-python-scan" in graph and "fillcolor" not in "".join(nodes)


def test_the_namespace_comes_with_the_module() -> None:
    assert isinstance(pl.col("x").clipsoid, clipsoid.polars.Expressions)
    assert cs.scan is clipsoid.polars.scan
