//! Exact conformity from all pairs: Definition 1 of Levi & Gilboa (ICML 2025) as it is written.
//!
//! `c_j = (1 / (N - 1)) sum over k != j of cos(x_j, x_k)`, from the tiles of one triangle of the
//! matrix of cosines. Quadratic in the number of rows: the independent check of the linear form in
//! [`crate::linear::score`].
//!
//! Cosines are float32 sums from rows narrower than float64, near `1e-7` (the bound is that of
//! [`crate::math::product`]), and float64 sums from float64 rows; they are added in float64. Memory: three numbers
//! per row, and per thread the packed strip and tile of [`crate::tiles`], 3 MB at 512 features.

use crate::element::{Element, Real};
use crate::error::{Error, Status};
use crate::linear::moments::OnInvalid;
use crate::linear::unit::{Units, units};
use crate::pack::ScaledRows;
use crate::rows::{AnyRows, Rows};
use crate::schedule::Context;
use crate::simd::{Isa, Kernel};
use crate::tiles::{EVERY, SIDE, Tile, Which, for_each_tile};
use crate::with_rows;

/// The conformity of each row within the set; NaN where its status is not [`Status::Ok`]. Invalid
/// rows are refused, or are no part of the set.
pub fn pairwise_conformity(
    rows: AnyRows,
    on_invalid: OnInvalid,
    context: &Context,
) -> Result<(Vec<f64>, Vec<Status>), Error> {
    with_rows!(rows, typed => of_rows(rows, typed, on_invalid, context))
}

fn of_rows<E: Element>(
    any: AnyRows,
    rows: Rows<E>,
    on_invalid: OnInvalid,
    context: &Context,
) -> Result<(Vec<f64>, Vec<Status>), Error> {
    let Units { norm, status, products: [] } = units(any, [], context)?;
    let invalid = status.iter().position(|&status| status != Status::Ok);
    if let (Some(row), OnInvalid::Error) = (invalid, on_invalid) {
        return Err(Error::InvalidRow { row: row as u64, status: status[row] });
    }
    let valid = status.iter().filter(|&&s| s == Status::Ok).count();
    if valid < 2 {
        return Err(Error::TooFewRows { what: "conformity", found: valid as u64, needed: 2 });
    }
    let invert = |(&norm, &status)| if status == Status::Ok { 1.0 / norm } else { 0.0 };
    let scale: Vec<f64> = norm.iter().zip(&status).map(invert).collect();
    let units = ScaledRows::new(rows, &scale);
    let (mut sums, mut own) = (vec![0.0; rows.count()], vec![0.0; rows.count()]);
    for_each_tile(
        units,
        units,
        Which::Upper(EVERY),
        context,
        |place, tile| {
            let sums = context.level.dispatch(SumTile { tile });
            let own = (place.left == place.right).then(|| tile.diagonal());
            (sums, own)
        },
        |place, ((left, right), diagonal)| {
            let add = |sums: &mut [f64], block: usize, part: Vec<f64>| {
                sums[block * SIDE..].iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            };
            add(&mut sums, place.right, right);
            match diagonal {
                // A tile on the diagonal holds each pair twice; one of its sums has them all.
                Some(diagonal) => add(&mut own, place.left, diagonal),
                None => add(&mut sums, place.left, left),
            }
        },
    )?;
    // A row's own cosine is taken out at the end, so that the sums of identical rows are made of the
    // same terms in the same order, and tie exactly.
    let others = (valid - 1) as f64;
    let mean = |j: usize| match status[j] {
        Status::Ok => ((sums[j] - own[j]) / others).clamp(-1.0, 1.0),
        _ => f64::NAN,
    };
    Ok(((0..rows.count()).map(mean).collect(), status))
}

/// Sums over the right rows for each left row, and over the left rows for each right row.
///
/// Both are made in one order: term `k` of the other block goes to lane `k % LANES`, lanes are added
/// by halving, terms beyond the last whole register come after that. What a row's sum is does not
/// depend on the side of the tile that it is on.
struct SumTile<'a, 'b, T> {
    tile: &'a Tile<'b, T>,
}

impl<T: Real> Kernel for SumTile<'_, '_, T> {
    type Output = (Vec<f64>, Vec<f64>);
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Self::Output {
        let tile = self.tile;
        let (height, width) = (tile.left.len(), tile.right.len());
        let lanes = I::LANES_F64;
        let body = |length: usize| length - length % lanes;
        let mut left = vec![0.0f64; lanes * height];
        let mut right = Vec::with_capacity(width);
        let mut partial = [0.0; 8];
        for j in 0..width {
            if j == body(width) {
                halve(&mut left, height);
            }
            let lane = if j < body(width) { j % lanes } else { 0 };
            let sums = &mut left[lane * height..(lane + 1) * height];
            let column = tile.column(j);
            let mut total = isa.zero_f64();
            for i in (0..body(height)).step_by(lanes) {
                // SAFETY: i + lanes <= height, the length of `column` and `sums`.
                unsafe {
                    let x = T::load_f64(isa, column[i..].as_ptr());
                    let sum = sums[i..].as_mut_ptr();
                    isa.store_f64(sum, isa.add_f64(isa.load_f64(sum), x));
                    total = isa.add_f64(total, x);
                }
            }
            // SAFETY: no register has more than eight lanes.
            unsafe { isa.store_f64(partial.as_mut_ptr(), total) };
            halve(&mut partial[..lanes], 1);
            for i in body(height)..height {
                sums[i] += column[i].to_f64();
                partial[0] += column[i].to_f64();
            }
            right.push(partial[0]);
        }
        if body(width) == width {
            halve(&mut left, height);
        }
        left.truncate(height);
        (left, right)
    }
}

