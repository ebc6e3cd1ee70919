//! Conformity of the rows of one set while its centre moves, at every alpha of a grid (Figure 11 of
//! Levi & Gilboa, ICML 2025).
//!
//! A row `x` becomes `x - alpha m`, `m` being the raw mean. With `u = x / |x|`, the mean's direction
//! `n` and `q = alpha |m| / |x|`, what is left of it has the direction of `u - q n` and the length
//!
//! ```text
//! l = sqrt(1 + q (q - 2 n.u))
//! ```
//!
//! over `|x|`: the scale of the rows cancels. Conformity is linear (see [`super::score`]), so that the
//! whole grid is made of two thin products, of the unit rows with a weight for each alpha and with a
//! vector for each alpha, in a pass over the rows each:
//!
//! ```text
//! s(alpha)   = (sum_j u_j / l_j - n sum_j q_j / l_j) / N
//! c_k(alpha) = (N (u_k.s - q_k n.s) / l_k - 1) / (N - 1)
//! ```
//!
//! All in float64. What rounding does to `l` grows by the inverse of its square: a row of which less
//! than a sixteenth is left at some alpha is moved element by element there, in either pass, which
//! takes less time than to pack moved rows for a product with one vector. The error is then below
//! `1e-12` but for that of the mean, which grows by the inverse of `l`.
//!
//! Time `O(N d A)` for `A` alphas; memory `O(d A)` per thread beside what is returned.

mod chunk;
mod panels;
#[cfg(test)]
mod tests;

use self::chunk::{CHUNK, Chunk};
use crate::blocks::{BLOCK, Carry, Spare, for_each_block};
use crate::element::Element;
use crate::error::Error;
use crate::linear::centre::Centre;
use crate::math::product::{Panels, micro_shape};
use crate::rows::{AnyRows, Rows};
use crate::schedule::Context;
use crate::with_rows;

/// A set of rows and the alphas that it is moved by.
#[derive(Clone, Debug)]
pub struct Grid {
    alphas: Vec<f64>,
    centre: Centre,
}

impl Grid {
    /// Of rows whose mean is that of the centre.
    pub fn new(alphas: Vec<f64>, centre: Centre) -> Self {
        Grid { alphas, centre }
    }

    /// Number of alphas.
    pub fn alphas(&self) -> usize {
        self.alphas.len()
    }

    /// Number of features.
    pub fn dim(&self) -> usize {
        self.centre.mean.len()
    }

    fn check(&self, rows: &AnyRows) -> Result<(), Error> {
        if rows.dim() != self.dim() {
            return Err(Error::Dimension { what: "rows", found: rows.dim(), expected: self.dim() });
        }
        Ok(())
    }
}

/// What a block adds to the unit means.
struct Part {
    /// `sum u / l` and the rows that were moved by themselves, `stride` numbers for each alpha.
    sums: Vec<f64>,
    stride: usize,
    /// `sum q / l` for each alpha.
    centre: Vec<f64>,
}

/// Unit means of the moved rows, gathered in one pass.
///
/// As everywhere, blocks are cut by global row number: batches do not show in the result.
#[derive(Clone, Debug)]
pub struct UnitMeans {
    grid: Grid,
    /// `alphas x d`.
    sums: Vec<f64>,
    centre: Vec<f64>,
    /// Rows summed so far.
    seen: u64,
    carry: Carry,
}

impl UnitMeans {
    /// Of no rows yet.
    pub fn new(grid: Grid) -> Self {
        let (alphas, dim) = (grid.alphas.len(), grid.dim());
        let (sums, centre) = (vec![0.0; alphas * dim], vec![0.0; alphas]);
        UnitMeans { grid, sums, centre, seen: 0, carry: Carry::new(dim) }
    }

    /// Adds rows.
    ///
    /// # Errors
    /// [`Error::InvalidRow`] for a row without a direction, [`Error::Vanishes`] for one that is
    /// `alpha m`, to rounding, [`Error::OutOfRange`] for one whose move float64 does not hold; rows are
    /// numbered from the first one ever added.
    pub fn update(&mut self, rows: AnyRows, context: &Context) -> Result<(), Error> {
        self.grid.check(&rows)?;
        let (completed, whole) = self.carry.fill(rows);
        if let Some(block) = completed {
            with_rows!(block.rows(), rows => self.add(rows, context))?;
        }
        with_rows!(whole, rows => self.add(rows, context))
    }

