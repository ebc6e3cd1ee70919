//! A borrowed matrix of rows, of any layout, read through raw pointers.
//!
//! Callers such as numpy cannot promise that nobody writes to the memory during a call. Rows are
//! therefore never turned into a `&[E]`: elements are loaded through raw pointers, and nothing that
//! decides on memory safety depends on their values. A concurrent writer makes the result
//! meaningless, not the program unsound.

use crate::element::Element;
use half::{bf16, f16};
use std::marker::PhantomData;
use std::ops::Range;

/// `count` rows of `dim` elements, at any stride and in either byte order.
#[derive(Clone, Copy)]
pub struct Rows<'a, E> {
    first: *const E,
    count: usize,
    dim: usize,
    /// In elements; negative for a reversed view.
    row_stride: isize,
    column_stride: isize,
    swapped: bool,
    borrow: PhantomData<&'a [E]>,
}

// SAFETY: a Rows is a shared borrow of plain numbers.
unsafe impl<E: Element> Send for Rows<'_, E> {}
// SAFETY: as above.
unsafe impl<E: Element> Sync for Rows<'_, E> {}

impl<'a, E: Element> Rows<'a, E> {
    /// Contiguous rows; `elements.len()` must be a multiple of `dim`.
    ///
    /// # Panics
    /// If it is not, or if `dim` is zero.
    pub fn new(elements: &'a [E], dim: usize) -> Self {
        assert!(
            dim > 0 && elements.len().is_multiple_of(dim),
            "{} elements are no rows of {dim}",
            elements.len()
        );
        let count = elements.len() / dim;
        // SAFETY: the slice holds `count` contiguous rows for 'a.
        unsafe { Rows::from_raw(elements.as_ptr(), count, dim, dim as isize, 1, false) }
    }

    /// Rows at `first + i * row_stride + k * column_stride` elements, of foreign endianness if
    /// `swapped`. `first` need not be aligned.
    ///
    /// # Safety
    /// Every such element is readable for `'a`.
    pub unsafe fn from_raw(
        first: *const E,
        count: usize,
        dim: usize,
        row_stride: isize,
        column_stride: isize,
        swapped: bool,
    ) -> Self {
        Rows { first, count, dim, row_stride, column_stride, swapped, borrow: PhantomData }
    }

    /// Number of rows.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Number of elements of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The rows of a range.
    ///
    /// # Panics
    /// If it is out of bounds.
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.count, "{range:?} of {} rows", self.count);
        let first = self.first.wrapping_offset(range.start as isize * self.row_stride);
        Rows { first, count: range.len(), ..*self }
    }

    /// A range of the elements of every row.
    ///
    /// # Panics
    /// If it is out of bounds.
    pub fn columns(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.dim, "{range:?} of {} columns", self.dim);
        let first = self.first.wrapping_offset(range.start as isize * self.column_stride);
        Rows { first, dim: range.len(), ..*self }
    }

    /// True when every row can be read where it lies.
    pub fn in_place(&self) -> bool {
        (self.column_stride == 1 || self.dim == 1) && !self.swapped
    }

    /// Element `k` of row `i`.
    ///
    /// # Panics
    /// If it is out of bounds.
    #[inline(always)]
    pub fn get(&self, i: usize, k: usize) -> E {
        assert!(i < self.count && k < self.dim);
        let offset = i as isize * self.row_stride + k as isize * self.column_stride;
        // SAFETY: within bounds, so readable by the contract of `from_raw`.
        let x = unsafe { self.first.offset(offset).read_unaligned() };
        if self.swapped { x.swap_bytes() } else { x }
    }

    /// Row `i` where it lies, or gathered into `scratch`: readable for `dim` elements until
    /// `scratch` is used again.
    ///
    /// # Panics
    /// If `i` is out of bounds or `scratch` is shorter than a row.
    #[inline(always)]
    pub fn row(&self, i: usize, scratch: &mut [E]) -> *const E {
        if self.in_place() {
            assert!(i < self.count);
            return self.first.wrapping_offset(i as isize * self.row_stride);
        }
        for (k, slot) in scratch[..self.dim].iter_mut().enumerate() {
            *slot = self.get(i, k);
        }
        scratch.as_ptr()
    }

    /// A scratch for `rows` rows, empty when rows are read in place.
    pub fn scratch(&self, rows: usize) -> Vec<E> {
        if self.in_place() { Vec::new() } else { vec![E::default(); rows * self.dim] }
    }

    /// Rows of these numbers, as [`Rows::row`] gives them.
    #[inline(always)]
    pub fn group<const R: usize>(&self, rows: [usize; R], scratch: &mut [E]) -> [*const E; R] {
        let mut pointers = [std::ptr::null(); R];
        let stride = if scratch.is_empty() { 0 } else { self.dim };
        for r in 0..R {
            pointers[r] = self.row(rows[r], &mut scratch[r * stride..]);
        }
        pointers
    }

    /// Appends the rows to `buffer`, contiguous and in native order.
    pub fn copy_to(&self, buffer: &mut Vec<E>) {
        buffer.reserve(self.count * self.dim);
        for i in 0..self.count {
            buffer.extend((0..self.dim).map(|k| self.get(i, k)));
        }
    }
}

