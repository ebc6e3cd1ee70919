//! The cosine of each row with its partner: row `j` of one matrix and row `j` of another.
//!
//! ```text
//! cos(x, y) = x.y / (|x| |y|)
//! ```
//!
//! The two may be of different element types. All in float64: the error is that of three dot products,
//! below `1e-14` for any `d` in use. Time `O(n d)`, one read of both.

use super::streams::{Visit, side_by_side};
use super::unit::Units;
use crate::blocks::{for_each_block, slice};
use crate::element::Element;
use crate::error::{Error, Status};
use crate::math::dots::{lead, pair_dots, widened};
use crate::math::norm::{Norm, plain};
use crate::rows::{AnyRows, Rows};
use crate::schedule::Context;
use crate::simd::{Isa, Kernel, Level};
use crate::with_rows;

/// Pairs measured side by side: with three sums each, they fill the registers of AVX2.
const GROUP: usize = 4;

/// What was found of consecutive pairs, one entry per pair.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cosines {
    /// In [-1, 1]; NaN where one of the two has no direction.
    pub cosine: Vec<f64>,
    /// Whether the row has a direction.
    pub status: Vec<Status>,
    /// Whether its partner has one.
    pub partner_status: Vec<Status>,
}

impl Cosines {
    /// Of no pairs, with room for `count`.
    pub fn with_capacity(count: usize) -> Self {
        Cosines {
            cosine: Vec::with_capacity(count),
            status: Vec::with_capacity(count),
            partner_status: Vec::with_capacity(count),
        }
    }

    /// Of `count` pairs, each of which is to be set.
    fn zeros(count: usize) -> Self {
        let status = || vec![Status::Ok; count];
        Cosines { cosine: vec![0.0; count], status: status(), partner_status: status() }
    }

    /// Appends what was found of the pairs that follow.
    pub fn append(&mut self, mut other: Cosines) {
        self.cosine.append(&mut other.cosine);
        self.status.append(&mut other.status);
        self.partner_status.append(&mut other.partner_status);
    }
}

/// The cosine of every pair. Both have as many rows, which the caller has seen to.
pub fn cosines(x: AnyRows, y: AnyRows, context: &Context) -> Result<Cosines, Error> {
    check_partner(x, y)?;
    let mut all = Cosines::with_capacity(x.count());
    with_rows!(x, x => for_each_block(
        x,
        context,
        || (),
        |(), start, x| Ok(of_block(x, y, start, [], context.level).1),
        |part| {
            all.append(part);
            Ok(())
        },
    ))?;
    Ok(all)
}

/// An error unless the two sides have as many features.
pub(super) fn check_partner(x: AnyRows, y: AnyRows) -> Result<(), Error> {
    assert!(x.count() == y.count(), "{} rows have {} partners", x.count(), y.count());
    match y.dim() {
        found if found == x.dim() => Ok(()),
        found => Err(Error::Dimension { what: "partner", found, expected: x.dim() }),
    }
}

/// The rows of a block measured against `vectors`, and their cosines with the partners from number `start`
/// on: one visit of both.
pub(super) fn of_block<E: Element, const Q: usize>(
    x: Rows<E>,
    partners: AnyRows,
    start: usize,
    vectors: [&[f64]; Q],
    level: Level,
) -> (Units<Q>, Cosines) {
    with_rows!(slice(&partners, start..start + x.count()), y => level.dispatch(Pairs {
        x,
        y,
        x_scratch: &mut x.scratch(GROUP),
        y_scratch: &mut y.scratch(GROUP),
        vectors,
    }))
}

/// The kernel: measures the rows of a block, and takes their cosines.
struct Pairs<'a, E, F, const Q: usize> {
    x: Rows<'a, E>,
    y: Rows<'a, F>,
    x_scratch: &'a mut [E],
    y_scratch: &'a mut [F],
    vectors: [&'a [f64]; Q],
}

impl<E: Element, F: Element, const Q: usize> Kernel for Pairs<'_, E, F, Q> {
    type Output = (Units<Q>, Cosines);
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Self::Output {
        let count = self.x.count();
        let mut measuring =
            Measuring { of: self, units: Units::zeros(count), cosines: Cosines::zeros(count) };
        side_by_side::<I, GROUP>(isa, count, &mut measuring);
        (measuring.units, measuring.cosines)
    }
}

struct Measuring<'a, E, F, const Q: usize> {
    of: Pairs<'a, E, F, Q>,
    units: Units<Q>,
    cosines: Cosines,
}

impl<E: Element, F: Element, const Q: usize> Visit for Measuring<'_, E, F, Q> {
    #[inline(always)]
    fn visit<I: Isa, const R: usize>(&mut self, isa: I, numbers: [usize; R]) {
        let Measuring { of: Pairs { x, y, x_scratch, y_scratch, vectors }, units, cosines } = self;
        let dim = x.dim();
        let (x, y) = (x.group(numbers, x_scratch), y.group(numbers, y_scratch));
        let next = y.map(|row| row.wrapping_add(lead::<F>(dim)));
        let pointers = vectors.map(|vector| vector.as_ptr());
        // SAFETY: rows and vectors have `dim` elements, and this runs under `I`.
        let (sums, products) = unsafe { pair_dots::<I, E, F, R, Q>(isa, x, y, next, pointers, dim) };
        let norms = (plain(sums.map(|sum| sum.xx)), plain(sums.map(|sum| sum.yy)));
        if let (Some((norm, inverse)), Some((_, partner_inverse))) = norms {
            for r in 0..R {
                cosines.cosine[numbers[r]] = cosine(sums[r].xy, inverse[r], partner_inverse[r]);
                units.set_plain(numbers[r], norm[r], inverse[r], products[r]);
            }
            return;
        }
        for r in 0..R {
            // SAFETY: as above.
            let (wide_x, wide_y) = (|| unsafe { widened(x[r], dim) }, || unsafe { widened(y[r], dim) });
            let (norm_x, norm_y) = (Norm::new(sums[r].xx, wide_x), Norm::new(sums[r].yy, wide_y));
            cosines.cosine[numbers[r]] = if norm_x.is_plain() && norm_y.is_plain() {
                cosine(sums[r].xy, norm_x.inverse, norm_y.inverse)
            } else {
                of_extreme(&wide_x(), norm_x, &wide_y(), norm_y)
            };
            cosines.status[numbers[r]] = norm_x.status;
            cosines.partner_status[numbers[r]] = norm_y.status;
            units.set(numbers[r], norm_x, products[r], wide_x, *vectors);
        }
    }
}

