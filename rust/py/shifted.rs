//! Conformity while the centre moves: the pass that gives the unit means, and the one that scores.

use super::array::rows;
use super::errors::internal;
use super::run::run;
use crate::linear::centre::{self, Centre};
use crate::linear::shifted::{self, Grid, UnitMeans};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;

/// Rows of one set, at every alpha of a grid. See `linear::shifted` in the Rust sources.
#[pyclass(module = "clipsoid._native")]
pub struct ShiftedConformity {
    grid: Grid,
    /// Until `finish`.
    sums: Option<UnitMeans>,
    /// From then on, `alphas x d`.
    means: Vec<f64>,
}

#[pymethods]
impl ShiftedConformity {
    #[new]
    #[pyo3(signature = (alphas, count, mean, rms))]
    fn new(alphas: Vec<f64>, count: u64, mean: PyReadonlyArray1<'_, f64>, rms: f64) -> PyResult<Self> {
        let mean = mean.as_array().to_vec();
        if mean.is_empty() {
            return Err(internal("a mean of no features".to_owned()));
        }
        let grid = Grid::new(alphas, Centre::new(mean, count, rms));
        Ok(ShiftedConformity { sums: Some(UnitMeans::new(grid.clone())), grid, means: Vec::new() })
    }

    /// First pass: adds rows to the unit means.
    #[pyo3(signature = (array, dtype, n_threads))]
    fn update(
        &mut self,
        py: Python<'_>,
        array: &Bound<'_, PyUntypedArray>,
        dtype: &str,
        n_threads: Option<usize>,
    ) -> PyResult<()> {
        // SAFETY: `array` is borrowed for the whole call.
        let rows = unsafe { rows(array, dtype)? };
        let cost = self.cost(array);
        let sums = self.sums.as_mut().ok_or_else(|| internal("the means are finished".to_owned()))?;
        run(py, n_threads, cost, |context| sums.update(rows, context))
    }

    /// Ends the first pass.
    #[pyo3(signature = (n_threads))]
    fn finish(&mut self, py: Python<'_>, n_threads: Option<usize>) -> PyResult<()> {
        if let Some(sums) = self.sums.take() {
            self.means = run(py, n_threads, 0, |context| sums.finish(context))?;
        }
        Ok(())
    }

    /// Second pass: conformity of rows of the set, `alphas x rows`.
    #[pyo3(signature = (array, dtype, n_threads))]
    fn conformity<'py>(
        &self,
        py: Python<'py>,
        array: &Bound<'py, PyUntypedArray>,
        dtype: &str,
        n_threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        // SAFETY: `array` is borrowed for the whole call.
        let rows = unsafe { rows(array, dtype)? };
        if self.sums.is_some() {
            return Err(internal("the means are not finished".to_owned()));
        }
        let cost = self.cost(array);
        let values =
            run(py, n_threads, cost, |context| shifted::conformity(rows, &self.grid, &self.means, context))?;
        Ok(values.into_pyarray(py))
    }
}

impl ShiftedConformity {
    /// Element visits, of which several alphas share one.
    fn cost(&self, array: &Bound<'_, PyUntypedArray>) -> usize {
        array.len().saturating_mul(self.grid.alphas().div_ceil(8))
    }
}

/// The lengths up to which what is left of rows of these norms may be rounding alone, `alphas x norms`.
#[pyfunction]
#[pyo3(signature = (count, rms, alphas, norms))]
pub fn least_left<'py>(
    py: Python<'py>,
    count: u64,
    rms: f64,
    alphas: PyReadonlyArray1<'py, f64>,
    norms: PyReadonlyArray1<'py, f64>,
) -> Bound<'py, PyArray1<f64>> {
    let (alphas, norms) = (alphas.as_array(), norms.as_array());
    let least = |alpha| norms.iter().map(move |&norm| centre::least_left(count, rms, alpha, norm));
    alphas.iter().flat_map(|&alpha| least(alpha)).collect::<Vec<_>>().into_pyarray(py)
}
