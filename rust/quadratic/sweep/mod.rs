//! The contrastive loss of pairs, at every alpha that a modality's centre is moved by (Eq. 7 to 9 and
//! Figure 6 of Levi & Gilboa, ICML 2025), from one product of all rows.
//!
//! With unit rows `t_i` (left) and `v_k` (right), `g = t_i.v_k`, the means' directions `n_t`, `n_v`
//! and lengths, and `q_k = alpha |m_v| / |v_k|`, `p_i` likewise, the cosine of the moved rows is
//!
//! ```text
//! (g - q_k t_i.n_v - p_i (v_k.n_t - q_k n_t.n_v)) / (|t_i - p_i n_t| |v_k - q_k n_v|)
//! ```
//!
//! without the terms in `p` where only the right rows move. A pair's loss in one direction is
//! `log(1 + sum over its rivals of e^(logit - own logit))`, which loses nothing where pairs match well.
//!
//! Exponentials are float32 where rows are narrower than float64, unless at that alpha the terms of
//! a row that matter might be lost to underflow, and float64 otherwise. Each is relative to an offset that
//! all tiles share, so that sums of tiles, and of parts of the work, simply add.
//!
//! Time `O(N^2 (d + A))`, memory `O(N A)`.

mod shifted;
#[cfg(test)]
mod tests;
mod tile;

use self::shifted::Shifted;
use self::tile::{Exponentials, Found, LeftRows, NO_RIVAL, Own, RightRows, Rivals};
use super::modality::Modality;
use super::partners::with_both;
use crate::element::{Element, Real};
use crate::error::{Error, Side};
use crate::linear::unit::units;
use crate::pack::ScaledRows;
use crate::rows::Rows;
use crate::schedule::{Context, ordered};
use crate::tiles::{SIDE, Tile, Which, for_each_tile, pair_products};
use std::f64::consts::LOG2_E;
use std::ops::Range;

/// Least temperature: two logits are then less than 2^1000 apart, which float64 holds.
pub const LEAST_TEMPERATURE: f64 = 0.003;

/// Greatest `y` of a float32 exponential: 256 of them can be added.
const GREATEST_F32: f64 = 119.0;

/// Least `y` that the greatest term of a row may have in float32: terms of `e^-24` of it are then
/// still normal numbers.
const LEAST_F32: f64 = -126.0 + 35.0;

/// Rivals that are looked at for a greater term, where a pair's own is not great enough.
const SAMPLE: usize = 32;

/// Rows nearer to zero than this, relative to their length before the move, are computed exactly:
/// the products' error grows by the inverse.
const LEAST_LENGTH: (f64, f64) = (0.125, 1e-3);

/// What is to be computed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Alphas by which centres move.
    pub alphas: Vec<f64>,
    /// Whether the left rows move too; the right ones do.
    pub both: bool,
    /// Temperature, [`LEAST_TEMPERATURE`] or more.
    pub temperature: f64,
}

/// One alpha, prepared.
struct Step {
    alpha: f64,
    right: Shifted,
    left: Option<Shifted>,
    offset: f64,
    /// Whether exponentials are float64 although products are float32.
    wide: bool,
    /// Each pair's own `y`, in the arithmetic of its rivals'.
    own: Vec<f64>,
}

/// The work, prepared: everything that takes one pass over the rows.
pub struct Sweep<'a> {
    left: Modality<'a>,
    right: Modality<'a>,
    /// Cosine of each left row to the right rows' mean, and the reverse.
    left_to_mean: Vec<f64>,
    right_to_mean: Vec<f64>,
    /// Cosine of the means.
    means: f64,
    scale: f64,
    steps: Vec<Step>,
}

/// What the rivals of each row add up to, at each alpha: `alphas x rows`.
#[derive(Clone, Debug, PartialEq)]
pub struct Totals {
    /// Sum over the rivals of `2^y`.
    pub sum: Vec<f64>,
    /// Greatest `y` of a rival.
    pub greatest: Vec<f64>,
}

impl Totals {
    /// Of no tiles.
    pub fn new(length: usize) -> Self {
        Totals { sum: vec![0.0; length], greatest: vec![f64::NEG_INFINITY; length] }
    }

