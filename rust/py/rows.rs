//! What is computed for each row against a fitted set.

use super::array::rows;
use super::errors::to_python;
use super::pairs::{Groups, check_counts};
use super::run::run;
use crate::error::{Error, Status};
use crate::linear::moments::OnInvalid;
use crate::linear::score::Reference;
use crate::linear::stats::Stats;
use crate::linear::{dominance, regression, score as scoring, shell};
use crate::quadratic::conformity as pairwise;
use numpy::{
    IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

pub type Vector<'py> = Bound<'py, PyArray1<f64>>;
pub type Codes<'py> = Bound<'py, PyArray1<u8>>;

/// What the core does with invalid rows.
pub fn policy(skip_invalid: bool) -> OnInvalid {
    if skip_invalid { OnInvalid::Skip } else { OnInvalid::Error }
}

pub fn codes<'py>(py: Python<'py>, status: Vec<Status>) -> Codes<'py> {
    status.into_iter().map(|status| status as u8).collect::<Vec<_>>().into_pyarray(py)
}

/// What `score` returns: arrays of one entry per row.
type Scored<'py> = (
    Vector<'py>,
    Vector<'py>,
    Vector<'py>,
    Codes<'py>,
    Option<(Vector<'py>, Codes<'py>)>,
    Option<Vector<'py>>,
);

/// `(conformity, cosine_to_mean, norm, status)` of each row; then, where those are given,
/// `(cosine, status)` of its partner and its conformity in its group.
#[pyfunction]
#[pyo3(signature = (array, dtype, count, mean, unit_mean, member, n_threads, partner=None, groups=None))]
#[allow(clippy::too_many_arguments)]
pub fn score<'py>(
    py: Python<'py>,
    array: &Bound<'py, PyUntypedArray>,
    dtype: &str,
    count: u64,
    mean: PyReadonlyArray1<'py, f64>,
    unit_mean: PyReadonlyArray1<'py, f64>,
    member: bool,
    n_threads: Option<usize>,
    partner: Option<(Bound<'py, PyUntypedArray>, String)>,
    groups: Option<Groups<'py>>,
) -> PyResult<Scored<'py>> {
    // SAFETY: `array` is borrowed for the whole call.
    let own = unsafe { rows(array, dtype)? };
    let reference = Reference { count, unit_mean: unit_mean.as_array().to_vec(), member };
    let mean = mean.as_array().to_vec();
    let mut beside = scoring::Beside::default();
    if let Some((array, dtype)) = &partner {
        // SAFETY: as above.
        let rows = unsafe { rows(array, dtype)? };
        check_counts(own.count(), "partners", rows.count())?;
        beside.partner = Some(rows);
    }
    if let Some(groups) = &groups {
        let groups = groups.grouped()?;
        check_counts(own.count(), "groups", groups.group.len())?;
        beside.groups = Some(groups);
    }
    let scores =
        run(py, n_threads, array.len(), |context| scoring::score(own, &reference, &mean, beside, context))?;
    Ok((
        scores.conformity.into_pyarray(py),
        scores.cosine_to_mean.into_pyarray(py),
        scores.norm.into_pyarray(py),
        codes(py, scores.status),
        scores.partner.map(|found| (found.cosine.into_pyarray(py), codes(py, found.partner_status))),
        scores.group_conformity.map(|found| found.into_pyarray(py)),
    ))
}

/// `(conformity, status)` of each row.
#[pyfunction]
#[pyo3(signature = (array, dtype, count, unit_mean, member, n_threads))]
pub fn conformity<'py>(
    py: Python<'py>,
    array: &Bound<'py, PyUntypedArray>,
    dtype: &str,
    count: u64,
    unit_mean: PyReadonlyArray1<'py, f64>,
    member: bool,
    n_threads: Option<usize>,
) -> PyResult<(Vector<'py>, Codes<'py>)> {
    // SAFETY: `array` is borrowed for the whole call.
    let rows = unsafe { rows(array, dtype)? };
    let reference = Reference { count, unit_mean: unit_mean.as_array().to_vec(), member };
    let (values, status) =
        run(py, n_threads, array.len(), |context| scoring::conformity(rows, &reference, context))?;
    Ok((values.into_pyarray(py), codes(py, status)))
}