/// From `x.y` and one over each norm; the same bits whichever of the two is the partner.
#[inline(always)]
fn cosine(product: f64, inverse: f64, partner_inverse: f64) -> f64 {
    (product * (inverse * partner_inverse)).clamp(-1.0, 1.0)
}

/// The cosine of two rows of which one has to be scaled first, or has no direction.
#[cold]
fn of_extreme(x: &[f64], norm_x: Norm, y: &[f64], norm_y: Norm) -> f64 {
    if norm_x.status != Status::Ok || norm_y.status != Status::Ok {
        return f64::NAN;
    }
    let unit = |x: f64, norm: Norm| x * norm.scale * norm.inverse;
    x.iter().zip(y).map(|(&x, &y)| unit(x, norm_x) * unit(y, norm_y)).sum::<f64>().clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{data, everywhere};
    use half::{bf16, f16};

    fn naive(x: &[f64], y: &[f64]) -> f64 {
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        dot(x, y) / (dot(x, x).sqrt() * dot(y, y).sqrt())
    }

    #[test]
    fn every_two_types_and_every_tail_at_every_level() {
        for d in (1..=40).chain([130]) {
            let n = 9;
            let (x, y) = (data(n, d), data(n + 1, d)[d..].to_vec());
            macro_rules! check {
                ($($left:ident $narrow_left:expr, $right:ident $narrow_right:expr;)*) => {$({
                    let left: Vec<_> = x.iter().map(|&x| $narrow_left(x)).collect();
                    let right: Vec<_> = y.iter().map(|&y| $narrow_right(y)).collect();
                    let wide = |k: usize| -> (Vec<f64>, Vec<f64>) {
                        let row = k * d..(k + 1) * d;
                        (left[row.clone()].iter().map(|x| x.to_f64()).collect(),
                         right[row].iter().map(|y| y.to_f64()).collect())
                    };
                    everywhere(|context| {
                        let rows = AnyRows::$left(Rows::new(&left, d));
                        let partners = AnyRows::$right(Rows::new(&right, d));
                        let found = cosines(rows, partners, context).unwrap();
                        for k in 0..n {
                            let (x, y) = wide(k);
                            assert!((found.cosine[k] - naive(&x, &y)).abs() < 1e-14, "{d} {k}");
                        }
                        assert_eq!(found.status, vec![Status::Ok; n]);
                        assert_eq!(found.partner_status, vec![Status::Ok; n]);
                    });
                })*};
            }
            let same = |x: f64| x;
            let single = |x: f64| x as f32;
            check! {
                F16 f16::from_f64, F16 f16::from_f64; F16 f16::from_f64, Bf16 bf16::from_f64;
                F16 f16::from_f64, F32 single; F16 f16::from_f64, F64 same;
                Bf16 bf16::from_f64, F16 f16::from_f64; Bf16 bf16::from_f64, Bf16 bf16::from_f64;
                Bf16 bf16::from_f64, F32 single; Bf16 bf16::from_f64, F64 same;
                F32 single, F16 f16::from_f64; F32 single, Bf16 bf16::from_f64;
                F32 single, F32 single; F32 single, F64 same;
                F64 same, F16 f16::from_f64; F64 same, Bf16 bf16::from_f64;
                F64 same, F32 single; F64 same, F64 same;
            }
        }
    }

    #[test]
    fn extreme_pairs_have_cosines_and_others_a_status() {
        let x = [3e200, 4e200, 3e-200, 4e-200, 1.0, 0.0, 0.0, 0.0, f64::NAN, 1.0];
        let y = [4e-300, 3e-300, 4e300, 3e300, 0.0, 0.0, 1.0, 2.0, 1.0, 2.0];
        everywhere(|context| {
            let rows = |x| AnyRows::F64(Rows::new(x, 2));
            let found = cosines(rows(&x), rows(&y), context).unwrap();
            assert!((found.cosine[0] - 0.96).abs() < 1e-15 && (found.cosine[1] - 0.96).abs() < 1e-15);
            assert!(found.cosine[2..].iter().all(|cosine| cosine.is_nan()));
            let (ok, zero, odd) = (Status::Ok, Status::ZeroNorm, Status::NonFinite);
            assert_eq!(found.status, [ok, ok, ok, zero, odd]);
            assert_eq!(found.partner_status, [ok, ok, zero, ok, ok]);
        });
    }

    #[test]
    fn other_features_are_refused() {
        everywhere(|context| {
            let error = cosines(
                AnyRows::F64(Rows::new(&[1.0; 4], 4)),
                AnyRows::F64(Rows::new(&[1.0; 3], 3)),
                context,
            );
            assert_eq!(error.unwrap_err(), Error::Dimension { what: "partner", found: 3, expected: 4 });
        });
    }
}
