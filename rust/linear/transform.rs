//! Affine images of rows, `z = A (x - c) + b`: whitening, its inverse, and squared lengths `|A (x - c)|^2`.
//!
//! Rows are centred in float64, because a whitening matrix stretches some directions a thousandfold
//! and would stretch the rounding of the centre with them. The deviations are then rounded to the type
//! of the product, float32 or float64, each feature scaled by a power of two that brings its column of
//! `A` near 1, so that no scale of the data leaves the range of float32. Squared lengths are float64
//! sums over the products, and what is mapped is not kept.
//!
//! Error of an entry of `A (x - c)`, with `u = 2^-24` or `2^-53` and `d` features: at most
//! `(CHAIN + d / CHAIN + 2) u sum_k |A_ik| |x_k - c_k|`, of which the last 2 are the rounding of
//! the matrix and of the deviations.
//!
//! A block of [`SIDE`] rows is packed once and multiplied with [`SIDE`] rows of the matrix at a time:
//! both lie in L2. Time `O(n d r)` for `r` outputs; memory that of the packed matrix, and a
//! tile and a block per thread.

use crate::element::{Element, Real};
use crate::error::{Error, Status};
use crate::math::aligned::Aligned;
use crate::math::dots::{dots, widened};
use crate::math::norm::Norm;
use crate::math::product::{Panels, Product, micro_shape};
use crate::pack::{deviations, interleave};
use crate::rows::{AnyRows, Rows};
use crate::schedule::{Context, ordered};
use crate::simd::{Isa, Kernel, Level};
use crate::tiles::SIDE;
use crate::with_rows;
use std::sync::{Mutex, PoisonError};

/// Rows by which those to be packed are asked for ahead of their turn.
const AHEAD: usize = 4;

/// An affine map of rows.
#[derive(Clone, Debug)]
pub struct Affine {
    /// `c`, one entry per feature.
    pub centre: Vec<f64>,
    /// `A`, row-major: a row of as many entries as `centre` for each output.
    pub matrix: Vec<f64>,
    /// `b`, one entry per output.
    pub offset: Vec<f64>,
}

/// What is known of each row beside its image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lengths {
    /// `|A (x - c)|^2`.
    pub squared: Vec<f64>,
    /// [`Status::ZeroNorm`] says that the row is zero, which an affine map does not mind.
    /// [`Status::NonFinite`] that the row is not finite, or that its image, or the square of that, leaves the
    /// range of numbers.
    pub status: Vec<Status>,
}

/// The squared length of each row's image, from products in `T`.
pub fn squared_lengths<T: Real>(rows: AnyRows, map: &Affine, context: &Context) -> Result<Lengths, Error> {
    with_rows!(rows, rows => images::<_, T>(rows, map, None, context))
}

/// Writes the images of the rows to `out`, row by row.
///
/// # Panics
/// If `out` has not as many elements as there are rows times outputs.
pub fn transform<T: Real>(
    rows: AnyRows,
    map: &Affine,
    out: &mut [T],
    context: &Context,
) -> Result<Vec<Status>, Error> {
    assert_eq!(out.len(), rows.count() * map.offset.len());
    let found = with_rows!(rows, rows => images::<_, T>(rows, map, Some(out), context))?;
    Ok(found.status)
}

fn images<E: Element, T: Real>(
    rows: Rows<E>,
    map: &Affine,
    out: Option<&mut [T]>,
    context: &Context,
) -> Result<Lengths, Error> {
    let (dim, outputs) = (map.centre.len(), map.offset.len());
    assert_eq!(map.matrix.len(), dim * outputs);
    if rows.dim() != dim {
        return Err(Error::Dimension { what: "rows", found: rows.dim(), expected: dim });
    }
    let matrix = Matrix::<T>::new(map, context.level);
    // Every job writes to a part of its own.
    let parts: Vec<_> = out
        .map(|out| out.chunks_mut(SIDE * outputs).map(|part| Mutex::new(Some(part))).collect())
        .unwrap_or_default();
    let (mr, _) = micro_shape::<T>(context.level);
    let mut all = Lengths::default();
    let job = |buffers: &mut Buffers<T>, job: usize| {
        let start = job * SIDE;
        let rows = rows.slice(start..rows.count().min(start + SIDE));
        let mut part: Option<&mut [T]> =
            parts.get(job).and_then(|part| part.lock().unwrap_or_else(PoisonError::into_inner).take());
        let (panels, row) = (&mut buffers.panels, &mut buffers.row);
        let mut status =
            context.level.dispatch(Pack { rows, centre: &map.centre, scale: &matrix.scale, panels, row });
        let mut squared = vec![0.0; rows.count()];
        for first in (0..matrix.panels.count()).step_by(SIDE / mr) {
            context.control.check()?;
            let panels = (SIDE / mr).min(matrix.panels.count() - first);
            let Buffers { panels: right, tile, .. } = &mut *buffers;
            context.level.dispatch(Product { left: &matrix.panels, first, panels, right, tile });
            let (at, stride) = (first * mr, panels * mr);
            let width = stride.min(outputs - at);
            context.level.dispatch(AddSquares { tile, stride, width, squared: &mut squared });
            if let Some(part) = &mut part {
                let offset = &map.offset[at..at + width];
                for (row, products) in part.chunks_exact_mut(outputs).zip(tile.chunks_exact(stride)) {
                    for ((z, product), offset) in row[at..].iter_mut().zip(products).zip(offset) {
                        *z = T::from_f64(product.to_f64() + offset);
                    }
                }
            }
        }
        for (status, squared) in status.iter_mut().zip(&squared) {
            if !squared.is_finite() {
                *status = Status::NonFinite;
            }
        }
        Ok(Lengths { squared, status })
    };
    ordered(rows.count().div_ceil(SIDE), context, Buffers::default, job, |mut part| {
        all.squared.append(&mut part.squared);
        all.status.append(&mut part.status);
        Ok(())
    })?;
    Ok(all)
}

