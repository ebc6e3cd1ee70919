//! The norm of every row.

use crate::blocks::for_each_block;
use crate::element::Element;
use crate::error::{Error, Status};
use crate::math::dots::{dots, widened};
use crate::math::norm::Norm;
use crate::rows::Rows;
use crate::schedule::Context;
use crate::simd::{Isa, Kernel};

/// Rows measured side by side.
const GROUP: usize = 8;

/// One entry per row.
#[derive(Clone, Debug, Default)]
pub struct RowNorms {
    /// `|x|`; NaN for a row that is not finite.
    pub norm: Vec<f64>,
    /// Whether the row has a direction.
    pub status: Vec<Status>,
}

/// Measures every row, in float64.
pub fn norms<E: Element>(rows: Rows<E>, context: &Context) -> Result<RowNorms, Error> {
    let mut all = RowNorms::default();
    for_each_block(
        rows,
        context,
        || rows.scratch(GROUP),
        |scratch, _, rows| Ok(context.level.dispatch(Measure { rows, scratch })),
        |part| {
            all.norm.extend(part.norm);
            all.status.extend(part.status);
            Ok(())
        },
    )?;
    Ok(all)
}

struct Measure<'a, E> {
    rows: Rows<'a, E>,
    scratch: &'a mut [E],
}

impl<E: Element> Kernel for Measure<'_, E> {
    type Output = RowNorms;
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> RowNorms {
        let Measure { rows, scratch } = self;
        let mut found = RowNorms::default();
        let mut i = 0;
        while i + GROUP <= rows.count() {
            measure::<I, E, GROUP>(isa, rows, i, scratch, &mut found);
            i += GROUP;
        }
        while i < rows.count() {
            measure::<I, E, 1>(isa, rows, i, scratch, &mut found);
            i += 1;
        }
        found
    }
}

#[inline(always)]
fn measure<I: Isa, E: Element, const R: usize>(
    isa: I,
    rows: Rows<E>,
    first: usize,
    scratch: &mut [E],
    found: &mut RowNorms,
) {
    let group = rows.group::<R>(first, scratch);
    // SAFETY: rows have `dim` elements, and this runs under `I`.
    let (squares, _) = unsafe { dots::<I, E, R, 0>(isa, group, [], rows.dim(), R) };
    for r in 0..R {
        // SAFETY: as above.
        let norm = Norm::new(squares[r], || unsafe { widened(group[r], rows.dim()) });
        found.norm.push(norm.value);
        found.status.push(norm.status);
    }
}