/// Adds vectors of length `size`, a power of two of them, into the first by halving their number.
#[inline(always)]
fn halve(vectors: &mut [f64], size: usize) {
    let mut half = vectors.len() / 2;
    while half >= size && half > 0 {
        let (sums, rest) = vectors.split_at_mut(half);
        sums.iter_mut().zip(rest.iter()).for_each(|(sum, x)| *sum += x);
        half /= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{data, everywhere};

    fn naive(x: &[f64], d: usize) -> Vec<f64> {
        let unit = |row: &[f64]| -> Vec<f64> {
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            row.iter().map(|x| x / norm).collect()
        };
        let units: Vec<Vec<f64>> = x.chunks(d).map(unit).collect();
        let mut total = vec![0.0; d];
        units.iter().for_each(|u| (0..d).for_each(|k| total[k] += u[k]));
        let dot = |u: &[f64]| u.iter().zip(&total).map(|(x, y)| x * y).sum::<f64>();
        units.iter().map(|u| (dot(u) - 1.0) / (units.len() - 1) as f64).collect()
    }

    #[test]
    fn equals_the_linear_form_off_every_tile_boundary() {
        for (n, d) in [(2, 3), (31, 1), (SIDE - 1, 7), (SIDE, 8), (SIDE + 1, 33), (5 * SIDE + 13, 17)] {
            let x = data(n, d);
            let narrow: Vec<f32> = x.iter().map(|&x| x as f32).collect();
            let rounded: Vec<f64> = narrow.iter().map(|&x| f64::from(x)).collect();
            let (want, want_narrow) = (naive(&x, d), naive(&rounded, d));
            let mut first: Vec<Vec<f64>> = Vec::new();
            everywhere(|context| {
                let (got, _) =
                    pairwise_conformity(AnyRows::F64(Rows::new(&x, d)), OnInvalid::Skip, context).unwrap();
                let (got_narrow, _) =
                    pairwise_conformity(AnyRows::F32(Rows::new(&narrow, d)), OnInvalid::Skip, context)
                        .unwrap();
                for j in 0..n {
                    assert!((got[j] - want[j]).abs() < 1e-13, "{n} {d} {j}: {} {}", got[j], want[j]);
                    assert!((got_narrow[j] - want_narrow[j]).abs() < 1e-6, "{n} {d} {j}");
                }
                if context.threads == 1 {
                    first.push(got_narrow);
                } else {
                    assert_eq!(first.last(), Some(&got_narrow), "threads");
                }
            });
        }
    }

    #[test]
    fn identical_rows_tie_wherever_they_lie() {
        let (n, d) = (3 * SIDE + 40, 65);
        let mut x: Vec<f32> = data(n, d).iter().map(|&x| x as f32).collect();
        let places = [0, 1, 17, SIDE - 1, SIDE, 2 * SIDE + 5, n - 1];
        let row = x[..d].to_vec();
        places.iter().for_each(|&at| x[at * d..(at + 1) * d].copy_from_slice(&row));
        everywhere(|context| {
            let (got, _) =
                pairwise_conformity(AnyRows::F32(Rows::new(&x, d)), OnInvalid::Skip, context).unwrap();
            assert!(places.iter().all(|&at| got[at] == got[0]), "{:?}", places.map(|at| got[at]));
        });
    }

    #[test]
    fn invalid_rows_are_no_part_of_the_set() {
        let (n, d) = (40, 5);
        let x = data(n, d);
        let mut spoiled = x.clone();
        spoiled.splice(10 * d..10 * d, [f64::NAN; 5]);
        spoiled.splice(0..0, [0.0; 5]);
        let want = naive(&x, d);
        everywhere(|context| {
            let (got, status) =
                pairwise_conformity(AnyRows::F64(Rows::new(&spoiled, d)), OnInvalid::Skip, context).unwrap();
            assert_eq!((status[0], status[11]), (Status::ZeroNorm, Status::NonFinite));
            let valid: Vec<f64> = got.into_iter().filter(|c| !c.is_nan()).collect();
            assert!(valid.len() == n && valid.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-13));
            let refused =
                pairwise_conformity(AnyRows::F64(Rows::new(&spoiled, d)), OnInvalid::Error, context);
            assert_eq!(refused, Err(Error::InvalidRow { row: 0, status: Status::ZeroNorm }));
            let lonely =
                pairwise_conformity(AnyRows::F64(Rows::new(&spoiled[..2 * d], d)), OnInvalid::Skip, context);
            assert_eq!(lonely, Err(Error::TooFewRows { what: "conformity", found: 1, needed: 2 }));
        });
    }
}
