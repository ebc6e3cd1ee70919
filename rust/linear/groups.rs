//! The moments of many groups of rows, in one pass over all of them.
//!
//! Of the valid rows of each group: what `moments` has without a covariance. Each feature of each group
//! is summed on its own, row by row in the order of rows:
//!
//! ```text
//! n <- n + 1,  delta = x - m,  m <- m + delta / n,  q <- q + delta (x - m),  s <- s + x / |x|
//! ```
//!
//! (Welford.) So neither batches nor threads show in the bits. The rows of a chunk are ordered by group, and
//! the sums of a group are loaded once for several of its rows; threads share out the groups, and the features
//! in panels. In float64; a mean of `N` rows is within `2 N 2^-53` of the greatest magnitude in it, a
//! hundredth of that for rows in no particular order.
//!
//! Memory: three numbers for each feature of each group.

use super::panel::{Add, Panel, Step};
use super::stats::Stats;
use super::unit::{Units, units};
use crate::blocks::{BLOCK, slice};
use crate::error::{Error, Status};
use crate::linear::moments::OnInvalid;
use crate::linear::sums::Invalid;
use crate::rows::AnyRows;
use crate::schedule::{Context, ordered};
use crate::with_rows;
use std::sync::{Mutex, PoisonError};

/// Features of a panel: enough that a row is read in long pieces, few enough that many threads share one
/// group that has most of the rows.
const WIDTH: usize = 128;

/// Runs of groups that a chunk is cut into, for threads to share.
const RUNS: usize = 16;

/// The accumulator.
#[derive(Debug)]
pub struct Groups {
    dim: usize,
    norms: Vec<Stats>,
    panels: Vec<Panel>,
    seen: u64,
    invalid: Invalid,
}

/// The sums of all groups, each a matrix of groups x features.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupSums {
    /// Means.
    pub mean: Vec<f64>,
    /// Sums of squared deviations from the means.
    pub squares: Vec<f64>,
    /// Sums of the unit rows.
    pub unit_sum: Vec<f64>,
}

impl Groups {
    /// Of no rows, for `groups` groups of `dim` features.
    ///
    /// # Panics
    /// If `dim` is zero.
    pub fn new(groups: usize, dim: usize) -> Self {
        assert!(dim > 0, "rows have at least one feature");
        let panels = (0..dim).step_by(WIDTH).map(|start| Panel::new(groups, start..dim.min(start + WIDTH)));
        Groups {
            dim,
            norms: vec![Stats::default(); groups],
            panels: panels.collect(),
            seen: 0,
            invalid: Invalid::default(),
        }
    }

    /// Goes on, to the bit, from what `sums`, `norms`, `seen` and `invalid` gave.
    ///
    /// # Panics
    /// If the sums are not those of as many groups as there are norms.
    pub fn resume(dim: usize, sums: &GroupSums, norms: Vec<Stats>, seen: u64, invalid: Invalid) -> Self {
        let mut groups = Groups::new(norms.len(), dim);
        for Panel { columns, sums: own } in &mut groups.panels {
            for (own, all) in own.iter_mut().zip([&sums.mean, &sums.squares, &sums.unit_sum]) {
                assert!(all.len() == norms.len() * dim, "{} sums of {} groups", all.len(), norms.len());
                for (to, from) in own.chunks_mut(columns.len()).zip(all.chunks(dim)) {
                    to.copy_from_slice(&from[columns.clone()]);
                }
            }
        }
        Groups { norms, seen, invalid, ..groups }
    }

