//! Rows beside other rows: partners and groups.

use super::array::rows;
use super::errors::internal;
use super::rows::{Codes, Vector, codes, policy};
use super::run::run;
use crate::linear::cosines as pairwise;
use crate::linear::group_scores::Grouped;
use crate::linear::groups;
use crate::linear::stats::Stats;
use crate::linear::sums::Invalid;
use numpy::{
    IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// `(cosine, status, partner_status)` of each row and its partner.
#[pyfunction]
#[pyo3(signature = (array, dtype, partner, partner_dtype, n_threads))]
pub fn cosines<'py>(
    py: Python<'py>,
    array: &Bound<'py, PyUntypedArray>,
    dtype: &str,
    partner: &Bound<'py, PyUntypedArray>,
    partner_dtype: &str,
    n_threads: Option<usize>,
) -> PyResult<(Vector<'py>, Codes<'py>, Codes<'py>)> {
    // SAFETY: both arrays are borrowed for the whole call.
    let (x, y) = unsafe { (rows(array, dtype)?, rows(partner, partner_dtype)?) };
    check_counts(x.count(), "partners", y.count())?;
    let cost = array.len().saturating_add(partner.len());
    let found = run(py, n_threads, cost, |context| pairwise::cosines(x, y, context))?;
    Ok((found.cosine.into_pyarray(py), codes(py, found.status), codes(py, found.partner_status)))
}

/// An error unless each row has one of `what`.
pub fn check_counts(rows: usize, what: &str, found: usize) -> PyResult<()> {
    if rows == found { Ok(()) } else { Err(internal(format!("{rows} rows have {found} {what}"))) }
}

/// The groups that rows are scored against, as they come from Python.
#[derive(FromPyObject)]
pub struct Groups<'py>(
    PyReadonlyArray1<'py, u32>,
    PyReadonlyArray1<'py, u64>,
    PyReadonlyArray2<'py, f64>,
    bool,
);

impl Groups<'_> {
    /// The same for the core.
    pub fn grouped(&self) -> PyResult<Grouped<'_>> {
        let Groups(group, count, unit_sum, member) = self;
        let shape = unit_sum.as_array().dim();
        check_counts(shape.0, "counts", count.len())?;
        Ok(Grouped {
            group: group.as_slice()?,
            count: count.as_slice()?,
            unit_sum: unit_sum.as_slice()?,
            member: *member,
        })
    }
}

/// Moments of many groups of rows, in one pass. See `linear::groups` in the Rust sources.
#[pyclass(module = "clipsoid._native")]
pub struct GroupMoments {
    groups: groups::Groups,
    count: usize,
    dim: usize,
}

#[pymethods]
impl GroupMoments {
    #[new]
    fn new(count: usize, dim: usize) -> Self {
        let dim = dim.max(1);
        GroupMoments { groups: groups::Groups::new(count, dim), count, dim }
    }

    /// Goes on from what `state` gave, to the bit.
    #[staticmethod]
    #[pyo3(signature = (*, mean, squares, unit_sum, count, norms, seen, non_finite, zero_norm))]
    #[allow(clippy::too_many_arguments)]
    fn restore(
        mean: PyReadonlyArray2<'_, f64>,
        squares: PyReadonlyArray2<'_, f64>,
        unit_sum: PyReadonlyArray2<'_, f64>,
        count: PyReadonlyArray1<'_, u64>,
        norms: PyReadonlyArray2<'_, f64>,
        seen: u64,
        non_finite: u64,
        zero_norm: u64,
    ) -> PyResult<Self> {
        let (groups, dim) = mean.as_array().dim();
        let shapes = [squares.as_array().dim(), unit_sum.as_array().dim(), norms.as_array().dim()];
        if dim == 0
            || shapes != [(groups, dim), (groups, dim), (groups, 4)]
            || count.as_array().len() != groups
        {
            return Err(internal(format!(
                "sums of {groups} groups of {dim} features, and others: {shapes:?}"
            )));
        }
        let (count, numbers) = (count.as_array(), norms.as_array());
        let norms = count.iter().zip(numbers.rows()).map(|(&count, row)| Stats {
            count,
            mean: row[0],
            squares: row[1],
            min: row[2],
            max: row[3],
        });
        let sums = groups::GroupSums {
            mean: mean.as_slice()?.to_vec(),
            squares: squares.as_slice()?.to_vec(),
            unit_sum: unit_sum.as_slice()?.to_vec(),
        };
        let invalid = Invalid { non_finite, zero_norm };
        let restored = groups::Groups::resume(dim, &sums, norms.collect(), seen, invalid);
        Ok(GroupMoments { groups: restored, count: groups, dim })
    }

    #[getter]
    fn seen(&self) -> u64 {
        self.groups.seen()
    }

    #[pyo3(signature = (array, dtype, group, skip_invalid, n_threads))]
    fn update(
        &mut self,
        py: Python<'_>,
        array: &Bound<'_, PyUntypedArray>,
        dtype: &str,
        group: PyReadonlyArray1<'_, u32>,
        skip_invalid: bool,
        n_threads: Option<usize>,
    ) -> PyResult<()> {
        // SAFETY: `array` is borrowed for the whole call.
        let rows = unsafe { rows(array, dtype)? };
        let group = group.as_array().to_vec();
        check_counts(rows.count(), "groups", group.len())?;
        if let Some(found) = group.iter().find(|&&group| group as usize >= self.count) {
            return Err(internal(format!("group {found} of {}", self.count)));
        }
        let on_invalid = policy(skip_invalid);
        run(py, n_threads, array.len(), |context| self.groups.update(rows, &group, on_invalid, context))
    }

    /// The sums by name, as arrays of one row per group.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let state = PyDict::new(py);
        let sums = self.groups.sums();
        for (name, values) in [("mean", sums.mean), ("squares", sums.squares), ("unit_sum", sums.unit_sum)] {
            let matrix = numpy::ndarray::Array2::from_shape_vec((self.count, self.dim), values)
                .map_err(|error| internal(error.to_string()))?;
            state.set_item(name, matrix.into_pyarray(py))?;
        }
        let norms = self.groups.norms();
        state.set_item("count", PyArray1::from_iter(py, norms.iter().map(|norms| norms.count)))?;
        let numbers = norms.iter().flat_map(|norms| [norms.mean, norms.squares, norms.min, norms.max]);
        let matrix = numpy::ndarray::Array2::from_shape_vec((self.count, 4), numbers.collect())
            .map_err(|error| internal(error.to_string()))?;
        state.set_item("norms", matrix.into_pyarray(py))?;
        state.set_item("seen", self.groups.seen())?;
        state.set_item("non_finite", self.groups.invalid().non_finite)?;
        state.set_item("zero_norm", self.groups.invalid().zero_norm)?;
        Ok(state)
    }
}
