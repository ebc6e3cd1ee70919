//! One pass over the tiles: the alphas that are made of one product of all rows.

use super::shifted::{Moved, Shifted};
use super::tile::{Exponentials, Found, LeftRows, NO_RIVAL, Own, RightRows};
use super::{Pair, Totals};
use crate::element::{Element, Real};
use crate::error::Error;
use crate::pack::ScaledRows;
use crate::rows::Rows;
use crate::schedule::{Context, collected};
use crate::tiles::{Place, SIDE, Tile, Which, for_each_tile, pair_products};
use std::ops::Range;

/// Greatest `y` of a float32 exponential: 256 of them can be added.
const GREATEST_F32: f64 = 119.0;

/// Least `y` that the greatest term of a row may have in float32: terms of `e^-24` of it are then
/// still normal numbers.
const LEAST_F32: f64 = -126.0 + 35.0;

/// Rivals that are looked at for a greater term, where a pair's own is not great enough.
const SAMPLE: usize = 32;

/// The rows as they are multiplied, and the alphas that follow from their products.
pub struct Pass {
    /// Rows that are moved before they are multiplied.
    left: Option<Moved>,
    right: Option<Moved>,
    pub steps: Vec<Step>,
}

/// What a tile gives of each alpha, in the arithmetic that it takes.
enum Sums<T> {
    Plain(Found<T>),
    Wide(Found<f64>),
}

impl Pass {
    /// Prepares the alphas.
    pub fn new<E: Element>(
        pair: &Pair,
        [left, right]: [Option<Moved>; 2],
        rows: [Rows<E>; 2],
        steps: Vec<Step>,
        context: &Context,
    ) -> Result<Self, Error> {
        let mut pass = Pass { left, right, steps };
        let (left, right) = pass.units(pair, rows);
        let products = pair_products(left, right, |row| row, context)?;
        let wide: Vec<f64> = products.iter().map(|product| product.to_f64()).collect();
        let prepared = collected(pass.steps.len(), context, |at| {
            Ok(pass.steps[at].prepared(pair, &products, &wide, context))
        })?;
        for (step, (offset, wide, own)) in pass.steps.iter_mut().zip(prepared) {
            (step.offset, step.wide, step.own) = (offset, wide, own);
        }
        Ok(pass)
    }

    fn units<'b, E: Element>(
        &'b self,
        pair: &'b Pair,
        [left, right]: [Rows<'b, E>; 2],
    ) -> (ScaledRows<'b, E>, ScaledRows<'b, E>) {
        let left = Moved::units(self.left.as_ref(), &pair.left, left);
        (left, Moved::units(self.right.as_ref(), &pair.right, right))
    }

    /// Adds the rivals within some blocks of left rows to the totals of either side.
    pub fn run<E: Element>(
        &self,
        pair: &Pair,
        rows: [Rows<E>; 2],
        blocks: Range<usize>,
        [left_totals, right_totals]: [&mut Totals; 2],
        context: &Context,
    ) -> Result<(), Error> {
        let (left, right) = self.units(pair, rows);
        let reduce = |_, tile: &mut Tile<E::Real>| self.reduce(pair, tile, context);
        let merge = |place: Place, part: Vec<Sums<E::Real>>| {
            for (step, sums) in self.steps.iter().zip(part) {
                let (left, right) = (place.left * SIDE, place.right * SIDE);
                match sums {
                    Sums::Plain(found) => {
                        left_totals.add(step, left, &found.left);
                        right_totals.add(step, right, &found.right);
                    }
                    Sums::Wide(found) => {
                        left_totals.add(step, left, &found.left);
                        right_totals.add(step, right, &found.right);
                    }
                }
            }
        };
        for_each_tile(left, right, Which::All(blocks), context, reduce, merge)
    }

    fn reduce<T: Real>(&self, pair: &Pair, tile: &mut Tile<T>, context: &Context) -> Vec<Sums<T>> {
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
        let cosine = padded(&pair.left_to_mean[rows.clone()], stride, 0.0);
        let (widened, wide_cosine) = if self.steps.iter().any(|step| step.wide) {
            let widened: Vec<f64> = products.iter().map(|product| product.to_f64()).collect();
            (widened, padded(&pair.left_to_mean[rows.clone()], stride, 0.0))
        } else {
            (Vec::new(), Vec::new())
        };
        let sums = |step: &Step| {
            let (rows, columns) = (rows.clone(), columns.clone());
            if step.wide {
                Sums::Wide(step.sums(pair, &widened, &wide_cosine, rows, columns, context))
            } else {
                Sums::Plain(step.sums(pair, products, &cosine, rows, columns, context))
            }
        };
        self.steps.iter().map(sums).collect()
    }
}

/// One alpha: how it follows from the products.
pub struct Step {
    /// Its number.
    pub at: usize,
    alpha: f64,
    left: Option<Shifted>,
    right: Shifted,
    /// What exponents are relative to.
    pub offset: f64,
    /// Whether exponentials are float64 although products are float32.
    wide: bool,
    /// Each pair's own `y`, in the arithmetic of its rivals'.
    pub own: Vec<f64>,
}