/// A matrix ready to be multiplied.
struct Matrix<T> {
    /// Its rows are the vectors.
    panels: Panels<T>,
    /// What its columns were divided by, and deviations are multiplied by.
    scale: Vec<f64>,
}

impl<T: Real> Matrix<T> {
    fn new(map: &Affine, level: Level) -> Self {
        let (dim, outputs) = (map.centre.len(), map.offset.len());
        let mut greatest = vec![0.0f64; dim];
        for row in map.matrix.chunks_exact(dim) {
            greatest.iter_mut().zip(row).for_each(|(greatest, a)| *greatest = greatest.max(a.abs()));
        }
        let scale: Vec<f64> = greatest.into_iter().map(power_of_two).collect();
        let (width, _) = micro_shape::<T>(level);
        let mut panels = Panels::default();
        panels.reshape(outputs, dim, width);
        for p in 0..panels.count() {
            let panel = panels.panel_mut(p);
            panel.fill(T::default());
            for (i, row) in map.matrix.chunks_exact(dim).skip(p * width).take(width).enumerate() {
                for (k, (a, scale)) in row.iter().zip(&scale).enumerate() {
                    panel[k * width + i] = T::from_f64(a / scale);
                }
            }
        }
        Matrix { panels, scale }
    }
}

/// The power of two nearest to a magnitude; 1 for zero.
fn power_of_two(x: f64) -> f64 {
    if x.is_normal() { x.log2().round().clamp(-1000.0, 1000.0).exp2() } else { 1.0 }
}

/// A thread's buffers.
struct Buffers<T> {
    panels: Panels<T>,
    row: Vec<T>,
    tile: Aligned<T>,
}

impl<T: Real> Default for Buffers<T> {
    fn default() -> Self {
        Buffers { panels: Panels::default(), row: Vec::new(), tile: Aligned::default() }
    }
}

/// Centres, scales and packs rows as a right operand; gives what their norms say of them.
struct Pack<'a, E, T> {
    rows: Rows<'a, E>,
    centre: &'a [f64],
    scale: &'a [f64],
    panels: &'a mut Panels<T>,
    /// A buffer: one panel's rows, before they are interleaved.
    row: &'a mut Vec<T>,
}

impl<E: Element, T: Real> Kernel for Pack<'_, E, T> {
    type Output = Vec<Status>;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Vec<Status> {
        let Pack { rows, centre, scale, panels, row } = self;
        let (dim, (_, width)) = (rows.dim(), T::micro_shape::<I>());
        panels.reshape(rows.count(), dim, width);
        row.clear();
        row.resize(width.next_multiple_of(T::lanes::<I>()) * dim, T::default());
        let mut scratch = rows.scratch(1);
        let mut status = Vec::with_capacity(rows.count());
        for p in 0..panels.count() {
            for r in 0..width {
                let i = p * width + r;
                let into = &mut row[r * dim..(r + 1) * dim];
                if i >= rows.count() {
                    into.fill(T::default());
                    continue;
                }
                let x = rows.row(i, &mut scratch);
                // SAFETY: `row` gives `dim` readable elements, and this runs under `I`.
                unsafe {
                    let ([squared], _) = dots::<I, E, 1, 0>(isa, [x], [], dim, 0);
                    status.push(Norm::new(squared, || widened(x, dim)).status);
                    deviations::<I, E, T>(isa, x, centre, scale, AHEAD * dim, into);
                }
            }
            // SAFETY: a panel is followed by a gap of a register or more.
            unsafe { interleave(isa, row, panels.spilling(p), width, dim) };
        }
        status
    }
}

/// Adds the squared length of each column's first `width` entries.
struct AddSquares<'a, T> {
    tile: &'a [T],
    stride: usize,
    width: usize,
    squared: &'a mut [f64],
}

impl<T: Real> Kernel for AddSquares<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        for (total, products) in self.squared.iter_mut().zip(self.tile.chunks_exact(self.stride)) {
            let products = &products[..self.width];
            // SAFETY: `width` elements, and this runs under `I`.
            let ([squared], _) = unsafe { dots::<I, T, 1, 0>(isa, [products.as_ptr()], [], self.width, 0) };
            *total += squared;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::product::CHAIN;
    use crate::testing::{data, everywhere};

