//! The loop over Gram tiles: row block x column block -> one tile -> a reduction.
//!
//! Rows are scaled (to unit length, say), widened and packed tile by tile, so that extra memory is
//! that of the tiles, whatever the number of rows. A job is a strip of row blocks against a run of
//! column blocks: the strip is packed once, each column block once per strip, and a tile is still in
//! L2 when its reduction reads it.
//!
//! Reductions are merged in tile order, one tile at a time. For any one block of rows the other
//! blocks come in ascending order, however tiles are grouped into jobs: neither the number of threads
//! nor the size of a job shows in a result.

use crate::element::{Element, Real};
use crate::error::Error;
use crate::math::aligned::Aligned;
use crate::math::product::{Panels, Product, elementwise, micro_shape};
use crate::pack::{Pack, ScaledRows, interleave};
use crate::schedule::{Context, collected, ordered};
use crate::simd::{Isa, Kernel};
use std::ops::Range;

/// Rows of a tile's side: a float32 tile is 256 KB, an eighth of a server core's L2.
pub const SIDE: usize = 256;

/// Row blocks packed together: each column block that is packed then serves this many tiles.
const STRIP: usize = 4;

/// Most column blocks of one job; fewer where there would not be jobs enough for the threads.
const RUN: usize = 16;

/// Fewest column blocks of one job: its strip is packed for them alone.
const LEAST_RUN: usize = 4;

/// Jobs per thread, so that no thread is left with the last one for long.
const JOBS_PER_THREAD: usize = 8;

/// The products of a block of left rows with a block of right rows.
pub struct Tile<'a, T> {
    /// Numbers of the left rows.
    pub left: Range<usize>,
    /// Numbers of the right rows.
    pub right: Range<usize>,
    products: &'a mut [T],
    stride: usize,
}

impl<T: Real> Tile<'_, T> {
    /// The products of right row `right.start + j` with every left row.
    #[inline(always)]
    pub fn column(&self, j: usize) -> &[T] {
        &self.products[j * self.stride..][..self.left.len()]
    }

    /// As [`Tile::column`], with the products beyond the last left row that fill its panel, to be
    /// changed at will: a tile is gone after its reduction.
    #[inline(always)]
    pub fn whole_column(&mut self, j: usize) -> &mut [T] {
        &mut self.products[j * self.stride..][..self.stride]
    }

    /// All products, column after column, and the length of a column: that of the left rows rounded up
    /// to whole panels.
    pub fn products(&self) -> (&[T], usize) {
        (&self.products[..self.right.len() * self.stride], self.stride)
    }

    /// The products of left row `left.start + i` with right row `right.start + i`.
    pub fn diagonal(&self) -> Vec<f64> {
        (0..self.left.len().min(self.right.len())).map(|i| self.column(i)[i].to_f64()).collect()
    }
}

/// Where a tile lies: block numbers on either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Block of left rows.
    pub left: usize,
    /// Block of right rows.
    pub right: usize,
}

/// Which tiles of `left x right` are made: those of some blocks of left rows, a part of the work that
/// [`EVERY`] block makes whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// With every block of right rows.
    All(Range<usize>),
    /// Left and right are the same rows: tiles on and above the diagonal, `place.left <= place.right`.
    Upper(Range<usize>),
}

/// All blocks of rows, however many there are.
pub const EVERY: Range<usize> = 0..usize::MAX;