/// Rows of one of the four element types.
#[derive(Clone, Copy)]
pub enum AnyRows<'a> {
    /// float16
    F16(Rows<'a, f16>),
    /// bfloat16
    Bf16(Rows<'a, bf16>),
    /// float32
    F32(Rows<'a, f32>),
    /// float64
    F64(Rows<'a, f64>),
}

/// Evaluates an expression, generic over the element type, for whichever type the rows have.
#[macro_export]
macro_rules! with_rows {
    ($any:expr, $rows:ident => $body:expr) => {
        match $any {
            $crate::rows::AnyRows::F16($rows) => $body,
            $crate::rows::AnyRows::Bf16($rows) => $body,
            $crate::rows::AnyRows::F32($rows) => $body,
            $crate::rows::AnyRows::F64($rows) => $body,
        }
    };
}

impl AnyRows<'_> {
    /// Number of rows.
    pub fn count(&self) -> usize {
        with_rows!(self, rows => rows.count())
    }

    /// Number of elements of a row.
    pub fn dim(&self) -> usize {
        with_rows!(self, rows => rows.dim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_reversal_and_byte_order_give_the_same_rows() {
        let plain: Vec<f32> = (0..12).map(|i| i as f32 + 0.5).collect();
        let want = Rows::new(&plain, 4);
        let fortran: Vec<f32> = (0..4).flat_map(|k| (0..3).map(move |i| (i * 4 + k) as f32 + 0.5)).collect();
        let foreign: Vec<f32> = plain.iter().map(|x| x.swap_bytes()).collect();
        // SAFETY: three rows of four elements in each buffer, at these strides.
        let views = unsafe {
            [
                Rows::from_raw(fortran.as_ptr(), 3, 4, 1, 3, false),
                Rows::from_raw(foreign.as_ptr(), 3, 4, 4, 1, true),
            ]
        };
        for view in views {
            assert!(!view.in_place());
            let mut copy = Vec::new();
            view.copy_to(&mut copy);
            assert_eq!(copy, plain);
            let mut scratch = view.scratch(2);
            for pointer in view.group([1, 2], &mut scratch) {
                assert!(!pointer.is_null());
            }
            assert_eq!(scratch, plain[4..12]);
            let part = view.columns(1..3);
            assert_eq!((part.dim(), part.get(2, 0), part.get(0, 1)), (2, 9.5, 2.5));
        }
        // SAFETY: walks the same twelve elements from the last row to the first.
        let reversed = unsafe { Rows::from_raw(plain.as_ptr().add(8), 3, 4, -4, 1, false) };
        assert_eq!(reversed.get(2, 1), want.get(0, 1));
        assert_eq!(reversed.slice(1..3).get(0, 0), 4.5);
    }
}
