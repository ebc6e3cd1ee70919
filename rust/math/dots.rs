//! Sums over the elements of a row, in float64: dot products and squared distances.
//!
//! Several rows run side by side, which hides the latency of the sums and reads several memory
//! streams at once. Every row has its own accumulators, filled in the same order whatever the number
//! of rows: *the bits of a result depend on its row alone*, not on its neighbours.
//!
//! Error: a sum of `d` products, spread over the lanes, is off by at most
//! `(d / lanes + lanes + 2) 2^-53 sum |x_k y_k|`, with products of 16- and 32-bit elements exact.

use crate::element::Element;
use crate::simd::Isa;

/// Bytes that are asked for ahead of a stream of short rows. Measured: 1 KB and 2 KB do best.
const AHEAD: usize = 2048;

/// How far ahead of a stream of rows memory is asked for, in elements: by a row or more, so that each
/// row's lines have been asked for once the row before it has been visited.
#[inline(always)]
pub fn lead<E>(dim: usize) -> usize {
    dim.max(AHEAD / size_of::<E>())
}

/// Asks for the cache line `distance` elements after element `k` of a row, once per line.
#[inline(always)]
pub fn ahead<I: Isa, E: Element>(isa: I, row: *const E, k: usize, distance: usize) {
    if k.is_multiple_of((64 / size_of::<E>()).max(I::LANES_F64)) {
        isa.prefetch(row.wrapping_add(k + distance).cast());
    }
}

/// `|x|^2` of `R` rows and the dot products with `Q` vectors: `(squares[r], products[r][q])`. The first
/// `prefetch` rows are each the present one of a stream, whose next is asked for meanwhile.
///
/// # Safety
/// Every row is readable for `dim` elements, every vector for `dim` float64, and the caller runs
/// under `I`.
#[inline(always)]
pub unsafe fn dots<I: Isa, E: Element, const R: usize, const Q: usize>(
    isa: I,
    rows: [*const E; R],
    vectors: [*const f64; Q],
    dim: usize,
    prefetch: usize,
) -> ([f64; R], [[f64; Q]; R]) {
    let mut square_lanes = [isa.zero_f64(); R];
    let mut product_lanes = [[isa.zero_f64(); Q]; R];
    let body = dim - dim % I::LANES_F64;
    let mut k = 0;
    while k < body {
        let mut y = [isa.zero_f64(); Q];
        for q in 0..Q {
            // SAFETY: k + LANES_F64 <= dim.
            y[q] = unsafe { isa.load_f64(vectors[q].add(k)) };
        }
        for r in 0..R {
            if r < prefetch {
                ahead(isa, rows[r], k, lead::<E>(dim));
            }
            // SAFETY: as above.
            let x = unsafe { E::load_f64(isa, rows[r].add(k)) };
            square_lanes[r] = isa.mul_add_f64(x, x, square_lanes[r]);
            for q in 0..Q {
                product_lanes[r][q] = isa.mul_add_f64(x, y[q], product_lanes[r][q]);
            }
        }
        k += I::LANES_F64;
    }
    let mut squares = [0.0; R];
    let mut products = [[0.0; Q]; R];
    for r in 0..R {
        squares[r] = isa.sum_f64(square_lanes[r]);
        for q in 0..Q {
            products[r][q] = isa.sum_f64(product_lanes[r][q]);
        }
    }
    for k in body..dim {
        for r in 0..R {
            // SAFETY: k < dim.
            let x = unsafe { rows[r].add(k).read_unaligned() }.to_f64();
            squares[r] += x * x;
            for q in 0..Q {
                // SAFETY: k < dim.
                products[r][q] += x * unsafe { *vectors[q].add(k) };
            }
        }
    }
    (squares, products)
}

/// The three sums of a pair of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PairDots {
    /// `|x|^2`
    pub xx: f64,
    /// `x.y`
    pub xy: f64,
    /// `|y|^2`
    pub yy: f64,
}

