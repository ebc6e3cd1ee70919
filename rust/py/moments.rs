//! `Moments`: the accumulator behind `Ellipsoid`.

use super::array::rows;
use super::errors::to_python;
use super::rows::policy;
use super::run::run;
use crate::blocks::BLOCK;
use crate::linear::covariance::{Precision, Scatter};
use crate::linear::moments;
use crate::linear::stats::Stats;
use crate::linear::sums::{Invalid, Sums};
use crate::rows::AnyRows;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// State, scatter matrix, and the waiting rows: element type, bytes.
type Snapshot<'py> =
    (Bound<'py, PyDict>, Option<Bound<'py, PyArray1<f64>>>, &'static str, Bound<'py, PyArray1<u8>>);

/// Moments of rows, in one pass. See `linear::moments` in the Rust sources.
#[pyclass(module = "clipsoid._native")]
pub struct Moments(moments::Moments);

fn precision(float64: bool) -> Precision {
    if float64 { Precision::Float64 } else { Precision::Auto }
}

#[pymethods]
impl Moments {
    #[new]
    fn new(dim: usize, covariance: bool, float64: bool) -> Self {
        Moments(moments::Moments::new(dim.max(1), covariance, precision(float64)))
    }

    #[getter]
    fn dim(&self) -> usize {
        self.0.dim()
    }

    #[getter]
    fn seen(&self) -> u64 {
        self.0.seen()
    }

    #[pyo3(signature = (array, dtype, skip_invalid, n_threads))]
    fn update(
        &mut self,
        py: Python<'_>,
        array: &Bound<'_, PyUntypedArray>,
        dtype: &str,
        skip_invalid: bool,
        n_threads: Option<usize>,
    ) -> PyResult<()> {
        // SAFETY: `array` is borrowed for the whole call.
        let rows = unsafe { rows(array, dtype)? };
        let on_invalid = policy(skip_invalid);
        let moments = &mut self.0;
        run(py, n_threads, array.len(), |context| moments.extend(rows, on_invalid, context))
    }

    #[pyo3(signature = (other, n_threads))]
    fn merge(&mut self, py: Python<'_>, other: &Moments, n_threads: Option<usize>) -> PyResult<()> {
        let moments = &mut self.0;
        run(py, n_threads, 0, |context| moments.merge(&other.0, context))
    }

    fn copy(&self) -> Moments {
        Moments(self.0.clone())
    }

    #[getter]
    fn has_scatter(&self) -> bool {
        self.0.has_scatter()
    }

    /// The scatter matrix, row-major, or None.
    fn scatter<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArray1<f64>>>> {
        let (_, scatter) = run(py, Some(1), 0, |context| self.0.finish(context))?;
        Ok(scatter.map(|scatter| scatter.matrix().into_pyarray(py)))
    }

    /// Everything but the scatter matrix, as numbers and arrays; see `from_state`.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let sums = run(py, Some(1), 0, |context| self.0.sums(context))?;
        self.described(py, sums)
    }

    /// The state and the scatter matrix of the blocks that are full, and the rows that wait for
    /// theirs: element type and bytes. See `restore`.
    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Snapshot<'py>> {
        let (sums, scatter, carry) = self.0.parts();
        let dtype = match carry.rows() {
            AnyRows::F16(_) => "float16",
            AnyRows::Bf16(_) => "bfloat16",
            AnyRows::F32(_) => "float32",
            AnyRows::F64(_) => "float64",
        };
        let scatter = scatter.map(|scatter| scatter.matrix().into_pyarray(py));
        let state = self.described(py, sums.clone())?;
        Ok((state, scatter, dtype, carry.bytes().into_pyarray(py)))
    }

    /// From what `state` and `scatter` gave.
    #[staticmethod]
    #[pyo3(signature = (state, scatter))]
    fn from_state(
        py: Python<'_>,
        state: &Bound<'_, PyDict>,
        scatter: Option<PyReadonlyArray1<'_, f64>>,
    ) -> PyResult<Moments> {
        let (sums, scatter, precision, seen) = parts(py, state, scatter)?;
        Ok(Moments(moments::Moments::from_parts(sums, scatter, precision, seen)))
    }

    /// From what `snapshot` gave, the waiting rows as an array of rows: goes on to the bit.
    #[staticmethod]
    #[pyo3(signature = (state, scatter, waiting, dtype))]
    fn restore(
        py: Python<'_>,
        state: &Bound<'_, PyDict>,
        scatter: Option<PyReadonlyArray1<'_, f64>>,
        waiting: &Bound<'_, PyUntypedArray>,
        dtype: &str,
    ) -> PyResult<Moments> {
        let (sums, scatter, precision, seen) = parts(py, state, scatter)?;
        // SAFETY: `waiting` is borrowed for the whole call.
        let waiting = unsafe { rows(waiting, dtype)? };
        if waiting.dim() != sums.mean.len() || waiting.count() >= BLOCK {
            let (count, dim) = (waiting.count(), waiting.dim());
            return Err(super::errors::internal(format!("{count} x {dim} rows cannot wait")));
        }
        Ok(Moments(moments::Moments::resume(sums, scatter, precision, seen, waiting)))
    }
}