/// `(conformity, status)` of each row, from all pairs.
#[pyfunction]
#[pyo3(signature = (array, dtype, skip_invalid, n_threads))]
pub fn pairwise_conformity<'py>(
    py: Python<'py>,
    array: &Bound<'py, PyUntypedArray>,
    dtype: &str,
    skip_invalid: bool,
    n_threads: Option<usize>,
) -> PyResult<(Vector<'py>, Codes<'py>)> {
    // SAFETY: `array` is borrowed for the whole call.
    let rows = unsafe { rows(array, dtype)? };
    let cost = array.len().saturating_mul(rows.count());
    let on_invalid = policy(skip_invalid);
    let (values, status) =
        run(py, n_threads, cost, |context| pairwise::pairwise_conformity(rows, on_invalid, context))?;
    Ok((values.into_pyarray(py), codes(py, status)))
}

/// `(dominance, null)` of each feature.
#[pyfunction]
pub fn off_diagonal_dominance<'py>(
    py: Python<'py>,
    covariance: PyReadonlyArray2<'py, f64>,
    count: u64,
) -> PyResult<(Vector<'py>, Vector<'py>)> {
    let covariance = covariance.as_array();
    let (found, dim) = covariance.dim();
    if found != dim {
        return Err(to_python(py, Error::Dimension { what: "covariance", found, expected: dim }));
    }
    let elements: Vec<f64> = covariance.iter().copied().collect();
    let (odd, null) = dominance::off_diagonal_dominance(&elements, dim, count);
    Ok((odd.into_pyarray(py), null.into_pyarray(py)))
}

/// `(|x - m|, status)` of each row.
#[pyfunction]
#[pyo3(signature = (array, dtype, mean, n_threads))]
pub fn distances<'py>(
    py: Python<'py>,
    array: &Bound<'py, PyUntypedArray>,
    dtype: &str,
    mean: PyReadonlyArray1<'py, f64>,
    n_threads: Option<usize>,
) -> PyResult<(Vector<'py>, Codes<'py>)> {
    // SAFETY: `array` is borrowed for the whole call.
    let rows = unsafe { rows(array, dtype)? };
    let mean = mean.as_array().to_vec();
    let (values, status) = run(py, n_threads, array.len(), |context| shell::distances(rows, &mean, context))?;
    Ok((values.into_pyarray(py), codes(py, status)))
}

/// Statistics of distances from a mean. Those that are NaN are passed over.
#[pyclass(module = "clipsoid._native")]
pub struct Shell(Stats);

#[pymethods]
impl Shell {
    #[new]
    fn new() -> Self {
        Shell(Stats::default())
    }

    fn update(&mut self, radii: PyReadonlyArray1<'_, f64>) {
        // One by one: the result does not depend on how rows were cut into batches.
        radii.as_array().iter().filter(|radius| !radius.is_nan()).for_each(|&radius| self.0.push(radius));
    }

    /// `(count, mean, variance, min, max)`.
    fn result(&self) -> (u64, f64, f64, f64, f64) {
        (self.0.count, self.0.mean, self.0.variance(), self.0.min, self.0.max)
    }
}

/// Least squares in both directions. Pairs with a NaN are passed over.
#[pyclass(module = "clipsoid._native")]
pub struct Regression(regression::Regression);

#[pymethods]
impl Regression {
    #[new]
    fn new() -> Self {
        Regression(regression::Regression::default())
    }

    fn update(&mut self, x: PyReadonlyArray1<'_, f64>, y: PyReadonlyArray1<'_, f64>) {
        for (&x, &y) in x.as_array().iter().zip(y.as_array()) {
            if !x.is_nan() && !y.is_nan() {
                self.0.push(x, y);
            }
        }
    }

    /// `(count, slope, intercept, inverse_slope, inverse_intercept, pearson)`.
    fn result(&self) -> (u64, f64, f64, f64, f64, f64) {
        let line = self.0.line();
        let (slope, intercept) = (line.slope, line.intercept);
        (self.0.count, slope, intercept, line.inverse_slope, line.inverse_intercept, line.pearson)
    }
}
