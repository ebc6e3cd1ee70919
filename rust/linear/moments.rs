//! Moments of a set of rows in one pass.
//!
//! Of the valid rows `x_j`: their count, the raw mean `m = (1/N) sum x_j`, the unit mean
//! `s = (1/N) sum x_j / |x_j|`, the variance of each feature, statistics of the norms, and, where
//! asked for, the scatter matrix. All sums are float64, whatever the storage.
//!
//! Memory: `O(d)`, `O(d^2)` per thread with covariance, and a carry of up to one block.

use super::covariance::{BlockScatter, Precision, Scatter, Workspace};
use super::sums::{Accumulate, GROUP, Sums};
use super::unit::units;
use crate::blocks::{BLOCK, Carry, Spare, for_each_block, slice};
use crate::element::{Element, Real};
use crate::error::{Error, Status};
use crate::rows::{AnyRows, Rows};
use crate::schedule::Context;
use crate::with_rows;

/// What to do with a row that has no direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInvalid {
    /// Stop with [`Error::InvalidRow`] and leave the accumulator as it was.
    Error,
    /// Leave the row out, and count it.
    Skip,
}

/// What one block gives.
struct Block {
    sums: Sums,
    first_invalid: Option<(usize, Status)>,
    scatter: Option<BlockScatter>,
}

/// The accumulator: moments of all the rows it has seen.
#[derive(Clone, Debug)]
pub struct Moments {
    dim: usize,
    sums: Sums,
    scatter: Option<Scatter>,
    precision: Precision,
    /// Rows ever seen, valid or not, those in the carry included.
    seen: u64,
    carry: Carry,
}

impl Moments {
    /// Of no rows, of `dim` features.
    ///
    /// # Panics
    /// If `dim` is zero.
    pub fn new(dim: usize, covariance: bool, precision: Precision) -> Self {
        assert!(dim > 0, "rows have at least one feature");
        Moments {
            dim,
            sums: Sums::new(dim),
            scatter: covariance.then(|| Scatter::new(dim)),
            precision,
            seen: 0,
            carry: Carry::new(dim),
        }
    }

    /// From what [`Moments::finish`] gave before.
    pub fn from_parts(sums: Sums, scatter: Option<Scatter>, precision: Precision, seen: u64) -> Self {
        let dim = sums.mean.len();
        Moments { dim, sums, scatter, precision, seen, carry: Carry::new(dim) }
    }

    /// The sums of whole blocks, and the rows that wait for theirs: what [`Moments::resume`] takes.
    pub fn parts(&self) -> (&Sums, Option<&Scatter>, &Carry) {
        (&self.sums, self.scatter.as_ref(), &self.carry)
    }

    /// From what [`Moments::parts`] gave, to the bit: rows that follow are cut into blocks as if the
    /// accumulator had never been put away. `seen` counts the rows that wait, too.
    ///
    /// # Panics
    /// If `waiting` fills a block.
    pub fn resume(
        sums: Sums,
        scatter: Option<Scatter>,
        precision: Precision,
        seen: u64,
        waiting: AnyRows,
    ) -> Self {
        assert!(waiting.count() < BLOCK, "{} rows wait for a block of {BLOCK}", waiting.count());
        let mut moments = Moments::from_parts(sums, scatter, precision, seen);
        moments.carry.push(waiting);
        moments
    }

    /// Number of features.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Rows seen, valid or not.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// What the covariance is multiplied in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Adds rows. On an error the accumulator is as it was before the call.
    pub fn update(&mut self, rows: AnyRows, on_invalid: OnInvalid, context: &Context) -> Result<(), Error> {
        if rows.dim() != self.dim {
            return Err(Error::Dimension { what: "rows", found: rows.dim(), expected: self.dim });
        }
        let before = self.clone();
        let outcome = self.extend(rows, on_invalid, context);
        if outcome.is_err() {
            *self = before;
        }
        outcome
    }

