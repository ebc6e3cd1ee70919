//! Moments of a set of rows in one pass.
//!
//! Of the valid rows `x_j`: their count, the raw mean `m = (1/N) sum x_j`, the unit mean
//! `s = (1/N) sum x_j / |x_j|`, the variance of each feature, statistics of the norms, and, where
//! asked for, the scatter matrix. All sums are float64, whatever the storage.
//!
//! Within a block, deviations are taken from its first valid row, so that no digits are lost to a
//! large mean, and blocks are merged by Chan's formula. A group of four rows is visited twice: for the
//! norms (from memory) and for the sums (from L1), which loads and stores the running sums once per
//! group.
//!
//! Memory: `O(d)`, `O(d^2)` per thread with covariance, and a carry of up to one block.

use super::covariance::{BlockScatter, Precision, Scatter, Spare, Workspace};
use super::stats::Stats;
use crate::blocks::{BLOCK, Carry, for_each_block, slice};
use crate::element::{Element, Real};
use crate::error::{Error, Status};
use crate::math::dots::{ahead, dots, widened};
use crate::math::norm::Norm;
use crate::rows::{AnyRows, Rows};
use crate::schedule::Context;
use crate::simd::{Isa, Kernel};
use crate::with_rows;

/// Rows summed in registers before the running sums are touched. Four leave room in L1 for the sums.
const GROUP: usize = 4;

/// Of the rows of the next group, how many are prefetched during the visit for the norms; the others
/// during the visit for the sums, so that memory is busy in both. Measured: 5.0 GB/s without prefetch,
/// 9.5 GB/s with, where a plain read reaches 9.5.
const EARLY: usize = 2;

/// What to do with a row that has no direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInvalid {
    /// Stop with [`Error::InvalidRow`] and leave the accumulator as it was.
    Error,
    /// Leave the row out, and count it.
    Skip,
}

/// Rows left out, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Invalid {
    /// Rows with a NaN or an infinity.
    pub non_finite: u64,
    /// Rows of zeros.
    pub zero_norm: u64,
}

/// The sums of a set of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Sums {
    /// Valid rows.
    pub count: u64,
    /// Mean of each feature.
    pub mean: Vec<f64>,
    /// Sum of squared deviations of each feature from its mean.
    pub squares: Vec<f64>,
    /// Sum of the unit rows.
    pub unit_sum: Vec<f64>,
    /// Statistics of the norms.
    pub norms: Stats,
    /// Rows left out.
    pub invalid: Invalid,
}

impl Sums {
    /// Of no rows.
    pub fn new(dim: usize) -> Self {
        let zeros = || vec![0.0; dim];
        Sums {
            count: 0,
            mean: zeros(),
            squares: zeros(),
            unit_sum: zeros(),
            norms: Stats::default(),
            invalid: Invalid::default(),
        }
    }

    /// Adds the sums of other rows.
    pub fn merge(&mut self, other: &Sums) {
        self.invalid.non_finite += other.invalid.non_finite;
        self.invalid.zero_norm += other.invalid.zero_norm;
        if other.count == 0 {
            return;
        }
        let (n, k) = (self.count as f64, other.count as f64);
        let (share, weight) = (k / (n + k), n * k / (n + k));
        for i in 0..self.mean.len() {
            let delta = other.mean[i] - self.mean[i];
            self.mean[i] += delta * share;
            self.squares[i] += other.squares[i] + delta * delta * weight;
            self.unit_sum[i] += other.unit_sum[i];
        }
        self.count += other.count;
        self.norms.merge(&other.norms);
    }
}

/// What one block gives.
struct Block {
    sums: Sums,
    first_invalid: Option<(usize, Status)>,
    scatter: Option<BlockScatter>,
}

/// Running sums over a block, of deviations from a reference row.
struct Running {
    reference: Option<Vec<f64>>,
    raw: Vec<f64>,
    squares: Vec<f64>,
    unit: Vec<f64>,
}

impl Running {
    /// Adds `R` valid rows of plain magnitude.
    ///
    /// # Safety
    /// Rows are readable for `dim` elements, and the caller runs under `I`.
    #[inline(always)]
    unsafe fn add<I: Isa, E: Element, const R: usize>(
        &mut self,
        isa: I,
        rows: [*const E; R],
        inverse: [f64; R],
    ) {
        let dim = self.raw.len();
        // SAFETY: the first row is readable for `dim` elements.
        let reference = self.reference.get_or_insert_with(|| unsafe { widened(rows[0], dim) });
        assert!(reference.len() == dim && self.squares.len() == dim && self.unit.len() == dim);
        let body = dim - dim % I::LANES_F64;
        let mut scales = [isa.zero_f64(); R];
        for r in 0..R {
            scales[r] = isa.splat_f64(inverse[r]);
        }
        let (raw, squares, unit) = (self.raw.as_mut_ptr(), self.squares.as_mut_ptr(), self.unit.as_mut_ptr());
        let mut k = 0;
        while k < body {
            // SAFETY: k + LANES_F64 <= dim, the length of every buffer and row.
            unsafe {
                let origin = isa.load_f64(reference.as_ptr().add(k));
                let (mut sum, mut square, mut units) =
                    (isa.load_f64(raw.add(k)), isa.load_f64(squares.add(k)), isa.load_f64(unit.add(k)));
                for r in 0..R {
                    if r >= EARLY {
                        ahead::<I, E>(isa, rows[r], k, R * dim);
                    }
                    let x = E::load_f64(isa, rows[r].add(k));
                    let deviation = isa.sub_f64(x, origin);
                    sum = isa.add_f64(sum, deviation);
                    square = isa.mul_add_f64(deviation, deviation, square);
                    units = isa.mul_add_f64(x, scales[r], units);
                }
                isa.store_f64(raw.add(k), sum);
                isa.store_f64(squares.add(k), square);
                isa.store_f64(unit.add(k), units);
            }
            k += I::LANES_F64;
        }
        for k in body..dim {
            for r in 0..R {
                // SAFETY: k < dim.
                let x = unsafe { rows[r].add(k).read_unaligned() }.to_f64();
                self.add_element(k, x, x * inverse[r]);
            }
        }
    }

