//! The distribution of all cosines between two sets, or of all pairs within one.
//!
//! Bin `i` holds `edges[i] <= cos < edges[i + 1]`, the last one its upper edge too. Cosines are those
//! of [`super::ranks`], clamped to [-1, 1]; they are placed exactly: an estimate in float64, which is
//! the bin or the one below it, is compared with one edge. Counts are whole numbers, so that tiles are
//! added as they come. Memory: a few counters per bin and thread, and the tiles of each thread.

use super::partners::{at_least, check_dim, unit_scale, with_both};
use crate::element::{Element, Real};
use crate::error::Error;
use crate::pack::ScaledRows;
use crate::rows::AnyRows;
use crate::schedule::Context;
use crate::simd::{Isa, Kernel};
use crate::tiles::{SIDE, Tile, Which, for_each_tile};
use crate::with_rows;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Counters of one bin that take turns: a run of equal cosines does not wait for its own sums.
const COUNTERS: usize = 4;

/// The estimate of a bin is taken this far below; rounding moves it much less for any number of bins in
/// use, and the edge above it decides.
const BELOW: f64 = 1e-3;

/// Counts of cosines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// In each bin.
    pub counts: Vec<u64>,
    /// Below the first edge.
    pub below: u64,
    /// Above the last edge.
    pub above: u64,
}

/// Cosines of every row of some `blocks` of `x` with every row of `y`, in bins between ascending,
/// equidistant `edges`.
///
/// # Panics
/// If there are fewer than two edges.
pub fn similarity_histogram(
    x: AnyRows,
    y: AnyRows,
    edges: &[f64],
    blocks: Range<usize>,
    context: &Context,
) -> Result<Histogram, Error> {
    check_dim("y", y, x.dim())?;
    let scales = (unit_scale(x, "x", context)?, unit_scale(y, "y", context)?);
    with_both!(x, "y", y, (x, y) => {
        let (x, y) = (ScaledRows::new(x, &scales.0), ScaledRows::new(y, &scales.1));
        of_units(x, y, Which::All(blocks), edges, context)
    })
}

/// Cosines of every pair `j < k` of rows of `x` of which `j` is of some `blocks`.
///
/// # Panics
/// As [`similarity_histogram`].
pub fn similarity_histogram_within(
    x: AnyRows,
    edges: &[f64],
    blocks: Range<usize>,
    context: &Context,
) -> Result<Histogram, Error> {
    let scale = unit_scale(x, "x", context)?;
    with_rows!(x, x => {
        let x = ScaledRows::new(x, &scale);
        of_units(x, x, Which::Upper(blocks), edges, context)
    })
}

fn of_units<E: Element>(
    x: ScaledRows<E>,
    y: ScaledRows<E>,
    which: Which,
    edges: &[f64],
    context: &Context,
) -> Result<Histogram, Error> {
    let symmetric = matches!(which, Which::Upper(_));
    let bins = Bins::<E::Real>::new(edges);
    let total = Mutex::new(vec![0; bins.upper.len()]);
    for_each_tile(
        x,
        y,
        which,
        context,
        |place, tile| {
            // A tile on the diagonal of one set has every pair twice.
            let triangle = symmetric && place.left == place.right;
            let counts = context.level.dispatch(Count { tile, triangle, bins: &bins });
            let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
            total.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        },
        |_, ()| (),
    )?;
    let mut counts = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (above, below) = (counts.pop().unwrap_or(0), counts.remove(0));
    Ok(Histogram { counts, below, above })
}

/// Slots: what lies below the first edge, the bins, what lies above the last edge.
struct Bins<T> {
    first: f64,
    per_unit: f64,
    /// The least number that no longer belongs to a slot.
    upper: Vec<T>,
}

impl<T: Real> Bins<T> {
    fn new(edges: &[f64]) -> Self {
        let (first, last) = (edges[0], edges[edges.len() - 1]);
        // The last bin has its upper edge too.
        let limits = edges[..edges.len() - 1].iter().copied().chain([last.next_up(), f64::INFINITY]);
        Bins {
            first,
            per_unit: (edges.len() - 1) as f64 / (last - first),
            upper: limits.map(at_least).collect(),
        }
    }
}

struct Count<'a, 'b, T> {
    tile: &'a Tile<'b, T>,
    /// Whether to count only products of a left row with a later right one.
    triangle: bool,
    bins: &'a Bins<T>,
}