    fn add<T: Real>(&mut self, start: usize, rivals: &Rivals<T>) {
        let (sums, greatest) = (&mut self.sum[start..], &mut self.greatest[start..]);
        sums.iter_mut().zip(&rivals.sum).for_each(|(sum, part)| *sum += part.to_f64());
        for (top, part) in greatest.iter_mut().zip(&rivals.greatest) {
            // Neither is NaN, which `max` would look for.
            let part = part.to_f64();
            *top = if part > *top { part } else { *top };
        }
    }

    fn add_one(&mut self, at: usize, y: f64) {
        self.sum[at] += y.exp2();
        self.greatest[at] = self.greatest[at].max(y);
    }
}

/// What a tile gives: of each alpha in the arithmetic that it takes, and entries computed exactly.
struct Part<T> {
    narrow: Vec<Found<T>>,
    wide: Vec<Found<f64>>,
    /// `(alpha, left row, right row, y)`.
    exact: Vec<(usize, usize, usize, f64)>,
}

impl<'a> Sweep<'a> {
    /// Prepares every alpha.
    ///
    /// # Errors
    /// [`Error::Vanishes`] for a row that some alpha moves to zero, [`Error::ElementType`] for modalities
    /// of two element types.
    ///
    /// # Panics
    /// If the modalities differ in count or dimension.
    pub fn new(
        left: Modality<'a>,
        right: Modality<'a>,
        options: &Options,
        context: &Context,
    ) -> Result<Self, Error> {
        assert!(left.count() == right.count() && left.rows.dim() == right.rows.dim());
        let [left_to_mean] = units(left.rows, [&right.direction], context)?.products;
        let [right_to_mean] = units(right.rows, [&left.direction], context)?.products;
        let means = left.direction.iter().zip(&right.direction).map(|(a, b)| a * b).sum();
        let scale = LOG2_E / options.temperature;
        let mut sweep = Sweep { left, right, left_to_mean, right_to_mean, means, scale, steps: Vec::new() };
        let (any_left, any_right) = (sweep.left.rows, sweep.right.rows);
        let steps =
            with_both!(any_left, "right", any_right, (l, r) => sweep.prepare(l, r, options, context))?;
        sweep.steps = steps;
        Ok(sweep)
    }

    /// Number of pairs.
    pub fn count(&self) -> usize {
        self.left.count()
    }

    /// Blocks of left rows: what the work can be cut into.
    pub fn blocks(&self) -> usize {
        self.count().div_ceil(SIDE)
    }

    /// Each pair's own `y` at each alpha, `alphas x rows`, and each alpha's offset: a logit is
    /// `(y + offset) ln 2`.
    pub fn own(&self) -> (Vec<f64>, Vec<f64>) {
        let own = self.steps.iter().flat_map(|step| step.own.iter().copied()).collect();
        (own, self.steps.iter().map(|step| step.offset).collect())
    }

    /// Adds the rivals within some blocks of left rows to the totals of either side.
    pub fn run(
        &self,
        blocks: Range<usize>,
        left: &mut Totals,
        right: &mut Totals,
        context: &Context,
    ) -> Result<(), Error> {
        let (l, r) = (self.left.rows, self.right.rows);
        with_both!(l, "right", r, (l, r) => self.run_typed(l, r, blocks, left, right, context))
    }

    fn prepare<E: Element>(
        &self,
        left: Rows<E>,
        right: Rows<E>,
        options: &Options,
        context: &Context,
    ) -> Result<Vec<Step>, Error> {
        let narrow = size_of::<E::Real>() == size_of::<f32>();
        let least = if narrow { LEAST_LENGTH.0 } else { LEAST_LENGTH.1 };
        let (left, right) = self.scaled(left, right);
        let products = pair_products(left, right, |pair| pair, context)?;
        let pairs: Vec<f64> = products.iter().map(|product| product.to_f64()).collect();
        let prepare = |(): &mut (), at: usize| {
            let alpha = options.alphas[at];
            let right = Shifted::new(&self.right, alpha, least, Side::Right)?;
            let left =
                options.both.then(|| Shifted::new(&self.left, alpha, least, Side::Left)).transpose()?;
            let mut step = Step { alpha, right, left, offset: 0.0, wide: true, own: Vec::new() };
            self.set_own(&mut step, &pairs, context);
            let mean = step.own.iter().sum::<f64>() / self.count() as f64;
            step.offset = mean.max(self.scale - GREATEST_F32).round();
            step.wide = narrow
                && (0..self.count())
                    .filter(|&pair| step.own[pair] - step.offset < LEAST_F32)
                    .any(|pair| !self.has_great_rivals(&step, pair));
            if step.wide || !narrow {
                step.offset = mean.round();
                self.set_own(&mut step, &pairs, context);
            } else {
                self.set_own(&mut step, &products, context);
            }
            Ok(step)
        };
        let mut steps = Vec::with_capacity(options.alphas.len());
        ordered(
            options.alphas.len(),
            context,
            || (),
            prepare,
            |step| {
                steps.push(step);
                Ok(())
            },
        )?;
        Ok(steps)
    }