    fn map(dim: usize, outputs: usize) -> Affine {
        let numbers = data(outputs + 2, dim.max(outputs));
        let row = |i: usize| &numbers[i * dim.max(outputs)..];
        // Columns of very different size, as a whitening has them.
        let size = |k: usize| 10f64.powi(k as i32 % 7 - 3);
        let matrix = (0..outputs).flat_map(|i| (0..dim).map(move |k| row(i)[k] * size(k))).collect();
        let centre = row(outputs)[..dim].iter().map(|c| 3.0 * c).collect();
        Affine { centre, matrix, offset: row(outputs + 1)[..outputs].to_vec() }
    }

    fn check<T: Real>(x: &[f64], rows: AnyRows, map: &Affine, unit: f64) {
        let (dim, outputs) = (map.centre.len(), map.offset.len());
        let factor = ((CHAIN + dim / CHAIN + 2) as f64) * unit;
        everywhere(|context| {
            let mut out = vec![T::default(); rows.count() * outputs];
            let status = transform(rows, map, &mut out, context).unwrap();
            let lengths = squared_lengths::<T>(rows, map, context).unwrap();
            assert_eq!(status, lengths.status);
            for (j, row) in x.chunks(dim).enumerate() {
                assert_eq!(status[j], Status::Ok);
                let (mut squared, mut error) = (0.0, 0.0);
                for i in 0..outputs {
                    let term = |k: usize| map.matrix[i * dim + k] * (row[k] - map.centre[k]);
                    let want = (0..dim).map(term).sum::<f64>();
                    let bound = factor * (0..dim).map(|k| term(k).abs()).sum::<f64>();
                    let got = out[j * outputs + i].to_f64();
                    // The image is rounded once more.
                    let last = unit * (want + map.offset[i]).abs();
                    assert!((got - want - map.offset[i]).abs() <= bound + 2.0 * last, "{dim} {outputs} {i}");
                    squared += want * want;
                    error += 2.0 * bound * want.abs() + bound * bound;
                }
                let rounding = 1e-14 * squared;
                assert!((lengths.squared[j] - squared).abs() <= error + rounding, "{dim} {outputs} {j}");
            }
        });
    }

    #[test]
    fn equals_the_definition_for_every_tail_at_every_level() {
        for (n, dim, outputs) in (1..=40).map(|d| (7, d, 41 - d)).chain([(SIDE + 3, 70, 300), (1, 130, 33)]) {
            let x = data(n, dim);
            let map = map(dim, outputs);
            check::<f64>(&x, AnyRows::F64(Rows::new(&x, dim)), &map, 2f64.powi(-53));
            let narrow: Vec<f32> = x.iter().map(|&x| x as f32).collect();
            let wide: Vec<f64> = narrow.iter().map(|&x| f64::from(x)).collect();
            check::<f32>(&wide, AnyRows::F32(Rows::new(&narrow, dim)), &map, 2f64.powi(-24));
            check::<f64>(&wide, AnyRows::F32(Rows::new(&narrow, dim)), &map, 2f64.powi(-53));
        }
    }

    #[test]
    fn no_scale_leaves_the_range_of_float32() {
        let map = |scale: f64| Affine {
            centre: vec![3.0 / scale, 1.0 / scale],
            matrix: vec![2.0 * scale, scale, -scale, 4.0 * scale],
            offset: vec![0.0; 2],
        };
        everywhere(|context| {
            for scale in [1e-100, 1e-30, 1.0, 1e30, 1e100] {
                let x = [4.0 / scale, -1.0 / scale];
                let mut out = [0f32; 2];
                let status =
                    transform(AnyRows::F64(Rows::new(&x, 2)), &map(scale), &mut out, context).unwrap();
                assert_eq!(status, [Status::Ok]);
                assert!((out[0] - 0.0).abs() < 1e-6 && (out[1] + 9.0).abs() < 1e-6, "{scale} {out:?}");
            }
        });
    }

    #[test]
    fn what_is_wrong_with_a_row_is_said_and_stays_with_it() {
        let x = [1.0, 2.0, f64::NAN, 0.0, 0.0, 0.0, 1e300, 0.0];
        let map = Affine { centre: vec![0.5, 0.5], matrix: vec![2.0, 0.0], offset: vec![1.0] };
        everywhere(|context| {
            let mut out = [0f64; 4];
            let status = transform(AnyRows::F64(Rows::new(&x, 2)), &map, &mut out, context).unwrap();
            assert_eq!(status, [Status::Ok, Status::NonFinite, Status::ZeroNorm, Status::NonFinite]);
            assert_eq!((out[0], out[2]), (2.0, 0.0));
            let wrong = squared_lengths::<f64>(AnyRows::F64(Rows::new(&x, 4)), &map, context);
            assert_eq!(wrong, Err(Error::Dimension { what: "rows", found: 4, expected: 2 }));
        });
    }
}
