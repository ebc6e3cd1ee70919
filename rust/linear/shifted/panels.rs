//! Unit rows in float64 as left operands of the two products.

use crate::element::Element;
use crate::math::product::Panels;
use crate::pack::interleave;
use crate::rows::Rows;
use crate::simd::{Isa, Kernel};

/// Rows that are packed side by side: those of the widest register tile.
pub(super) const TOGETHER: usize = 16;

/// Elements of a row that are packed at a time: a panel's rows then stay in L1 until they are turned.
const STRIP: usize = 64;

/// Packs unit rows as a left operand whose vectors are the features.
pub(super) struct PackFeatures<'a, E> {
    pub rows: Rows<'a, E>,
    pub inverse: &'a [f64],
    pub scratch: &'a mut [E],
    pub left: &'a mut Panels<f64>,
    pub width: usize,
}

impl<E: Element> Kernel for PackFeatures<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let PackFeatures { rows, inverse, scratch, left, width } = self;
        let dim = rows.dim();
        left.reshape(dim, rows.count(), width);
        for first in (0..rows.count()).step_by(TOGETHER) {
            let sources = together(&rows, first, scratch);
            // Panels lie pages apart: several rows at a time go into each.
            for p in 0..left.count() {
                let (k, panel) = (p * width, left.panel_mut(p));
                for (r, source) in sources.iter().enumerate().take(rows.count() - first) {
                    let place = &mut panel[(first + r) * width..][..width];
                    let (filled, rest) = place.split_at_mut(width.min(dim - k));
                    // SAFETY: a source gives `dim` readable elements, and this runs under `I`.
                    unsafe { unit_elements(isa, source.add(k), inverse[first + r], filled) };
                    rest.fill(0.0);
                }
            }
        }
    }
}

/// Packs unit rows as a left operand whose vectors are the rows.
pub(super) struct PackRows<'a, E> {
    pub rows: Rows<'a, E>,
    pub inverse: &'a [f64],
    pub scratch: &'a mut [E],
    pub wide: &'a mut Vec<f64>,
    pub left: &'a mut Panels<f64>,
    pub width: usize,
}

impl<E: Element> Kernel for PackRows<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let PackRows { rows, inverse, scratch, wide, left, width } = self;
        let (dim, count) = (rows.dim(), rows.count());
        left.reshape(count, dim, width);
        // What an unfilled panel holds beside its rows is multiplied and never read.
        wide.resize(TOGETHER * STRIP, 0.0);
        for p in 0..left.count() {
            let first = p * width;
            let sources = together(&rows, first, scratch);
            for k in (0..dim).step_by(STRIP) {
                let length = STRIP.min(dim - k);
                for (r, part) in wide.chunks_exact_mut(length).take(width.min(count - first)).enumerate() {
                    // SAFETY: a source gives `dim` readable elements, and this runs under `I`.
                    unsafe { unit_elements(isa, sources[r].add(k), inverse[first + r], part) };
                }
                // SAFETY: strips follow each other, and a panel is followed by a gap of a register
                // or more.
                unsafe { interleave(isa, wide, left.spilling(p).add(k * width), width, length) };
            }
        }
    }
}

/// The rows from `first` on where they lie, or in `scratch`; null beyond the last.
#[inline(always)]
fn together<E: Element>(rows: &Rows<E>, first: usize, scratch: &mut [E]) -> [*const E; TOGETHER] {
    let stride = if scratch.is_empty() { 0 } else { rows.dim() };
    let mut sources = [std::ptr::null(); TOGETHER];
    for r in 0..TOGETHER.min(rows.count() - first) {
        sources[r] = rows.row(first + r, &mut scratch[r * stride..]);
    }
    sources
}

/// Elements of a row in float64, times its inverse norm.
///
/// # Safety
/// `from` is readable for as many elements as `wide` has, and the caller runs under `I`.
#[inline(always)]
unsafe fn unit_elements<I: Isa, E: Element>(isa: I, from: *const E, inverse: f64, wide: &mut [f64]) {
    let length = wide.len();
    let body = length - length % I::LANES_F64;
    let factor = isa.splat_f64(inverse);
    for k in (0..body).step_by(I::LANES_F64) {
        // SAFETY: k + LANES_F64 <= length.
        unsafe {
            let x = isa.mul_f64(E::load_f64(isa, from.add(k)), factor);
            isa.store_f64(wide[k..].as_mut_ptr(), x);
        }
    }
    for k in body..length {
        // SAFETY: k < length.
        wide[k] = unsafe { from.add(k).read_unaligned() }.to_f64() * inverse;
    }
}