/// The sums of `R` pairs of rows, and the products of each `x` with `Q` vectors: `(sums[r], products[r][q])`.
/// Asked for meanwhile: what follows each `x` in its stream, and the rows `next` of the other side.
/// A sum that the caller does not look at is not computed.
///
/// # Safety
/// Every row of `x` and `y` is readable for `dim` elements, every vector for `dim` float64, and the caller
/// runs under `I`.
#[inline(always)]
pub unsafe fn pair_dots<I: Isa, E: Element, F: Element, const R: usize, const Q: usize>(
    isa: I,
    x: [*const E; R],
    y: [*const F; R],
    next: [*const F; R],
    vectors: [*const f64; Q],
    dim: usize,
) -> ([PairDots; R], [[f64; Q]; R]) {
    let mut lanes = [[isa.zero_f64(); 3]; R];
    let mut product_lanes = [[isa.zero_f64(); Q]; R];
    let body = dim - dim % I::LANES_F64;
    let mut k = 0;
    while k < body {
        let mut v = [isa.zero_f64(); Q];
        for q in 0..Q {
            // SAFETY: k + LANES_F64 <= dim.
            v[q] = unsafe { isa.load_f64(vectors[q].add(k)) };
        }
        for r in 0..R {
            ahead(isa, x[r], k, lead::<E>(dim));
            ahead(isa, next[r], k, 0);
            // SAFETY: as above.
            let (a, b) = unsafe { (E::load_f64(isa, x[r].add(k)), F::load_f64(isa, y[r].add(k))) };
            lanes[r][0] = isa.mul_add_f64(a, a, lanes[r][0]);
            lanes[r][1] = isa.mul_add_f64(a, b, lanes[r][1]);
            lanes[r][2] = isa.mul_add_f64(b, b, lanes[r][2]);
            for q in 0..Q {
                product_lanes[r][q] = isa.mul_add_f64(a, v[q], product_lanes[r][q]);
            }
        }
        k += I::LANES_F64;
    }
    let mut sums = [PairDots::default(); R];
    let mut products = [[0.0; Q]; R];
    for r in 0..R {
        let [xx, xy, yy] = lanes[r];
        sums[r] = PairDots { xx: isa.sum_f64(xx), xy: isa.sum_f64(xy), yy: isa.sum_f64(yy) };
        for q in 0..Q {
            products[r][q] = isa.sum_f64(product_lanes[r][q]);
        }
    }
    for k in body..dim {
        for r in 0..R {
            // SAFETY: k < dim.
            let (a, b) =
                unsafe { (x[r].add(k).read_unaligned().to_f64(), y[r].add(k).read_unaligned().to_f64()) };
            sums[r].xx += a * a;
            sums[r].xy += a * b;
            sums[r].yy += b * b;
            for q in 0..Q {
                // SAFETY: k < dim.
                products[r][q] += a * unsafe { *vectors[q].add(k) };
            }
        }
    }
    (sums, products)
}

/// `|x - y|^2` of `R` rows from one vector.
///
/// # Safety
/// As for [`dots`].
#[inline(always)]
pub unsafe fn squared_distances<I: Isa, E: Element, const R: usize>(
    isa: I,
    rows: [*const E; R],
    vector: *const f64,
    dim: usize,
) -> [f64; R] {
    let mut lanes = [isa.zero_f64(); R];
    let body = dim - dim % I::LANES_F64;
    let mut k = 0;
    while k < body {
        // SAFETY: k + LANES_F64 <= dim.
        let y = unsafe { isa.load_f64(vector.add(k)) };
        for r in 0..R {
            // SAFETY: as above.
            let x = unsafe { E::load_f64(isa, rows[r].add(k)) };
            let difference = isa.sub_f64(x, y);
            lanes[r] = isa.mul_add_f64(difference, difference, lanes[r]);
        }
        k += I::LANES_F64;
    }
    let mut sums = [0.0; R];
    for r in 0..R {
        sums[r] = isa.sum_f64(lanes[r]);
        for k in body..dim {
            // SAFETY: k < dim.
            let difference = unsafe { rows[r].add(k).read_unaligned().to_f64() - *vector.add(k) };
            sums[r] += difference * difference;
        }
    }
    sums
}

