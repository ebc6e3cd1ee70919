"""What `clipsoid.polars` relies on in Polars' unstable interface of IO sources and expressions.

A release of polars that changes any of it fails here, by name, and not somewhere in a scan.
"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest
from polars.io.plugins import register_io_source

from clipsoid._frames import conjuncts
from clipsoid.errors import StoreError

ENGINES = ["in-memory", "streaming"]


class Source:
    """An IO source of frames of ten rows that writes down what it is asked for."""

    def __init__(self, frames: int = 10, fails: bool = False) -> None:
        self.frames = frames
        self.asked: list[tuple[list[str] | None, str | None, int | None]] = []
        self.batch_sizes: set[int | None] = set()
        self.handed = 0
        self.fails = fails

    def read(
        self,
        names: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        self.asked.append((names, None if predicate is None else str(predicate), n_rows))
        self.batch_sizes.add(batch_size)
        for start in range(0, 10 * self.frames, 10):
            frame = pl.DataFrame({"a": np.arange(start, start + 10), "b": np.ones(10)})
            if predicate is not None:
                frame = frame.filter(predicate)
            self.handed += 1
            yield frame if names is None else frame.select(names)
            if self.fails:
                raise StoreError("a.npy: is broken")

    def scan(self) -> pl.LazyFrame:
        return register_io_source(self.read, schema={"a": pl.Int64, "b": pl.Float64}, is_pure=True)


def test_the_signature_of_register_io_source() -> None:
    assert {"io_source", "schema", "is_pure"} <= set(
        inspect.signature(register_io_source).parameters
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_all_columns_are_asked_for_as_none(engine: str) -> None:
    source = Source()
    assert source.scan().collect(engine=engine).shape == (100, 2)
    assert source.asked == [(None, None, None)]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_projection_is_a_list_of_names(engine: str) -> None:
    source = Source()
    source.scan().select(pl.col("b").sum()).collect(engine=engine)
    assert source.asked == [(["b"], None, None)]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_count_asks_for_the_first_column(engine: str) -> None:
    # The first column of a scan costs nothing.
    source = Source()
    assert source.scan().select(pl.len()).collect(engine=engine).item() == 100
    assert source.asked == [(["a"], None, None)]


@pytest.mark.parametrize("engine", ENGINES)
def test_filters_arrive_as_one_expression_and_are_not_repeated(engine: str) -> None:
    source = Source()
    found = source.scan().filter(pl.col("a") > 5).filter(pl.col("b") > 0).select("a")
    assert len(found.collect(engine=engine)) == 94
    ((names, predicate, n_rows),) = source.asked
    assert names is None and n_rows is None
    assert predicate is not None and "&" in predicate


@pytest.mark.parametrize("engine", ENGINES)
def test_filters_that_look_at_other_rows_stay_outside(engine: str) -> None:
    source = Source()
    found = source.scan().filter(pl.col("a") == pl.col("a").max()).collect(engine=engine)
    assert found["a"].to_list() == [99]
    assert source.asked == [(None, None, None)]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_head_is_left_to_the_source(engine: str) -> None:
    source = Source()
    found = source.scan().head(5).collect(engine=engine)
    assert source.asked == [(None, None, 5)]
    # All that the source gives is taken: it must count by itself.
    assert len(found) == 100


@pytest.mark.parametrize("engine", ENGINES)
def test_a_head_before_a_filter_counts_rows_before_it(engine: str) -> None:
    source = Source()
    source.scan().head(5).filter(pl.col("a") > 3).collect(engine=engine)
    ((_, predicate, n_rows),) = source.asked
    assert predicate is not None and n_rows == 5


@pytest.mark.parametrize("engine", ENGINES)
def test_a_head_after_a_filter_is_not_handed_down(engine: str) -> None:
    source = Source()
    found = source.scan().filter(pl.col("a") > 3).head(5).collect(engine=engine)
    assert found["a"].to_list() == [4, 5, 6, 7, 8]
    assert source.asked[0][2] is None


def test_the_streaming_engine_stops_a_source_that_it_needs_no_more() -> None:
    source = Source(frames=1000)
    source.scan().filter(pl.col("a") >= 0).head(1).collect(engine="streaming")
    assert source.handed < 500


@pytest.mark.parametrize("engine", ENGINES)
def test_batch_sizes_are_none_or_positive(engine: str) -> None:
    source = Source()
    source.scan().collect(engine=engine)
    assert all(size is None or size > 0 for size in source.batch_sizes)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_error_of_a_source_keeps_its_type_and_message(engine: str) -> None:
    with pytest.raises(StoreError, match=r"^a\.npy: is broken$"):
        Source(fails=True).scan().collect(engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_error_of_an_expression_keeps_its_type(engine: str) -> None:
    def refuse(_: pl.Series) -> pl.Series:
        raise StoreError("column 'a': is broken")

    expression = pl.col("a").map_batches(refuse, return_dtype=pl.Float64, is_elementwise=True)
    with pytest.raises(StoreError, match=r"^column 'a': is broken"):
        Source().scan().select(expression).collect(engine=engine)


def half(series: pl.Series) -> pl.Series:
    return series / 2


def test_conjunctions_can_be_taken_apart() -> None:
    parts = [pl.col("a") > 5, pl.col("b").is_in([1.0]), pl.col("a") < 9, pl.lit(True)]
    whole = parts[0] & parts[1] & parts[2] & parts[3]
    found = conjuncts(pl.Expr.deserialize(whole.meta.serialize()))
    assert list(map(str, found)) == list(map(str, parts))
    # Two inputs are no conjunction by themselves.
    for other in (parts[0], parts[0] | parts[1], pl.col("a") + pl.col("b"), parts[3]):
        assert [str(one) for one in conjuncts(other)] == [str(other)]


def test_conjunctions_with_python_functions_can_be_taken_apart() -> None:
    called = pl.col("b").map_batches(half, return_dtype=pl.Float64, is_elementwise=True) > 0
    whole = pl.Expr.deserialize(((pl.col("a") > 5) & called).meta.serialize())
    assert [one.meta.root_names() for one in conjuncts(whole)] == [["a"], ["b"]]


def test_a_flat_array_becomes_a_column_without_a_copy() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        rows = np.arange(12, dtype=dtype).reshape(4, 3)
        series = pl.Series("x", rows.reshape(-1)).reshape(rows.shape)
        assert isinstance(series.dtype, pl.Array) and series.dtype.size == 3
        assert np.shares_memory(series.to_numpy(), rows)


def physical_nodes(frame: pl.LazyFrame) -> str:
    graph = frame.show_graph(engine="streaming", plan_stage="physical", raw_output=True)
    assert graph is not None
    return graph


@pytest.mark.parametrize("elementwise", [True, False])
def test_elementwise_functions_run_in_the_streaming_engine(elementwise: bool) -> None:
    function = pl.col("a").map_batches(half, return_dtype=pl.Float64, is_elementwise=elementwise)
    graph = physical_nodes(Source().scan().with_columns(c=function))
    assert "streaming-python-scan" in graph
    assert ("with-columns" in graph) == elementwise


def test_functions_of_expressions_can_be_pickled() -> None:
    e = pickle.loads(pickle.dumps(pl.col("a").map_batches(half, return_dtype=pl.Float64)))
    assert isinstance(e, pl.Expr)