    fn scaled<'b, E>(
        &'b self,
        left: Rows<'b, E>,
        right: Rows<'b, E>,
    ) -> (ScaledRows<'b, E>, ScaledRows<'b, E>) {
        let (a, b) = (&self.left.inverse, &self.right.inverse);
        (ScaledRows { rows: left, scale: a }, ScaledRows { rows: right, scale: b })
    }

    fn set_own<T: Real>(&self, step: &mut Step, products: &[T], context: &Context) {
        let all = 0..self.count();
        let cosine = self.left_cosine(all.clone(), all.len());
        let left = self.left_rows(step, &cosine, all.clone());
        let right = self.right_rows(step, all);
        let shift = T::from_f64(-step.offset);
        let own = context.level.dispatch(Own { products, left: &left, right: &right, shift });
        step.own = own.iter().map(|y| y.to_f64()).collect();
        let rows = step.left.iter().flat_map(|left| &left.exact).chain(&step.right.exact);
        for pair in rows.copied().collect::<Vec<_>>() {
            step.own[pair] = self.exact(step, pair, pair);
        }
    }

    /// Whether a row and a column are seen to have a rival whose term float32 holds with room to spare.
    fn has_great_rivals(&self, step: &Step, pair: usize) -> bool {
        let count = self.count();
        let rivals = (1..count.min(SAMPLE + 1)).map(|step| (pair + step) % count);
        rivals.clone().any(|k| self.exact(step, pair, k) >= LEAST_F32)
            && rivals.clone().any(|k| self.exact(step, k, pair) >= LEAST_F32)
    }

    /// `y` of an entry from the elements of its rows.
    fn exact(&self, step: &Step, left: usize, right: usize) -> f64 {
        let (_, a) = self.left.moved(left, if step.left.is_some() { step.alpha } else { 0.0 });
        let (_, b) = self.right.moved(right, step.alpha);
        a.iter().zip(&b).map(|(a, b)| a * b).sum::<f64>() * self.scale - step.offset
    }

    /// Of left rows to the mean that the right rows move by, padded.
    fn left_cosine<T: Real>(&self, range: Range<usize>, stride: usize) -> Vec<T> {
        padded(&self.left_to_mean[range], stride, 0.0)
    }

    fn left_rows<'b, T: Real>(&self, step: &Step, cosine: &'b [T], range: Range<usize>) -> LeftRows<'b, T> {
        let moved = step.left.as_ref().map(|left| {
            let stride = cosine.len();
            let mut shift = padded(&vec![-step.offset; range.len()], stride, NO_RIVAL);
            for &row in left.exact.iter().filter(|&row| range.contains(row)) {
                shift[row - range.start] = T::from_f64(NO_RIVAL);
            }
            let factor = padded(&left.factor[range.clone()], stride, 0.0);
            [factor, padded(&left.stretch[range], stride, 1.0), shift]
        });
        LeftRows { cosine, moved }
    }

    fn right_rows<T: Real>(&self, step: &Step, range: Range<usize>) -> RightRows<T> {
        let (factor, stretch) = (&step.right.factor[range.clone()], &step.right.stretch[range.clone()]);
        let product = |(to_mean, factor): (&f64, &f64)| T::from_f64(to_mean - factor * self.means);
        let product = match step.left {
            Some(_) => self.right_to_mean[range].iter().zip(factor).map(product).collect(),
            None => Vec::new(),
        };
        let scale = stretch.iter().map(|stretch| T::from_f64(stretch * self.scale)).collect();
        RightRows { factor: padded(factor, factor.len(), 0.0), scale, product }
    }

    fn run_typed<E: Element>(
        &self,
        left: Rows<E>,
        right: Rows<E>,
        blocks: Range<usize>,
        left_totals: &mut Totals,
        right_totals: &mut Totals,
        context: &Context,
    ) -> Result<(), Error> {
        let (left, right) = self.scaled(left, right);
        let count = self.count();
        let reduce = |_, tile: &mut Tile<E::Real>| self.reduce(tile, context);
        let merge = |place: crate::tiles::Place, part: Part<E::Real>| {
            let (row, column) = (place.left * SIDE, place.right * SIDE);
            let (mut narrow, mut wide) = (part.narrow.iter(), part.wide.iter());
            for (a, step) in self.steps.iter().enumerate() {
                let (l, r) = (a * count + row, a * count + column);
                if step.wide {
                    let found = wide.next().expect("one for each such alpha");
                    left_totals.add(l, &found.left);
                    right_totals.add(r, &found.right);
                } else {
                    let found = narrow.next().expect("one for each such alpha");
                    left_totals.add(l, &found.left);
                    right_totals.add(r, &found.right);
                }
            }
            for (a, i, k, y) in part.exact {
                left_totals.add_one(a * count + i, y);
                right_totals.add_one(a * count + k, y);
            }
        };
        for_each_tile(left, right, Which::LeftBlocks(blocks), context, reduce, merge)
    }

    fn reduce<T: Real>(&self, tile: &mut Tile<T>, context: &Context) -> Part<T> {
        let (rows, columns) = (tile.left.clone(), tile.right.clone());
        let no_rival = T::from_f64(NO_RIVAL);
        for (j, k) in columns.clone().enumerate() {
            let column = tile.whole_column(j);
            column[rows.len()..].fill(no_rival);
            if rows.contains(&k) {
                column[k - rows.start] = no_rival;
            }
        }
        let (products, stride) = tile.products();
        let cosine = self.left_cosine(rows.clone(), stride);
        let (widened, wide_cosine) = if self.steps.iter().any(|step| step.wide) {
            let widened: Vec<f64> = products.iter().map(|product| product.to_f64()).collect();
            (widened, self.left_cosine(rows.clone(), stride))
        } else {
            (Vec::new(), Vec::new())
        };
        let mut part = Part { narrow: Vec::new(), wide: Vec::new(), exact: Vec::new() };
        for (a, step) in self.steps.iter().enumerate() {
            if step.wide {
                part.wide.push(self.tile_at(step, &widened, &wide_cosine, &rows, &columns, context));
            } else {
                part.narrow.push(self.tile_at(step, products, &cosine, &rows, &columns, context));
            }
            let among = |exact: &[usize], range: &Range<usize>| -> Vec<usize> {
                exact.iter().copied().filter(|row| range.contains(row)).collect()
            };
            let exact_left = step.left.as_ref().map_or(Vec::new(), |left| among(&left.exact, &rows));
            let exact_right = among(&step.right.exact, &columns);
            let mut entries: Vec<(usize, usize)> =
                exact_right.iter().flat_map(|&k| rows.clone().map(move |i| (i, k))).collect();
            for i in exact_left {
                entries.extend(columns.clone().filter(|k| !exact_right.contains(k)).map(|k| (i, k)));
            }
            entries.retain(|(i, k)| i != k);
            part.exact.extend(entries.into_iter().map(|(i, k)| (a, i, k, self.exact(step, i, k))));
        }
        part
    }

    fn tile_at<T: Real>(
        &self,
        step: &Step,
        products: &[T],
        cosine: &[T],
        rows: &Range<usize>,
        columns: &Range<usize>,
        context: &Context,
    ) -> Found<T> {
        let exact = &step.right.exact;
        let taking_part = columns.clone().filter(|k| exact.binary_search(k).is_err());
        let mut found = context.level.dispatch(Exponentials {
            products,
            stride: cosine.len(),
            left: &self.left_rows(step, cosine, rows.clone()),
            right: &self.right_rows(step, columns.clone()),
            columns: &taking_part.map(|k| k - columns.start).collect::<Vec<_>>(),
            shift: T::from_f64(-step.offset),
        });
        found.left.sum.truncate(rows.len());
        found.left.greatest.truncate(rows.len());
        found
    }
}

/// In another type, with padding after it.
fn padded<T: Real>(numbers: &[f64], length: usize, padding: f64) -> Vec<T> {
    let mut all: Vec<T> = Vec::with_capacity(length);
    all.extend(numbers.iter().map(|&x| T::from_f64(x)));
    all.resize(length, T::from_f64(padding));
    all
}
