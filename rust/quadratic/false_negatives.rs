//! Candidates that score above a row's partner, or above a threshold: how many, and the best `k`.
//!
//! Cosines and partners are those of [`super::ranks`], so comparisons are exact. Both directions come
//! of one pass over the tiles. The best are in the order of their similarity, ties in that of their
//! numbers: an order without ties, so that neither the best nor the counts depend on the order in
//! which tiles are searched. Each block of rows therefore keeps what it has found behind a lock, and
//! nothing waits for its turn. Nor does it matter which candidates are searched together: what is found
//! within some blocks of left rows is a part of the whole. Memory: `O(n k)`, and the tiles of each thread.

use super::partners::{
    at_most, check_dim, count_in_place, count_of, counts_of, take_out, unit_scale, with_both,
};
use crate::element::{Element, Real};
use crate::error::Error;
use crate::pack::ScaledRows;
use crate::rows::AnyRows;
use crate::schedule::Context;
use crate::simd::{Isa, Kernel};
use crate::tiles::{Place, SIDE, Tile, Which, for_each_tile, pair_products};
use crate::with_rows;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What scores above the bar of each row.
#[derive(Clone, Debug, PartialEq)]
pub struct Rivals {
    /// What the rivals are compared with: the partner's cosine, or the threshold.
    pub partner: Vec<f64>,
    /// Number of rivals.
    pub count: Vec<u64>,
    /// The best of them as `(similarity, number)`, at most `k` for each row.
    pub best: Vec<Vec<(f64, usize)>>,
}

/// For the images among the texts, and for the texts among the images: what exceeds the partner, the
/// row of the same number, by more than `margin`, where the image is of some blocks.
///
/// # Panics
/// If the sets differ in size.
pub fn false_negatives(
    image: AnyRows,
    text: AnyRows,
    k: usize,
    margin: f64,
    among: Range<usize>,
    context: &Context,
) -> Result<(Rivals, Rivals), Error> {
    check_dim("text", text, image.dim())?;
    assert!(image.count() == text.count());
    let scales = (unit_scale(image, "image", context)?, unit_scale(text, "text", context)?);
    with_both!(image, "text", text, (image, text) => {
        let image = ScaledRows::new(image, &scales.0);
        let text = ScaledRows::new(text, &scales.1);
        let partner: Vec<f64> =
            pair_products(image, text, |j| j, context)?.into_iter().map(Element::to_f64).collect();
        let bars: Vec<f64> = partner.iter().map(|partner| partner + margin).collect();
        let (images, texts) = (blocks(&bars, k), blocks(&bars, k));
        search(image, text, &images, Some(&texts), among, context)?;
        Ok((rivals(images, partner.clone()), rivals(texts, partner)))
    })
}

/// What exceeds `threshold` within one set, where the first of the two rows is of some blocks; a row is
/// no candidate for itself.
pub fn false_negatives_within(
    x: AnyRows,
    k: usize,
    threshold: f64,
    among: Range<usize>,
    context: &Context,
) -> Result<Rivals, Error> {
    let scale = unit_scale(x, "x", context)?;
    let bars = vec![threshold; x.count()];
    with_rows!(x, x => {
        let x = ScaledRows::new(x, &scale);
        let found = blocks(&bars, k);
        search(x, x, &found, None, among, context)?;
        Ok(rivals(found, bars))
    })
}

/// Shows each tile of some blocks of left rows to the rows on either side; without rows on the right,
/// they are those on the left.
fn search<E: Element>(
    left: ScaledRows<E>,
    right: ScaledRows<E>,
    left_blocks: &[Mutex<Block<E::Real>>],
    right_blocks: Option<&[Mutex<Block<E::Real>>]>,
    among: Range<usize>,
    context: &Context,
) -> Result<(), Error> {
    let symmetric = right_blocks.is_none();
    let right_blocks = right_blocks.unwrap_or(left_blocks);
    let reduce = |place: Place, tile: &mut Tile<E::Real>| {
        take_out(tile, |j| j);
        context.level.dispatch(SearchRight { tile, block: &mut lock(&right_blocks[place.right]) });
        // A tile on the diagonal of one set has each pair twice: its right rows have seen all.
        if !symmetric || place.left != place.right {
            context.level.dispatch(SearchLeft { tile, block: &mut lock(&left_blocks[place.left]) });
        }
    };
    let which = if symmetric { Which::Upper(among) } else { Which::All(among) };
    for_each_tile(left, right, which, context, reduce, |_, ()| ())
}

pub(super) fn lock<T>(block: &Mutex<T>) -> MutexGuard<'_, T> {
    block.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a block of rows has found so far.
pub(super) struct Block<T> {
    /// A rival is greater than this.
    bars: Vec<T>,
    /// One of the best `k` so far is greater than this: the bar, until there are `k`.
    gates: Vec<T>,
    counts: Vec<u64>,
    best: Vec<Vec<(T, usize)>>,
    k: usize,
}