impl Step {
    /// Number `at`, to be prepared by its pass.
    pub fn new(at: usize, alpha: f64, left: Option<Shifted>, right: Shifted) -> Self {
        Step { at, alpha, left, right, offset: 0.0, wide: false, own: Vec::new() }
    }

    /// By how much the rounding of a product may grow: of a pair of rows, or of one that is moved alone.
    pub fn greatest_stretch(&self) -> f64 {
        let left = self.left.as_ref().map_or(1.0, Shifted::greatest_stretch);
        let right = self.right.greatest_stretch();
        left.max(right).max(left * right)
    }

    /// Offset, width and own `y`, from each pair's product.
    fn prepared<T: Real>(
        &self,
        pair: &Pair,
        products: &[T],
        widened: &[f64],
        context: &Context,
    ) -> (f64, bool, Vec<f64>) {
        let own = self.own_at(pair, widened, 0.0, context);
        let mean = own.iter().sum::<f64>() / own.len() as f64;
        if size_of::<T>() == size_of::<f32>() {
            let offset = mean.max(pair.scale - GREATEST_F32).round();
            let mut far = (0..own.len()).filter(|&row| own[row] - offset < LEAST_F32);
            if far.all(|row| self.has_great_rivals(pair, row, offset)) {
                return (offset, false, self.own_at(pair, products, offset, context));
            }
        }
        let offset = mean.round();
        (offset, true, self.own_at(pair, widened, offset, context))
    }

    /// Each pair's own `y` above an offset.
    fn own_at<T: Real>(&self, pair: &Pair, products: &[T], offset: f64, context: &Context) -> Vec<f64> {
        let all = 0..pair.count();
        let cosine = padded(&pair.left_to_mean, all.len(), 0.0);
        let left = self.left_rows(&cosine, all.clone(), offset);
        let right = self.right_rows(pair, all);
        let shift = T::from_f64(-offset);
        let own = context.level.dispatch(Own { products, left: &left, right: &right, shift });
        own.iter().map(|y| y.to_f64()).collect()
    }

    /// Whether a row and a column are seen to have a rival whose term float32 holds with room to spare.
    fn has_great_rivals(&self, pair: &Pair, row: usize, offset: f64) -> bool {
        let count = pair.count();
        let rivals = (1..count.min(SAMPLE + 1)).map(|step| (row + step) % count);
        let is_great = |i: usize, k: usize| pair.scaled_cosine(self.alpha, i, k) - offset >= LEAST_F32;
        rivals.clone().any(|k| is_great(row, k)) && rivals.clone().any(|k| is_great(k, row))
    }

    fn sums<T: Real>(
        &self,
        pair: &Pair,
        products: &[T],
        cosine: &[T],
        rows: Range<usize>,
        columns: Range<usize>,
        context: &Context,
    ) -> Found<T> {
        let height = rows.len();
        let mut found = context.level.dispatch(Exponentials {
            products,
            stride: cosine.len(),
            left: &self.left_rows(cosine, rows, self.offset),
            right: &self.right_rows(pair, columns),
            shift: T::from_f64(-self.offset),
        });
        found.left.sum.truncate(height);
        found.left.greatest.truncate(height);
        found
    }

    fn left_rows<'b, T: Real>(&self, cosine: &'b [T], range: Range<usize>, offset: f64) -> LeftRows<'b, T> {
        let moved = self.left.as_ref().map(|left| {
            let stride = cosine.len();
            let shift = padded(&vec![-offset; range.len()], stride, NO_RIVAL);
            let factor = padded(&left.factor[range.clone()], stride, 0.0);
            [factor, padded(&left.stretch[range], stride, 1.0), shift]
        });
        LeftRows { cosine, moved }
    }

    fn right_rows<T: Real>(&self, pair: &Pair, range: Range<usize>) -> RightRows<T> {
        let (factor, stretch) = (&self.right.factor[range.clone()], &self.right.stretch[range.clone()]);
        let product = |(to_mean, factor): (&f64, &f64)| T::from_f64(to_mean - factor * pair.means);
        let product = match self.left {
            Some(_) => pair.right_to_mean[range].iter().zip(factor).map(product).collect(),
            None => Vec::new(),
        };
        let scale = stretch.iter().map(|stretch| T::from_f64(stretch * pair.scale)).collect();
        RightRows { factor: padded(factor, factor.len(), 0.0), scale, product }
    }
}

/// In another type, with padding after it.
fn padded<T: Real>(numbers: &[f64], length: usize, padding: f64) -> Vec<T> {
    let mut all: Vec<T> = Vec::with_capacity(length);
    all.extend(numbers.iter().map(|&x| T::from_f64(x)));
    all.resize(length, T::from_f64(padding));
    all
}
