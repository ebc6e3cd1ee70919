//! The thin shell: distances of rows from the mean (Eq. 3, 4 and Figure 4 of Levi & Gilboa).

use super::moments::OnInvalid;
use super::stats::Stats;
use crate::blocks::for_each_block;
use crate::element::Element;
use crate::error::{Error, Status};
use crate::math::dots::{dots, squared_distances, widened};
use crate::math::norm::Norm;
use crate::rows::{AnyRows, Rows};
use crate::schedule::Context;
use crate::simd::{Isa, Kernel};
use crate::with_rows;

/// Rows measured side by side.
const GROUP: usize = 8;

/// Adds `|x_j - m|` of every row that has a direction. The others are passed over or, if that is asked
/// for, refused; the statistics are then as they were.
pub fn add_distances(
    shell: &mut Stats,
    rows: AnyRows,
    mean: &[f64],
    on_invalid: OnInvalid,
    context: &Context,
) -> Result<(), Error> {
    if rows.dim() != mean.len() {
        return Err(Error::Dimension { what: "rows", found: rows.dim(), expected: mean.len() });
    }
    let mut total = *shell;
    with_rows!(rows, rows => for_each_block(
        rows,
        context,
        || rows.scratch(GROUP),
        |scratch, start, rows| {
            let radii = context.level.dispatch(Distances { rows, scratch, mean });
            let invalid = radii.iter().position(Result::is_err);
            match (invalid, on_invalid) {
                (Some(row), OnInvalid::Error) => {
                    let status = radii[row].err().unwrap_or(Status::Ok);
                    Err(Error::InvalidRow { row: (start + row) as u64, status })
                }
                _ => Ok(radii),
            }
        },
        |radii| {
            // One by one, so that the result does not depend on how rows were cut into batches.
            radii.into_iter().flatten().for_each(|radius| total.push(radius));
            Ok(())
        },
    ))?;
    *shell = total;
    Ok(())
}

/// `|x_j - m|` of every row, NaN for a row that has no direction, and which those are.
pub fn distances(rows: AnyRows, mean: &[f64], context: &Context) -> Result<(Vec<f64>, Vec<Status>), Error> {
    if rows.dim() != mean.len() {
        return Err(Error::Dimension { what: "rows", found: rows.dim(), expected: mean.len() });
    }
    let (mut values, mut status) = (Vec::with_capacity(rows.count()), Vec::with_capacity(rows.count()));
    with_rows!(rows, rows => for_each_block(
        rows,
        context,
        || rows.scratch(GROUP),
        |scratch, _, rows| Ok(context.level.dispatch(Distances { rows, scratch, mean })),
        |radii| {
            values.extend(radii.iter().map(|radius| radius.unwrap_or(f64::NAN)));
            status.extend(radii.into_iter().map(|radius| radius.err().unwrap_or(Status::Ok)));
            Ok(())
        },
    ))?;
    Ok((values, status))
}

/// A distance, or why there is none.
type Radius = Result<f64, Status>;

struct Distances<'a, E> {
    rows: Rows<'a, E>,
    scratch: &'a mut [E],
    mean: &'a [f64],
}

impl<E: Element> Kernel for Distances<'_, E> {
    type Output = Vec<Radius>;
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Vec<Radius> {
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
    radii: &mut Vec<Radius>,
) {
    let group = rows.group::<R>(first, scratch);
    // SAFETY: rows and mean have `dim` elements, and this runs under `I`.
    let (squares, gaps) = unsafe {
        let (squares, _) = dots::<I, E, R, 0>(isa, group, [], rows.dim(), R);
        (squares, squared_distances::<I, E, R>(isa, group, mean.as_ptr(), rows.dim()))
    };
    for r in 0..R {
        // SAFETY: as above.
        let norm = Norm::new(squares[r], || unsafe { widened(group[r], rows.dim()) });
        radii.push(if norm.status == Status::Ok {
            Ok(distance(gaps[r], group[r], mean))
        } else {
            Err(norm.status)
        });
    }
}

/// The root of a squared distance, measured again where the square left the range of float64.
#[inline(always)]
fn distance<E: Element>(squared: f64, row: *const E, mean: &[f64]) -> f64 {
    let differences = || {
        // SAFETY: the row has as many elements as the mean.
        let row = unsafe { widened(row, mean.len()) };
        row.iter().zip(mean).map(|(x, m)| x - m).collect()
    };
    Norm::new(squared, differences).value
}
