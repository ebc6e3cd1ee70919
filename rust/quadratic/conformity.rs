//! Exact conformity from all pairs: Definition 1 of Levi & Gilboa (ICML 2025) as it is written.
//!
//! `c_j = (1 / (N - 1)) sum over k != j of cos(x_j, x_k)`, from the tiles of one triangle of the
//! matrix of cosines. Quadratic in the number of rows: the independent check of the linear form in
//! [`crate::linear::score`].
//!
//! Cosines are float32 chains from rows narrower than float64 (each within `d 2^-24`, in practice
//! `1e-7`) and float64 chains from float64 rows; they are summed in float64. Memory: three numbers
//! per row, and per thread the packed strip and tile of [`crate::tiles`], 3 MB at 512 features.

use crate::element::{Element, Real};
use crate::error::{Error, Status};
use crate::linear::norms::{RowNorms, norms};
use crate::rows::{AnyRows, Rows};
use crate::schedule::Context;
use crate::simd::{Isa, Kernel};
use crate::tiles::{SIDE, ScaledRows, Tile, for_each_tile};
use crate::with_rows;

/// The conformity of each row within the set; NaN where its status is not [`Status::Ok`]. Invalid
/// rows are no part of the set.
pub fn pairwise_conformity(rows: AnyRows, context: &Context) -> Result<(Vec<f64>, Vec<Status>), Error> {
    with_rows!(rows, rows => of_rows(rows, context))
}

fn of_rows<E: Element>(rows: Rows<E>, context: &Context) -> Result<(Vec<f64>, Vec<Status>), Error> {
    let RowNorms { norm, status } = norms(rows, context)?;
    let valid = status.iter().filter(|&&s| s == Status::Ok).count();
    if valid < 2 {
        return Err(Error::TooFewRows { what: "conformity", found: valid as u64, needed: 2 });
    }
    let invert = |(&norm, &status)| if status == Status::Ok { 1.0 / norm } else { 0.0 };
    let scale: Vec<f64> = norm.iter().zip(&status).map(invert).collect();
    let units = ScaledRows { rows, scale: &scale };
    let mut sums = vec![0.0; rows.count()];
    for_each_tile(
        units,
        units,
        true,
        context,
        |place, tile| context.level.dispatch(SumTile { tile, diagonal: place.left == place.right }),
        |place, (left, right)| {
            let mut add = |block: usize, part: Vec<f64>| {
                sums[block * SIDE..].iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            };
            add(place.right, right);
            // A tile on the diagonal holds each pair twice; one of its sums has them all.
            if place.left != place.right {
                add(place.left, left);
            }
        },
    )?;
    let others = (valid - 1) as f64;
    let mean = |(sum, &status): (f64, &Status)| {
        if status == Status::Ok { (sum / others).clamp(-1.0, 1.0) } else { f64::NAN }
    };
    Ok((sums.into_iter().zip(&status).map(mean).collect(), status))
}

/// Sums over the right rows for each left row, and over the left rows for each right row.
struct SumTile<'a, 'b, T> {
    tile: &'a mut Tile<'b, T>,
    diagonal: bool,
}

impl<T: Real> Kernel for SumTile<'_, '_, T> {
    type Output = (Vec<f64>, Vec<f64>);
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Self::Output {
        let SumTile { tile, diagonal } = self;
        let (height, width) = (tile.left.len(), tile.right.len());
        let mut left = vec![0.0f64; height];
        let mut right = Vec::with_capacity(width);
        let body = height - height % I::LANES_F64;
        for j in 0..width {
            if diagonal {
                tile.column_mut(j)[j] = T::default();
            }
            let column = tile.column(j);
            let mut lanes = isa.zero_f64();
            let mut i = 0;
            while i < body {
                // SAFETY: i + LANES_F64 <= height, the length of `column` and `left`.
                unsafe {
                    let x = T::load_f64(isa, column[i..].as_ptr());
                    let sum = left[i..].as_mut_ptr();
                    isa.store_f64(sum, isa.add_f64(isa.load_f64(sum), x));
                    lanes = isa.add_f64(lanes, x);
                }
                i += I::LANES_F64;
            }
            let mut total = isa.sum_f64(lanes);
            for i in body..height {
                left[i] += column[i].to_f64();
                total += column[i].to_f64();
            }
            right.push(total);
        }
        (left, right)
    }
}
