//! Rows on their way into the tile product: widened, scaled and packed into panels.

use crate::element::{Element, Real};
use crate::math::dots::ahead;
use crate::math::product::Panels;
use crate::rows::Rows;
use crate::simd::{Isa, Kernel};
use std::ops::Range;

/// Rows with a factor for each; a factor of zero takes a row out, whatever it holds.
#[derive(Clone, Copy)]
pub struct ScaledRows<'a, E> {
    /// The rows.
    pub rows: Rows<'a, E>,
    /// One factor per row.
    pub scale: &'a [f64],
    /// Taken from every row before it is scaled, in float64.
    pub centre: Option<&'a [f64]>,
}

impl<'a, E: Element> ScaledRows<'a, E> {
    /// Rows about the origin.
    pub fn new(rows: Rows<'a, E>, scale: &'a [f64]) -> Self {
        ScaledRows { rows, scale, centre: None }
    }

    /// Row `i`, widened, centred and scaled.
    #[inline(always)]
    pub fn widen<I: Isa>(&self, isa: I, i: usize, scratch: &mut [E], wide: &mut [E::Real]) {
        if self.scale[i] == 0.0 {
            wide.fill(E::Real::default());
            return;
        }
        assert!(wide.len() == self.rows.dim());
        let row = self.rows.row(i, scratch);
        // A row that is to be centred is only widened, which is exact.
        let scale = if self.centre.is_some() { 1.0 } else { self.scale[i] };
        // SAFETY: `row` gives `dim` readable elements, and this runs under `I`.
        unsafe { widen_scaled::<I, E>(isa, row, scale, wide) };
        for (x, centre) in wide.iter_mut().zip(self.centre.unwrap_or_default()) {
            *x = E::Real::from_f64((x.to_f64() - centre) * self.scale[i]);
        }
    }
}

/// Widens, scales and packs blocks of rows.
pub struct Pack<'a, E: Element> {
    /// The rows.
    pub source: ScaledRows<'a, E>,
    /// Their numbers.
    pub range: Range<usize>,
    /// Rows of a panel.
    pub width: usize,
    /// Receives the panels.
    pub into: &'a mut Panels<E::Real>,
    /// A buffer: one panel's rows, widened and scaled, before they are interleaved.
    pub row: &'a mut Vec<E::Real>,
}

/// Factors in this range are applied in the arithmetic of the product; others in float64.
const PLAIN_SCALE: Range<f64> = 1e-30..1e30;

impl<E: Element> Kernel for Pack<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Pack { source, range, width, into, row } = self;
        let rows = source.rows;
        let dim = rows.dim();
        into.reshape(range.len(), dim, width);
        row.clear();
        row.resize(width.next_multiple_of(E::Real::lanes::<I>()) * dim, E::Real::default());
        let mut scratch = rows.scratch(1);
        for p in 0..into.count() {
            for r in 0..width {
                let i = range.start + p * width + r;
                let wide = &mut row[r * dim..(r + 1) * dim];
                if i < range.end {
                    source.widen(isa, i, &mut scratch, wide);
                } else {
                    wide.fill(E::Real::default());
                }
            }
            // SAFETY: a panel is followed by a gap of a register or more.
            unsafe { interleave(isa, row, into.spilling(p), width, dim) };
        }
    }
}

/// # Safety
/// `row` is readable for as many elements as `wide` has, and the caller runs under `I`.
#[inline(always)]
unsafe fn widen_scaled<I: Isa, E: Element>(isa: I, row: *const E, scale: f64, wide: &mut [E::Real]) {
    let (dim, lanes) = (wide.len(), E::Real::lanes::<I>());
    let body = if PLAIN_SCALE.contains(&scale) { dim - dim % lanes } else { 0 };
    let (factor, zero) = (E::Real::splat(isa, E::Real::from_f64(scale)), E::Real::zero(isa));
    let mut k = 0;
    while k < body {
        // SAFETY: k + lanes <= dim.
        unsafe {
            let x = E::Real::mul_add(isa, E::load_real(isa, row.add(k)), factor, zero);
            E::Real::store(isa, wide[k..].as_mut_ptr(), x);
        }
        k += lanes;
    }
    for (k, slot) in wide.iter_mut().enumerate().skip(body) {
        // SAFETY: k < dim.
        let x = unsafe { row.add(k).read_unaligned() };
        *slot = if body > 0 || PLAIN_SCALE.contains(&scale) {
            x.to_real() * E::Real::from_f64(scale)
        } else {
            E::Real::from_f64(x.to_f64() * scale)
        };
    }
}

/// `into[k] = (row[k] - centre[k]) * scale[k]`, in float64, rounded to `T`. The cache line `distance`
/// elements further on is asked for meanwhile.
///
/// # Safety
/// `row` is readable for as many elements as `centre` has, and the caller runs under `I`.
#[inline(always)]
pub unsafe fn deviations<I: Isa, E: Element, T: Real>(
    isa: I,
    row: *const E,
    centre: &[f64],
    scale: &[f64],
    distance: usize,
    into: &mut [T],
) {
    let dim = centre.len();
    assert!(scale.len() == dim && into.len() >= dim);
    let body = dim - dim % I::LANES_F64;
    let mut k = 0;
    while k < body {
        ahead::<I, E>(isa, row, k, distance);
        // SAFETY: k + LANES_F64 <= dim, and the vectors have at least `dim`.
        unsafe {
            let x = E::load_f64(isa, row.add(k));
            let x = isa.sub_f64(x, isa.load_f64(centre[k..].as_ptr()));
            let x = isa.mul_f64(x, isa.load_f64(scale[k..].as_ptr()));
            T::store_f64(isa, into[k..].as_mut_ptr(), x);
        }
        k += I::LANES_F64;
    }
    for k in body..dim {
        // SAFETY: k < dim.
        let x = unsafe { row.add(k).read_unaligned() }.to_f64();
        into[k] = T::from_f64((x - centre[k]) * scale[k]);
    }
}

/// `panel[k * width + r] = rows[r * dim + k]` for `width` rows, square by square in registers.
///
/// # Safety
/// `rows` holds `width` rows rounded up to whole registers, and `panel` is writable for
/// `width * dim` elements and a register more: a square that reaches beyond the panel's width spills
/// into what is written after it.
#[inline(always)]
pub unsafe fn interleave<T: Real, I: Isa>(isa: I, rows: &[T], panel: *mut T, width: usize, dim: usize) {
    let lanes = T::lanes::<I>();
    assert!(rows.len() >= width.next_multiple_of(lanes) * dim);
    let body = dim - dim % lanes;
    for k in (0..body).step_by(lanes) {
        for r in (0..width).step_by(lanes).rev() {
            // SAFETY: the square lies in `rows`, and in `panel` but for the spill.
            unsafe { T::transpose(isa, rows[r * dim + k..].as_ptr(), dim, panel.add(k * width + r), width) };
        }
    }
    for k in body..dim {
        for r in 0..width {
            // SAFETY: within `width * dim`.
            unsafe { *panel.add(k * width + r) = rows[r * dim + k] };
        }
    }
}
