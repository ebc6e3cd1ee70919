//! The conformity of each row within a group of its own.
//!
//! As `score`, with the sum `S_g` of the unit rows of group `g` and its `N_g` valid rows in place of the
//! sums of the whole set:
//!
//! ```text
//! an outsider   c = S_g.u / N_g
//! a member      c = (S_g.u - 1) / (N_g - 1)
//! ```
//!
//! In float64; the error is that of a dot product. Time `O(n d)`, whatever the number of groups.

use super::streams::{Visit, side_by_side};
use super::unit::Units;
use crate::element::Element;
use crate::error::{Error, Status};
use crate::math::dots::{pair_dots, widened};
use crate::math::norm::Norm;
use crate::rows::Rows;
use crate::simd::{Isa, Kernel};

/// Rows measured side by side, as in `cosines`.
const GROUP: usize = 4;

/// The groups that rows are scored against, and the group of each row.
#[derive(Clone, Copy, Debug)]
pub struct Grouped<'a> {
    /// The group of each row; a number that there is no group of stands for none.
    pub group: &'a [u32],
    /// Valid rows of each group.
    pub count: &'a [u64],
    /// Sum of the unit rows of each group, group after group.
    pub unit_sum: &'a [f64],
    /// Whether each row belongs to its group.
    pub member: bool,
}

impl Grouped<'_> {
    /// An error unless the groups have `dim` features.
    pub(super) fn check(&self, rows: usize, dim: usize) -> Result<(), Error> {
        assert!(self.group.len() == rows, "{rows} rows have {} groups", self.group.len());
        match self.unit_sum.len().checked_div(self.count.len()) {
            Some(found) if found != dim => Err(Error::Dimension { what: "groups", found, expected: dim }),
            _ => Ok(()),
        }
    }

    /// The group of a row, if it has one.
    fn of(&self, row: usize) -> Option<usize> {
        let group = self.group[row] as usize;
        (group < self.count.len()).then_some(group)
    }

    /// The sum of a row's group; of the first for a row of no group, which is measured against it in vain.
    fn sum(&self, row: usize, dim: usize) -> &[f64] {
        &self.unit_sum[self.of(row).unwrap_or(0) * dim..][..dim]
    }

    /// From `S_g.u`; NaN where no other row is in the group.
    fn conformity(&self, group: usize, product: f64) -> f64 {
        let (n, own) = (self.count[group] as f64, f64::from(u8::from(self.member)));
        if n > own { ((product - own) / (n - own)).clamp(-1.0, 1.0) } else { f64::NAN }
    }
}

/// The kernel: measures the rows of a block against `vectors`, and takes their conformities, NaN where
/// there is none.
pub(super) struct InGroups<'a, E, const Q: usize> {
    pub rows: Rows<'a, E>,
    pub scratch: &'a mut [E],
    /// Of these rows alone.
    pub groups: Grouped<'a>,
    pub vectors: [&'a [f64]; Q],
}

impl<E: Element, const Q: usize> Kernel for InGroups<'_, E, Q> {
    type Output = (Units<Q>, Vec<f64>);
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Self::Output {
        let count = self.rows.count();
        let mut measuring = Measuring { of: self, units: Units::zeros(count), conformity: vec![0.0; count] };
        side_by_side::<I, GROUP>(isa, count, &mut measuring);
        (measuring.units, measuring.conformity)
    }
}

struct Measuring<'a, E, const Q: usize> {
    of: InGroups<'a, E, Q>,
    units: Units<Q>,
    conformity: Vec<f64>,
}

impl<E: Element, const Q: usize> Visit for Measuring<'_, E, Q> {
    #[inline(always)]
    fn visit<I: Isa, const R: usize>(&mut self, isa: I, numbers: [usize; R]) {
        let Measuring { of: InGroups { rows, scratch, groups, vectors }, units, conformity } = self;
        let (dim, last) = (rows.dim(), rows.count() - 1);
        let rows = rows.group(numbers, scratch);
        let sums = numbers.map(|i| groups.sum(i, dim).as_ptr());
        // Sums lie anywhere: those of the next rows are asked for by their numbers.
        let next = numbers.map(|i| groups.sum(last.min(i + 1), dim).as_ptr());
        let pointers = vectors.map(|vector| vector.as_ptr());
        // SAFETY: rows, sums and vectors have `dim` elements, and this runs under `I`.
        let (dots, products) = unsafe { pair_dots::<I, E, f64, R, Q>(isa, rows, sums, next, pointers, dim) };
        for r in 0..R {
            // SAFETY: as above.
            let row = || unsafe { widened(rows[r], dim) };
            let norm = Norm::new(dots[r].xx, row);
            conformity[numbers[r]] = match (groups.of(numbers[r]), norm.status) {
                (Some(group), Status::Ok) => {
                    let product = if norm.is_plain() {
                        dots[r].xy * norm.inverse
                    } else {
                        of_extreme(&row(), norm, groups.sum(numbers[r], dim))
                    };
                    groups.conformity(group, product)
                }
                _ => f64::NAN,
            };
            units.set(numbers[r], norm, products[r], row, *vectors);
        }
    }
}

/// The product of a sum with the direction of a row that has to be scaled first.
#[cold]
fn of_extreme(row: &[f64], norm: Norm, sum: &[f64]) -> f64 {
    row.iter().zip(sum).map(|(x, sum)| x * norm.scale * norm.inverse * sum).sum()
}