impl Moments {
    /// `sums`, with what else there is, as numbers and arrays.
    fn described<'py>(&self, py: Python<'py>, sums: Sums) -> PyResult<Bound<'py, PyDict>> {
        let state = PyDict::new(py);
        state.set_item("count", sums.count)?;
        state.set_item("seen", self.0.seen())?;
        state.set_item("non_finite", sums.invalid.non_finite)?;
        state.set_item("zero_norm", sums.invalid.zero_norm)?;
        state.set_item("float64", self.0.precision() == Precision::Float64)?;
        state.set_item("norm_mean", sums.norms.mean)?;
        state.set_item("norm_squares", sums.norms.squares)?;
        state.set_item("norm_min", sums.norms.min)?;
        state.set_item("norm_max", sums.norms.max)?;
        state.set_item("norm_rms", sums.norms.root_mean_square())?;
        state.set_item("mean", sums.mean.into_pyarray(py))?;
        state.set_item("squares", sums.squares.into_pyarray(py))?;
        state.set_item("unit_sum", sums.unit_sum.into_pyarray(py))?;
        Ok(state)
    }
}

/// What `Moments::described` and a scatter matrix say.
fn parts(
    py: Python<'_>,
    state: &Bound<'_, PyDict>,
    scatter: Option<PyReadonlyArray1<'_, f64>>,
) -> PyResult<(Sums, Option<Scatter>, Precision, u64)> {
    let item = |name: &str| -> PyResult<Bound<'_, PyAny>> {
        state.get_item(name)?.ok_or_else(|| super::errors::internal(format!("no {name}")))
    };
    let vector = |name: &str| -> PyResult<Vec<f64>> {
        let array: PyReadonlyArray1<f64> = item(name)?.extract()?;
        Ok(array.as_array().to_vec())
    };
    let count = item("count")?.extract()?;
    let sums = Sums {
        count,
        mean: vector("mean")?,
        squares: vector("squares")?,
        unit_sum: vector("unit_sum")?,
        norms: Stats {
            count,
            mean: item("norm_mean")?.extract()?,
            squares: item("norm_squares")?.extract()?,
            min: item("norm_min")?.extract()?,
            max: item("norm_max")?.extract()?,
        },
        invalid: Invalid {
            non_finite: item("non_finite")?.extract()?,
            zero_norm: item("zero_norm")?.extract()?,
        },
    };
    let dim = sums.mean.len();
    let scatter = scatter.map(|matrix| matrix.as_array().to_vec());
    let expected = dim * dim;
    for (what, found, expected) in [
        ("squares", sums.squares.len(), dim),
        ("unit_sum", sums.unit_sum.len(), dim),
        ("scatter", scatter.as_ref().map_or(expected, Vec::len), expected),
    ] {
        if found != expected || dim == 0 {
            return Err(to_python(py, crate::Error::Dimension { what, found, expected }));
        }
    }
    let scatter = scatter.map(|matrix| Scatter::from_matrix(dim, matrix));
    let precision = precision(item("float64")?.extract()?);
    Ok((sums, scatter, precision, item("seen")?.extract()?))
}
