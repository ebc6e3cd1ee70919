//! The thin shell: distances of rows from the mean (Eq. 3, 4 and Figure 4 of Levi & Gilboa).

use super::stats::Stats;
use crate::blocks::for_each_block;
use crate::element::Element;
use crate::error::Error;
use crate::math::dots::{dots, squared_distances};
use crate::rows::{AnyRows, Rows};
use crate::schedule::Context;
use crate::simd::{Isa, Kernel};
use crate::with_rows;

/// Rows measured side by side.
const GROUP: usize = 8;

/// `|x_j - m|` of the rows that have a direction; the others are passed over.
pub fn add_distances(shell: &mut Stats, rows: AnyRows, mean: &[f64], context: &Context) -> Result<(), Error> {
    if rows.dim() != mean.len() {
        return Err(Error::Dimension { what: "rows", found: rows.dim(), expected: mean.len() });
    }
    let mut total = *shell;
    with_rows!(rows, rows => for_each_block(
        rows,
        context,
        || rows.scratch(GROUP),
        |scratch, _, rows| Ok(context.level.dispatch(Distances { rows, scratch, mean })),
        |radii| {
            // One by one, so that the result does not depend on how rows were cut into batches.
            radii.into_iter().for_each(|radius| total.push(radius));
            Ok(())
        },
    ))?;
    *shell = total;
    Ok(())
}

struct Distances<'a, E> {
    rows: Rows<'a, E>,
    scratch: &'a mut [E],
    mean: &'a [f64],
}

impl<E: Element> Kernel for Distances<'_, E> {
    type Output = Vec<f64>;
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Vec<f64> {
        let Distances { rows, scratch, mean } = self;
        let mut radii = Vec::with_capacity(rows.count());
        let mut i = 0;
        while i + GROUP <= rows.count() {
            measure::<I, E, GROUP>(isa, rows, i, scratch, mean, &mut radii);
            i += GROUP;
        }
        while i < rows.count() {
            measure::<I, E, 1>(isa, rows, i, scratch, mean, &mut radii);
            i += 1;
        }
        radii
    }
}

#[inline(always)]
fn measure<I: Isa, E: Element, const R: usize>(
    isa: I,
    rows: Rows<E>,
    first: usize,
    scratch: &mut [E],
    mean: &[f64],
    radii: &mut Vec<f64>,
) {
    let group = rows.group::<R>(first, scratch);
    // SAFETY: rows and mean have `dim` elements, and this runs under `I`.
    let (squares, gaps) = unsafe {
        let (squares, _) = dots::<I, E, R, 0>(isa, group, [], rows.dim(), R);
        (squares, squared_distances::<I, E, R>(isa, group, mean.as_ptr(), rows.dim()))
    };
    for r in 0..R {
        // A row without a direction is no part of the fitted set, so of no shell either.
        if squares[r] > 0.0 && gaps[r].is_finite() {
            radii.push(gaps[r].sqrt());
        }
    }
}
