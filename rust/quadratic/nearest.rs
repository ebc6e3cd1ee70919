//! The rows of a set that are nearest to each of some queries, by cosine.
//!
//! What exceeds a bar of minus infinity in the search of [`super::false_negatives`]: the best are in the
//! order of their similarity, ties in that of their numbers, whatever the order of tiles. Queries are
//! scaled to unit length in float64 and then rounded to the arithmetic of the products, which is float32
//! for rows narrower than float64 (error as in [`super::ranks`]). Memory: `O(q k)` for `q` queries, their
//! unit vectors, and the tiles of each thread.

use super::false_negatives::{SearchRight, blocks, lock, rivals};
use super::partners::{check_dim, unit_scale};
use crate::element::{Element, Real};
use crate::error::Error;
use crate::pack::ScaledRows;
use crate::rows::{AnyRows, Rows};
use crate::schedule::Context;
use crate::tiles::{EVERY, Which, for_each_tile};
use crate::with_rows;

/// For each query the best `k` rows of `x` as `(similarity, number)`; fewer where there are fewer.
pub fn nearest(
    queries: AnyRows,
    x: AnyRows,
    k: usize,
    context: &Context,
) -> Result<Vec<Vec<(f64, usize)>>, Error> {
    check_dim("x", x, queries.dim())?;
    let of_queries = unit_scale(queries, "queries", context)?;
    let scale = unit_scale(x, "x", context)?;
    with_rows!(queries, queries => with_rows!(x, x => {
        let x = ScaledRows::new(x, &scale);
        of_units(queries, &of_queries, x, k, context)
    }))
}

fn of_units<Q: Element, E: Element>(
    queries: Rows<Q>,
    scale: &[f64],
    x: ScaledRows<E>,
    k: usize,
    context: &Context,
) -> Result<Vec<Vec<(f64, usize)>>, Error> {
    let (count, dim) = (queries.count(), queries.dim());
    let unit = |at: usize| queries.get(at / dim, at % dim).to_f64() * scale[at / dim];
    let units: Vec<E::Real> = (0..count * dim).map(|at| E::Real::from_f64(unit(at))).collect();
    let ones = vec![1.0; count];
    let units = ScaledRows::new(Rows::new(&units, dim), &ones);
    let found = blocks(&vec![f64::NEG_INFINITY; count], k);
    // Queries, of which there may be few, are on the side of a tile that is padded less.
    for_each_tile(
        x,
        units,
        Which::All(EVERY),
        context,
        |place, tile| context.level.dispatch(SearchRight { tile, block: &mut lock(&found[place.right]) }),
        |_, ()| (),
    )?;
    Ok(rivals(found, Vec::new()).best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Status;
    use crate::testing::{data, everywhere};
    use crate::tiles::{SIDE, pair_products};

    /// By sorting products that have the bits of those in tiles.
    fn check<E: Element>(q: usize, n: usize, d: usize, any: impl Fn(&[E]) -> AnyRows, from: fn(f64) -> E) {
        let queries: Vec<f64> = data(q, d).iter().map(|x| x - 0.4).collect();
        let mut x: Vec<E> = data(n, d).iter().map(|x| from(x - 0.4)).collect();
        // Duplicates, far apart: ties that only the number decides.
        for row in (5..n).step_by(5) {
            x.copy_within(d..2 * d, row * d);
        }
        everywhere(|context| {
            let rows = AnyRows::F64(Rows::new(&queries, d));
            let scale = unit_scale(any(&x), "x", context).unwrap();
            let of_queries = unit_scale(rows, "queries", context).unwrap();
            let units: Vec<E::Real> =
                queries.iter().enumerate().map(|(at, x)| E::Real::from_f64(x * of_queries[at / d])).collect();
            let wide: Vec<E::Real> = x.iter().map(|x| x.to_real()).collect();
            let ones = vec![1.0; q];
            let left = ScaledRows::new(Rows::new(&units, d), &ones);
            let right = ScaledRows::new(Rows::new(&wide, d), &scale);
            let mut want: Vec<Vec<(f64, usize)>> = vec![Vec::new(); q];
            for j in 0..n {
                for (i, product) in pair_products(left, right, |_| j, context).unwrap().iter().enumerate() {
                    want[i].push((product.to_f64(), j));
                }
            }
            want.iter_mut().for_each(|all| all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))));
            for k in [1, 7, n + 3] {
                let got = nearest(rows, any(&x), k, context).unwrap();
                let want: Vec<_> = want.iter().map(|all| all[..n.min(k)].to_vec()).collect();
                assert!(got == want, "{q} {n} {d} {k} {:?}", context.level);
            }
        });
    }

    #[test]
    fn equals_sorting_off_every_tile_boundary() {
        for (q, n, d) in [(1, 1, 1), (3, SIDE - 1, 2), (SIDE + 1, 33, 9), (7, 2 * SIDE + 30, 33)] {
            check(q, n, d, |x| AnyRows::F64(Rows::new(x, d)), |x| x);
            check(q, n, d, |x| AnyRows::F32(Rows::new(x, d)), |x| x as f32);
        }
        check(5, 90, 130, |x| AnyRows::F16(Rows::new(x, 130)), half::f16::from_f64);
        check(5, 90, 130, |x| AnyRows::Bf16(Rows::new(x, 130)), half::bf16::from_f64);
    }

    #[test]
    fn no_query_and_no_row_are_no_error() {
        let x = data(5, 3);
        everywhere(|context| {
            let (some, none) = (AnyRows::F64(Rows::new(&x, 3)), AnyRows::F64(Rows::new(&x[..0], 3)));
            assert!(nearest(none, some, 2, context).unwrap().is_empty());
            assert_eq!(nearest(some, none, 2, context).unwrap(), vec![Vec::new(); 5]);
        });
    }

    #[test]
    fn the_set_at_fault_is_named() {
        let (x, mut y) = (data(20, 4), data(20, 4));
        y[4 * 17..4 * 18].fill(0.0);
        everywhere(|context| {
            let (good, bad) = (AnyRows::F64(Rows::new(&x, 4)), AnyRows::F64(Rows::new(&y, 4)));
            let invalid = |set| Error::InvalidRowOf { set, row: 17, status: Status::ZeroNorm };
            assert_eq!(nearest(good, bad, 1, context).unwrap_err(), invalid("x"));
            assert_eq!(nearest(bad, good, 1, context).unwrap_err(), invalid("queries"));
            let narrow = AnyRows::F64(Rows::new(&x[..60], 3));
            let dimension = Error::Dimension { what: "x", found: 3, expected: 4 };
            assert_eq!(nearest(good, narrow, 1, context).unwrap_err(), dimension);
        });
    }
}
