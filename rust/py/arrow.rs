//! Arrow columns by the C data interface: no Arrow library is needed on either side.
//!
//! A column of embeddings is a list or a fixed-size list of floats. Its values are handed out as
//! numpy arrays that share the producer's memory and keep it alive.
//! <https://arrow.apache.org/docs/format/CDataInterface.html>

use numpy::{IntoPyArray, PyArray1, ndarray::ArrayView1};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

#[repr(C)]
struct ArrowSchema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut ArrowSchema,
    dictionary: *mut ArrowSchema,
    release: Option<unsafe extern "C" fn(*mut ArrowSchema)>,
    private_data: *mut c_void,
}

#[repr(C)]
struct ArrowArray {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *mut *const c_void,
    children: *mut *mut ArrowArray,
    dictionary: *mut ArrowArray,
    release: Option<unsafe extern "C" fn(*mut ArrowArray)>,
    private_data: *mut c_void,
}

#[repr(C)]
struct ArrowArrayStream {
    get_schema: Option<unsafe extern "C" fn(*mut ArrowArrayStream, *mut ArrowSchema) -> c_int>,
    get_next: Option<unsafe extern "C" fn(*mut ArrowArrayStream, *mut ArrowArray) -> c_int>,
    get_last_error: Option<unsafe extern "C" fn(*mut ArrowArrayStream) -> *const c_char>,
    release: Option<unsafe extern "C" fn(*mut ArrowArrayStream)>,
    private_data: *mut c_void,
}

/// A structure of the interface, released when dropped.
struct Owned<T: Releasable>(T);

trait Releasable {
    /// The structure in its released state.
    fn empty() -> Self;
    /// Whether it has been released, or moved elsewhere.
    fn is_released(&self) -> bool;
    /// Calls the producer's release, once.
    fn release(&mut self);
}

macro_rules! releasable {
    ($type:ident) => {
        impl Releasable for $type {
            fn empty() -> Self {
                // SAFETY: all-zero is a valid bit pattern: null pointers, zero counts, no release.
                unsafe { std::mem::zeroed() }
            }
            fn is_released(&self) -> bool {
                self.release.is_none()
            }
            fn release(&mut self) {
                if let Some(release) = self.release {
                    // SAFETY: a release that is present has not been called; it clears itself.
                    unsafe { release(self) };
                }
            }
        }
    };
}
releasable!(ArrowSchema);
releasable!(ArrowArray);
releasable!(ArrowArrayStream);

impl<T: Releasable> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl<T: Releasable> Owned<T> {
    /// Moves the structure out of a capsule, which is left released, as the interface asks.
    fn take(capsule: &Bound<'_, PyAny>, name: &'static CStr) -> PyResult<Self> {
        let capsule = capsule.cast::<PyCapsule>()?;
        let pointer = capsule.pointer_checked(Some(name))?.cast::<T>();
        // SAFETY: a capsule of this name holds a structure of this type.
        let taken = Owned(unsafe { ptr::replace(pointer.as_ptr(), T::empty()) });
        if taken.0.is_released() {
            return Err(PyValueError::new_err("the Arrow data have been handed out before"));
        }
        Ok(taken)
    }
}

/// Keeps the producer's memory alive under a numpy array.
#[pyclass(frozen)]
struct ArrowMemory {
    _array: Owned<ArrowArray>,
}

// SAFETY: the interface allows a structure to be used and released on any thread.
unsafe impl Send for ArrowMemory {}
// SAFETY: nothing is ever done with the shared structure but releasing it.
unsafe impl Sync for ArrowMemory {}

/// One chunk: `(values, first, valid)`. `values` are the bytes of all elements; row `i` starts at
/// element `first[i]`; rows with `valid[i]` false are null. `valid` is None when none is.
type Chunk<'py> = (Bound<'py, PyArray1<u8>>, Bound<'py, PyArray1<i64>>, Option<Bound<'py, PyArray1<bool>>>);

/// The column's element type, its number of features (-1 when it has no row) and its chunks.
///
/// Raises TypeError when the object is no column of float lists, ValueError when its lists differ in
/// length or hold nulls.
#[pyfunction]
pub fn arrow_column<'py>(column: &Bound<'py, PyAny>) -> PyResult<(&'static str, i64, Vec<Chunk<'py>>)> {
    let (schema, arrays) = import(column)?;
    let (list, dtype) = layout(&schema.0)?;
    let mut dim = if let List::Fixed(width) = list { width } else { -1 };
    let mut chunks = Vec::new();
    let mut row = 0;
    for array in arrays {
        let rows = array.0.length;
        chunks.push(chunk(column.py(), array, list, dtype, &mut dim, row)?);
        row += rows;
    }
    Ok((dtype, dim, chunks))
}

