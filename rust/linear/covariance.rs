//! The scatter matrix, `sum_j (x_j - m)(x_j - m)^T`, without losing its small eigenvalues.
//!
//! Each block of rows is centred on its own mean, in float64; the deviations, scaled to about 1 by a
//! power of two for each feature, are rounded to the type that products are computed in and
//! multiplied there; blocks are merged by Chan's formula in float64. Centring on a first block, or not at all, loses the small eigenvalues and fails on data
//! with a large or drifting mean.
//!
//! Products of float16, bfloat16 and float32 rows are float32 sums of 256 terms, in chains of
//! [`CHAIN`](crate::math::product::CHAIN), added in float64. Error of an entry: at most
//! `42 * 2^-24 = 2.5e-6` of `sqrt(C_ii C_jj)` if every rounding went the same way; below `1e-6` on
//! two-valued features, where many do, and near `1e-7` on embeddings. Float64 rows, or any row
//! under [`Precision::Float64`], are multiplied in float64.
//!
//! Only one triangle is computed: half the work of a general product. Memory: per thread
//! `2 * 256 * d` packed elements and at most two `d x d` float64 partial results.

use super::sums::Sums;
use crate::blocks::Spare;
use crate::element::{Element, Real};
use crate::math::aligned::Aligned;
use crate::math::product::Panels;
use crate::pack::deviations;
use crate::rows::Rows;
use crate::simd::{Isa, Kernel, Level};

/// Rows multiplied before the products go to float64.
const DEPTH: usize = 256;

/// Rows by which those to be packed are asked for ahead of their turn.
const AHEAD: usize = 4;

/// What the products of 32-bit and narrower elements are computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// float32 for float16, bfloat16 and float32 rows, float64 for float64 rows.
    Auto,
    /// float64 always: half the speed, errors near 1e-16.
    Float64,
}

/// The upper triangle of a scatter matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Scatter {
    dim: usize,
    /// `dim x dim`, row-major; entries below the diagonal are unspecified.
    upper: Vec<f64>,
}

impl Scatter {
    /// Of no rows.
    pub fn new(dim: usize) -> Self {
        Scatter { dim, upper: vec![0.0; dim * dim] }
    }

    /// From a symmetric matrix, row-major.
    ///
    /// # Panics
    /// If it is not `dim x dim`.
    pub fn from_matrix(dim: usize, matrix: Vec<f64>) -> Self {
        assert_eq!(matrix.len(), dim * dim);
        Scatter { dim, upper: matrix }
    }

    /// The symmetric matrix, row-major.
    pub fn matrix(&self) -> Vec<f64> {
        let d = self.dim;
        let mut full = self.upper.clone();
        for i in 0..d {
            for j in 0..i {
                full[i * d + j] = self.upper[j * d + i];
            }
        }
        full
    }

    /// Adds the scatter of other rows, given the sums of both before they are merged.
    pub fn merge(&mut self, other: &Scatter, ours: &Sums, theirs: &Sums) {
        let (n, k) = (ours.count as f64, theirs.count as f64);
        let weight = if k == 0.0 { 0.0 } else { n * k / (n + k) };
        let delta: Vec<f64> = theirs.mean.iter().zip(&ours.mean).map(|(b, a)| b - a).collect();
        for i in 0..self.dim {
            let row = i * self.dim..(i + 1) * self.dim;
            let (mine, yours) = (&mut self.upper[row.clone()], &other.upper[row]);
            for j in i..self.dim {
                mine[j] += yours[j] + weight * delta[i] * delta[j];
            }
        }
    }

    /// Adds the scatter of a block, given the sums of both before they are merged.
    pub(super) fn merge_block(&mut self, block: &BlockScatter, ours: &Sums, theirs: &Sums, level: Level) {
        let (n, k) = (ours.count as f64, theirs.count as f64);
        if k > 0.0 {
            let delta: Vec<f64> = theirs.mean.iter().zip(&ours.mean).map(|(b, a)| b - a).collect();
            level.dispatch(MergeBlock { total: self, block, delta: &delta, weight: n * k / (n + k) });
        }
    }
}

/// Products of the deviations of a block's rows from its mean.
pub(super) struct BlockScatter {
    /// Row-major with `stride` to a row, of scaled deviations; entries left of the diagonal are
    /// unspecified.
    upper: Vec<f64>,
    stride: usize,
    /// What undoes the scaling of each feature.
    unit: Vec<f64>,
}

