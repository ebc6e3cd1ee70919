//! Histograms of the features, each over bins of its own.
//!
//! Bin `i` of a feature holds `edges[i] <= x < edges[i + 1]`, the last one its upper edge too, as in
//! `numpy.histogram`, and the edges themselves decide: the place of a number among them is computed,
//! `(x - edges[0]) / width`, and where it comes so near to a whole number that rounding may have moved
//! it across an edge, the edges are searched. That is done for numbers on an edge, and few others.
//!
//! Features are taken some at a time, so that their counters stay in L1. Counts are whole numbers: they
//! are added as blocks come.

use crate::blocks::for_each_block;
use crate::element::Element;
use crate::error::Error;
use crate::math::aligned::Aligned;
use crate::math::dots::ahead;
use crate::rows::{AnyRows, Rows};
use crate::schedule::Context;
use crate::simd::{Isa, Kernel};
use crate::with_rows;
use std::sync::{Mutex, PoisonError};

/// Counters of the features that are taken together: 16 kB of them.
const TOGETHER: usize = 4096;

/// Features are taken by this many, if they do not end before: whole cache lines of every type.
const LINE: usize = 32;

/// How many rows ahead of the one that is counted are asked for.
const AHEAD: usize = 8;

/// 2^52: a number from 0 to this, added to it, loses its fraction to rounding.
const WHOLE: f64 = 4_503_599_627_370_496.0;

/// Equidistant bins for each feature.
#[derive(Clone, Debug)]
pub struct Bins {
    /// Of each feature.
    count: usize,
    /// `dim x (count + 1)`.
    edges: Vec<f64>,
    /// The first edge of each feature.
    low: Aligned<f64>,
    /// Bins per unit.
    scale: Aligned<f64>,
    /// How near to a whole number a place has to be to be compared with the edges; 1 if always.
    doubt: Aligned<f64>,
}

impl Bins {
    /// With `dim x (count + 1)` edges, ascending and as equidistant as rounding leaves them.
    ///
    /// # Panics
    /// If there are fewer than two edges to a feature, more than an i32 counts, or not as many for each.
    pub fn new(edges: Vec<f64>, count: usize) -> Self {
        assert!((1..i32::MAX as usize).contains(&count), "{count} bins");
        assert!(edges.len().is_multiple_of(count + 1), "{} edges of {count} bins", edges.len());
        let dim = edges.len() / (count + 1);
        let [mut low, mut scale, mut doubt] = [(); 3].map(|()| Aligned::zeros(dim));
        for (k, edges) in edges.chunks_exact(count + 1).enumerate() {
            let (first, last, bins) = (edges[0], edges[count], count as f64);
            low[k] = first;
            scale[k] = bins / (last - first);
            // With u = 2^-53, the place is off by 4 u of the number of bins, and an edge by 3 u of them and
            // by u of its own size. Where products of edges are subnormal, that is 4 u more at most, or
            // the scale is infinite. Together less than 16 u = 8 epsilon.
            doubt[k] = 8.0 * f64::EPSILON * bins * (1.0 + first.abs().max(last.abs()) / (last - first));
            if !scale[k].is_normal() || doubt[k].is_nan() || doubt[k] > 0.25 {
                (scale[k], doubt[k]) = (0.0, 1.0);
            }
        }
        Bins { count, edges, low, scale, doubt }
    }

    /// Number of features.
    pub fn dim(&self) -> usize {
        self.low.len()
    }

    /// The bin of a number of feature `k`: that of the last lower edge that is not above it, the first
    /// one if all are.
    #[inline(never)]
    fn bin(&self, k: usize, x: f64) -> usize {
        let edges = &self.edges[k * (self.count + 1)..][..self.count];
        edges[1..].partition_point(|&edge| edge <= x)
    }
}