fn import(column: &Bound<'_, PyAny>) -> PyResult<(Owned<ArrowSchema>, Vec<Owned<ArrowArray>>)> {
    if !column.hasattr("__arrow_c_stream__")? {
        let (schema, array): (Bound<'_, PyAny>, Bound<'_, PyAny>) =
            column.call_method0("__arrow_c_array__")?.extract()?;
        return Ok((Owned::take(&schema, c"arrow_schema")?, vec![Owned::take(&array, c"arrow_array")?]));
    }
    let capsule = column.call_method0("__arrow_c_stream__")?;
    let mut stream: Owned<ArrowArrayStream> = Owned::take(&capsule, c"arrow_array_stream")?;
    let (Some(get_schema), Some(get_next)) = (stream.0.get_schema, stream.0.get_next) else {
        return Err(PyValueError::new_err("the Arrow stream has been read before"));
    };
    let mut schema = Owned(ArrowSchema::empty());
    // SAFETY: the stream has not been released; the schema is ours to fill.
    let code = unsafe { get_schema(&mut stream.0, &mut schema.0) };
    succeeded(&mut stream.0, code)?;
    let mut arrays = Vec::new();
    loop {
        let mut array = Owned(ArrowArray::empty());
        // SAFETY: as above.
        let code = unsafe { get_next(&mut stream.0, &mut array.0) };
        succeeded(&mut stream.0, code)?;
        // A released array marks the end.
        if array.0.release.is_none() {
            return Ok((schema, arrays));
        }
        arrays.push(array);
    }
}

fn succeeded(stream: &mut ArrowArrayStream, code: c_int) -> PyResult<()> {
    if code == 0 {
        return Ok(());
    }
    let text = stream.get_last_error.and_then(|get| {
        // SAFETY: the stream has not been released; the text is null or valid until its next call.
        unsafe { get(stream).as_ref().map(|text| CStr::from_ptr(text).to_string_lossy().into_owned()) }
    });
    Err(PyValueError::new_err(format!("the Arrow stream failed ({code}): {}", text.unwrap_or_default())))
}

#[derive(Clone, Copy)]
enum List {
    Fixed(i64),
    Offsets32,
    Offsets64,
}

/// A type as people call it; <https://arrow.apache.org/docs/format/CDataInterface.html#data-type-description-format-strings>.
fn readable(format: &str) -> &str {
    const NAMES: [(&str, &str); 23] = [
        ("n", "nulls"),
        ("b", "booleans"),
        ("c", "int8"),
        ("C", "uint8"),
        ("s", "int16"),
        ("S", "uint16"),
        ("i", "int32"),
        ("I", "uint32"),
        ("l", "int64"),
        ("L", "uint64"),
        ("e", "float16"),
        ("f", "float32"),
        ("g", "float64"),
        ("u", "strings"),
        ("U", "strings"),
        ("vu", "strings"),
        ("z", "binary"),
        ("Z", "binary"),
        ("+l", "lists"),
        ("+L", "lists"),
        ("+vl", "list views"),
        ("+vL", "list views"),
        ("+s", "structs"),
    ];
    let known = NAMES.iter().find(|(code, _)| *code == format);
    if format.starts_with("+w:") { "fixed-size lists" } else { known.map_or(format, |(_, name)| name) }
}

fn layout(schema: &ArrowSchema) -> PyResult<(List, &'static str)> {
    // SAFETY: a schema in use has a null-terminated format.
    let format =
        |schema: &ArrowSchema| unsafe { CStr::from_ptr(schema.format) }.to_string_lossy().into_owned();
    let outer = format(schema);
    let wanted = "wanted a list or fixed-size list of float16, float32 or float64";
    let list = match outer.as_str() {
        "+l" => List::Offsets32,
        "+L" => List::Offsets64,
        "+s" => return Err(PyTypeError::new_err("found a table; wanted one of its columns")),
        other => match other.strip_prefix("+w:").and_then(|width| width.parse().ok()) {
            Some(width) => List::Fixed(width),
            None => return Err(PyTypeError::new_err(format!("found Arrow type '{outer}'; wanted {wanted}"))),
        },
    };
    // SAFETY: each of these list types has one child.
    let inner = format(unsafe { &**schema.children });
    match inner.as_str() {
        "e" => Ok((list, "float16")),
        "f" => Ok((list, "float32")),
        "g" => Ok((list, "float64")),
        _ => Err(PyTypeError::new_err(format!("found lists of {}; {wanted}", readable(&inner)))),
    }
}

