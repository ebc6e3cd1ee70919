//! Every row's norm, and the products of its unit vector with given vectors.
//!
//! What scores, the pairwise check and the policies on invalid rows are made of. In float64: the
//! error of a product is that of a dot product, below `1e-14` for any `d` in use. One read of the
//! rows.

use super::streams::{Visit, side_by_side};
use crate::blocks::for_each_block;
use crate::element::Element;
use crate::error::{Error, Status};
use crate::math::dots::{dots, widened};
use crate::math::norm::{Norm, plain};
use crate::rows::{AnyRows, Rows};
use crate::schedule::Context;
use crate::simd::{Isa, Kernel};
use crate::with_rows;

/// Rows measured side by side: with three sums each, they fill the registers of AVX2.
pub(super) const GROUP: usize = 4;

/// What was found of consecutive rows, one entry per row.
#[derive(Clone, Debug)]
pub struct Units<const Q: usize> {
    /// `|x|`; NaN for a row that is not finite.
    pub norm: Vec<f64>,
    /// Whether the row has a direction.
    pub status: Vec<Status>,
    /// `y_q . x / |x|` for each vector `y_q`; NaN where there is no direction.
    pub products: [Vec<f64>; Q],
}

impl<const Q: usize> Units<Q> {
    /// Of no rows, with room for `count`.
    pub fn with_capacity(count: usize) -> Self {
        let room = || Vec::with_capacity(count);
        Units { norm: room(), status: Vec::with_capacity(count), products: std::array::from_fn(|_| room()) }
    }

    /// Of `count` rows, each of which is to be [`set`](Units::set).
    pub(super) fn zeros(count: usize) -> Self {
        let zeros = || vec![0.0; count];
        let status = vec![Status::Ok; count];
        Units { norm: zeros(), status, products: std::array::from_fn(|_| zeros()) }
    }

    /// Sets a row whose norm is safe, from its norm, the inverse of that and its plain products.
    #[inline(always)]
    pub(super) fn set_plain(&mut self, i: usize, norm: f64, inverse: f64, products: [f64; Q]) {
        self.norm[i] = norm;
        for q in 0..Q {
            self.products[q][i] = products[q] * inverse;
        }
    }

    /// Sets a row of any norm, from its sum of squares and its plain products with `vectors`.
    pub(super) fn set(
        &mut self,
        i: usize,
        norm: Norm,
        products: [f64; Q],
        row: impl Fn() -> Vec<f64>,
        vectors: [&[f64]; Q],
    ) {
        let products = if norm.is_plain() {
            products.map(|product| product * norm.inverse)
        } else {
            of_extreme(&row(), norm, vectors)
        };
        for q in 0..Q {
            self.products[q][i] = products[q];
        }
        self.norm[i] = norm.value;
        self.status[i] = norm.status;
    }

    /// Appends what was found of the rows that follow.
    pub fn append(&mut self, mut other: Units<Q>) {
        self.norm.append(&mut other.norm);
        self.status.append(&mut other.status);
        for (ours, theirs) in self.products.iter_mut().zip(&mut other.products) {
            ours.append(theirs);
        }
    }
}

/// Measures every row and hands what was found to `merge`, block by block in order.
pub fn for_each_unit<const Q: usize>(
    rows: AnyRows,
    vectors: [&[f64]; Q],
    context: &Context,
    mut merge: impl FnMut(Units<Q>) + Send,
) -> Result<(), Error> {
    for vector in vectors {
        if vector.len() != rows.dim() {
            return Err(Error::Dimension { what: "rows", found: rows.dim(), expected: vector.len() });
        }
    }
    with_rows!(rows, rows => for_each_block(
        rows,
        context,
        || rows.scratch(GROUP),
        |scratch, _, rows| Ok(context.level.dispatch(Measure { rows, scratch, vectors })),
        |part| {
            merge(part);
            Ok(())
        },
    ))
}

/// Measures every row.
pub fn units<const Q: usize>(
    rows: AnyRows,
    vectors: [&[f64]; Q],
    context: &Context,
) -> Result<Units<Q>, Error> {
    let mut all = Units::with_capacity(rows.count());
    for_each_unit(rows, vectors, context, |part| all.append(part))?;
    Ok(all)
}

/// The kernel: measures rows.
pub(super) struct Measure<'a, E, const Q: usize> {
    pub rows: Rows<'a, E>,
    pub scratch: &'a mut [E],
    pub vectors: [&'a [f64]; Q],
}

impl<E: Element, const Q: usize> Kernel for Measure<'_, E, Q> {
    type Output = Units<Q>;
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Units<Q> {
        let count = self.rows.count();
        let mut measuring = Measuring { of: self, found: Units::zeros(count) };
        side_by_side::<I, GROUP>(isa, count, &mut measuring);
        measuring.found
    }
}

struct Measuring<'a, E, const Q: usize> {
    of: Measure<'a, E, Q>,
    found: Units<Q>,
}

impl<E: Element, const Q: usize> Visit for Measuring<'_, E, Q> {
    #[inline(always)]
    fn visit<I: Isa, const R: usize>(&mut self, isa: I, numbers: [usize; R]) {
        let Measure { rows, scratch, vectors } = &mut self.of;
        let (dim, group) = (rows.dim(), rows.group(numbers, scratch));
        let pointers = vectors.map(|vector| vector.as_ptr());
        // SAFETY: rows and vectors have `dim` elements, and this runs under `I`.
        let (squares, products) = unsafe { dots::<I, E, R, Q>(isa, group, pointers, dim, R) };
        if let Some((norms, inverse)) = plain(squares) {
            for r in 0..R {
                self.found.set_plain(numbers[r], norms[r], inverse[r], products[r]);
            }
            return;
        }
        for r in 0..R {
            // SAFETY: as above.
            let row = || unsafe { widened(group[r], dim) };
            self.found.set(numbers[r], Norm::new(squares[r], row), products[r], row, *vectors);
        }
    }
}

/// The products with a row that has to be scaled first, or that has no direction.
#[cold]
fn of_extreme<const Q: usize>(row: &[f64], norm: Norm, vectors: [&[f64]; Q]) -> [f64; Q] {
    match norm.status {
        Status::Ok => {
            let unit: Vec<f64> = row.iter().map(|x| x * norm.scale * norm.inverse).collect();
            vectors.map(|vector| unit.iter().zip(vector).map(|(x, y)| x * y).sum())
        }
        _ => [f64::NAN; Q],
    }
}