impl BlockScatter {
    /// Hands the memory to the next block.
    pub(super) fn give_back(self, spare: &Spare) {
        spare.give_back(self.upper);
    }
}

struct MergeBlock<'a> {
    total: &'a mut Scatter,
    block: &'a BlockScatter,
    delta: &'a [f64],
    weight: f64,
}

impl Kernel for MergeBlock<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, _: I) {
        let d = self.total.dim;
        for i in 0..d {
            let total = &mut self.total.upper[i * d + i..(i + 1) * d];
            let part = &self.block.upper[i * self.block.stride + i..][..d - i];
            let (chan, delta) = (self.weight * self.delta[i], &self.delta[i..d]);
            let (own, unit) = (self.block.unit[i], &self.block.unit[i..d]);
            for j in 0..d - i {
                total[j] += part[j] * (own * unit[j]) + chan * delta[j];
            }
        }
    }
}

/// A thread's buffers, for products in `T`.
pub(super) struct Workspace<'a, T> {
    spare: &'a Spare,
    /// One row of deviations, padded to whole panels.
    deviations: Aligned<T>,
    left: Panels<T>,
    right: Panels<T>,
    /// One register tile.
    tile: Aligned<T>,
}

impl<'a, T: Real> Workspace<'a, T> {
    pub(super) fn new(spare: &'a Spare) -> Self {
        let (left, right) = (Panels::default(), Panels::default());
        Workspace { spare, deviations: Aligned::default(), left, right, tile: Aligned::default() }
    }

    /// The scatter of a block whose sums are known; `valid` says which rows count.
    pub(super) fn scatter<E: Element>(
        &mut self,
        rows: Rows<E>,
        sums: &Sums,
        valid: &[bool],
        level: Level,
    ) -> BlockScatter {
        let upper = self.spare.take();
        let unit: Vec<f64> =
            sums.squares.iter().map(|squares| power_of_two(squares / sums.count as f64)).collect();
        let scale = unit.iter().map(|unit| 1.0 / unit).collect();
        level.dispatch(Multiply { rows, mean: &sums.mean, scale, unit, valid, workspace: self, upper })
    }
}

/// The power of two nearest to a standard deviation, given the variance.
fn power_of_two(variance: f64) -> f64 {
    if variance.is_normal() { (variance.log2() / 2.0).round().exp2() } else { 1.0 }
}

struct Multiply<'a, 'b, E, T> {
    rows: Rows<'a, E>,
    mean: &'a [f64],
    scale: Vec<f64>,
    unit: Vec<f64>,
    valid: &'a [bool],
    workspace: &'a mut Workspace<'b, T>,
    upper: Vec<f64>,
}

impl<E: Element, T: Real> Kernel for Multiply<'_, '_, E, T> {
    type Output = BlockScatter;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> BlockScatter {
        let Multiply { rows, mean, scale, unit, valid, workspace, mut upper } = self;
        let (mr, nr) = T::micro_shape::<I>();
        let dim = rows.dim();
        let stride = dim.next_multiple_of(mr);
        // Every entry that is read again is written by the first chunk.
        upper.resize(dim.next_multiple_of(nr) * stride, 0.0);
        workspace.tile.reshape(mr * nr);
        let used: Vec<usize> = (0..rows.count()).filter(|&i| valid[i]).collect();
        let mut scratch = rows.scratch(1);
        for (at, chunk) in used.chunks(DEPTH).enumerate() {
            let first = at == 0;
            workspace.pack(isa, rows, chunk, mean, &scale, &mut scratch);
            let Workspace { left, right, tile, .. } = &mut *workspace;
            for q in 0..right.count() {
                // Panels that lie wholly left of the diagonal are not needed.
                for p in q * nr / mr..left.count() {
                    let (a, b) = (left.panel(p).as_ptr(), right.panel(q).as_ptr());
                    // SAFETY: the panels have `chunk.len()` terms, `tile` one register tile.
                    unsafe { T::micro(isa, chunk.len(), a, b, tile.as_mut_ptr(), mr) };
                    for (j, products) in tile.chunks_exact(mr).enumerate() {
                        let sums = &mut upper[(q * nr + j) * stride + p * mr..][..mr];
                        for i in (0..mr).step_by(I::LANES_F64) {
                            // SAFETY: a register tile's height is a multiple of the lanes.
                            unsafe {
                                let (sum, x) =
                                    (sums[i..].as_mut_ptr(), T::load_f64(isa, products[i..].as_ptr()));
                                isa.store_f64(sum, if first { x } else { isa.add_f64(isa.load_f64(sum), x) });
                            }
                        }
                    }
                }
            }
        }
        BlockScatter { upper, stride, unit }
    }
}