/// Offset `i` of a list array.
///
/// # Safety
/// The array's second buffer covers it; it need not be aligned.
unsafe fn list_offset<T: Copy + Into<i64>>(array: &ArrowArray, i: i64) -> i64 {
    // SAFETY: the caller vouches for the buffer.
    unsafe { (*array.buffers.add(1)).cast::<T>().add(i as usize).read_unaligned() }.into()
}

/// Bits `offset..offset + length` of a validity bitmap; None when it says that all are valid.
///
/// # Safety
/// `array` is a live Arrow array.
unsafe fn validity(array: &ArrowArray, offset: i64, length: i64) -> Option<Vec<bool>> {
    // SAFETY: every array here has a validity buffer, which may be null.
    let bitmap = unsafe { *array.buffers }.cast::<u8>();
    if array.null_count == 0 || bitmap.is_null() {
        return None;
    }
    // SAFETY: the bitmap covers offset + length bits.
    let bit = |i: i64| unsafe { *bitmap.add((i / 8) as usize) } >> (i % 8) & 1 == 1;
    let bits: Vec<bool> = (offset..offset + length).map(bit).collect();
    if bits.iter().all(|&valid| valid) { None } else { Some(bits) }
}

fn chunk<'py>(
    py: Python<'py>,
    array: Owned<ArrowArray>,
    list: List,
    dtype: &str,
    dim: &mut i64,
    row: i64,
) -> PyResult<Chunk<'py>> {
    let (length, offset) = (array.0.length, array.0.offset);
    // SAFETY: a live list array with one child; its buffers cover offset + length rows.
    let (valid, starts, child) = unsafe {
        let starts: Vec<i64> = match list {
            // An array without rows may have no offsets at all.
            _ if length == 0 => vec![0],
            List::Fixed(width) => (offset..=offset + length).map(|i| i * width).collect(),
            List::Offsets32 => (offset..=offset + length).map(|i| list_offset::<i32>(&array.0, i)).collect(),
            List::Offsets64 => (offset..=offset + length).map(|i| list_offset::<i64>(&array.0, i)).collect(),
        };
        (validity(&array.0, offset, length), starts, &**array.0.children)
    };
    let is_valid = |i: usize| valid.as_ref().is_none_or(|bits| bits[i]);
    for i in (0..length as usize).filter(|&i| is_valid(i)) {
        let found = starts[i + 1] - starts[i];
        if *dim < 0 {
            *dim = found;
        }
        if found != *dim {
            return Err(PyValueError::new_err(format!(
                "row {} has {found} elements, the rows before it {dim}",
                row + i as i64
            )));
        }
        // SAFETY: the child covers the elements of every row.
        if let Some(bits) = unsafe { validity(child, child.offset + starts[i], found) } {
            let k = bits.iter().position(|&valid| !valid).unwrap_or(0);
            return Err(PyValueError::new_err(format!("row {}: element {k} is null", row + i as i64)));
        }
    }
    // SAFETY: the child's values start at its own offset and cover `child.length` elements; the
    // memory lives as long as `array`, which the numpy array keeps.
    let values = unsafe {
        let (data, count) = ((*child.buffers.add(1)).cast::<u8>(), child.length as usize);
        let first = child.offset as usize;
        let size = if dtype == "float16" {
            2
        } else if dtype == "float32" {
            4
        } else {
            8
        };
        let memory = Bound::new(py, ArrowMemory { _array: array })?.into_any();
        share(data, first * size, count * size, memory)
    };
    let first = starts[..length as usize].to_vec().into_pyarray(py);
    Ok((values, first, valid.map(|bits| bits.into_pyarray(py))))
}

/// A numpy view of the bytes of an Arrow buffer, which need not be aligned for their type.
///
/// # Safety
/// `data` has `count` bytes from `first` on, for as long as `memory` lives.
unsafe fn share<'py>(
    data: *const u8,
    first: usize,
    count: usize,
    memory: Bound<'py, PyAny>,
) -> Bound<'py, PyArray1<u8>> {
    if data.is_null() || count == 0 {
        return PyArray1::from_vec(memory.py(), Vec::new());
    }
    // SAFETY: the caller vouches for the bytes.
    unsafe { PyArray1::borrow_from_array(&ArrayView1::from_shape_ptr(count, data.add(first)), memory) }
}
