//! Every row's norm, and the products of its unit vector with given vectors.
//!
//! What scores, the pairwise check and the policies on invalid rows are made of. In float64: the
//! error of a product is that of a dot product, below `1e-14` for any `d` in use. One read of the
//! rows.

use crate::blocks::for_each_block;
use crate::element::Element;
use crate::error::{Error, Status};
use crate::math::dots::{dots, widened};
use crate::math::norm::Norm;
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

    /// Appends a row by its norm and the plain products of the row with `vectors`.
    #[inline(always)]
    pub(super) fn push(
        &mut self,
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
            self.products[q].push(products[q]);
        }
        self.norm.push(norm.value);
        self.status.push(norm.status);
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
    fn run<I: Isa>(mut self, isa: I) -> Units<Q> {
        let count = self.rows.count();
        let mut found = Units::with_capacity(count);
        let mut i = 0;
        while i + GROUP <= count {
            self.group::<I, GROUP>(isa, i, &mut found);
            i += GROUP;
        }
        while i < count {
            self.group::<I, 1>(isa, i, &mut found);
            i += 1;
        }
        found
    }
}

impl<E: Element, const Q: usize> Measure<'_, E, Q> {
    #[inline(always)]
    fn group<I: Isa, const R: usize>(&mut self, isa: I, first: usize, found: &mut Units<Q>) {
        let dim = self.rows.dim();
        let group = self.rows.group::<R>(first, self.scratch);
        let vectors = self.vectors.map(|vector| vector.as_ptr());
        // SAFETY: rows and vectors have `dim` elements, and this runs under `I`.
        let (squares, products) = unsafe { dots::<I, E, R, Q>(isa, group, vectors, dim, R) };
        for r in 0..R {
            // SAFETY: as above.
            let row = || unsafe { widened(group[r], dim) };
            found.push(Norm::new(squares[r], row), products[r], row, self.vectors);
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
