//! The moments of many groups of rows, in one pass over all of them.
//!
//! Of the valid rows of each group: what `moments` has without a covariance. Each feature of each group
//! is summed on its own, row by row in the order of rows:
//!
//! ```text
//! n <- n + 1,  delta = x - m,  m <- m + delta / n,  q <- q + delta (x - m),  s <- s + x / |x|
//! ```
//!
//! (Welford.) So neither batches nor threads show in the bits: threads share out the *features*, in
//! panels, and each sees all rows. In float64; a mean of `N` rows is within `2 N 2^-53` of the greatest
//! magnitude in it, a hundredth of that for rows in no particular order.
//!
//! Memory: three numbers for each feature of each group.

use super::stats::Stats;
use super::unit::{Units, units};
use crate::blocks::{BLOCK, slice};
use crate::element::Element;
use crate::error::{Error, Status};
use crate::linear::moments::OnInvalid;
use crate::linear::sums::Invalid;
use crate::math::aligned::Aligned;
use crate::rows::{AnyRows, Rows};
use crate::schedule::{Context, ordered};
use crate::simd::{Isa, Kernel};
use crate::with_rows;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Features of a panel: the panel of a thousand groups, 1.5 MB, stays in L2 while a chunk passes.
const WIDTH: usize = 64;

/// Rows that pass over the panels at a time: few enough to be still in cache for the last of them.
const CHUNK: usize = 4 * BLOCK;

/// Norms by which rows can be multiplied; one over any other may be subnormal.
const PLAIN: Range<f64> = 1e-150..1e150;

/// The sums of some features of all groups.
#[derive(Clone, Debug)]
struct Panel {
    columns: Range<usize>,
    /// Group after group; so are the others.
    mean: Aligned<f64>,
    squares: Aligned<f64>,
    unit_sum: Aligned<f64>,
}

/// What a row adds to its group.
#[derive(Clone, Copy)]
struct Step {
    norm: f64,
    /// One over the number of valid rows of the group, this one included; 0 for a row that is left out.
    share: f64,
}

/// The accumulator.
#[derive(Debug)]
pub struct Groups {
    dim: usize,
    norms: Vec<Stats>,
    panels: Vec<Mutex<Panel>>,
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
        let panels = (0..dim).step_by(WIDTH).map(|start| {
            let columns = start..dim.min(start + WIDTH);
            let zeros = || Aligned::zeros(groups * columns.len());
            Mutex::new(Panel { mean: zeros(), squares: zeros(), unit_sum: zeros(), columns })
        });
        Groups {
            dim,
            norms: vec![Stats::default(); groups],
            panels: panels.collect(),
            seen: 0,
            invalid: Invalid::default(),
        }
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
        for start in (0..rows.count()).step_by(CHUNK) {
            let chunk = start..rows.count().min(start + CHUNK);
            let groups = &groups[chunk.clone()];
            let rows = slice(&rows, chunk);
            let steps = self.steps(rows, groups, on_invalid, context)?;
            let panels = &self.panels;
            let add = |&mut (): &mut (), job: usize| {
                let mut panel = panels[job].lock().unwrap_or_else(PoisonError::into_inner);
                with_rows!(rows, rows => {
                    let rows = rows.columns(panel.columns.clone());
                    let scratch = &mut rows.scratch(1);
                    context.level.dispatch(Add { rows, scratch, groups, steps: &steps, panel: &mut panel });
                });
                Ok(())
            };
            ordered(panels.len(), context, || (), add, |()| Ok(()))?;
            self.seen += rows.count() as u64;
        }
        Ok(())
    }

    /// Counts the rows of a chunk, and says what each of them adds.
    fn steps(
        &mut self,
        rows: AnyRows,
        groups: &[u32],
        on_invalid: OnInvalid,
        context: &Context,
    ) -> Result<Vec<Step>, Error> {
        let Units { norm, status, products: [] } = units(rows, [], context)?;
        let mut steps = Vec::with_capacity(norm.len());
        for (row, ((&norm, &status), &group)) in norm.iter().zip(&status).zip(groups).enumerate() {
            match status {
                Status::Ok => {
                    let norms = &mut self.norms[group as usize];
                    norms.push(norm);
                    steps.push(Step { norm, share: 1.0 / norms.count as f64 });
                    continue;
                }
                _ if on_invalid == OnInvalid::Error => {
                    return Err(Error::InvalidRow { row: self.seen + row as u64, status });
                }
                Status::NonFinite => self.invalid.non_finite += 1,
                Status::ZeroNorm => self.invalid.zero_norm += 1,
            }
            steps.push(Step { norm, share: 0.0 });
        }
        Ok(steps)
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
        let gather = |of: fn(&Panel) -> &[f64]| {
            let mut all = vec![0.0; self.norms.len() * self.dim];
            for panel in &self.panels {
                let panel = panel.lock().unwrap_or_else(PoisonError::into_inner);
                let width = panel.columns.len();
                for (to, from) in all.chunks_mut(self.dim).zip(of(&panel).chunks(width)) {
                    to[panel.columns.clone()].copy_from_slice(from);
                }
            }
            all
        };
        GroupSums {
            mean: gather(|panel| &panel.mean),
            squares: gather(|panel| &panel.squares),
            unit_sum: gather(|panel| &panel.unit_sum),
        }
    }
}

