//! Each feature by itself: its range, and its histogram.

use super::array::rows;
use super::errors::internal;
use super::rows::Vector;
use super::run::run;
use crate::linear::histograms::{Bins, count_features};
use crate::linear::ranges::ranges;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray2, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;

/// `(low, high)` of each feature; NaNs are passed over.
#[pyfunction]
#[pyo3(signature = (array, dtype, n_threads))]
pub fn feature_ranges<'py>(
    py: Python<'py>,
    array: &Bound<'py, PyUntypedArray>,
    dtype: &str,
    n_threads: Option<usize>,
) -> PyResult<(Vector<'py>, Vector<'py>)> {
    // SAFETY: `array` is borrowed for the whole call.
    let rows = unsafe { rows(array, dtype)? };
    let found = run(py, n_threads, array.len(), |context| ranges(rows, context))?;
    Ok((found.low.into_pyarray(py), found.high.into_pyarray(py)))
}

/// Counts of rows in bins of each feature.
#[pyclass(module = "clipsoid._native")]
pub struct FeatureHistograms {
    bins: Bins,
    counts: Vec<u64>,
}

#[pymethods]
impl FeatureHistograms {
    #[new]
    fn new(edges: PyReadonlyArray2<'_, f64>) -> PyResult<Self> {
        let edges = edges.as_array();
        let (dim, count) = (edges.nrows(), edges.ncols().saturating_sub(1));
        if dim == 0 || count == 0 {
            return Err(internal(format!("{dim} features with {count} bins each")));
        }
        let bins = Bins::new(edges.iter().copied().collect(), count);
        Ok(FeatureHistograms { counts: vec![0; dim * count], bins })
    }

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
        let FeatureHistograms { bins, counts } = self;
        run(py, n_threads, array.len(), |context| count_features(counts, rows, bins, context))
    }

    /// Feature after feature.
    fn counts<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        self.counts.iter().map(|&count| count as i64).collect::<Vec<_>>().into_pyarray(py)
    }
}
