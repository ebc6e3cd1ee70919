//! Vectors of numbers that start on a cache line.
//!
//! An AVX-512 register is a cache line wide: from a vector that starts anywhere else, as the
//! allocator gives it, every load and store touches two lines and takes twice as long.

use crate::element::Real;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u64; 8]);

/// A vector of float32 or float64, aligned to 64 bytes.
#[derive(Clone, Debug)]
pub struct Aligned<T> {
    lines: Vec<Line>,
    length: usize,
    element: PhantomData<T>,
}

impl<T> Default for Aligned<T> {
    fn default() -> Self {
        Aligned { lines: Vec::new(), length: 0, element: PhantomData }
    }
}

impl<T: Real> Aligned<T> {
    /// `length` zeros.
    pub fn zeros(length: usize) -> Self {
        let mut zeros = Aligned::default();
        zeros.reshape(length);
        zeros
    }

    /// Makes it `length` long; what it held is kept or not, what is new is zero.
    pub fn reshape(&mut self, length: usize) {
        // Zero bits are the number zero.
        self.lines.resize((length * size_of::<T>()).div_ceil(size_of::<Line>()), Line([0; 8]));
        self.length = length;
    }
}

impl<T: Real> From<&[T]> for Aligned<T> {
    fn from(elements: &[T]) -> Self {
        let mut copy = Aligned::zeros(elements.len());
        copy.copy_from_slice(elements);
        copy
    }
}

impl<T: Real> Deref for Aligned<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: the lines are initialised, without padding, and hold `length` elements or more; any
        // bits are a number.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }
}

impl<T: Real> DerefMut for Aligned<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}