/// The kernel: adds the features of one panel of the rows of a chunk.
struct Add<'a, E> {
    rows: Rows<'a, E>,
    scratch: &'a mut [E],
    groups: &'a [u32],
    steps: &'a [Step],
    panel: &'a mut Panel,
}

impl<E: Element> Kernel for Add<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Add { rows, scratch, groups, steps, panel } = self;
        let width = rows.dim();
        let body = width - width % I::LANES_F64;
        for (i, (&Step { norm, share }, &group)) in steps.iter().zip(groups).enumerate() {
            if share == 0.0 {
                continue;
            }
            let own = group as usize * width..(group as usize + 1) * width;
            let mean = &mut panel.mean[own.clone()];
            let squares = &mut panel.squares[own.clone()];
            let unit_sum = &mut panel.unit_sum[own];
            if !PLAIN.contains(&norm) {
                add_extreme(rows, i, norm, share, mean, squares, unit_sum);
                continue;
            }
            let inverse = 1.0 / norm;
            let (wide_share, wide_inverse) = (isa.splat_f64(share), isa.splat_f64(inverse));
            let row = rows.row(i, scratch);
            let mut k = 0;
            while k < body {
                // SAFETY: k + LANES_F64 <= width, the length of the row and of the three slices.
                unsafe {
                    let (m, q, s) =
                        (mean.as_mut_ptr().add(k), squares.as_mut_ptr().add(k), unit_sum.as_mut_ptr().add(k));
                    let x = E::load_f64(isa, row.add(k));
                    let before = isa.load_f64(m);
                    let delta = isa.sub_f64(x, before);
                    let after = isa.mul_add_f64(delta, wide_share, before);
                    isa.store_f64(m, after);
                    isa.store_f64(q, isa.mul_add_f64(delta, isa.sub_f64(x, after), isa.load_f64(q)));
                    isa.store_f64(s, isa.mul_add_f64(x, wide_inverse, isa.load_f64(s)));
                }
                k += I::LANES_F64;
            }
            for k in body..width {
                // SAFETY: k < width.
                let x = unsafe { row.add(k).read_unaligned() }.to_f64();
                let delta = x - mean[k];
                mean[k] += delta * share;
                squares[k] += delta * (x - mean[k]);
                unit_sum[k] += x * inverse;
            }
        }
    }
}

/// Adds a row so long or short that it has to be divided by its norm.
#[cold]
fn add_extreme<E: Element>(
    rows: Rows<E>,
    i: usize,
    norm: f64,
    share: f64,
    mean: &mut [f64],
    squares: &mut [f64],
    unit_sum: &mut [f64],
) {
    for k in 0..rows.dim() {
        let x = rows.get(i, k).to_f64();
        let delta = x - mean[k];
        mean[k] += delta * share;
        squares[k] += delta * (x - mean[k]);
        unit_sum[k] += x / norm;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::covariance::Precision;
    use crate::linear::moments::Moments;
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

    #[test]
    fn batches_and_threads_never_show() {
        let (n, d) = (CHUNK + 777, 150);
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