    /// Adds rows, each to the group of its number. After an error, some may have been added.
    ///
    /// # Panics
    /// If there is not one number of a group for each row.
    pub fn update(
        &mut self,
        rows: AnyRows,
        groups: &[u32],
        on_invalid: OnInvalid,
        context: &Context,
    ) -> Result<(), Error> {
        if rows.dim() != self.dim {
            return Err(Error::Dimension { what: "rows", found: rows.dim(), expected: self.dim });
        }
        assert!(groups.len() == rows.count(), "{} rows have {} groups", rows.count(), groups.len());
        assert!(groups.iter().all(|&group| (group as usize) < self.norms.len()), "a group that there is not");
        let length = self.chunk();
        for start in (0..rows.count()).step_by(length) {
            let chunk = start..rows.count().min(start + length);
            let groups = &groups[chunk.clone()];
            let rows = slice(&rows, chunk);
            let steps = self.steps(rows, groups, on_invalid, context)?;
            let runs = runs(&steps);
            let parts: Vec<_> =
                self.panels.iter_mut().flat_map(|panel| panel.parts(&runs)).map(Mutex::new).collect();
            let add = |&mut (): &mut (), job: usize| {
                let mut part = parts[job].lock().unwrap_or_else(PoisonError::into_inner);
                with_rows!(rows, rows => {
                    let rows = rows.columns(part.columns.clone());
                    context.level.dispatch(Add { rows, part: &mut part });
                });
                Ok(())
            };
            ordered(parts.len(), context, || (), add, |()| Ok(()))?;
            self.seen += rows.count() as u64;
        }
        Ok(())
    }

    /// Rows that are ordered by group at a time: some for each group, so that its sums are loaded once for
    /// several rows; few enough to be still in cache when they are added.
    fn chunk(&self) -> usize {
        (8 * self.norms.len()).clamp(4 * BLOCK, 32 * BLOCK)
    }

    /// Counts the rows of a chunk, and says what each valid one adds: group after group, and in the order of
    /// rows within each.
    fn steps(
        &mut self,
        rows: AnyRows,
        groups: &[u32],
        on_invalid: OnInvalid,
        context: &Context,
    ) -> Result<Vec<Step>, Error> {
        let Units { norm, status, products: [] } = units(rows, [], context)?;
        let mut order = Vec::with_capacity(norm.len());
        for (row, (&status, &group)) in status.iter().zip(groups).enumerate() {
            match status {
                Status::Ok => order.push((group, row as u32)),
                _ if on_invalid == OnInvalid::Error => {
                    return Err(Error::InvalidRow { row: self.seen + row as u64, status });
                }
                Status::NonFinite => self.invalid.non_finite += 1,
                Status::ZeroNorm => self.invalid.zero_norm += 1,
            }
        }
        order.sort_unstable();
        let step = |(group, row): (u32, u32)| {
            let (norms, norm) = (&mut self.norms[group as usize], norm[row as usize]);
            norms.push(norm);
            Step { row, group, norm, share: 1.0 / norms.count as f64 }
        };
        Ok(order.into_iter().map(step).collect())
    }

    /// Rows seen, valid or not.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Rows left out.
    pub fn invalid(&self) -> Invalid {
        self.invalid
    }

    /// Of the norms of each group, and so of its valid rows.
    pub fn norms(&self) -> &[Stats] {
        &self.norms
    }

    /// The sums, as matrices.
    pub fn sums(&self) -> GroupSums {
        let [mean, squares, unit_sum] = [0, 1, 2].map(|which| {
            let mut all = vec![0.0; self.norms.len() * self.dim];
            for Panel { columns, sums } in &self.panels {
                for (to, from) in all.chunks_mut(self.dim).zip(sums[which].chunks(columns.len())) {
                    to[columns.clone()].copy_from_slice(from);
                }
            }
            all
        });
        GroupSums { mean, squares, unit_sum }
    }
}