impl<T: Real> Kernel for Count<'_, '_, T> {
    type Output = Vec<u64>;
    #[inline(always)]
    fn run<I: Isa>(self, _: I) -> Vec<u64> {
        let Bins { first, per_unit, upper } = self.bins;
        let (one, minus_one, top) = (T::from_f64(1.0), T::from_f64(-1.0), (upper.len() - 1) as f64);
        let mut counts = vec![[0u32; COUNTERS]; upper.len()];
        let (mut cosines, mut slots) = ([T::default(); SIDE], [0i32; SIDE]);
        for j in 0..self.tile.right.len() {
            let column = self.tile.column(j);
            let column = if self.triangle { &column[..j] } else { column };
            for (i, &x) in column.iter().enumerate() {
                // Unlike `clamp`, each comparison is one instruction, and a NaN does not get past all.
                let x = if x > one { one } else { x };
                cosines[i] = if x < minus_one { minus_one } else { x };
                let slot = (cosines[i].to_f64() - first) * per_unit + (1.0 - BELOW);
                let slot = if slot < top { slot } else { top };
                let slot = if slot > 0.0 { slot } else { 0.0 };
                // SAFETY: from 0 to the number of slots, which an i32 holds.
                slots[i] = unsafe { slot.to_int_unchecked() };
            }
            for i in 0..column.len() {
                let below = slots[i] as usize;
                let slot = below + usize::from(cosines[i] >= upper[below]);
                counts[slot][i % COUNTERS] += 1;
            }
        }
        counts.into_iter().map(|counters| counters.into_iter().map(u64::from).sum()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rows;
    use crate::testing::{data, everywhere};
    use crate::tiles::{EVERY, pair_products};

    fn naive(cosines: impl Iterator<Item = f64>, edges: &[f64]) -> Histogram {
        let bins = edges.len() - 1;
        let mut found = Histogram { counts: vec![0; bins], below: 0, above: 0 };
        for x in cosines.map(|x| x.clamp(-1.0, 1.0)) {
            match edges.partition_point(|&edge| edge <= x) {
                0 => found.below += 1,
                past if past <= bins => found.counts[past - 1] += 1,
                _ if x == edges[bins] => found.counts[bins - 1] += 1,
                _ => found.above += 1,
            }
        }
        found
    }

    fn sum(mut one: Histogram, other: Histogram) -> Histogram {
        one.counts.iter_mut().zip(other.counts).for_each(|(sum, count)| *sum += count);
        Histogram { below: one.below + other.below, above: one.above + other.above, ..one }
    }

    fn check<E: Element>(n: usize, m: usize, d: usize, any: impl Fn(&[E]) -> AnyRows, from: fn(f64) -> E) {
        let (x, y): (Vec<E>, Vec<E>) =
            (data(n, d).into_iter().map(from).collect(), data(m, d).into_iter().map(from).collect());
        everywhere(|context| {
            let scale = |rows| unit_scale(rows, "x", context).unwrap();
            let (a, b) = (scale(any(&x)), scale(any(&y)));
            let left = ScaledRows::new(Rows::new(&x, d), &a);
            let right = ScaledRows::new(Rows::new(&y, d), &b);
            let mut between = Vec::new();
            for shift in 0..m {
                between.extend(pair_products(left, right, |i| (i + shift) % m, context).unwrap());
            }
            let mut within: Vec<E::Real> = Vec::new();
            for shift in 1..n {
                let products = pair_products(left, left, |i| (i + shift) % n, context).unwrap();
                within.extend(&products[..n - shift]);
            }
            // Edges of which some are cosines: [-1, 1] by eighths, and between two of the cosines.
            let wide: Vec<f64> = (0..=16).map(|i| i as f64 / 8.0 - 1.0).collect();
            let (low, high) = (between[0].to_f64(), between[n].to_f64());
            let (low, high) = if low < high { (low, high) } else { (low - 0.1, low) };
            let step = (high - low) / 7.0;
            let narrow: Vec<f64> = (0..7).map(|i| i as f64 * step + low).chain([high]).collect();
            for edges in [wide, narrow] {
                let two = |blocks| similarity_histogram(any(&x), any(&y), &edges, blocks, context).unwrap();
                let got = two(EVERY);
                assert_eq!(got, naive(between.iter().map(|x| x.to_f64()), &edges), "{n} {m} {d}");
                assert_eq!(sum(two(0..1), two(1..n)), got, "{n} {m} {d} in two parts");
                let one = |blocks| similarity_histogram_within(any(&x), &edges, blocks, context).unwrap();
                let got = one(EVERY);
                assert_eq!(got, naive(within.iter().map(|x| x.to_f64()), &edges), "{n} {d} within");
                assert_eq!(sum(one(0..1), one(1..n)), got, "{n} {d} within, in two parts");
            }
        });
    }

    #[test]
    fn equals_a_plain_loop_off_every_tile_boundary() {
        for (n, m, d) in [(2, 3, 2), (31, 7, 3), (SIDE + 1, SIDE - 1, 9), (70, 2 * SIDE + 5, 130)] {
            check(n, m, d, |x: &[f64]| AnyRows::F64(Rows::new(x, d)), |x| x);
            check(n, m, d, |x: &[f32]| AnyRows::F32(Rows::new(x, d)), |x| x as f32);
        }
    }
}
