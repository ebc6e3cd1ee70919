//! Core errors as the exceptions of `clipsoid.errors`.

use crate::error::{Error, Side, Status};
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError};
use pyo3::prelude::*;

/// The exception for a core error.
pub fn to_python(py: Python<'_>, error: Error) -> PyErr {
    let class = match error {
        Error::InvalidRow { .. }
        | Error::InvalidRowOf { .. }
        | Error::Vanishes { .. }
        | Error::OutOfRange { .. } => "InvalidRowError",
        Error::ElementType { .. } => "DTypeError",
        Error::Dimension { .. } => "MismatchError",
        Error::TooFewRows { .. } => "ShapeError",
        Error::SimdLevel { .. } => "UnavailableError",
        Error::Interrupted => return PyKeyboardInterrupt::new_err(()),
    };
    exception(py, class, &error).unwrap_or_else(|error| error)
}

fn exception(py: Python<'_>, class: &str, error: &Error) -> PyResult<PyErr> {
    let value = py.import("clipsoid.errors")?.getattr(class)?.call1((error.to_string(),))?;
    if let Error::InvalidRow { row, status } = error {
        value.setattr("row", row)?;
        value.setattr("status", status_name(*status))?;
    }
    if let Error::InvalidRowOf { set, row, status } = error {
        value.setattr("_argument", set)?;
        value.setattr("row", row)?;
        value.setattr("status", status_name(*status))?;
    }
    if let Error::Vanishes { side, row, .. } | Error::OutOfRange { side, row, .. } = error {
        let vanishes = matches!(error, Error::Vanishes { .. });
        value.setattr("row", row)?;
        value.setattr("status", if vanishes { "vanishes" } else { "non_finite" })?;
        value.setattr("side", if *side == Side::Left { "left" } else { "right" })?;
    }
    Ok(PyErr::from_value(value))
}

/// The name that score files use.
pub fn status_name(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::NonFinite => "non_finite",
        Status::ZeroNorm => "zero_norm",
    }
}

/// An argument that the Python layer should never have passed.
pub fn internal(message: String) -> PyErr {
    PyRuntimeError::new_err(format!("clipsoid internal error: {message}"))
}