    /// As [`Moments::update`], without the copy that it goes back to: on an error, some of the rows may
    /// have been added.
    pub fn extend(&mut self, rows: AnyRows, on_invalid: OnInvalid, context: &Context) -> Result<(), Error> {
        let (head, tail) = self.carry.cuts(rows.count());
        self.wait(slice(&rows, 0..head), 0, on_invalid, context)?;
        if self.carry.count() == BLOCK {
            self.flush(context)?;
        }
        let first = self.seen + head as u64;
        with_rows!(slice(&rows, head..tail), rows => self.add(rows, first, on_invalid, context))?;
        self.wait(slice(&rows, tail..rows.count()), tail, on_invalid, context)?;
        self.seen += rows.count() as u64;
        Ok(())
    }

    /// Puts rows into the carry. They are summed later, but what is to be refused is refused now.
    fn wait(
        &mut self,
        rows: AnyRows,
        offset: usize,
        on_invalid: OnInvalid,
        context: &Context,
    ) -> Result<(), Error> {
        if on_invalid == OnInvalid::Error {
            let status = units(rows, [], context)?.status;
            if let Some(row) = status.iter().position(|&status| status != Status::Ok) {
                let (row, status) = (self.seen + (offset + row) as u64, status[row]);
                return Err(Error::InvalidRow { row, status });
            }
        }
        self.carry.push(rows);
        Ok(())
    }

    /// Sums the carry as a block of its own, full or not.
    fn flush(&mut self, context: &Context) -> Result<(), Error> {
        let carry = std::mem::replace(&mut self.carry, Carry::new(self.dim));
        // Its rows were judged when they arrived: what is invalid now was to be skipped then.
        with_rows!(carry.rows(), rows => self.add(rows, 0, OnInvalid::Skip, context))
    }

    fn add<E: Element>(
        &mut self,
        rows: Rows<E>,
        first: u64,
        on_invalid: OnInvalid,
        context: &Context,
    ) -> Result<(), Error> {
        match self.precision {
            Precision::Auto => self.add_blocks::<E, E::Real>(rows, first, on_invalid, context),
            Precision::Float64 => self.add_blocks::<E, f64>(rows, first, on_invalid, context),
        }
    }

    /// Adds rows as blocks, with covariances multiplied in `T`.
    fn add_blocks<E: Element, T: Real>(
        &mut self,
        rows: Rows<E>,
        first: u64,
        on_invalid: OnInvalid,
        context: &Context,
    ) -> Result<(), Error> {
        let covariance = self.scatter.is_some();
        let spare = Spare::default();
        let init = || (rows.scratch(GROUP), covariance.then(|| Workspace::<T>::new(&spare)));
        let map = |(scratch, workspace): &mut (Vec<E>, Option<Workspace<T>>), start: usize, rows: Rows<E>| {
            let mut valid = [true; BLOCK];
            let (sums, invalid) = context.level.dispatch(Accumulate { rows, scratch, valid: &mut valid });
            let first_invalid = invalid.map(|(row, status)| (start + row, status));
            let scatter = workspace.as_mut().map(|w| w.scatter(rows, &sums, &valid, context.level));
            Ok(Block { sums, first_invalid, scatter })
        };
        let (sums, scatter) = (&mut self.sums, &mut self.scatter);
        for_each_block(rows, context, init, map, |block: Block| {
            if let (Some((row, status)), OnInvalid::Error) = (block.first_invalid, on_invalid) {
                return Err(Error::InvalidRow { row: first + row as u64, status });
            }
            if let (Some(total), Some(part)) = (scatter.as_mut(), block.scatter) {
                total.merge_block(&part, sums, &block.sums, context.level);
                part.give_back(&spare);
            }
            sums.merge(&block.sums);
            Ok(())
        })
    }

    /// Adds what another accumulator has seen. Rows that wait in either carry become blocks of
    /// their own. Without a scatter matrix on both sides the result has none.
    pub fn merge(&mut self, other: &Moments, context: &Context) -> Result<(), Error> {
        if other.dim != self.dim {
            return Err(Error::Dimension { what: "other", found: other.dim, expected: self.dim });
        }
        let (sums, scatter) = other.finish(context)?;
        self.flush(context)?;
        self.scatter = match (self.scatter.take(), scatter) {
            (Some(mut total), Some(part)) => {
                total.merge(&part, &self.sums, &sums);
                Some(total)
            }
            _ => None,
        };
        self.sums.merge(&sums);
        self.seen += other.seen;
        if self.precision != other.precision {
            self.precision = Precision::Auto;
        }
        Ok(())
    }