/// Runs `reduce` on each tile, and `merge` on its results in tile order. Both sides are multiplied in
/// one arithmetic, whatever they are stored in.
pub fn for_each_tile<L: Element, R: Element<Real = L::Real>, P: Send>(
    left: ScaledRows<L>,
    right: ScaledRows<R>,
    which: Which,
    context: &Context,
    reduce: impl Fn(Place, &mut Tile<L::Real>) -> P + Sync,
    mut merge: impl FnMut(Place, P) + Send,
) -> Result<(), Error> {
    let (height, width) = (left.rows.count().div_ceil(SIDE), right.rows.count().div_ceil(SIDE));
    let (lines, symmetric) = match which {
        Which::All(lines) => (lines, false),
        Which::Upper(lines) => (lines, true),
    };
    let lines = lines.start.min(height)..lines.end.min(height);
    let share = (lines.len() * width).div_ceil(STRIP * JOBS_PER_THREAD * context.threads);
    let length = share.clamp(LEAST_RUN, RUN);
    let mut jobs = Vec::new();
    for top in lines.clone().step_by(STRIP) {
        let strip = top..lines.end.min(top + STRIP);
        for start in (if symmetric { top } else { 0 }..width).step_by(length) {
            jobs.push((strip.clone(), start..width.min(start + length)));
        }
    }
    let rows_of = |blocks: &Range<usize>, count: usize| blocks.start * SIDE..count.min(blocks.end * SIDE);
    let map = |buffers: &mut Buffers<L::Real>, job: usize| {
        let (strip, run) = &jobs[job];
        let mut parts = Vec::new();
        let (mr, nr) = micro_shape::<L::Real>(context.level);
        context.level.dispatch(Pack {
            source: left,
            range: rows_of(strip, left.rows.count()),
            width: mr,
            into: &mut buffers.left,
            row: &mut buffers.row,
        });
        for column in run.clone() {
            context.control.check()?;
            context.level.dispatch(Pack {
                source: right,
                range: rows_of(&(column..column + 1), right.rows.count()),
                width: nr,
                into: &mut buffers.right,
                row: &mut buffers.row,
            });
            for block in strip.clone().filter(|&block| !symmetric || block <= column) {
                // SIDE is a multiple of every register tile's height, so blocks are whole panels.
                let first = (block - strip.start) * SIDE / mr;
                let panels = (SIDE / mr).min(buffers.left.count() - first);
                let (left_panels, right_panels, tile) = (&buffers.left, &buffers.right, &mut buffers.tile);
                context.level.dispatch(Product {
                    left: left_panels,
                    first,
                    panels,
                    right: right_panels,
                    tile,
                });
                let mut tile = Tile {
                    left: rows_of(&(block..block + 1), left.rows.count()),
                    right: rows_of(&(column..column + 1), right.rows.count()),
                    products: tile,
                    stride: panels * mr,
                };
                let place = Place { left: block, right: column };
                parts.push((place, reduce(place, &mut tile)));
            }
        }
        Ok(parts)
    };
    ordered(jobs.len(), context, Buffers::default, map, |parts| {
        parts.into_iter().for_each(|(place, part)| merge(place, part));
        Ok(())
    })
}

/// The product of each left row `j` with right row `partner(j)`, with the bits that it has in a tile.
pub fn pair_products<E: Element>(
    left: ScaledRows<E>,
    right: ScaledRows<E>,
    partner: impl Fn(usize) -> usize + Sync,
    context: &Context,
) -> Result<Vec<E::Real>, Error> {
    let blocks = collected(left.rows.count().div_ceil(SIDE), context, |block| {
        let range = block * SIDE..left.rows.count().min((block + 1) * SIDE);
        Ok(context.level.dispatch(Pairs { left, right, range, partner: &partner }))
    })?;
    Ok(blocks.concat())
}

struct Pairs<'a, E, F> {
    left: ScaledRows<'a, E>,
    right: ScaledRows<'a, E>,
    range: Range<usize>,
    partner: &'a F,
}

impl<E: Element, F: Fn(usize) -> usize> Kernel for Pairs<'_, E, F> {
    type Output = Vec<E::Real>;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Vec<E::Real> {
        let (dim, lanes) = (self.left.rows.dim(), E::Real::lanes::<I>());
        let zeros = || vec![E::Real::default(); lanes * dim];
        let (mut rows, mut left, mut right) = (zeros(), zeros(), zeros());
        let (mut found, mut sums) = (Vec::new(), vec![E::Real::default(); lanes]);
        let mut scratch = self.left.rows.scratch(1);
        scratch.extend(self.right.rows.scratch(1));
        for start in self.range.clone().step_by(lanes) {
            let pairs = start..self.range.end.min(start + lanes);
            for (side, panel, of) in
                [(self.left, &mut left, None), (self.right, &mut right, Some(self.partner))]
            {
                for (r, j) in pairs.clone().enumerate() {
                    let wide = &mut rows[r * dim..(r + 1) * dim];
                    side.widen(isa, of.map_or(j, |partner| partner(j)), &mut scratch, wide);
                }
                // SAFETY: as wide as a register, so that nothing spills.
                unsafe { interleave(isa, &rows, panel.as_mut_ptr(), lanes, dim) };
            }
            // SAFETY: both panels hold `dim` registers, `sums` one.
            unsafe {
                elementwise(isa, dim, left.as_ptr(), right.as_ptr(), sums.as_mut_ptr());
            }
            found.extend_from_slice(&sums[..pairs.len()]);
        }
        found
    }
}

#[derive(Default)]
struct Buffers<T> {
    left: Panels<T>,
    right: Panels<T>,
    tile: Aligned<T>,
    /// One panel's rows, widened and scaled, before they are interleaved.
    row: Vec<T>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Rows;
    use crate::testing::{data, everywhere};
    use half::f16;