/// Cuts steps into runs of about the same length, between groups.
fn runs(steps: &[Step]) -> Vec<&[Step]> {
    let (mut runs, mut rest) = (Vec::new(), steps);
    while !rest.is_empty() {
        let least = steps.len().div_ceil(RUNS).min(rest.len());
        let last = rest[least - 1].group;
        let (run, after) = rest.split_at(rest.partition_point(|step| step.group <= last));
        runs.push(run);
        rest = after;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::covariance::Precision;
    use crate::linear::moments::Moments;
    use crate::rows::Rows;
    use crate::testing::{data, everywhere};

    fn groups_of(n: usize, groups: u32) -> Vec<u32> {
        (0..n as u32).map(|i| (i * i + i / 7) % groups).collect()
    }

    fn rows_of(x: &[f64], d: usize) -> AnyRows<'_> {
        AnyRows::F64(Rows::new(x, d))
    }

    #[test]
    fn every_group_has_the_moments_of_its_rows() {
        for d in (1..=40).chain([64, 65, 200]) {
            let (n, count) = (60, 5);
            let (x, groups) = (data(n, d), groups_of(n, count));
            everywhere(|context| {
                let mut all = Groups::new(count as usize, d);
                all.update(rows_of(&x, d), &groups, OnInvalid::Error, context).unwrap();
                let sums = all.sums();
                for group in 0..count {
                    let rows = x.chunks(d).zip(&groups).filter(|&(_, &own)| own == group);
                    let rows: Vec<f64> = rows.flat_map(|(row, _)| row).copied().collect();
                    let mut alone = Moments::new(d, false, Precision::Auto);
                    if !rows.is_empty() {
                        alone.update(rows_of(&rows, d), OnInvalid::Error, context).unwrap();
                    }
                    let (want, _) = alone.finish(context).unwrap();
                    let own = group as usize * d..(group as usize + 1) * d;
                    assert_eq!(all.norms()[group as usize].count, want.count);
                    for (got, want) in [
                        (&sums.mean, want.mean),
                        (&sums.squares, want.squares),
                        (&sums.unit_sum, want.unit_sum),
                    ] {
                        for (got, want) in got[own.clone()].iter().zip(&want) {
                            assert!((got - want).abs() < 1e-12, "{d} {group}: {got} {want}");
                        }
                    }
                }
            });
        }
    }

    /// The sums of rows of which some were added, put away and gone on from.
    fn resumed(x: &[f32], d: usize, groups: &[u32], context: &Context) -> GroupSums {
        let at = BLOCK + 77;
        let mut all = Groups::new(40, d);
        for (rows, groups) in [(&x[..at * d], &groups[..at]), (&x[at * d..], &groups[at..])] {
            all = Groups::resume(d, &all.sums(), all.norms().to_vec(), all.seen(), all.invalid());
            let rows = AnyRows::F32(Rows::new(rows, d));
            all.update(rows, groups, OnInvalid::Error, context).unwrap();
        }
        assert_eq!(all.seen(), groups.len() as u64);
        all.sums()
    }

    #[test]
    fn batches_and_threads_never_show() {
        let (n, d) = (4 * BLOCK + 777, 150);
        let x: Vec<f32> = data(n, d).iter().map(|&x| x as f32).collect();
        let groups = groups_of(n, 40);
        let mut first: Vec<GroupSums> = Vec::new();
        everywhere(|context| {
            let fit = |batch: usize| {
                let mut all = Groups::new(40, d);
                for (rows, groups) in x.chunks(batch * d).zip(groups.chunks(batch)) {
                    let rows = AnyRows::F32(Rows::new(rows, d));
                    all.update(rows, groups, OnInvalid::Error, context).unwrap();
                }
                all.sums()
            };
            let whole = fit(n);
            assert!(fit(1000) == whole && fit(BLOCK + 1) == whole, "batches");
            assert!(resumed(&x, d, &groups, context) == whole, "put away");
            // Two runs in a row are of one level, with one and with three threads.
            if context.threads == 1 {
                first.push(whole);
            } else {
                assert!(first.last() == Some(&whole), "threads");
            }
        });
    }

    #[test]
    fn invalid_rows_are_left_out_or_refused() {
        const CHUNK: usize = 4 * BLOCK;
        let (n, d) = (CHUNK + 9, 3);
        let mut x = data(n, d);
        x[5 * d..6 * d].fill(0.0);
        x[(CHUNK + 2) * d] = f64::NAN;
        let groups = groups_of(n, 4);
        let kept = |i: &usize| *i != 5 && *i != CHUNK + 2;
        let valid: Vec<f64> = (0..n).filter(kept).flat_map(|i| x[i * d..(i + 1) * d].to_vec()).collect();
        let valid_groups: Vec<u32> = (0..n).filter(kept).map(|i| groups[i]).collect();
        everywhere(|context| {
            let mut some = Groups::new(4, d);
            some.update(rows_of(&x, d), &groups, OnInvalid::Skip, context).unwrap();
            assert_eq!(some.invalid(), Invalid { non_finite: 1, zero_norm: 1 });
            let mut all = Groups::new(4, d);
            all.update(rows_of(&valid, d), &valid_groups, OnInvalid::Error, context).unwrap();
            assert_eq!(some.sums(), all.sums());
            let refused =
                Groups::new(4, d).update(rows_of(&x[6 * d..], d), &groups[6..], OnInvalid::Error, context);
            let row = CHUNK as u64 - 4;
            assert_eq!(refused.unwrap_err(), Error::InvalidRow { row, status: Status::NonFinite });
        });
    }

    #[test]
    fn any_layout_and_any_neighbours_give_the_same_bits() {
        let (n, d) = (50, 70);
        let mut x = data(n, d);
        // Rows that have to be divided by their norms, between others of their groups.
        x[7 * d..8 * d].iter_mut().for_each(|x| *x *= 1e200);
        x[30 * d..31 * d].iter_mut().for_each(|x| *x *= 1e-200);
        let groups = groups_of(n, 2);
        let columns: Vec<f64> = (0..d).flat_map(|k| x.iter().skip(k).step_by(d).copied()).collect();
        // SAFETY: `columns` holds 50 rows of 70 elements at these strides.
        let turned = unsafe { Rows::from_raw(columns.as_ptr(), n, d, 1, n as isize, false) };
        everywhere(|context| {
            let fit = |rows: &[AnyRows], groups: &[&[u32]]| {
                let mut all = Groups::new(2, d);
                for (&rows, groups) in rows.iter().zip(groups) {
                    all.update(rows, groups, OnInvalid::Error, context).unwrap();
                }
                all.sums()
            };
            let one_by_one: Vec<_> = x.chunks(d).map(|row| rows_of(row, d)).collect();
            let want = fit(&one_by_one, &groups.chunks(1).collect::<Vec<_>>());
            assert!(fit(&[rows_of(&x, d)], &[&groups]) == want, "rows together");
            assert!(fit(&[AnyRows::F64(turned)], &[&groups]) == want, "columns");
        });
    }

    #[test]
    fn runs_end_with_groups() {
        let steps: Vec<Step> = [0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 5, 6, 7]
            .map(|group| Step { row: 0, group, norm: 1.0, share: 1.0 })
            .to_vec();
        let found: Vec<Vec<u32>> =
            runs(&steps).iter().map(|run| run.iter().map(|step| step.group).collect()).collect();
        assert_eq!(found, [vec![0; 3], [vec![1], vec![2; 16]].concat(), vec![5, 6], vec![7]]);
        assert!(runs(&[]).is_empty());
    }

    #[test]
    fn extreme_rows_have_unit_sums() {
        let x = [3e-200, 4e-200, 3e300, -4e300];
        everywhere(|context| {
            let mut all = Groups::new(1, 2);
            all.update(rows_of(&x, 2), &[0, 0], OnInvalid::Error, context).unwrap();
            let sum = all.sums().unit_sum;
            assert!((sum[0] - 1.2).abs() < 1e-15 && sum[1].abs() < 1e-15, "{sum:?}");
        });
    }
}