impl<T: Real> Workspace<'_, T> {
    /// Packs the deviations of the rows `chunk` twice: features are the vectors, rows their elements.
    #[inline(always)]
    fn pack<I: Isa, E: Element>(
        &mut self,
        isa: I,
        rows: Rows<E>,
        chunk: &[usize],
        mean: &[f64],
        scale: &[f64],
        scratch: &mut [E],
    ) {
        let (mr, nr) = T::micro_shape::<I>();
        let dim = rows.dim();
        self.left.reshape(dim, chunk.len(), mr);
        self.right.reshape(dim, chunk.len(), nr);
        self.deviations.reshape(dim.next_multiple_of(mr).max(dim.next_multiple_of(nr)));
        for (depth, &i) in chunk.iter().enumerate() {
            let row = rows.row(i, scratch);
            // SAFETY: `row` gives `dim` readable elements, and this runs under `I`.
            unsafe { deviations::<I, E, T>(isa, row, mean, scale, AHEAD * dim, &mut self.deviations) };
            spread(&self.deviations, &mut self.left, depth, mr);
            spread(&self.deviations, &mut self.right, depth, nr);
        }
    }
}

/// Puts a row's deviations into the panels, as element `depth` of every feature. `width` is that of
/// the panels, and a constant where this is inlined: a copy of a few registers, not a call.
#[inline(always)]
fn spread<T: Real>(deviations: &[T], panels: &mut Panels<T>, depth: usize, width: usize) {
    for (p, part) in deviations.chunks_exact(width).take(panels.count()).enumerate() {
        panels.panel_mut(p)[depth * width..][..width].copy_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::moments::{Moments, OnInvalid};
    use crate::rows::AnyRows;
    use crate::schedule::{Context, Control};

    /// Drifting, off-centre data: every feature has a mean of 50 and a scale of its own.
    fn data(n: usize, d: usize) -> Vec<f64> {
        let mut state = 12345u64;
        let mut uniform = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
        };
        (0..n * d).map(|at| 50.0 + (at / d) as f64 / n as f64 + uniform() / (1 + at % d) as f64).collect()
    }

    fn reference(x: &[f64], d: usize) -> Vec<f64> {
        let n = x.len() / d;
        let mean: Vec<f64> = (0..d).map(|k| (0..n).map(|i| x[i * d + k]).sum::<f64>() / n as f64).collect();
        let mut scatter = vec![0.0; d * d];
        for row in x.chunks(d) {
            for i in 0..d {
                for j in 0..d {
                    scatter[i * d + j] += (row[i] - mean[i]) * (row[j] - mean[j]);
                }
            }
        }
        scatter
    }

    fn fitted(rows: AnyRows, precision: Precision, level: Level) -> Vec<f64> {
        let control = Control::default();
        let context = Context { level, threads: 2, control: &control };
        let mut moments = Moments::new(rows.dim(), true, precision);
        moments.update(rows, OnInvalid::Error, &context).unwrap();
        moments.finish(&context).unwrap().1.unwrap().matrix()
    }

    #[test]
    fn equals_the_definition_at_every_level_and_edge() {
        for (n, d) in [(2, 1), (300, 5), (1100, 37), (2500, 65)] {
            let x = data(n, d);
            let narrow: Vec<f32> = x.iter().map(|&x| x as f32).collect();
            let widened: Vec<f64> = narrow.iter().map(|&x| f64::from(x)).collect();
            let (exact, rounded) = (reference(&x, d), reference(&widened, d));
            for level in Level::available() {
                let double = fitted(AnyRows::F64(Rows::new(&x, d)), Precision::Auto, level);
                let asked = fitted(AnyRows::F32(Rows::new(&narrow, d)), Precision::Float64, level);
                let single = fitted(AnyRows::F32(Rows::new(&narrow, d)), Precision::Auto, level);
                for i in 0..d {
                    for j in 0..d {
                        let at = i * d + j;
                        let size = (exact[i * d + i] * exact[j * d + j]).sqrt();
                        assert!((double[at] - exact[at]).abs() <= 1e-12 * size, "{level:?} {n} {d}");
                        assert!((asked[at] - rounded[at]).abs() <= 1e-12 * size, "{level:?} {n} {d}");
                        assert!((single[at] - rounded[at]).abs() <= 1e-6 * size, "{level:?} {n} {d}");
                    }
                }
            }
        }
    }
}