/// Blocks of rows with a bar for each row, where nothing has been found.
pub(super) fn blocks<T: Real>(bars: &[f64], k: usize) -> Vec<Mutex<Block<T>>> {
    let block = |bars: &[f64]| {
        let count = bars.len();
        // Up to a whole block, so that bars are read in whole registers.
        let mut bars: Vec<T> = bars.iter().map(|&bar| at_most(bar)).collect();
        bars.resize(SIDE, T::default());
        let (gates, best) = (bars.clone(), (0..count).map(|_| Vec::new()).collect());
        Mutex::new(Block { bars, gates, counts: vec![0; count], best, k })
    };
    bars.chunks(SIDE).map(block).collect()
}

impl<T: Real> Block<T> {
    /// Takes a candidate for row `r` in, if it is one of the best so far.
    fn offer(&mut self, r: usize, similarity: T, number: usize) {
        let best = &mut self.best[r];
        let at = best.partition_point(|&(s, n)| s > similarity || (s == similarity && n < number));
        if at == self.k {
            return;
        }
        best.truncate(self.k - 1);
        best.insert(at, (similarity, number));
        if best.len() == self.k {
            // An equal candidate of a lower number would still get in.
            self.gates[r] = best[self.k - 1].0.next_down();
        }
    }
}

pub(super) fn rivals<T: Real>(blocks: Vec<Mutex<Block<T>>>, partner: Vec<f64>) -> Rivals {
    let mut found = Rivals { partner, count: Vec::new(), best: Vec::new() };
    for block in blocks {
        let block = block.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.count.extend(block.counts);
        let widen = |best: Vec<(T, usize)>| best.into_iter().map(|(s, n)| (s.to_f64(), n)).collect();
        found.best.extend(block.best.into_iter().map(widen));
    }
    found
}

/// Searches the columns of a tile for its right rows.
pub(super) struct SearchRight<'a, 'b, T> {
    pub(super) tile: &'a mut Tile<'b, T>,
    pub(super) block: &'a mut Block<T>,
}

impl<T: Real> Kernel for SearchRight<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let SearchRight { tile, block } = self;
        let (height, lanes) = (tile.left.len(), T::lanes::<I>());
        let (_, stride) = tile.products();
        let first = tile.left.start;
        for j in 0..tile.right.len() {
            let column = tile.whole_column(j);
            // What fills the last panel is no candidate.
            column[height..].fill(T::from_f64(f64::NAN));
            let bar = T::splat(isa, block.bars[j]);
            let mut gate = T::splat(isa, block.gates[j]);
            let mut count = T::zero(isa);
            for i in (0..stride).step_by(lanes) {
                // SAFETY: i + lanes <= stride, because panels are whole registers.
                let x = unsafe { T::load_real(isa, column[i..].as_ptr()) };
                count = T::count_greater(isa, count, x, bar);
                let mut bits = T::greater_bits(isa, x, gate);
                while bits != 0 {
                    let i = i + bits.trailing_zeros() as usize;
                    block.offer(j, column[i], first + i);
                    gate = T::splat(isa, block.gates[j]);
                    bits &= bits - 1;
                }
            }
            block.counts[j] += count_of::<T, I>(isa, count);
        }
    }
}

/// Searches the columns of a tile for its left rows; what fills the last panel is NaN already.
struct SearchLeft<'a, 'b, T> {
    tile: &'a mut Tile<'b, T>,
    block: &'a mut Block<T>,
}