/// The row as float64.
///
/// # Safety
/// `row` is readable for `dim` elements.
#[cold]
pub unsafe fn widened<E: Element>(row: *const E, dim: usize) -> Vec<f64> {
    // SAFETY: k < dim.
    (0..dim).map(|k| unsafe { row.add(k).read_unaligned() }.to_f64()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Kernel, Level};
    use proptest::prelude::*;

    struct Both<'a, E> {
        x: &'a [E],
        y: &'a [f64],
    }

    impl<E: Element> Kernel for Both<'_, E> {
        /// `|x|^2`, `x.y` and `|x - y|^2`, each from one row and from three rows side by side.
        type Output = ([f64; 3], [f64; 3]);
        #[inline(always)]
        fn run<I: Isa>(self, isa: I) -> Self::Output {
            let (x, y, dim) = (self.x.as_ptr(), self.y.as_ptr(), self.x.len());
            // SAFETY: both slices have `dim` elements.
            unsafe {
                let (one, dot) = dots(isa, [x], [y], dim, 0);
                let [gap] = squared_distances(isa, [x], y, dim);
                let (ones, all) = dots(isa, [x; 3], [y], dim, 1);
                let gaps = squared_distances(isa, [x; 3], y, dim);
                ([one[0], dot[0][0], gap], [ones[2], all[2][0], gaps[2]])
            }
        }
    }

    /// Higham, Accuracy and Stability, 3.5: the error of a sum of `d` products in any order.
    fn bound(d: usize, absolute: f64) -> f64 {
        let n = (d + 2) as f64 * f64::EPSILON / 2.0;
        n / (1.0 - n) * absolute
    }

    /// A double-double sum of products: exact enough to judge float64 by.
    fn exact(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
        let (mut sum, mut rest) = (0.0f64, 0.0f64);
        for (a, b) in pairs {
            let p = a * b;
            let e = a.mul_add(b, -p);
            let s = sum + p;
            let t = s - sum;
            rest += (sum - (s - t)) + (p - t) + e;
            sum = s;
        }
        sum + rest
    }

    fn check<E: Element>(x: Vec<E>, y: Vec<f64>) {
        let wide: Vec<f64> = x.iter().map(|x| x.to_f64()).collect();
        let pairs = || wide.iter().copied().zip(y.iter().copied());
        let gaps = || pairs().map(|(x, y)| (x - y, x - y));
        let want = [exact(wide.iter().map(|&x| (x, x))), exact(pairs()), exact(gaps())];
        let size = [want[0], pairs().map(|(x, y)| (x * y).abs()).sum(), want[2]];
        for level in Level::available() {
            let (alone, together) = level.dispatch(Both { x: &x, y: &y });
            assert_eq!(alone, together, "{level:?}: bits depend on the neighbours");
            for i in 0..3 {
                let error = (alone[i] - want[i]).abs();
                assert!(
                    error <= bound(x.len(), size[i]),
                    "{level:?} {}: quantity {i} off by {error}",
                    x.len()
                );
            }
        }
    }

    #[test]
    fn every_tail_length_at_every_level() {
        for dim in 0..=40 {
            let x = |k: usize| ((k * 7919 + 13) % 101) as f32 / 17.0 - 3.0;
            let y: Vec<f64> = (0..dim).map(|k| f64::from(x(k + 50))).collect();
            check::<f32>((0..dim).map(x).collect(), y.clone());
            check::<f64>((0..dim).map(|k| f64::from(x(k))).collect(), y.clone());
            check::<half::f16>((0..dim).map(|k| half::f16::from_f32(x(k))).collect(), y.clone());
            check::<half::bf16>((0..dim).map(|k| half::bf16::from_f32(x(k))).collect(), y);
        }
    }

    proptest! {
        #[test]
        fn within_the_derived_bound(pairs in prop::collection::vec((-1e6f64..1e6, -1e3f64..1e3), 0..300)) {
            let (x, y): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            check::<f32>(x.iter().map(|&x| x as f32).collect(), y.clone());
            check::<half::bf16>(x.iter().map(|&x| half::bf16::from_f64(x)).collect(), y.clone());
            check::<half::f16>(x.iter().map(|&x| half::f16::from_f64(x / 100.0)).collect(), y.clone());
            check::<f64>(x, y);
        }
    }
}
