//! The thin shell: distances of rows from the mean (Eq. 3, 4 and Figure 4 of Levi & Gilboa).

use super::streams::{Visit, side_by_side};
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
        let count = self.rows.count();
        let mut measuring = Measuring { of: self, radii: vec![Ok(0.0); count] };
        side_by_side::<I, GROUP>(isa, count, &mut measuring);
        measuring.radii
    }
}

struct Measuring<'a, E> {
    of: Distances<'a, E>,
    radii: Vec<Radius>,
}

impl<E: Element> Visit for Measuring<'_, E> {
    #[inline(always)]
    fn visit<I: Isa, const R: usize>(&mut self, isa: I, numbers: [usize; R]) {
        let Distances { rows, scratch, mean } = &mut self.of;
        let (dim, group) = (rows.dim(), rows.group(numbers, scratch));
        // SAFETY: rows and mean have `dim` elements, and this runs under `I`.
        let (squares, gaps) = unsafe {
            let (squares, _) = dots::<I, E, R, 0>(isa, group, [], dim, R);
            (squares, squared_distances::<I, E, R>(isa, group, mean.as_ptr(), dim))
        };
        for r in 0..R {
            // SAFETY: as above.
            let norm = Norm::new(squares[r], || unsafe { widened(group[r], dim) });
            self.radii[numbers[r]] = match norm.status {
                Status::Ok => Ok(distance(gaps[r], group[r], mean)),
                status => Err(status),
            };
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{data, everywhere};

    #[test]
    fn equals_the_definition_for_every_tail_at_every_level() {
        for d in (1..=40).chain([130]) {
            // Groups of rows, and some that fill none.
            let n = 2 * GROUP + 3;
            let (x, mean) = (data(n, d), data(1, d));
            let want: Vec<f64> = x
                .chunks(d)
                .map(|row| row.iter().zip(&mean).map(|(x, m)| (x - m).powi(2)).sum::<f64>().sqrt())
                .collect();
            everywhere(|context| {
                let (got, status) = distances(AnyRows::F64(Rows::new(&x, d)), &mean, context).unwrap();
                assert_eq!(status, vec![Status::Ok; n]);
                for (got, want) in got.iter().zip(&want) {
                    assert!((got - want).abs() <= 1e-15 * d as f64 * want.max(1e-3), "{d}: {got} {want}");
                }
            });
        }
    }

    #[test]
    fn rows_without_a_direction_have_no_distance() {
        let x = [3.0, 4.0, 0.0, 0.0, f64::NAN, 1.0, 3e200, 4e200];
        everywhere(|context| {
            let (radii, status) = distances(AnyRows::F64(Rows::new(&x, 2)), &[0.0; 2], context).unwrap();
            assert_eq!(status, [Status::Ok, Status::ZeroNorm, Status::NonFinite, Status::Ok]);
            assert!(radii[1].is_nan() && radii[2].is_nan());
            assert_eq!(radii[0], 5.0);
            assert!((radii[3] / 5e200 - 1.0).abs() < 1e-15);
        });
    }
}