    /// Whether there is a scatter matrix.
    pub fn has_scatter(&self) -> bool {
        self.scatter.is_some()
    }

    /// The sums of all rows seen so far, without the scatter matrix.
    pub fn sums(&self, context: &Context) -> Result<Sums, Error> {
        let (sums, carry, scatter) = (self.sums.clone(), self.carry.clone(), None);
        let mut done =
            Moments { dim: self.dim, sums, scatter, precision: self.precision, seen: self.seen, carry };
        done.flush(context)?;
        Ok(done.sums)
    }

    /// The sums of all rows seen so far; the accumulator can go on.
    pub fn finish(&self, context: &Context) -> Result<(Sums, Option<Scatter>), Error> {
        let mut done = self.clone();
        done.flush(context)?;
        Ok((done.sums, done.scatter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::sums::Invalid;
    use crate::testing::{data, everywhere};

    fn naive(x: &[f64], d: usize) -> Sums {
        let n = (x.len() / d) as f64;
        let mut sums = Sums::new(d);
        for row in x.chunks(d) {
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            sums.norms.push(norm);
            for k in 0..d {
                sums.mean[k] += row[k] / n;
                sums.unit_sum[k] += row[k] / norm;
            }
        }
        for row in x.chunks(d) {
            for k in 0..d {
                sums.squares[k] += (row[k] - sums.mean[k]).powi(2);
            }
        }
        sums
    }

    fn close(got: &[f64], want: &[f64], scale: f64) {
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() <= 1e-13 * scale, "{got} {want}");
        }
    }

    #[test]
    fn every_tail_of_features_and_rows_at_every_level() {
        for d in (1..=40).chain([513]) {
            for n in [2, 3, 4, 5, 9, BLOCK - 1, BLOCK + 1] {
                if n > 10 && d % 13 != 0 {
                    continue;
                }
                let x = data(n, d);
                let want = naive(&x, d);
                everywhere(|context| {
                    let mut moments = Moments::new(d, false, Precision::Auto);
                    moments.update(AnyRows::F64(Rows::new(&x, d)), OnInvalid::Error, context).unwrap();
                    let (got, _) = moments.finish(context).unwrap();
                    assert_eq!(got.count, n as u64);
                    close(&got.mean, &want.mean, 1.0);
                    close(&got.squares, &want.squares, n as f64);
                    close(&got.unit_sum, &want.unit_sum, n as f64);
                    close(&[got.norms.mean], &[want.norms.mean], d as f64);
                });
            }
        }
    }

    #[test]
    fn batches_and_threads_never_show() {
        let (n, d) = (3 * BLOCK + 77, 9);
        let x: Vec<f32> = data(n, d).iter().map(|&x| x as f32).collect();
        let mut first: Vec<(Sums, Option<Scatter>)> = Vec::new();
        everywhere(|context| {
            let fit = |batch: usize| {
                let mut moments = Moments::new(d, true, Precision::Auto);
                for part in x.chunks(batch * d) {
                    moments.update(AnyRows::F32(Rows::new(part, d)), OnInvalid::Error, context).unwrap();
                }
                moments.finish(context).unwrap()
            };
            let whole = fit(n);
            for batch in [1, 7, BLOCK, BLOCK + 1] {
                assert_eq!(fit(batch), whole, "batches of {batch}");
            }
            // Two runs in a row are of one level, with one and with three threads.
            if context.threads == 1 {
                first.push(whole);
            } else {
                assert_eq!(first.last(), Some(&whole), "threads");
            }
        });
    }

    #[test]
    fn an_accumulator_that_is_put_away_goes_on_to_the_bit() {
        let (n, d) = (2 * BLOCK + 300, 5);
        let x = data(n, d);
        let narrow: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        everywhere(|context| {
            // Cut where no row waits, where some do, and where those that wait are of two types.
            for cut in [0, 7, BLOCK, BLOCK + 20] {
                let (wide, narrow) = (Rows::new(&x, d), Rows::new(&narrow, d));
                let mut whole = Moments::new(d, true, Precision::Auto);
                whole.update(AnyRows::F64(wide.slice(0..cut)), OnInvalid::Error, context).unwrap();
                whole.update(AnyRows::F32(narrow.slice(cut..cut + 9)), OnInvalid::Error, context).unwrap();
                let (sums, scatter, carry) = whole.parts();
                let mut again = Moments::resume(
                    sums.clone(),
                    scatter.map(|scatter| Scatter::from_matrix(d, scatter.matrix())),
                    whole.precision(),
                    whole.seen(),
                    carry.rows(),
                );
                for moments in [&mut whole, &mut again] {
                    let rest = AnyRows::F32(narrow.slice(cut + 9..n));
                    moments.update(rest, OnInvalid::Error, context).unwrap();
                }
                let (sums, scatter) = whole.finish(context).unwrap();
                let (sums_again, scatter_again) = again.finish(context).unwrap();
                assert_eq!((sums, whole.seen()), (sums_again, again.seen()));
                assert_eq!(scatter.unwrap().matrix(), scatter_again.unwrap().matrix());
            }
        });
    }

    #[test]
    fn an_invalid_row_is_named_and_leaves_the_accumulator_alone() {
        let (n, d) = (2 * BLOCK + 50, 5);
        for bad in [0, 3, BLOCK - 1, BLOCK, 2 * BLOCK + 49] {
            let mut x = data(n, d);
            x[bad * d..(bad + 1) * d].fill(0.0);
            let rows = AnyRows::F64(Rows::new(&x, d));
            let without: Vec<f64> = x.chunks(d).filter(|row| row[0] != 0.0).flatten().copied().collect();
            everywhere(|context| {
                let mut moments = Moments::new(d, false, Precision::Auto);
                moments.update(slice(&rows, 0..bad.min(100)), OnInvalid::Error, context).unwrap();
                let before = moments.finish(context).unwrap();
                let error = moments.update(rows, OnInvalid::Error, context).unwrap_err();
                let row = (bad + bad.min(100)) as u64;
                assert_eq!(error, Error::InvalidRow { row, status: Status::ZeroNorm });
                assert_eq!(moments.finish(context).unwrap(), before);

                let mut moments = Moments::new(d, false, Precision::Auto);
                moments.update(rows, OnInvalid::Skip, context).unwrap();
                let (sums, _) = moments.finish(context).unwrap();
                assert_eq!(sums.invalid, Invalid { non_finite: 0, zero_norm: 1 });
                close(&sums.mean, &naive(&without, d).mean, 1.0);
            });
        }
    }

    #[test]
    fn of_several_invalid_rows_the_first_is_named() {
        // In the order of visits, a row of a later stream comes before the last of the first stream.
        let (n, d) = (BLOCK + 3, 4);
        let mut x = data(n, d);
        for bad in [BLOCK / 4 - 1, BLOCK / 4, BLOCK / 2, BLOCK + 1] {
            x[bad * d] = f64::NAN;
        }
        everywhere(|context| {
            let rows = AnyRows::F64(Rows::new(&x, d));
            let mut moments = Moments::new(d, false, Precision::Auto);
            let error = moments.update(rows, OnInvalid::Error, context).unwrap_err();
            let row = (BLOCK / 4 - 1) as u64;
            assert_eq!(error, Error::InvalidRow { row, status: Status::NonFinite });
            moments.update(rows, OnInvalid::Skip, context).unwrap();
            let (sums, _) = moments.finish(context).unwrap();
            assert_eq!((sums.count, sums.invalid.non_finite), (n as u64 - 4, 4));
        });
    }

    #[test]
    fn parts_merge_to_the_whole() {
        let (n, d) = (BLOCK + 300, 6);
        let x = data(n, d);
        everywhere(|context| {
            let fit = |part: &[f64]| {
                let mut moments = Moments::new(d, true, Precision::Auto);
                moments.update(AnyRows::F64(Rows::new(part, d)), OnInvalid::Error, context).unwrap();
                moments
            };
            let (whole, whole_scatter) = fit(&x).finish(context).unwrap();
            let mut merged = fit(&x[..40 * d]);
            merged.merge(&fit(&x[40 * d..700 * d]), context).unwrap();
            merged.merge(&fit(&x[700 * d..]), context).unwrap();
            let (sums, scatter) = merged.finish(context).unwrap();
            close(&sums.mean, &whole.mean, 1.0);
            close(&sums.squares, &whole.squares, n as f64);
            close(&scatter.unwrap().matrix(), &whole_scatter.unwrap().matrix(), n as f64);
        });
    }
}