    #[inline(always)]
    fn add_element(&mut self, k: usize, x: f64, unit: f64) {
        let deviation = x - self.reference.as_ref().map_or(0.0, |reference| reference[k]);
        self.raw[k] += deviation;
        self.squares[k] += deviation * deviation;
        self.unit[k] += unit;
    }

    /// Adds a valid row so large or small that it has to be scaled.
    #[cold]
    fn add_extreme(&mut self, row: Vec<f64>, norm: Norm) {
        for (k, &x) in row.iter().enumerate() {
            self.add_element(k, x, x * norm.scale * norm.inverse);
        }
        self.reference.get_or_insert(vec![0.0; row.len()]);
    }
}

/// The kernel: sums over one block. Clears `valid` where a row has no direction.
struct Accumulate<'a, E> {
    rows: Rows<'a, E>,
    scratch: &'a mut [E],
    valid: &'a mut [bool],
}

impl<E: Element> Kernel for Accumulate<'_, E> {
    type Output = (Sums, Option<(usize, Status)>);

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Self::Output {
        let Accumulate { rows, scratch, valid } = self;
        let dim = rows.dim();
        let zeros = || vec![0.0; dim];
        let mut running = Running { reference: None, raw: zeros(), squares: zeros(), unit: zeros() };
        let mut sums = Sums::new(0);
        let mut first_invalid = None;
        let mut i = 0;
        while i < rows.count() {
            if rows.count() - i >= GROUP {
                let group = rows.group::<GROUP>(i, scratch);
                // SAFETY: `group` gives rows of `dim` elements, and this runs under `I`.
                let (squares, _) = unsafe { dots::<I, E, GROUP, 0>(isa, group, [], dim, EARLY) };
                let mut norms = [Norm { status: Status::Ok, value: 0.0, scale: 1.0, inverse: 0.0 }; GROUP];
                for r in 0..GROUP {
                    // SAFETY: as above.
                    norms[r] = Norm::new(squares[r], || unsafe { widened(group[r], dim) });
                }
                if norms.iter().all(Norm::is_plain) {
                    norms.iter().for_each(|norm| sums.norms.push(norm.value));
                    // SAFETY: as above.
                    unsafe { running.add::<I, E, GROUP>(isa, group, norms.map(|norm| norm.inverse)) };
                    i += GROUP;
                    continue;
                }
            }
            let [row] = rows.group::<1>(i, scratch);
            // SAFETY: as above, for one row.
            let norm = unsafe {
                let ([square], _) = dots::<I, E, 1, 0>(isa, [row], [], dim, 0);
                Norm::new(square, || widened(row, dim))
            };
            match norm.status {
                Status::Ok => {
                    sums.norms.push(norm.value);
                    // SAFETY: as above.
                    unsafe {
                        if norm.is_plain() {
                            running.add::<I, E, 1>(isa, [row], [norm.inverse]);
                        } else {
                            running.add_extreme(widened(row, dim), norm);
                        }
                    }
                }
                Status::NonFinite => sums.invalid.non_finite += 1,
                Status::ZeroNorm => sums.invalid.zero_norm += 1,
            }
            if norm.status != Status::Ok {
                valid[i] = false;
                first_invalid = first_invalid.or(Some((i, norm.status)));
            }
            i += 1;
        }
        sums.count = sums.norms.count;
        let n = sums.count.max(1) as f64;
        let reference = running.reference.unwrap_or_else(zeros);
        sums.mean = reference.iter().zip(&running.raw).map(|(origin, raw)| origin + raw / n).collect();
        sums.squares = running
            .squares
            .iter()
            .zip(&running.raw)
            .map(|(square, raw)| (square - raw * raw / n).max(0.0))
            .collect();
        sums.unit_sum = running.unit;
        (sums, first_invalid)
    }
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
        let waiting = self.carry.count();
        let head = if waiting == 0 { 0 } else { rows.count().min(BLOCK - waiting) };
        let tail = head + (rows.count() - head) / BLOCK * BLOCK;
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
            with_rows!(rows, rows => self.check(rows, offset, context))?;
        }
        self.carry.push(rows);
        Ok(())
    }

    /// Refuses invalid rows; `offset` is the number of the first of them within the batch.
    fn check<E: Element>(&self, rows: Rows<E>, offset: usize, context: &Context) -> Result<(), Error> {
        let (mut scratch, mut valid) = (rows.scratch(GROUP), [true; BLOCK]);
        let (_, invalid) =
            context.level.dispatch(Accumulate { rows, scratch: &mut scratch, valid: &mut valid });
        match invalid {
            Some((row, status)) => Err(Error::InvalidRow { row: self.seen + (offset + row) as u64, status }),
            None => Ok(()),
        }
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
