"""Scores as Polars expressions: against the same call on an array, and against reading alone."""

import numpy as np

import clipsoid as cs
import data
from job import MB, Job

#: Rows that the ellipsoid is fitted on.
FITTED = 10_000


def fitted():
    """What rows are scored against."""
    return cs.Ellipsoid.fit(data.make_rows(FITTED, np.float32), covariance=False)


def column(rows):
    """Float16 embeddings as a column, without a copy."""
    import polars as pl

    x = data.make_rows(rows, np.float16)
    return pl.Series("embedding", x.reshape(-1)).reshape(x.shape)


def exact(x):
    """Conformity of outsiders, in float64."""
    reference = data.make_rows(FITTED, np.float32)
    mean = sum(data.units(part).sum(axis=0) for part in data.float64_parts(reference)) / FITTED
    return np.concatenate([data.units(part) @ mean for part in data.float64_parts(x)])


def expression(rows):
    """The expression on a column in memory: what polars adds to the call."""
    e = fitted()

    def expressed(series):
        import polars as pl

        import clipsoid.polars  # noqa: F401

        return series.to_frame().select(pl.col("embedding").clipsoid.conformity(e)).to_series()

    return Job(
        name="conformity as an expression, float16",
        rows=rows,
        rounds=7,
        make=lambda: column(rows),
        few=lambda: column(3000),
        contenders={"clipsoid": expressed, "the call on the column": e.conformity},
        limit=None,
        marks={"the call on the column": 1.15},
        oracle=lambda series: exact(series.to_numpy()),
        error_mark=1e-12,
        memory_mark=64 * MB,
    )


def scan(rows, folder):
    """A parquet file scanned and scored, against polars unpacking the same column."""
    e = fitted()

    def make(count):
        path = folder / f"scanned-{count}.parquet"
        if not path.exists():
            column(count).to_frame().write_parquet(path, compression="uncompressed")
        return path

    def scored(path):
        import polars as pl

        query = cs.scan(path).select(pl.col("embedding").clipsoid.conformity(e))
        return query.collect(engine="streaming").to_series()

    def unpacked(path):
        import polars as pl

        first = pl.col("embedding").arr.get(0)
        return pl.scan_parquet(path).select(first.sum()).collect(engine="streaming")

    return Job(
        name="score parquet by a scan, float16",
        rows=rows,
        rounds=5,
        make=lambda: make(rows),
        few=lambda: make(3000),
        contenders={"clipsoid": scored, "polars, unpacked alone": unpacked},
        limit=None,
        marks={"polars, unpacked alone": 1 / 0.7},
        oracle=lambda path: exact(data.make_rows(rows, np.float16)),
        error_mark=1e-12,
        memory_mark=300 * MB,
    )
