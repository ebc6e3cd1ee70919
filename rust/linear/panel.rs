//! Some features of every group: the part of the sums of `groups` that one thread adds to.

use crate::element::Element;
use crate::math::aligned::Aligned;
use crate::rows::Rows;
use crate::simd::{Isa, Kernel};
use std::ops::Range;

/// Norms by which rows can be multiplied; one over any other may be subnormal.
const PLAIN: Range<f64> = 1e-150..1e150;

/// Rows of a group that are added between loading its sums and storing them.
const GROUP: usize = 8;

/// Registers of features that are summed side by side: with three sums each, they fill those of AVX2.
const WIDE: usize = 4;

/// What a valid row adds to its group.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub row: u32,
    pub group: u32,
    pub norm: f64,
    /// One over the number of valid rows of the group, this one included.
    pub share: f64,
}

impl Step {
    fn is_plain(&self) -> bool {
        PLAIN.contains(&self.norm)
    }
}

/// The sums of some features of all groups.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub columns: Range<usize>,
    /// Means, sums of squared deviations and sums of unit rows, each group after group.
    pub sums: [Aligned<f64>; 3],
}

impl Panel {
    /// Of no rows.
    pub fn new(groups: usize, columns: Range<usize>) -> Self {
        Panel { sums: std::array::from_fn(|_| Aligned::zeros(groups * columns.len())), columns }
    }

    /// One part for each run of steps, with the sums of its groups; a group is in one run only.
    pub fn parts<'a>(&'a mut self, runs: &[&'a [Step]]) -> Vec<Part<'a>> {
        let width = self.columns.len();
        let mut rest = self.sums.each_mut().map(|sums| &mut sums[..]);
        let mut first = 0;
        let part = |&steps: &&'a [Step]| {
            let end = steps[steps.len() - 1].group as usize + 1;
            let sums = rest.each_mut().map(|rest| {
                let (own, after) = std::mem::take(rest).split_at_mut((end - first) * width);
                *rest = after;
                own
            });
            let part = Part { columns: self.columns.clone(), first, steps, sums };
            first = end;
            part
        };
        runs.iter().map(part).collect()
    }
}

/// Some groups of a panel, and what is to be added to them.
pub(super) struct Part<'a> {
    pub columns: Range<usize>,
    /// The number of the first group.
    first: usize,
    /// In the order of groups.
    steps: &'a [Step],
    sums: [&'a mut [f64]; 3],
}

impl Part<'_> {
    fn sums(&mut self, step: Step) -> [&mut [f64]; 3] {
        let (at, width) = (step.group as usize - self.first, self.columns.len());
        self.sums.each_mut().map(|sums| &mut sums[at * width..(at + 1) * width])
    }
}

/// The kernel: adds the rows of a part.
pub(super) struct Add<'a, 'b, E> {
    /// The columns of the part.
    pub rows: Rows<'a, E>,
    pub part: &'a mut Part<'b>,
}

impl<E: Element> Kernel for Add<'_, '_, E> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Add { rows, part } = self;
        let scratch = &mut rows.scratch(GROUP);
        let mut following = part.steps;
        for run in part.steps.chunk_by(|a, b| a.group == b.group && a.is_plain() && b.is_plain()) {
            if let Some(&next) = following.get(run.len()) {
                for sums in part.sums(next) {
                    prefetch(isa, sums.as_ptr(), sums.len());
                }
            }
            if !run[0].is_plain() {
                add_extreme(rows, run[0], part.sums(run[0]));
                following = &following[1..];
                continue;
            }
            let sums = part.sums(run[0]).map(|sums| sums.as_mut_ptr());
            for run in run.chunks(GROUP) {
                following = &following[run.len()..];
                if rows.in_place() {
                    for step in &following[..following.len().min(GROUP)] {
                        prefetch(isa, rows.row(step.row as usize, &mut []), rows.dim());
                    }
                }
                let visit = Visit::new(rows, scratch, run, sums);
                // SAFETY: rows and sums have `dim` elements, and this runs under `I`.
                unsafe { visit.add_all::<I>(isa, rows.dim()) };
            }
        }
    }
}

/// Asks for `count` elements.
#[inline(always)]
fn prefetch<I: Isa, T>(isa: I, first: *const T, count: usize) {
    for k in (0..count).step_by(64 / size_of::<T>()) {
        isa.prefetch(first.wrapping_add(k).cast());
    }
    // Where the first does not begin a cache line, the last line is touched by its end alone.
    isa.prefetch(first.wrapping_add(count - 1).cast());
}

