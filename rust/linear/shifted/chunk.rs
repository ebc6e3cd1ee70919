//! The rows of one product: measured, weighted for each alpha, multiplied.

use super::panels::{PackFeatures, PackRows, TOGETHER};
use super::{Grid, Part};
use crate::element::Element;
use crate::error::{Error, Side, Status};
use crate::linear::unit::{GROUP, Measure};
use crate::math::aligned::Aligned;
use crate::math::dots::dots;
use crate::math::norm::Norm;
use crate::math::product::{Panels, Product, micro_shape};
use crate::rows::Rows;
use crate::simd::{Isa, Kernel, Level};

/// Rows of one product: at 512 features, 1 MB of float64, which L2 holds.
pub(super) const CHUNK: usize = 256;

/// Rows of which less is left than this are moved element by element.
const NEAR: f64 = 1.0 / 16.0;

/// Beyond this `q` the mean is all that is left of a row in float64.
const GREATEST_FACTOR: f64 = 1e30;

/// The unit means, as the rows of a chunk meet them.
pub(super) struct Means<'a> {
    /// `alphas x d`.
    pub rows: &'a [f64],
    /// The same, as a right operand.
    pub packed: &'a Panels<f64>,
    /// Each one's product with the mean's direction.
    pub centre: &'a [f64],
}

/// A row and an alpha at which little is left of it.
#[derive(Clone, Copy)]
struct Near {
    alpha: usize,
    row: usize,
}

/// The rows of one product, and a thread's buffers for it.
pub(super) struct Chunk<E> {
    scratch: Vec<E>,
    /// Number of the first row.
    first: u64,
    norm: Vec<f64>,
    inverse: Vec<f64>,
    /// `1 / l`, `alphas x rows`; 0 where the row is moved by itself.
    weight: Vec<f64>,
    /// `q / l`, likewise.
    centre: Vec<f64>,
    near: Vec<Near>,
    /// In float64, a row that was moved, or strips of those to be packed.
    wide: Vec<f64>,
    left: Panels<f64>,
    right: Panels<f64>,
    tile: Aligned<f64>,
}

impl<E: Element> Chunk<E> {
    pub(super) fn new(rows: &Rows<E>) -> Self {
        Chunk {
            scratch: rows.scratch(GROUP.max(TOGETHER)),
            first: 0,
            norm: Vec::new(),
            inverse: Vec::new(),
            weight: Vec::new(),
            centre: Vec::new(),
            near: Vec::new(),
            wide: Vec::new(),
            left: Panels::default(),
            right: Panels::default(),
            tile: Aligned::default(),
        }
    }

    /// Takes up rows, the first of which has the number `first`.
    pub(super) fn measure(
        &mut self,
        rows: Rows<E>,
        first: u64,
        grid: &Grid,
        level: Level,
    ) -> Result<(), Error> {
        let (count, vectors) = (rows.count(), [&grid.centre.direction[..]]);
        let found = level.dispatch(Measure { rows, scratch: &mut self.scratch, vectors });
        if let Some(row) = found.status.iter().position(|&status| status != Status::Ok) {
            return Err(Error::InvalidRow { row: first + row as u64, status: found.status[row] });
        }
        self.first = first;
        self.norm = found.norm;
        self.inverse.clear();
        self.inverse.extend(self.norm.iter().map(|norm| 1.0 / norm));
        let [cosine] = found.products;
        self.near.clear();
        for buffer in [&mut self.weight, &mut self.centre] {
            buffer.resize(grid.alphas.len() * count, 0.0);
        }
        for (at, &alpha) in grid.alphas.iter().enumerate() {
            if !grid.centre.is_held(alpha) {
                return Err(Error::OutOfRange { side: Side::Right, row: first, alpha });
            }
            let range = at * count..(at + 1) * count;
            let (weight, centre) = (&mut self.weight[range.clone()], &mut self.centre[range]);
            for row in 0..count {
                let q = alpha * grid.centre.reach(self.norm[row]);
                let q = q.clamp(-GREATEST_FACTOR, GREATEST_FACTOR);
                let square = 1.0 + q * (q - 2.0 * cosine[row]);
                weight[row] = if square < NEAR * NEAR { 0.0 } else { 1.0 / square.sqrt() };
                centre[row] = q * weight[row];
            }
            if weight.iter().filter(|weight| **weight == 0.0).count() > 0 {
                let rows = (0..count).filter(|&row| weight[row] == 0.0);
                self.near.extend(rows.map(|row| Near { alpha: at, row }));
            }
        }
        Ok(())
    }

    /// Adds the moved unit rows.
    pub(super) fn add_to(
        &mut self,
        part: &mut Part,
        rows: Rows<E>,
        grid: &Grid,
        level: Level,
    ) -> Result<(), Error> {
        let count = rows.count();
        let (mr, nr) = micro_shape::<f64>(level);
        let Chunk { scratch, inverse, left, right, tile, .. } = self;
        level.dispatch(PackFeatures { rows, inverse, scratch, left, width: mr });
        right.reshape(grid.alphas.len(), count, nr);
        for (at, weight) in self.weight.chunks_exact(count).enumerate() {
            // What an unfilled panel holds beside its alphas is multiplied and never read.
            let panel = right.panel_mut(at / nr)[at % nr..].iter_mut().step_by(nr);
            panel.zip(weight).for_each(|(slot, weight)| *slot = *weight);
        }
        level.dispatch(Product { left, first: 0, panels: left.count(), right, tile });
        part.stride = left.count() * mr;
        part.sums.resize(grid.alphas.len() * part.stride, 0.0);
        part.sums.iter_mut().zip(tile.iter()).for_each(|(sum, x)| *sum += x);
        for (sum, centre) in part.centre.iter_mut().zip(self.centre.chunks_exact(count)) {
            *sum += centre.iter().sum::<f64>();
        }
        let Chunk { scratch, first, norm, near, wide, .. } = self;
        let take = |near: &Near, moved: &[f64], inverse: f64, []: [f64; 0]| {
            let sums = &mut part.sums[near.alpha * part.stride..];
            sums.iter_mut().zip(moved).for_each(|(sum, x)| *sum += x * inverse);
        };
        level.dispatch(Move { rows, grid, near, norm, first: *first, scratch, wide, vectors: [], take })
    }

