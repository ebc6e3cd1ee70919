//! The contrastive loss over alphas: one object that holds the arrays and what was prepared of them.

use super::array::rows;
use super::run::run;
use crate::quadratic::modality::Modality as Measured;
use crate::quadratic::sweep::{Options, Sweep, Totals};
use numpy::{IntoPyArray, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Rows of a modality that have been measured, and the array that they lie in.
#[pyclass(module = "clipsoid._native", frozen)]
pub struct Modality {
    measured: Measured<'static>,
    array: Py<PyUntypedArray>,
}

#[pymethods]
impl Modality {
    #[new]
    #[pyo3(signature = (array, dtype, n_threads))]
    fn new(
        py: Python<'_>,
        array: &Bound<'_, PyUntypedArray>,
        dtype: &str,
        n_threads: Option<usize>,
    ) -> PyResult<Self> {
        // SAFETY: the object holds the array for as long as it holds the rows.
        let rows = unsafe { rows(array, dtype)? };
        let measured = run(py, n_threads, array.len(), |context| Measured::new(rows, context))?;
        Ok(Modality { measured, array: array.clone().unbind() })
    }

    /// The least and the greatest norm.
    #[getter]
    fn norms(&self) -> (f64, f64) {
        let ends = |(least, greatest): (f64, f64), &inverse: &f64| {
            (least.min(1.0 / inverse), greatest.max(1.0 / inverse))
        };
        self.measured.inverse.iter().fold((f64::INFINITY, 0.0), ends)
    }
}

/// See `quadratic::sweep` in the Rust sources. The right rows move.
#[pyclass(module = "clipsoid._native")]
pub struct LossSweep {
    sweep: Sweep<'static>,
    left: Totals,
    right: Totals,
    /// Keep the rows alive.
    _arrays: [Py<PyUntypedArray>; 2],
}

#[pymethods]
impl LossSweep {
    #[new]
    #[pyo3(signature = (left, right, alphas, both, temperature, n_threads))]
    fn new(
        py: Python<'_>,
        left: &Modality,
        right: &Modality,
        alphas: Vec<f64>,
        both: bool,
        temperature: f64,
        n_threads: Option<usize>,
    ) -> PyResult<Self> {
        let (count, length) = (left.measured.count(), left.measured.count() * alphas.len());
        let options = Options { alphas, both, temperature };
        let cost = (length + count).saturating_mul(left.measured.rows.dim());
        let sweep = run(py, n_threads, cost, |context| {
            Sweep::new(left.measured.clone(), right.measured.clone(), &options, context)
        })?;
        let arrays = [left.array.clone_ref(py), right.array.clone_ref(py)];
        Ok(LossSweep { sweep, left: Totals::new(length), right: Totals::new(length), _arrays: arrays })
    }

    /// Adds the rivals within blocks of left rows.
    #[pyo3(signature = (start, stop, n_threads))]
    fn run(&mut self, py: Python<'_>, start: usize, stop: usize, n_threads: Option<usize>) -> PyResult<()> {
        let LossSweep { sweep, left, right, .. } = self;
        let each = sweep.passes() * sweep.dim() + sweep.alphas();
        let cost = sweep.count().saturating_mul(sweep.count()).saturating_mul(each);
        run(py, n_threads, cost, |context| sweep.run(start..stop, left, right, context))
    }

    /// How often all rows are multiplied.
    #[getter]
    fn passes(&self) -> usize {
        self.sweep.passes()
    }

    /// Hands over what was found, as flat arrays, `alphas x rows` but for `offset`: each pair's own `y`,
    /// the sums over rivals of `2^y` and whether one is as near as the partner, for either side, and
    /// each alpha's offset.
    fn take<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (own, offset) = self.sweep.own();
        let state = PyDict::new(py);
        state.set_item("own", own.into_pyarray(py))?;
        state.set_item("offset", offset.into_pyarray(py))?;
        for (side, totals) in [("left", &mut self.left), ("right", &mut self.right)] {
            let Totals { sum, missed } = std::mem::replace(totals, Totals::new(0));
            state.set_item(format!("{side}_sum"), sum.into_pyarray(py))?;
            state.set_item(format!("{side}_missed"), missed.into_pyarray(py))?;
        }
        Ok(state)
    }
}