/// Adds each number of `rows` to its bin of `counts`, `dim x bins`. What lies outside the edges belongs to
/// the bin at that end; a NaN is counted in some bin.
pub fn count_features(
    counts: &mut [u64],
    rows: AnyRows,
    bins: &Bins,
    context: &Context,
) -> Result<(), Error> {
    if rows.dim() != bins.dim() {
        return Err(Error::Dimension { what: "rows", found: rows.dim(), expected: bins.dim() });
    }
    let (dim, count) = (bins.dim(), bins.count);
    let width = (TOGETHER / count / LINE * LINE).clamp(LINE, dim.next_multiple_of(LINE)).min(dim);
    let total = Mutex::new(counts);
    with_rows!(rows, rows => for_each_block(
        rows,
        context,
        || (rows.columns(0..width).scratch(1), Aligned::zeros(width), vec![0u32; width * count]),
        |(scratch, places, part), _, rows| {
            for first in (0..dim).step_by(width) {
                let last = dim.min(first + width);
                let part = &mut part[..(last - first) * count];
                part.fill(0);
                let columns = rows.columns(first..last);
                context.level.dispatch(Count { rows: columns, first, bins, scratch, places, counts: part });
                let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                let total = &mut total[first * count..last * count];
                total.iter_mut().zip(part).for_each(|(sum, count)| *sum += u64::from(*count));
            }
            Ok(())
        },
        |()| Ok(()),
    ))
}

/// The kernel: counts some features of a block, from feature `first` on.
struct Count<'a, E> {
    rows: Rows<'a, E>,
    first: usize,
    bins: &'a Bins,
    scratch: &'a mut [E],
    /// Of one row.
    places: &'a mut [f64],
    counts: &'a mut [u32],
}

