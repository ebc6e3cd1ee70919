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

    /// From `S_g.u`; NaN where no other row is in the group.
    fn conformity(&self, group: usize, product: f64) -> f64 {
        let (n, own) = (self.count[group] as f64, f64::from(u8::from(self.member)));
        if n > own { ((product - own) / (n - own)).clamp(-1.0, 1.0) } else { f64::NAN }
    }
}

/// The kernel: conformities of the rows of a block, NaN where there is none.
pub(super) struct InGroups<'a, E> {
    pub rows: Rows<'a, E>,
    pub scratch: &'a mut [E],
    /// Of these rows alone.
    pub groups: Grouped<'a>,
}

impl<E: Element> Kernel for InGroups<'_, E> {
    type Output = Vec<f64>;
    #[inline(always)]
    fn run<I: Isa>(mut self, isa: I) -> Vec<f64> {
        let count = self.rows.count();
        let mut found = Vec::with_capacity(count);
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

impl<E: Element> InGroups<'_, E> {
    #[inline(always)]
    fn group<I: Isa, const R: usize>(&mut self, isa: I, first: usize, found: &mut Vec<f64>) {
        let (dim, groups) = (self.rows.dim(), self.groups);
        let sum = |group: usize| &groups.unit_sum[group * dim..(group + 1) * dim];
        let group: [Option<usize>; R] = std::array::from_fn(|r| {
            let group = groups.group[first + r] as usize;
            (group < groups.count.len()).then_some(group)
        });
        let rows = self.rows.group::<R>(first, self.scratch);
        if groups.count.is_empty() {
            return found.extend([f64::NAN; R]);
        }
        // A row of no group is measured against the first, in vain.
        let sums = group.map(|group| sum(group.unwrap_or(0)).as_ptr());
        // SAFETY: rows and sums have `dim` elements, and this runs under `I`.
        let dots = unsafe { pair_dots::<I, E, f64, R>(isa, rows, sums, dim) };
        for r in 0..R {
            // SAFETY: as above.
            let row = || unsafe { widened(rows[r], dim) };
            let norm = Norm::new(dots[r].xx, row);
            found.push(match (group[r], norm.status) {
                (Some(group), Status::Ok) if norm.scale == 1.0 => {
                    groups.conformity(group, dots[r].xy * norm.inverse)
                }
                (Some(group), Status::Ok) => groups.conformity(group, of_extreme(&row(), norm, sum(group))),
                _ => f64::NAN,
            });
        }
    }
}

/// The product of a sum with the direction of a row that has to be scaled first.
#[cold]
fn of_extreme(row: &[f64], norm: Norm, sum: &[f64]) -> f64 {
    row.iter().zip(sum).map(|(x, sum)| x * norm.scale * norm.inverse * sum).sum()
}
