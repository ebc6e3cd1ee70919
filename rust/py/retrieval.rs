//! What is computed from the cosines of all pairs of rows: ranks, rivals, the nearest, their
//! distribution.

use super::array::rows;
use super::run::run;
use crate::quadratic::false_negatives::{self as search, Rivals};
use crate::quadratic::{histogram, nearest, ranks};
use crate::rows::AnyRows;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyUntypedArray};
use pyo3::prelude::*;

type Integers<'py> = Bound<'py, PyArray1<i64>>;
type Floats<'py> = Bound<'py, PyArray1<f64>>;
/// Blocks of left rows, from the first to the one after the last.
type Blocks = (usize, usize);
/// Count of each row; then, row after row, the numbers and similarities of its best.
type Found<'py> = (Integers<'py>, Integers<'py>, Floats<'py>);

fn integers(py: Python<'_>, counts: Vec<u64>) -> Integers<'_> {
    counts.into_iter().map(|count| count as i64).collect::<Vec<_>>().into_pyarray(py)
}

fn found(py: Python<'_>, rivals: Rivals) -> Found<'_> {
    let (number, similarity) = unzipped(py, rivals.best);
    (integers(py, rivals.count), number, similarity)
}

/// Numbers and similarities, one list after the other.
fn unzipped<'py>(
    py: Python<'py>,
    best: impl IntoIterator<Item = Vec<(f64, usize)>>,
) -> (Integers<'py>, Floats<'py>) {
    let (similarity, number): (Vec<f64>, Vec<i64>) =
        best.into_iter().flatten().map(|(similarity, number)| (similarity, number as i64)).unzip();
    (number.into_pyarray(py), similarity.into_pyarray(py))
}

/// Elements visited when each row meets each.
fn cost(x: AnyRows, y: AnyRows) -> usize {
    x.count().saturating_mul(y.count()).saturating_mul(x.dim())
}

/// `(greater, less)` of each image among the texts, and of each text among the images, where the image is
/// of some blocks.
#[pyfunction]
#[pyo3(signature = (image, text, dtype, image_of, blocks, n_threads))]
pub fn retrieval_counts<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyUntypedArray>,
    text: &Bound<'py, PyUntypedArray>,
    dtype: &str,
    image_of: PyReadonlyArray1<'py, i64>,
    blocks: Blocks,
    n_threads: Option<usize>,
) -> PyResult<[(Integers<'py>, Integers<'py>); 2]> {
    // SAFETY: both arrays are borrowed for the whole call.
    let (image, text) = unsafe { (rows(image, dtype)?, rows(text, dtype)?) };
    let image_of: Vec<usize> = image_of.as_array().iter().map(|&i| i as usize).collect();
    let (images, texts) = run(py, n_threads, cost(image, text), |context| {
        ranks::retrieval_counts(image, text, &image_of, blocks.0..blocks.1, context)
    })?;
    Ok([images, texts].map(|counts| (integers(py, counts.greater), integers(py, counts.less))))
}

/// Partner of each row; rivals of each image among the texts, and of each text among the images, where
/// the image is of some blocks.
#[pyfunction]
#[pyo3(signature = (image, text, dtype, k, margin, blocks, n_threads))]
#[allow(clippy::too_many_arguments)]
pub fn false_negatives<'py>(
    py: Python<'py>,
    image: &Bound<'py, PyUntypedArray>,
    text: &Bound<'py, PyUntypedArray>,
    dtype: &str,
    k: usize,
    margin: f64,
    blocks: Blocks,
    n_threads: Option<usize>,
) -> PyResult<(Floats<'py>, [Found<'py>; 2])> {
    // SAFETY: both arrays are borrowed for the whole call.
    let (image, text) = unsafe { (rows(image, dtype)?, rows(text, dtype)?) };
    let (mut images, texts) = run(py, n_threads, cost(image, text), |context| {
        search::false_negatives(image, text, k, margin, blocks.0..blocks.1, context)
    })?;
    let partner = std::mem::take(&mut images.partner).into_pyarray(py);
    Ok((partner, [images, texts].map(|rivals| found(py, rivals))))
}

/// Rivals of each row within its set, where the first row of a pair is of some blocks.
#[pyfunction]
#[pyo3(signature = (x, dtype, k, threshold, blocks, n_threads))]
pub fn false_negatives_within<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    dtype: &str,
    k: usize,
    threshold: f64,
    blocks: Blocks,
    n_threads: Option<usize>,
) -> PyResult<Found<'py>> {
    // SAFETY: `x` is borrowed for the whole call.
    let x = unsafe { rows(x, dtype)? };
    let rivals = run(py, n_threads, cost(x, x), |context| {
        search::false_negatives_within(x, k, threshold, blocks.0..blocks.1, context)
    })?;
    Ok(found(py, rivals))
}

/// Numbers and similarities of the `k` rows of `x` that are nearest to each query, query after query.
#[pyfunction]
#[pyo3(signature = (queries, x, dtype, k, n_threads))]
pub fn nearest_rows<'py>(
    py: Python<'py>,
    queries: &Bound<'py, PyUntypedArray>,
    x: &Bound<'py, PyUntypedArray>,
    dtype: &str,
    k: usize,
    n_threads: Option<usize>,
) -> PyResult<(Integers<'py>, Floats<'py>)> {
    // SAFETY: both arrays are borrowed for the whole call.
    let (queries, x) = unsafe { (rows(queries, "float64")?, rows(x, dtype)?) };
    let best = run(py, n_threads, cost(queries, x), |context| nearest::nearest(queries, x, k, context))?;
    Ok(unzipped(py, best))
}

/// `(counts, below, above)` of the cosines of `x` with `y`, or of the pairs within `x`, where the first
/// row of a pair is of some blocks.
#[pyfunction]
#[pyo3(signature = (x, y, dtype, edges, blocks, n_threads))]
pub fn similarity_histogram<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    y: Option<&Bound<'py, PyUntypedArray>>,
    dtype: &str,
    edges: PyReadonlyArray1<'py, f64>,
    blocks: Blocks,
    n_threads: Option<usize>,
) -> PyResult<(Integers<'py>, u64, u64)> {
    // SAFETY: both arrays are borrowed for the whole call.
    let (x, y) = unsafe { (rows(x, dtype)?, y.map(|y| rows(y, dtype)).transpose()?) };
    let edges = edges.as_array().to_vec();
    let found = run(py, n_threads, cost(x, y.unwrap_or(x)), |context| match y {
        Some(y) => histogram::similarity_histogram(x, y, &edges, blocks.0..blocks.1, context),
        None => histogram::similarity_histogram_within(x, &edges, blocks.0..blocks.1, context),
    })?;
    Ok((integers(py, found.counts), found.below, found.above))
}
