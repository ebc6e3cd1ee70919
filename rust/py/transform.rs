//! Affine images of rows: see `linear::transform`.

use super::array::rows;
use super::errors::internal;
use super::rows::{Codes, Vector, codes};
use super::run::run;
use crate::element::Real;
use crate::linear::transform::{Affine, squared_lengths, transform};
use numpy::{
    Element, IntoPyArray, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

fn map(
    centre: PyReadonlyArray1<'_, f64>,
    matrix: PyReadonlyArray2<'_, f64>,
    offset: Option<PyReadonlyArray1<'_, f64>>,
) -> PyResult<Affine> {
    let (outputs, dim) = matrix.as_array().dim();
    let offset = offset.map_or_else(|| vec![0.0; outputs], |offset| offset.as_array().to_vec());
    let centre = centre.as_array().to_vec();
    if centre.len() != dim || offset.len() != outputs || outputs == 0 {
        return Err(internal(format!(
            "a {outputs} x {dim} matrix, {} entries of a centre, {} of an offset",
            centre.len(),
            offset.len()
        )));
    }
    Ok(Affine { centre, matrix: matrix.as_array().iter().copied().collect(), offset })
}

/// Writes `matrix (x - centre) + offset` of each row to `out`, C-contiguous float32 or float64, which is
/// also what the products are computed in; gives the status of each row.
#[pyfunction]
#[pyo3(signature = (array, dtype, centre, matrix, offset, out, n_threads))]
#[allow(clippy::too_many_arguments)]
pub fn affine<'py>(
    py: Python<'py>,
    array: &Bound<'py, PyUntypedArray>,
    dtype: &str,
    centre: PyReadonlyArray1<'py, f64>,
    matrix: PyReadonlyArray2<'py, f64>,
    offset: Option<PyReadonlyArray1<'py, f64>>,
    out: &Bound<'py, PyUntypedArray>,
    n_threads: Option<usize>,
) -> PyResult<Codes<'py>> {
    let map = map(centre, matrix, offset)?;
    if let Ok(out) = out.cast::<PyArray2<f32>>() {
        into(py, array, dtype, &map, out, n_threads)
    } else if let Ok(out) = out.cast::<PyArray2<f64>>() {
        into(py, array, dtype, &map, out, n_threads)
    } else {
        Err(internal(format!("images cannot be written to {}", out.dtype())))
    }
}

fn into<'py, T: Real + Element>(
    py: Python<'py>,
    array: &Bound<'py, PyUntypedArray>,
    dtype: &str,
    map: &Affine,
    out: &Bound<'py, PyArray2<T>>,
    n_threads: Option<usize>,
) -> PyResult<Codes<'py>> {
    // SAFETY: `array` is borrowed for the whole call.
    let rows = unsafe { rows(array, dtype)? };
    let mut out = out.try_readwrite()?;
    if out.shape() != [rows.count(), map.offset.len()] {
        return Err(internal(format!("images cannot be written to shape {:?}", out.shape())));
    }
    let cost = array.len().saturating_mul(map.offset.len());
    let out = out.as_slice_mut()?;
    let status = run(py, n_threads, cost, |context| transform(rows, map, out, context))?;
    Ok(codes(py, status))
}

/// `(|matrix (x - centre)|^2, status)` of each row, from products in float64 if that is asked for.
#[pyfunction]
#[pyo3(signature = (array, dtype, centre, matrix, float64, n_threads))]
pub fn affine_squares<'py>(
    py: Python<'py>,
    array: &Bound<'py, PyUntypedArray>,
    dtype: &str,
    centre: PyReadonlyArray1<'py, f64>,
    matrix: PyReadonlyArray2<'py, f64>,
    float64: bool,
    n_threads: Option<usize>,
) -> PyResult<(Vector<'py>, Codes<'py>)> {
    // SAFETY: `array` is borrowed for the whole call.
    let rows = unsafe { rows(array, dtype)? };
    let map = map(centre, matrix, None)?;
    let cost = array.len().saturating_mul(map.offset.len());
    let found = run(py, n_threads, cost, |context| match float64 {
        true => squared_lengths::<f64>(rows, &map, context),
        false => squared_lengths::<f32>(rows, &map, context),
    })?;
    Ok((found.squared.into_pyarray(py), codes(py, found.status)))
}