    /// The unit mean at each alpha, `alphas x d`, of all rows added.
    pub fn finish(mut self, context: &Context) -> Result<Vec<f64>, Error> {
        let carry = std::mem::replace(&mut self.carry, Carry::new(self.grid.dim()));
        with_rows!(carry.rows(), rows => self.add(rows, context))?;
        let Centre { direction, count, .. } = &self.grid.centre;
        for (sums, centre) in self.sums.chunks_exact_mut(direction.len()).zip(&self.centre) {
            for (sum, n) in sums.iter_mut().zip(direction) {
                *sum = (*sum - n * centre) / *count as f64;
            }
        }
        Ok(self.sums)
    }

    fn add<E: Element>(&mut self, rows: Rows<E>, context: &Context) -> Result<(), Error> {
        let UnitMeans { grid, sums, centre, seen, .. } = self;
        let (first, dim) = (*seen, grid.dim());
        let spare = Spare::default();
        let map = |chunk: &mut Chunk<E>, start: usize, rows: Rows<E>| {
            let mut part = Part { sums: spare.take(), stride: 0, centre: vec![0.0; grid.alphas.len()] };
            part.sums.clear();
            for at in (0..rows.count()).step_by(CHUNK) {
                let rows = rows.slice(at..rows.count().min(at + CHUNK));
                chunk.measure(rows, first + (start + at) as u64, grid, context.level)?;
                chunk.add_to(&mut part, rows, grid, context.level)?;
            }
            Ok(part)
        };
        for_each_block(
            rows,
            context,
            || Chunk::new(&rows),
            map,
            |part| {
                for (sums, parts) in sums.chunks_exact_mut(dim).zip(part.sums.chunks_exact(part.stride)) {
                    sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
                }
                centre.iter_mut().zip(&part.centre).for_each(|(sum, part)| *sum += part);
                Ok(())
            },
        )?;
        *seen += rows.count() as u64;
        Ok(())
    }
}

/// Conformity of rows of the set at each alpha, `alphas x rows`, given its unit means.
///
/// # Errors
/// As for [`UnitMeans::update`], rows numbered from 0; [`Error::TooFewRows`] for a set of one.
pub fn conformity(rows: AnyRows, grid: &Grid, means: &[f64], context: &Context) -> Result<Vec<f64>, Error> {
    grid.check(&rows)?;
    let found = grid.centre.count;
    if found < 2 {
        return Err(Error::TooFewRows { what: "conformity", found, needed: 2 });
    }
    let (count, alphas) = (rows.count(), grid.alphas.len());
    let packed = packed(means, grid.dim(), micro_shape::<f64>(context.level).1);
    let centre: Vec<f64> = means
        .chunks_exact(grid.dim())
        .map(|mean| mean.iter().zip(&grid.centre.direction).map(|(s, n)| s * n).sum())
        .collect();
    let means = chunk::Means { rows: means, packed: &packed, centre: &centre };
    let (mut values, mut done, spare) = (vec![0.0; alphas * count], 0, Spare::default());
    with_rows!(rows, rows => {
        let map = |chunk: &mut Chunk<_>, start: usize, rows: Rows<_>| {
            // Every entry is written.
            let mut block = spare.take();
            block.resize(alphas * rows.count(), 0.0);
            for at in (0..rows.count()).step_by(CHUNK) {
                let part = rows.slice(at..rows.count().min(at + CHUNK));
                chunk.measure(part, (start + at) as u64, grid, context.level)?;
                chunk.conformity(part, grid, &means, &mut block[at..], rows.count(), context.level)?;
            }
            Ok(block)
        };
        for_each_block(rows, context, || Chunk::new(&rows), map, |block: Vec<f64>| {
            let length = (count - done).min(BLOCK);
            for (all, part) in values.chunks_exact_mut(count).zip(block.chunks_exact(length)) {
                all[done..done + length].copy_from_slice(part);
            }
            done += length;
            spare.give_back(block);
            Ok(())
        })
    })?;
    Ok(values)
}

/// Vectors of `dim` as panels of `width`.
fn packed(vectors: &[f64], dim: usize, width: usize) -> Panels<f64> {
    let mut panels = Panels::default();
    panels.reshape(vectors.len() / dim, dim, width);
    (0..panels.count()).for_each(|p| panels.panel_mut(p).fill(0.0));
    for (i, vector) in vectors.chunks_exact(dim).enumerate() {
        let panel = panels.panel_mut(i / width);
        vector.iter().enumerate().for_each(|(k, &x)| panel[k * width + i % width] = x);
    }
    panels
}
