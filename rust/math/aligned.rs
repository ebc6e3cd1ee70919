//! Vectors of float64 that start on a cache line.
//!
//! An AVX-512 register is a cache line wide: from a vector that starts anywhere else, as the
//! allocator gives it, every load and store touches two lines and takes twice as long.

use std::ops::{Deref, DerefMut};

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
struct Line([f64; 8]);

/// A vector of float64, aligned to 64 bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Aligned {
    lines: Vec<Line>,
    length: usize,
}

impl Aligned {
    /// `length` zeros.
    pub fn zeros(length: usize) -> Self {
        Aligned { lines: vec![Line([0.0; 8]); length.div_ceil(8)], length }
    }
}

impl From<&[f64]> for Aligned {
    fn from(elements: &[f64]) -> Self {
        let mut copy = Aligned::zeros(elements.len());
        copy.copy_from_slice(elements);
        copy
    }
}

impl Deref for Aligned {
    type Target = [f64];
    fn deref(&self) -> &[f64] {
        // SAFETY: the lines are plain arrays without padding, `length` elements or more of them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f64] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}
