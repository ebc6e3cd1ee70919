//! The sums over one block of rows, and how the sums of blocks are merged.
//!
//! Within a block, deviations are taken from its first valid row, so that no digits are lost to a
//! large mean, and blocks are merged by Chan's formula. A group of four rows, one of each stream, is visited
//! twice: for the norms (from memory) and for the sums (from L1), which loads and stores the running sums
//! once per group.

use super::stats::Stats;
use super::streams::{Visit, side_by_side};
use crate::element::Element;
use crate::error::Status;
use crate::math::aligned::Aligned;
use crate::math::dots::{ahead, dots, lead, widened};
use crate::math::norm::{Norm, plain};
use crate::rows::Rows;
use crate::simd::{Isa, Kernel};

/// Rows summed in registers before the running sums are touched. Four leave room in L1 for the sums.
pub(super) const GROUP: usize = 4;

/// Of the rows of the next group, how many are prefetched during the visit for the norms; the others
/// during the visit for the sums, so that memory is busy in both.
const EARLY: usize = 2;

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

/// Running sums over a block, of deviations from a reference row.
struct Running {
    reference: Option<Aligned<f64>>,
    raw: Aligned<f64>,
    squares: Aligned<f64>,
    unit: Aligned<f64>,
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
        let first = || unsafe { widened(rows[0], dim) };
        let reference = self.reference.get_or_insert_with(|| Aligned::from(&first()[..]));
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
                        ahead(isa, rows[r], k, lead::<E>(dim));
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
        self.reference.get_or_insert(Aligned::zeros(row.len()));
    }
}

/// The kernel: sums over one block. Clears `valid` where a row has no direction.
pub(super) struct Accumulate<'a, E> {
    pub rows: Rows<'a, E>,
    pub scratch: &'a mut [E],
    pub valid: &'a mut [bool],
}

impl<E: Element> Kernel for Accumulate<'_, E> {
    type Output = (Sums, Option<(usize, Status)>);

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Self::Output {
        let (count, dim) = (self.rows.count(), self.rows.dim());
        let zeros = || Aligned::zeros(dim);
        let running = Running { reference: None, raw: zeros(), squares: zeros(), unit: zeros() };
        let mut summing = Summing {
            of: self,
            running,
            sums: Sums::new(0),
            norms: Vec::with_capacity(count),
            first_invalid: None,
        };
        side_by_side::<I, GROUP>(isa, count, &mut summing);
        let Summing { running, mut sums, norms, first_invalid, .. } = summing;
        sums.norms = Stats::of(&norms);
        sums.count = sums.norms.count;
        let n = sums.count.max(1) as f64;
        let reference = running.reference.unwrap_or_else(zeros);
        sums.mean = reference.iter().zip(running.raw.iter()).map(|(origin, raw)| origin + raw / n).collect();
        sums.squares = running
            .squares
            .iter()
            .zip(running.raw.iter())
            .map(|(square, raw)| (square - raw * raw / n).max(0.0))
            .collect();
        sums.unit_sum = running.unit.to_vec();
        (sums, first_invalid)
    }
}

struct Summing<'a, E> {
    of: Accumulate<'a, E>,
    running: Running,
    sums: Sums,
    norms: Vec<f64>,
    first_invalid: Option<(usize, Status)>,
}

impl<E: Element> Visit for Summing<'_, E> {
    #[inline(always)]
    fn visit<I: Isa, const R: usize>(&mut self, isa: I, numbers: [usize; R]) {
        let Accumulate { rows, scratch, .. } = &mut self.of;
        let (dim, group) = (rows.dim(), rows.group(numbers, scratch));
        // SAFETY: `group` gives rows of `dim` elements, and this runs under `I`.
        let (squares, _) = unsafe { dots::<I, E, R, 0>(isa, group, [], dim, EARLY) };
        if let Some((norms, inverse)) = plain(squares) {
            self.norms.extend(norms);
            // SAFETY: as above.
            unsafe { self.running.add::<I, E, R>(isa, group, inverse) };
            return;
        }
        for r in 0..R {
            // SAFETY: as above.
            unsafe {
                let norm = Norm::new(squares[r], || widened(group[r], dim));
                self.add_one(isa, numbers[r], group[r], norm);
            }
        }
    }
}

impl<E: Element> Summing<'_, E> {
    /// Takes in a row of whatever magnitude, or leaves it out.
    ///
    /// # Safety
    /// `row` is readable for as many elements as the rows have, and the caller runs under `I`.
    #[inline(always)]
    unsafe fn add_one<I: Isa>(&mut self, isa: I, number: usize, row: *const E, norm: Norm) {
        match norm.status {
            Status::Ok => {
                self.norms.push(norm.value);
                // SAFETY: the contract is the same.
                unsafe {
                    if norm.is_plain() {
                        self.running.add::<I, E, 1>(isa, [row], [norm.inverse]);
                    } else {
                        self.running.add_extreme(widened(row, self.of.rows.dim()), norm);
                    }
                }
                return;
            }
            Status::NonFinite => self.sums.invalid.non_finite += 1,
            Status::ZeroNorm => self.sums.invalid.zero_norm += 1,
        }
        self.of.valid[number] = false;
        if self.first_invalid.is_none_or(|(first, _)| number < first) {
            self.first_invalid = Some((number, norm.status));
        }
    }
}
