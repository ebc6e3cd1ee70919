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
//! The rounding of `g` grows as rows shrink. An alpha at which it would grow beyond
//! `greatest_stretch` has a pass over the tiles of its own, on rows that are moved before they are
//! multiplied.
//!
//! Exponentials are float32 where rows are narrower than float64, unless at that alpha the terms of
//! a row that matter might be lost to underflow, and float64 otherwise. Each is relative to an offset that
//! all tiles share, so that sums of tiles, and of parts of the work, simply add.
//!
//! Time `O(N^2 (P d + A))` for `P` passes, memory `O(N A)`.

mod pass;
mod shifted;
#[cfg(test)]
mod tests;
mod tile;

use self::pass::{Pass, Step};
use self::shifted::{Moved, Shifted};
use self::tile::Rivals;
use super::modality::Modality;
use super::partners::with_both;
use crate::element::{Element, Real};
use crate::error::{Error, Side};
use crate::linear::unit::units;
use crate::rows::Rows;
use crate::schedule::{Context, collected};
use std::f64::consts::LOG2_E;
use std::ops::Range;

/// Least temperature: two logits are then less than 2^1000 apart, which float64 holds.
pub const LEAST_TEMPERATURE: f64 = 0.003;

/// By how much the rounding of a product of two unit rows may grow as they move.
const GREATEST_STRETCH: f64 = 3.0;

/// Features from which products have so many roundings of their own that less may be added.
const MANY_FEATURES: f64 = 512.0;

/// What is allowed to rows of `dim` features.
fn greatest_stretch(dim: usize) -> f64 {
    (GREATEST_STRETCH * (MANY_FEATURES / dim as f64).sqrt()).clamp(1.0, GREATEST_STRETCH)
}

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

/// The modalities, and what moved cosines are made of beside the products.
struct Pair<'a> {
    left: Modality<'a>,
    right: Modality<'a>,
    /// Whether the left rows move too.
    both: bool,
    /// Cosine of each left row to the right rows' mean, and the reverse.
    left_to_mean: Vec<f64>,
    right_to_mean: Vec<f64>,
    /// Cosine of the means.
    means: f64,
    /// `log2(e) / temperature`.
    scale: f64,
}

impl Pair<'_> {
    fn count(&self) -> usize {
        self.left.count()
    }

    /// `y` of an entry, above no offset, from the elements of its rows.
    fn scaled_cosine(&self, alpha: f64, left: usize, right: usize) -> f64 {
        let (_, a) = self.left.moved(left, if self.both { alpha } else { 0.0 });
        let (_, b) = self.right.moved(right, alpha);
        a.iter().zip(&b).map(|(a, b)| a * b).sum::<f64>() * self.scale
    }
}

/// The work, prepared: everything that takes one pass over the rows.
pub struct Sweep<'a> {
    pair: Pair<'a>,
    alphas: usize,
    passes: Vec<Pass>,
}

/// What is known of the rivals of each row, at each alpha: `alphas x rows`.
#[derive(Clone, Debug, PartialEq)]
pub struct Totals {
    /// Sum over the rivals of `2^y`.
    pub sum: Vec<f64>,
    /// Whether one of them is as near as the partner, or nearer.
    pub missed: Vec<bool>,
}

impl Totals {
    /// Of no tiles.
    pub fn new(length: usize) -> Self {
        Totals { sum: vec![0.0; length], missed: vec![false; length] }
    }

    fn add<T: Real>(&mut self, step: &Step, row: usize, rivals: &Rivals<T>) {
        let start = step.at * step.own.len() + row;
        self.sum[start..].iter_mut().zip(&rivals.sum).for_each(|(sum, part)| *sum += part.to_f64());
        let own = step.own[row..].iter().zip(&rivals.greatest);
        for (missed, (own, rival)) in self.missed[start..].iter_mut().zip(own) {
            *missed |= rival.to_f64() >= *own;
        }
    }
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
        let [left_to_mean] = units(left.rows, [&right.centre.direction], context)?.products;
        let [right_to_mean] = units(right.rows, [&left.centre.direction], context)?.products;
        let means = left.centre.direction.iter().zip(&right.centre.direction).map(|(a, b)| a * b).sum();
        let (both, scale) = (options.both, LOG2_E / options.temperature);
        let pair = Pair { left, right, both, left_to_mean, right_to_mean, means, scale };
        let (l, r) = (pair.left.rows, pair.right.rows);
        let passes = with_both!(l, "right", r, (l, r) => passes(&pair, [l, r], options, context))?;
        Ok(Sweep { pair, alphas: options.alphas.len(), passes })
    }

    /// Number of pairs.
    pub fn count(&self) -> usize {
        self.pair.count()
    }

    /// Number of features.
    pub fn dim(&self) -> usize {
        self.pair.left.rows.dim()
    }

    /// Number of alphas.
    pub fn alphas(&self) -> usize {
        self.alphas
    }

    /// How often all rows are multiplied.
    pub fn passes(&self) -> usize {
        self.passes.len()
    }

    /// Each pair's own `y` at each alpha, `alphas x rows`, and each alpha's offset: a logit is
    /// `(y + offset) ln 2`.
    pub fn own(&self) -> (Vec<f64>, Vec<f64>) {
        let count = self.count();
        let (mut own, mut offset) = (vec![0.0; self.alphas * count], vec![0.0; self.alphas]);
        for step in self.passes.iter().flat_map(|pass| &pass.steps) {
            own[step.at * count..][..count].copy_from_slice(&step.own);
            offset[step.at] = step.offset;
        }
        (own, offset)
    }

    /// Adds the rivals within some blocks of left rows to the totals of either side.
    pub fn run(
        &self,
        blocks: Range<usize>,
        left: &mut Totals,
        right: &mut Totals,
        context: &Context,
    ) -> Result<(), Error> {
        let (l, r) = (self.pair.left.rows, self.pair.right.rows);
        with_both!(l, "right", r, (l, r) => {
            self.passes.iter().try_for_each(|pass| {
                pass.run(&self.pair, [l, r], blocks.clone(), [&mut *left, &mut *right], context)
            })
        })
    }
}

/// One pass for all alphas that follow from the product of the rows as they are, and one for each of
/// the others.
fn passes<E: Element>(
    pair: &Pair,
    rows: [Rows<E>; 2],
    options: &Options,
    context: &Context,
) -> Result<Vec<Pass>, Error> {
    let steps = collected(options.alphas.len(), context, |at| {
        let alpha = options.alphas[at];
        let left = pair.both.then(|| Shifted::new(&pair.left, alpha));
        Ok(Step::new(at, alpha, left, Shifted::new(&pair.right, alpha)))
    })?;
    let limit = greatest_stretch(pair.left.rows.dim());
    let (near, far): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| step.greatest_stretch() <= limit);
    let mut passes = Vec::new();
    if !near.is_empty() {
        passes.push(Pass::new(pair, [None, None], rows, near, context)?);
    }
    for Step { at, .. } in far {
        let alpha = options.alphas[at];
        let left = pair.both.then(|| Moved::new(&pair.left, alpha, Side::Left, context)).transpose()?;
        let right = Moved::new(&pair.right, alpha, Side::Right, context)?;
        let step = Step::new(at, alpha, None, Shifted::none(pair.count()));
        passes.push(Pass::new(pair, [left, Some(right)], rows, vec![step], context)?);
    }
    Ok(passes)
}