    /// Conformity at each alpha, `stride` numbers from one alpha to the next.
    pub(super) fn conformity(
        &mut self,
        rows: Rows<E>,
        grid: &Grid,
        means: &Means,
        values: &mut [f64],
        stride: usize,
        level: Level,
    ) -> Result<(), Error> {
        let (count, n) = (rows.count(), grid.centre.count as f64);
        // Rounding can carry a cosine of one a few units past it.
        let finished = |product: f64| ((n * product - 1.0) / (n - 1.0)).clamp(-1.0, 1.0);
        let Chunk { scratch, inverse, wide, left, tile, .. } = self;
        let width = micro_shape::<f64>(level).0;
        level.dispatch(PackRows { rows, inverse, scratch, wide, left, width });
        level.dispatch(Product { left, first: 0, panels: left.count(), right: means.packed, tile });
        for (at, products) in tile.chunks_exact(left.count() * width).take(grid.alphas.len()).enumerate() {
            let (weight, centre) = (&self.weight[at * count..][..count], &self.centre[at * count..][..count]);
            let values = &mut values[at * stride..][..count];
            for row in 0..count {
                values[row] = finished(weight[row] * products[row] - centre[row] * means.centre[at]);
            }
        }
        let Chunk { scratch, first, norm, near, wide, .. } = self;
        let take = |near: &Near, _: &[f64], _, [product]: [f64; 1]| {
            values[near.alpha * stride + near.row] = finished(product);
        };
        level.dispatch(Move {
            rows,
            grid,
            near,
            norm,
            first: *first,
            scratch,
            wide,
            vectors: [means.rows],
            take,
        })
    }
}

/// Moves the rows of which little is left, element by element, and hands each on: `x - alpha m`, what
/// makes it a unit vector, and that vector's product with the one at its alpha out of each of
/// `vectors`.
struct Move<'a, E, F, const Q: usize> {
    rows: Rows<'a, E>,
    grid: &'a Grid,
    near: &'a [Near],
    norm: &'a [f64],
    first: u64,
    scratch: &'a mut [E],
    wide: &'a mut Vec<f64>,
    /// `alphas x d`.
    vectors: [&'a [f64]; Q],
    take: F,
}

impl<E: Element, F: FnMut(&Near, &[f64], f64, [f64; Q]), const Q: usize> Kernel for Move<'_, E, F, Q> {
    type Output = Result<(), Error>;
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Self::Output {
        let Move { rows, grid, near, norm, first, scratch, wide, vectors, mut take } = self;
        let dim = grid.dim();
        wide.resize(dim.max(wide.len()), 0.0);
        let moved = &mut wide[..dim];
        for near in near {
            let alpha = grid.alphas[near.alpha];
            // SAFETY: the row has as many elements as the mean, and this runs under `I`.
            unsafe { subtract(isa, rows.row(near.row, scratch), alpha, &grid.centre.mean, moved) };
            let vectors = vectors.map(|vectors| vectors[near.alpha * dim..][..dim].as_ptr());
            // SAFETY: all have `dim` elements, and this runs under `I`.
            let measured =
                |moved: &[f64]| unsafe { dots::<I, f64, 1, Q>(isa, [moved.as_ptr()], vectors, dim, 0) };
            let ([square], [mut products]) = measured(moved);
            let left = Norm::new(square, || moved.to_vec());
            let row = first + near.row as u64;
            grid.centre.check_left(&left, norm[near.row], alpha, Side::Right, row)?;
            if left.scale != 1.0 {
                moved.iter_mut().for_each(|x| *x *= left.scale);
                (_, [products]) = measured(moved);
            }
            take(near, moved, left.inverse, products.map(|product| product * left.inverse));
        }
        Ok(())
    }
}

/// `moved = x - alpha m`.
///
/// # Safety
/// `x` is readable for as many elements as `mean` has, and the caller runs under `I`.
#[inline(always)]
unsafe fn subtract<I: Isa, E: Element>(isa: I, x: *const E, alpha: f64, mean: &[f64], moved: &mut [f64]) {
    let dim = mean.len();
    assert!(moved.len() == dim);
    let (body, factor) = (dim - dim % I::LANES_F64, isa.splat_f64(alpha));
    for k in (0..body).step_by(I::LANES_F64) {
        // SAFETY: k + LANES_F64 <= dim.
        unsafe {
            let taken = isa.mul_f64(factor, isa.load_f64(mean[k..].as_ptr()));
            isa.store_f64(moved[k..].as_mut_ptr(), isa.sub_f64(E::load_f64(isa, x.add(k)), taken));
        }
    }
    for k in body..dim {
        // SAFETY: k < dim.
        moved[k] = unsafe { x.add(k).read_unaligned() }.to_f64() - alpha * mean[k];
    }
}
