//! numpy arrays as rows of the core, without a copy: the only place that turns a dtype into a type.

use super::errors::internal;
use crate::rows::{AnyRows, Rows};
use numpy::{PyArray2, PyArrayDescrMethods, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;

/// Borrows a 2-D array of any strides and byte order. `dtype` names the element type, because
/// bfloat16 travels as uint16.
///
/// # Safety
/// The array outlives `'a`.
pub unsafe fn rows<'a>(array: &Bound<'_, PyUntypedArray>, dtype: &str) -> PyResult<AnyRows<'a>> {
    let descr = array.dtype();
    let found = (descr.kind(), descr.itemsize());
    let (shape, strides) = (array.shape(), array.strides());
    let (&[count, dim], &[row, column]) = (shape, strides) else {
        return Err(internal(format!("expected 2 dimensions, found {}", shape.len())));
    };
    let swapped = match descr.byteorder() {
        b'>' => cfg!(target_endian = "little"),
        b'<' => cfg!(target_endian = "big"),
        _ => false,
    };
    macro_rules! borrow {
        ($variant:ident, $kind:literal, $size:literal) => {{
            if found != ($kind, $size) || row % $size != 0 || column % $size != 0 || dim == 0 {
                return Err(internal(format!(
                    "{dtype} rows cannot travel as {descr}, strides {strides:?}, {dim} columns"
                )));
            }
            // SAFETY: numpy vouches for shape, strides and byte order; the caller for the lifetime.
            let rows = unsafe {
                // Only the address is taken, so the type that is claimed here does not matter.
                let data = array.cast_unchecked::<PyArray2<u8>>().data().cast();
                Rows::from_raw(data, count, dim, row / $size, column / $size, swapped)
            };
            Ok(AnyRows::$variant(rows))
        }};
    }
    match dtype {
        "float16" => borrow!(F16, b'f', 2),
        "bfloat16" => borrow!(Bf16, b'u', 2),
        "float32" => borrow!(F32, b'f', 4),
        "float64" => borrow!(F64, b'f', 8),
        _ => Err(internal(format!("unknown element type {dtype}"))),
    }
}