impl<E: Element> Kernel for Count<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Count { rows, first, bins, scratch, places, counts } = self;
        let width = rows.dim();
        let places = &mut places[..width];
        let [low, scale, doubt] = [&bins.low, &bins.scale, &bins.doubt].map(|all| &all[first..first + width]);
        let (half, top) = (isa.splat_f64(0.5), isa.splat_f64(bins.count as f64 - 0.5));
        let (zero, whole) = (isa.zero_f64(), isa.splat_f64(WHOLE));
        let body = width - width % I::LANES_F64;
        for i in 0..rows.count() {
            let row = rows.row(i, scratch);
            // SAFETY: k < width, the length of the row.
            let exact =
                |k: usize| bins.bin(first + k, unsafe { row.add(k).read_unaligned() }.to_f64()) as f64;
            let mut k = 0;
            while k < body {
                ahead::<I, E>(isa, row, k, AHEAD * bins.dim());
                // SAFETY: k + LANES_F64 <= width, the length of the row and of every slice.
                let mut open = unsafe {
                    let low = isa.load_f64(low.as_ptr().add(k));
                    let scale = isa.load_f64(scale.as_ptr().add(k));
                    let doubt = isa.load_f64(doubt.as_ptr().add(k));
                    let place = isa.mul_f64(isa.sub_f64(E::load_f64(isa, row.add(k)), low), scale);
                    // The outer edges are never in doubt; of a NaN and 1/2, the second is taken.
                    let place = isa.min_f64(isa.max_f64(place, half), top);
                    isa.store_f64(places.as_mut_ptr().add(k), place);
                    let off = isa.sub_f64(place, isa.sub_f64(isa.add_f64(place, whole), whole));
                    isa.greater_bits_f64(doubt, isa.max_f64(off, isa.sub_f64(zero, off)))
                };
                while open != 0 {
                    let lane = k + open.trailing_zeros() as usize;
                    places[lane] = exact(lane);
                    open &= open - 1;
                }
                k += I::LANES_F64;
            }
            (body..width).for_each(|k| places[k] = exact(k));
            for (counts, place) in counts.chunks_exact_mut(bins.count).zip(&*places) {
                // SAFETY: from 0 to the number of bins, which an i32 holds.
                let bin: i32 = unsafe { place.to_int_unchecked() };
                counts[bin as usize] += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::{BLOCK, slice};
    use crate::linear::ranges::ranges;
    use crate::testing::{data, everywhere};
    use half::{bf16, f16};

    /// Equidistant edges, the last one exact.
    fn edges(low: &[f64], high: &[f64], bins: usize) -> Vec<f64> {
        let of = |low: f64, high: f64| {
            let step = (high - low) / bins as f64;
            (0..bins).map(move |i| i as f64 * step + low).chain([high])
        };
        low.iter().zip(high).flat_map(|(&low, &high)| of(low, high)).collect()
    }

    /// By the definition: the last bin whose lower edge is not above.
    fn naive(x: &[f64], dim: usize, bins: usize, edges: &[f64]) -> Vec<u64> {
        let mut counts = vec![0; dim * bins];
        for (at, x) in x.iter().enumerate() {
            let edges = &edges[at % dim * (bins + 1)..][..bins + 1];
            let bin = edges.partition_point(|edge| edge <= x).min(bins) - 1;
            counts[at % dim * bins + bin] += 1;
        }
        counts
    }

    fn check<E: Element>(
        x: &[f64],
        dim: usize,
        bins: usize,
        from: fn(f64) -> E,
        any: impl Fn(&[E]) -> AnyRows,
    ) {
        let x: Vec<E> = x.iter().map(|&x| from(x)).collect();
        let wide: Vec<f64> = x.iter().map(|x| x.to_f64()).collect();
        let rows = any(&x);
        let column = |k: usize| wide.iter().skip(k).step_by(dim).copied();
        let low: Vec<f64> = (0..dim).map(|k| column(k).fold(f64::INFINITY, f64::min)).collect();
        let high: Vec<f64> = (0..dim).map(|k| column(k).fold(f64::NEG_INFINITY, f64::max)).collect();
        // One that does not vary has its number as the first edge.
        let last: Vec<f64> = low.iter().zip(&high).map(|(&l, &h)| if h > l { h } else { l + 1.0 }).collect();
        let edges = edges(&low, &last, bins);
        let want = naive(&wide, dim, bins, &edges);
        let grid = Bins::new(edges, bins);
        everywhere(|context| {
            let found = ranges(rows, context).unwrap();
            assert_eq!((&found.low, &found.high), (&low, &high), "{} x {dim}", rows.count());
            let mut counts = vec![0; dim * bins];
            let cut = rows.count() / 3;
            for part in [slice(&rows, 0..cut), slice(&rows, cut..rows.count())] {
                count_features(&mut counts, part, &grid, context).unwrap();
            }
            assert_eq!(counts, want, "{} x {dim}, {bins} bins, {:?}", rows.count(), context.level);
        });
    }

    fn check_all(x: &[f64], dim: usize, bins: usize) {
        check(x, dim, bins, |x| x, |x| AnyRows::F64(Rows::new(x, dim)));
        check(x, dim, bins, |x| x as f32, |x| AnyRows::F32(Rows::new(x, dim)));
        check(x, dim, bins, f16::from_f64, |x| AnyRows::F16(Rows::new(x, dim)));
        check(x, dim, bins, bf16::from_f64, |x| AnyRows::Bf16(Rows::new(x, dim)));
    }

    #[test]
    fn every_tail_of_features_and_groups_of_them() {
        for dim in (1..=40).chain([63, 64, 65, 129]) {
            check_all(&data(23, dim), dim, 50);
        }
        for (n, dim, bins) in [(2, 3, 1), (300, 33, 7), (40, 70, 1000), (BLOCK + 1, 9, 50), (3 * BLOCK, 5, 3)]
        {
            check_all(&data(n, dim), dim, bins);
        }
    }

    #[test]
    fn numbers_on_edges_and_features_far_from_zero() {
        // Steps of a tenth, rounded up and down; then the same beside large numbers, at which a bin is
        // a few units in the last place of float64.
        for (offset, bins) in [(0.0, 10), (1.0, 20), (-1e6, 40), (3e12, 5)] {
            let x: Vec<f64> = (0..41 * 9).map(|at| (at / 9 + at % 9) as f64 * 0.1 + offset).collect();
            check(&x, 9, bins, |x| x, |x| AnyRows::F64(Rows::new(x, 9)));
            check_all(&x.iter().map(|x| x - offset).collect::<Vec<_>>(), 9, bins);
        }
        // Whole numbers: every one is an edge.
        let x: Vec<f64> = (0..65 * 16).map(|at| ((at * 7 + at / 16) % 65) as f64).collect();
        check_all(&x, 16, 64);
        check_all(&[vec![4.0; 160], vec![0.0; 16]].concat(), 16, 50);
        check_all(&[2.5; 64], 16, 50);
    }

    #[test]
    fn a_nan_is_counted_once_and_is_in_no_range() {
        let mut x = data(50, 11);
        let at = 17 * 11;
        x[at..at + 11].fill(f64::NAN);
        let bins = Bins::new(edges(&[-1.0; 11], &[2.0; 11], 8), 8);
        everywhere(|context| {
            let rows = AnyRows::F64(Rows::new(&x, 11));
            let found = ranges(rows, context).unwrap();
            assert!(found.low.iter().chain(&found.high).all(|x| x.abs() < 2.0));
            let mut counts = vec![0; 88];
            count_features(&mut counts, rows, &bins, context).unwrap();
            assert!(counts.chunks(8).all(|counts| counts.iter().sum::<u64>() == 50));
        });
    }
}
