//! The scores of every row against a fitted set: conformity, cosine to the mean, norm.
//!
//! Definition 1 and Eq. 10 of Levi & Gilboa (ICML 2025), in linear form. With the unit mean `s` over
//! `N` valid rows and `u = x / |x|`:
//!
//! ```text
//! an outsider   c = s.u                        its mean cosine to the rows of the set
//! a member      c = (N s.u - 1) / (N - 1)      the same, its own cosine of 1 left out
//! ```
//!
//! All in float64: the error is that of two dot products, below `1e-14` for any `d` in use. Time
//! `O(n d)`, one read of the rows; memory `O(d)` beside the scores.

use crate::blocks::for_each_block;
use crate::element::Element;
use crate::error::{Error, Status};
use crate::math::dots::{dots, widened};
use crate::math::norm::Norm;
use crate::rows::{AnyRows, Rows};
use crate::schedule::Context;
use crate::simd::{Isa, Kernel};
use crate::with_rows;

/// Rows scored side by side: with three sums each, they fill the registers of AVX2.
const GROUP: usize = 4;

/// What rows are scored against.
#[derive(Clone, Debug)]
pub struct Reference {
    /// Valid rows of the set.
    pub count: u64,
    /// Raw mean `m`.
    pub mean: Vec<f64>,
    /// Unit mean `s`.
    pub unit_mean: Vec<f64>,
    /// Whether the rows to be scored belong to the set.
    pub member: bool,
}

/// Scores, one entry per row; NaN where the status is not [`Status::Ok`].
#[derive(Clone, Debug, Default)]
pub struct Scores {
    /// Exact conformity, in [-1, 1].
    pub conformity: Vec<f64>,
    /// `cos(m, x)`, in [-1, 1]; NaN too when `m` is zero.
    pub cosine_to_mean: Vec<f64>,
    /// `|x|`; zero for a row of zeros.
    pub norm: Vec<f64>,
    /// Whether the row could be scored.
    pub status: Vec<Status>,
}

impl Scores {
    fn push(&mut self, [conformity, cosine_to_mean, norm]: [f64; 3], status: Status) {
        self.conformity.push(conformity);
        self.cosine_to_mean.push(cosine_to_mean);
        self.norm.push(norm);
        self.status.push(status);
    }

    fn append(&mut self, mut other: Scores) {
        self.conformity.append(&mut other.conformity);
        self.cosine_to_mean.append(&mut other.cosine_to_mean);
        self.norm.append(&mut other.norm);
        self.status.append(&mut other.status);
    }

    fn reserve(&mut self, rows: usize) {
        self.conformity.reserve(rows);
        self.cosine_to_mean.reserve(rows);
        self.norm.reserve(rows);
        self.status.reserve(rows);
    }
}

/// Scores every row.
pub fn score(rows: AnyRows, reference: &Reference, context: &Context) -> Result<Scores, Error> {
    let expected = reference.mean.len();
    if rows.dim() != expected || reference.unit_mean.len() != expected {
        return Err(Error::Dimension { what: "rows", found: rows.dim(), expected });
    }
    let needed = if reference.member { 2 } else { 1 };
    if reference.count < needed {
        return Err(Error::TooFewRows { what: "conformity", found: reference.count, needed });
    }
    let mean_norm = Norm::new(reference.mean.iter().map(|x| x * x).sum(), || reference.mean.clone());
    // A vector of unit length, so that extreme means neither overflow nor vanish in the products.
    let direction: Vec<f64> = match mean_norm.status {
        Status::Ok => reference.mean.iter().map(|x| x * mean_norm.scale * mean_norm.inverse).collect(),
        _ => vec![f64::NAN; expected],
    };
    let mut scores = Scores::default();
    scores.reserve(rows.count());
    with_rows!(rows, rows => for_each_block(
        rows,
        context,
        || rows.scratch(GROUP),
        |scratch, _, rows| Ok(context.level.dispatch(ScoreBlock { rows, scratch, reference, direction: &direction })),
        |part| {
            scores.append(part);
            Ok(())
        },
    ))?;
    Ok(scores)
}

struct ScoreBlock<'a, E> {
    rows: Rows<'a, E>,
    scratch: &'a mut [E],
    reference: &'a Reference,
    direction: &'a [f64],
}

impl<E: Element> Kernel for ScoreBlock<'_, E> {
    type Output = Scores;
    #[inline(always)]
    fn run<I: Isa>(mut self, isa: I) -> Scores {
        let mut scores = Scores::default();
        scores.reserve(self.rows.count());
        let mut i = 0;
        while i + GROUP <= self.rows.count() {
            self.score_group::<I, GROUP>(isa, i, &mut scores);
            i += GROUP;
        }
        while i < self.rows.count() {
            self.score_group::<I, 1>(isa, i, &mut scores);
            i += 1;
        }
        scores
    }
}