    fn check<E: Element>(x: Vec<E>, y: Vec<E>, dim: usize) {
        let (left, right) = (Rows::new(&x, dim), Rows::new(&y, dim));
        let scales = |n: usize| -> Vec<f64> { (0..n).map(|i| 0.5 + (i % 7) as f64 / 3.0).collect() };
        let (a, b) = (scales(left.count()), scales(right.count()));
        let centre: Vec<f64> = (0..dim).map(|k| k as f64 / dim as f64 - 0.3).collect();
        let centred = ScaledRows { centre: Some(&centre), ..ScaledRows::new(left, &a) };
        check_rows(ScaledRows::new(left, &a), ScaledRows::new(right, &b));
        check_rows(centred, ScaledRows::new(right, &b));
    }

    fn check_rows<E: Element>(left: ScaledRows<E>, right: ScaledRows<E>) {
        let dim = left.rows.dim();
        let (n, m) = (left.rows.count(), right.rows.count());
        let partner = |j: usize| (j * 7 + 3) % m;
        everywhere(|context| {
            let mut all = vec![0.0; n * m];
            let keep = |_: Place, tile: &mut Tile<E::Real>| {
                let entry = |i: usize, j: usize| {
                    (tile.left.start + i, tile.right.start + j, tile.column(j)[i].to_f64())
                };
                let (height, width) = (tile.left.len(), tile.right.len());
                (0..height * width).map(|at| entry(at % height, at / height)).collect::<Vec<_>>()
            };
            let merge = |_: Place, part: Vec<_>| part.into_iter().for_each(|(i, j, x)| all[i * m + j] = x);
            for_each_tile(left, right, Which::All(EVERY), context, keep, merge).unwrap();
            let pairs = pair_products(left, right, partner, context).unwrap();
            for (i, product) in pairs.iter().enumerate() {
                let j = partner(i);
                assert_eq!(product.to_f64(), all[i * m + j], "{:?} {i} {j}: bits", context.level);
                let x = |k: usize| left.rows.get(i, k).to_f64() - left.centre.map_or(0.0, |c| c[k]);
                let terms = (0..dim).map(|k| x(k) * right.rows.get(j, k).to_f64());
                let want = terms.sum::<f64>() * left.scale[i] * right.scale[j];
                assert!((product.to_f64() - want).abs() < 1e-5 * dim as f64, "{product:?} {want}");
            }
        });
    }

    #[test]
    fn blocks_of_left_rows_make_the_whole() {
        let n = 10 * SIDE + 3;
        let (x, y) = (data(n, 2), data(2 * SIDE + 1, 2));
        let (units, others) = (vec![1.0; n], vec![1.0; 2 * SIDE + 1]);
        let left = ScaledRows::new(Rows::new(&x, 2), &units);
        let right = ScaledRows::new(Rows::new(&y, 2), &others);
        everywhere(|context| {
            let tiles = |which: Which, right| {
                let mut found = Vec::new();
                let reduce =
                    |place: Place, tile: &mut Tile<f64>| (place.left, place.right, tile.column(0)[0]);
                for_each_tile(left, right, which, context, reduce, |_, tile| found.push(tile)).unwrap();
                found
            };
            let all = tiles(Which::All(EVERY), right);
            let upper = tiles(Which::Upper(EVERY), left);
            assert_eq!((all.len(), upper.len()), (11 * 3, 11 * 12 / 2));
            for cuts in [vec![0, 11], vec![0, 1, 2, 11], vec![0, 5, 5, 9, 40]] {
                let parts = cuts.windows(2).map(|cut| cut[0]..cut[1]);
                let sorted = |parts: Vec<Vec<(usize, usize, f64)>>| {
                    let mut tiles = parts.concat();
                    tiles.sort_by_key(|&(left, right, _)| (left, right));
                    tiles
                };
                let made = parts.clone().map(|part| tiles(Which::All(part), right)).collect();
                assert_eq!(sorted(made), sorted(vec![all.clone()]));
                let made = parts.map(|part| tiles(Which::Upper(part), left)).collect();
                assert_eq!(sorted(made), sorted(vec![upper.clone()]));
            }
        });
    }

    #[test]
    fn pairs_have_the_bits_of_tiles() {
        for (n, m, dim) in [(1, 1, 1), (5, 300, 31), (SIDE + 9, 2 * SIDE + 1, 70)] {
            let (x, y) = (data(n, dim), data(m, dim));
            let narrow = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<_>>();
            let half = |x: &[f64]| x.iter().map(|&x| f16::from_f64(x)).collect::<Vec<_>>();
            check(narrow(&x), narrow(&y), dim);
            check(half(&x), half(&y), dim);
            check(x, y, dim);
        }
    }
}