/// A few rows of one group, on their way into its sums.
struct Visit<E> {
    count: usize,
    row: [*const E; GROUP],
    share: [f64; GROUP],
    inverse: [f64; GROUP],
    sums: [*mut f64; 3],
}

impl<E: Element> Visit<E> {
    #[inline(always)]
    fn new(rows: Rows<E>, scratch: &mut [E], steps: &[Step], sums: [*mut f64; 3]) -> Self {
        let mut visit = Visit {
            count: steps.len(),
            row: [std::ptr::null(); GROUP],
            share: [0.0; GROUP],
            inverse: [0.0; GROUP],
            sums,
        };
        let stride = if scratch.is_empty() { 0 } else { rows.dim() };
        for (r, step) in steps.iter().enumerate() {
            visit.row[r] = rows.row(step.row as usize, &mut scratch[r * stride..]);
            visit.share[r] = step.share;
            visit.inverse[r] = 1.0 / step.norm;
        }
        visit
    }

    /// Adds all `width` features.
    ///
    /// # Safety
    /// The first `count` rows and the sums have as many, and the caller runs under `I`.
    #[inline(always)]
    unsafe fn add_all<I: Isa>(&self, isa: I, width: usize) {
        let mut k = 0;
        // SAFETY: every call is for features below `width`.
        unsafe {
            while k + WIDE * I::LANES_F64 <= width {
                self.add::<I, WIDE>(isa, k);
                k += WIDE * I::LANES_F64;
            }
            while k + I::LANES_F64 <= width {
                self.add::<I, 1>(isa, k);
                k += I::LANES_F64;
            }
            while k < width {
                self.add_one(k);
                k += 1;
            }
        }
    }

    /// Adds `W` registers of features from `k` on.
    ///
    /// # Safety
    /// The first `count` rows and the sums have those features, and the caller runs under `I`.
    #[inline(always)]
    unsafe fn add<I: Isa, const W: usize>(&self, isa: I, k: usize) {
        let [means, squares, units] = self.sums;
        // SAFETY: the contract of this function.
        unsafe {
            let mut m: [I::F64; W] = std::array::from_fn(|w| isa.load_f64(means.add(k + w * I::LANES_F64)));
            let mut q: [I::F64; W] = std::array::from_fn(|w| isa.load_f64(squares.add(k + w * I::LANES_F64)));
            let mut s: [I::F64; W] = std::array::from_fn(|w| isa.load_f64(units.add(k + w * I::LANES_F64)));
            for r in 0..self.count {
                let (share, inverse) = (isa.splat_f64(self.share[r]), isa.splat_f64(self.inverse[r]));
                for w in 0..W {
                    let x = E::load_f64(isa, self.row[r].add(k + w * I::LANES_F64));
                    let delta = isa.sub_f64(x, m[w]);
                    m[w] = isa.mul_add_f64(delta, share, m[w]);
                    q[w] = isa.mul_add_f64(delta, isa.sub_f64(x, m[w]), q[w]);
                    s[w] = isa.mul_add_f64(x, inverse, s[w]);
                }
            }
            for w in 0..W {
                isa.store_f64(means.add(k + w * I::LANES_F64), m[w]);
                isa.store_f64(squares.add(k + w * I::LANES_F64), q[w]);
                isa.store_f64(units.add(k + w * I::LANES_F64), s[w]);
            }
        }
    }

    /// Adds feature `k`.
    ///
    /// # Safety
    /// As for [`Visit::add`].
    #[inline(always)]
    unsafe fn add_one(&self, k: usize) {
        // SAFETY: the contract of this function.
        unsafe {
            let [mean, squares, unit_sum] = self.sums.map(|sums| &mut *sums.add(k));
            for r in 0..self.count {
                let x = self.row[r].add(k).read_unaligned().to_f64();
                let delta = x - *mean;
                *mean += delta * self.share[r];
                *squares += delta * (x - *mean);
                *unit_sum += x * self.inverse[r];
            }
        }
    }
}

/// Adds a row so long or short that it has to be divided by its norm.
#[cold]
fn add_extreme<E: Element>(rows: Rows<E>, step: Step, [mean, squares, unit_sum]: [&mut [f64]; 3]) {
    for k in 0..rows.dim() {
        let x = rows.get(step.row as usize, k).to_f64();
        let delta = x - mean[k];
        mean[k] += delta * step.share;
        squares[k] += delta * (x - mean[k]);
        unit_sum[k] += x / step.norm;
    }
}