impl<E: Element> ScoreBlock<'_, E> {
    #[inline(always)]
    fn score_group<I: Isa, const R: usize>(&mut self, isa: I, first: usize, scores: &mut Scores) {
        let dim = self.rows.dim();
        let group = self.rows.group::<R>(first, self.scratch);
        let vectors = [self.reference.unit_mean.as_ptr(), self.direction.as_ptr()];
        // SAFETY: rows and vectors have `dim` elements, and this runs under `I`.
        let (squares, products) = unsafe { dots::<I, E, R, 2>(isa, group, vectors, dim, R) };
        for r in 0..R {
            // SAFETY: as above.
            let row = || unsafe { widened(group[r], dim) };
            let norm = Norm::new(squares[r], row);
            let [unit, cosine] = match norm.status {
                Status::Ok if norm.scale == 1.0 => products[r].map(|product| product * norm.inverse),
                Status::Ok => {
                    let row: Vec<f64> = row().iter().map(|x| x * norm.scale * norm.inverse).collect();
                    [&self.reference.unit_mean[..], self.direction]
                        .map(|y| row.iter().zip(y).map(|(x, y)| x * y).sum())
                }
                _ => [f64::NAN; 2],
            };
            let n = self.reference.count as f64;
            let conformity = if self.reference.member { (n * unit - 1.0) / (n - 1.0) } else { unit };
            // Rounding can carry a cosine of one a few units past it.
            scores.push([conformity.clamp(-1.0, 1.0), cosine.clamp(-1.0, 1.0), norm.value], norm.status);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{data, everywhere};

    #[test]
    fn equals_the_definition_for_every_tail_at_every_level() {
        for d in (1..=40).chain([130]) {
            let n = 11;
            let x = data(n, d);
            let norm = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>().sqrt();
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            let rows: Vec<&[f64]> = x.chunks(d).collect();
            let average = |f: &dyn Fn(&[f64], usize) -> f64| -> Vec<f64> {
                (0..d).map(|k| rows.iter().map(|row| f(row, k)).sum::<f64>() / n as f64).collect()
            };
            let mean = average(&|row, k| row[k]);
            let unit_mean = average(&|row, k| row[k] / norm(row));
            everywhere(|context| {
                for member in [true, false] {
                    let reference = Reference {
                        count: n as u64,
                        mean: mean.clone(),
                        unit_mean: unit_mean.clone(),
                        member,
                    };
                    let scores = score(AnyRows::F64(Rows::new(&x, d)), &reference, context).unwrap();
                    for (j, row) in rows.iter().enumerate() {
                        let cosine = |k: usize| dot(row, rows[k]) / (norm(row) * norm(rows[k]));
                        let others = (0..n).filter(|&k| !member || k != j);
                        let want = others.map(cosine).sum::<f64>() / (n - usize::from(member)) as f64;
                        assert!((scores.conformity[j] - want).abs() < 1e-14, "{d} {j}");
                        let want = dot(row, &mean) / (norm(row) * norm(&mean));
                        assert!((scores.cosine_to_mean[j] - want).abs() < 1e-14);
                        assert!((scores.norm[j] / norm(row) - 1.0).abs() < 1e-15);
                    }
                }
            });
        }
    }

    #[test]
    fn extreme_rows_score_as_their_directions_do() {
        let reference =
            Reference { count: 3, mean: vec![0.5, 0.25], unit_mean: vec![0.6, 0.2], member: false };
        let plain = [3.0, 4.0, -1.0, 2.0, 0.0, 0.0, f64::NAN, 1.0];
        everywhere(|context| {
            let of = |x: &[f64]| score(AnyRows::F64(Rows::new(x, 2)), &reference, context).unwrap();
            let want = of(&plain);
            assert_eq!(want.status, [Status::Ok, Status::Ok, Status::ZeroNorm, Status::NonFinite]);
            for factor in [1e-200, 1e200] {
                let got = of(&plain.map(|x| x * factor));
                assert_eq!(got.status, want.status);
                for j in 0..2 {
                    assert!((got.conformity[j] - want.conformity[j]).abs() < 1e-15);
                    assert!((got.cosine_to_mean[j] - want.cosine_to_mean[j]).abs() < 1e-15);
                }
                assert!(got.conformity[2].is_nan() && got.conformity[3].is_nan());
            }
        });
    }
}
