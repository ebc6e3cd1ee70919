//! `clipsoid._native`: the only files that name pyo3.
//!
//! A binding extracts, checks shapes, releases the GIL, calls the core and converts. Arrays must not
//! be written to by another thread during a call: the values would be undefined (never the memory
//! safety: see [`crate::rows`]).

mod array;
mod arrow;
mod errors;
mod features;
mod memory;
mod moments;
mod pairs;
mod retrieval;
mod rows;
mod run;
mod shifted;
mod sweep;
mod transform;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // NumPy's functions are looked up at their first use by Python code, and a Ctrl-C that lands
    // there would be a panic in the middle of a run: they are looked up now.
    numpy::npyffi::is_numpy_2(module.py());
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("BLOCK", crate::tiles::SIDE)?;
    module.add_class::<memory::Mapping>()?;
    module.add_class::<moments::Moments>()?;
    module.add_class::<rows::Shell>()?;
    module.add_class::<rows::Regression>()?;
    module.add_class::<features::FeatureHistograms>()?;
    module.add_class::<pairs::GroupMoments>()?;
    module.add_class::<sweep::Modality>()?;
    module.add_class::<sweep::LossSweep>()?;
    module.add_class::<shifted::ShiftedConformity>()?;
    module.add_function(wrap_pyfunction!(rows::score, module)?)?;
    module.add_function(wrap_pyfunction!(rows::conformity, module)?)?;
    module.add_function(wrap_pyfunction!(pairs::cosines, module)?)?;
    module.add_function(wrap_pyfunction!(rows::pairwise_conformity, module)?)?;
    module.add_function(wrap_pyfunction!(rows::off_diagonal_dominance, module)?)?;
    module.add_function(wrap_pyfunction!(rows::distances, module)?)?;
    module.add_function(wrap_pyfunction!(features::feature_ranges, module)?)?;
    module.add_function(wrap_pyfunction!(transform::affine, module)?)?;
    module.add_function(wrap_pyfunction!(transform::affine_squares, module)?)?;
    module.add_function(wrap_pyfunction!(retrieval::retrieval_counts, module)?)?;
    module.add_function(wrap_pyfunction!(retrieval::false_negatives, module)?)?;
    module.add_function(wrap_pyfunction!(retrieval::false_negatives_within, module)?)?;
    module.add_function(wrap_pyfunction!(retrieval::nearest_rows, module)?)?;
    module.add_function(wrap_pyfunction!(retrieval::similarity_histogram, module)?)?;
    module.add_function(wrap_pyfunction!(shifted::least_left, module)?)?;
    module.add_function(wrap_pyfunction!(run::simd_level, module)?)?;
    module.add_function(wrap_pyfunction!(run::simd_levels, module)?)?;
    module.add_function(wrap_pyfunction!(memory::populate, module)?)?;
    module.add_function(wrap_pyfunction!(memory::zero_fills, module)?)?;
    module.add_function(wrap_pyfunction!(arrow::arrow_column, module)?)?;
    Ok(())
}