impl<T: Real> Kernel for SearchLeft<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let SearchLeft { tile, block } = self;
        let (lanes, first) = (T::lanes::<I>(), tile.right.start);
        let mut counts = vec![T::default(); tile.products().1];
        for j in 0..tile.right.len() {
            let column = tile.whole_column(j);
            for i in (0..column.len()).step_by(lanes) {
                // SAFETY: i + lanes is at most the length of `column` and `counts`, because panels are
                // whole registers, and that of a block's bars and gates, which is that of a whole block.
                let mut bits = unsafe {
                    let x = T::load_real(isa, column[i..].as_ptr());
                    let bar = T::load_real(isa, block.bars[i..].as_ptr());
                    count_in_place(isa, counts[i..].as_mut_ptr(), x, bar);
                    T::greater_bits(isa, x, T::load_real(isa, block.gates[i..].as_ptr()))
                };
                while bits != 0 {
                    let i = i + bits.trailing_zeros() as usize;
                    block.offer(i, column[i], first + j);
                    bits &= bits - 1;
                }
            }
        }
        block.counts.iter_mut().zip(counts_of(&counts)).for_each(|(sum, count)| *sum += count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rows;
    use crate::testing::{data, everywhere};
    use crate::tiles::EVERY;

    /// Rivals by a plain loop over given similarities: `at(r, c)` of row `r` with candidate `c`.
    fn naive(n: usize, k: usize, bars: &[f64], at: impl Fn(usize, usize) -> f64) -> Rivals {
        let mut found = Rivals { partner: bars.to_vec(), count: Vec::new(), best: Vec::new() };
        for r in 0..n {
            let exceeds = |&(s, c): &(f64, usize)| c != r && s > bars[r];
            let mut all: Vec<_> = (0..n).map(|c| (at(r, c), c)).filter(exceeds).collect();
            all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            found.count.push(all.len() as u64);
            all.truncate(k);
            found.best.push(all);
        }
        found
    }

    /// What two parts of the candidates come to.
    fn joined(mut one: Rivals, other: Rivals, k: usize) -> Rivals {
        one.count.iter_mut().zip(other.count).for_each(|(sum, count)| *sum += count);
        for (best, more) in one.best.iter_mut().zip(other.best) {
            best.extend(more);
            best.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            best.truncate(k);
        }
        one
    }

    /// Every product, as tiles have them.
    fn products<E: Element>(left: ScaledRows<E>, right: ScaledRows<E>, context: &Context) -> Vec<f64> {
        let (n, m) = (left.rows.count(), right.rows.count());
        let mut all = Vec::new();
        for shift in 0..m {
            let column = pair_products(left, right, |i| (i + shift) % m, context).unwrap();
            all.push(column.into_iter().map(Element::to_f64).collect::<Vec<_>>());
        }
        (0..n * m).map(|at| all[(at % m + m - at / m % m) % m][at / m]).collect()
    }

    fn spread<E: Element>(n: usize, d: usize, seed: usize, from: impl Fn(f64) -> E) -> Vec<E> {
        let mut x: Vec<E> = data(n + seed, d)[seed * d..].iter().map(|&x| from(x - 0.4)).collect();
        // Duplicates, far apart and near: ties that only the number decides.
        for row in (5..n).step_by(5) {
            x.copy_within(d..2 * d, row * d);
        }
        x
    }

    fn check<E: Element>(n: usize, d: usize, any: impl Fn(&[E], usize) -> AnyRows, from: impl Fn(f64) -> E) {
        let (x, y) = (spread(n, d, 0, &from), spread(n, d, 3, &from));
        everywhere(|context| {
            let (image, text) = (any(&x, d), any(&y, d));
            let scale = |rows| unit_scale(rows, "x", context).unwrap();
            let (a, b) = (scale(image), scale(text));
            let left = ScaledRows::new(Rows::new(&x, d), &a);
            let right = ScaledRows::new(Rows::new(&y, d), &b);
            let s = products(left, right, context);
            let own = products(left, left, context);
            let partner: Vec<f64> = (0..n).map(|i| s[i * n + i]).collect();
            for (k, margin) in [(1, 0.0), (10, 0.05), (n + 5, -0.3)] {
                let bars: Vec<f64> = partner.iter().map(|p| p + margin).collect();
                let between = |among| false_negatives(image, text, k, margin, among, context).unwrap();
                let within = |among| false_negatives_within(image, k, margin, among, context).unwrap();
                let (images, texts) = between(EVERY);
                let want = naive(n, k, &bars, |r, c| s[r * n + c]);
                assert!(images == Rivals { partner: partner.clone(), ..want }, "{n} {d} {k} images");
                let want = naive(n, k, &bars, |r, c| s[c * n + r]);
                assert!(texts == Rivals { partner: partner.clone(), ..want }, "{n} {d} {k} texts");
                let all = within(EVERY);
                assert!(all == naive(n, k, &vec![margin; n], |r, c| own[r * n + c]), "{n} {d} {k}");
                let (some, rest) = (between(0..1), between(1..n));
                assert!(joined(some.0, rest.0, k) == images, "{n} {d} {k} images in two parts");
                assert!(joined(some.1, rest.1, k) == texts, "{n} {d} {k} texts in two parts");
                assert!(joined(within(0..2), within(2..n), k) == all, "{n} {d} {k} in two parts");
            }
        });
    }

    #[test]
    fn equals_a_plain_loop_off_every_tile_boundary() {
        for (n, d) in [(2, 1), (31, 3), (SIDE - 1, 2), (SIDE + 1, 33), (2 * SIDE + 30, 9)] {
            check(n, d, |x, d| AnyRows::F64(Rows::new(x, d)), |x| x);
            check(n, d, |x, d| AnyRows::F32(Rows::new(x, d)), |x| x as f32);
        }
        check(90, 130, |x, d| AnyRows::F16(Rows::new(x, d)), half::f16::from_f64);
        check(90, 130, |x, d| AnyRows::Bf16(Rows::new(x, d)), half::bf16::from_f64);
    }
}
