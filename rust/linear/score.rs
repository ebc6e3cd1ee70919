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
//! `O(n d)`, one read of the rows; memory `O(d)` beside what is returned. What more is wanted of each
//! row is taken in the same visit: see [`Beside`].

use super::cosines::{self, Cosines};
use super::group_scores::{Grouped, InGroups};
use super::unit::{GROUP, Measure, Units, for_each_unit};
use crate::blocks::for_each_block;
use crate::error::{Error, Status};
use crate::math::norm::Norm;
use crate::rows::AnyRows;
use crate::schedule::Context;
use crate::with_rows;

/// The set that rows are scored against.
#[derive(Clone, Debug)]
pub struct Reference {
    /// Valid rows of the set.
    pub count: u64,
    /// Unit mean `s`.
    pub unit_mean: Vec<f64>,
    /// Whether the rows to be scored belong to the set.
    pub member: bool,
}

impl Reference {
    fn check(&self) -> Result<(), Error> {
        let needed = if self.member { 2 } else { 1 };
        if self.count < needed {
            return Err(Error::TooFewRows { what: "conformity", found: self.count, needed });
        }
        Ok(())
    }

    /// From `s.u`.
    fn conformity(&self, product: f64) -> f64 {
        let n = self.count as f64;
        cosine(if self.member { (n * product - 1.0) / (n - 1.0) } else { product })
    }
}

/// Rounding can carry a cosine of one a few units past it.
fn cosine(x: f64) -> f64 {
    x.clamp(-1.0, 1.0)
}

/// What is computed of each row beside its scores.
#[derive(Clone, Copy, Default)]
pub struct Beside<'a> {
    /// The partner of each row, to which the cosine is taken.
    pub partner: Option<AnyRows<'a>>,
    /// The groups in which the conformity is taken, too.
    pub groups: Option<Grouped<'a>>,
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
    /// With each partner, where those are given.
    pub partner: Option<Cosines>,
    /// Conformity in the group of the row, NaN where it has no other row; where groups are given.
    pub group_conformity: Option<Vec<f64>>,
}

/// The conformity of every row, and nothing else: less arithmetic and a third of the memory.
pub fn conformity(
    rows: AnyRows,
    reference: &Reference,
    context: &Context,
) -> Result<(Vec<f64>, Vec<Status>), Error> {
    reference.check()?;
    let (mut values, mut status) = (Vec::with_capacity(rows.count()), Vec::with_capacity(rows.count()));
    for_each_unit(rows, [&reference.unit_mean], context, |part: Units<1>| {
        let [products] = part.products;
        values.extend(products.into_iter().map(|product| reference.conformity(product)));
        status.extend(part.status);
    })?;
    Ok((values, status))
}

/// Scores every row; `mean` is the raw mean `m` of the set.
pub fn score(
    rows: AnyRows,
    reference: &Reference,
    mean: &[f64],
    beside: Beside,
    context: &Context,
) -> Result<Scores, Error> {
    reference.check()?;
    for found in [reference.unit_mean.len(), mean.len()] {
        if found != rows.dim() {
            return Err(Error::Dimension { what: "rows", found: rows.dim(), expected: found });
        }
    }
    beside.partner.map_or(Ok(()), |partner| cosines::check_partner(rows, partner))?;
    beside.groups.map_or(Ok(()), |groups| groups.check(rows.count(), rows.dim()))?;
    let norm = Norm::new(mean.iter().map(|x| x * x).sum(), || mean.to_vec());
    // A vector of unit length, so that extreme means neither overflow nor vanish in the products.
    let direction: Vec<f64> = match norm.status {
        Status::Ok => mean.iter().map(|x| x * norm.scale * norm.inverse).collect(),
        _ => vec![f64::NAN; mean.len()],
    };
    let vectors = [&reference.unit_mean[..], &direction[..]];
    let mut scores = Scores::with_capacity(rows.count(), &beside);
    let groups = beside.groups.filter(|groups| !groups.count.is_empty());
    with_rows!(rows, rows => for_each_block(
        rows,
        context,
        || rows.scratch(GROUP),
        |scratch, start, rows| {
            let groups = groups.map(|all| Grouped { group: &all.group[start..start + rows.count()], ..all });
            Ok(match (beside.partner, groups) {
                (None, None) => (context.level.dispatch(Measure { rows, scratch, vectors }), None, None),
                (None, Some(groups)) => {
                    let (units, groups) =
                        context.level.dispatch(InGroups { rows, scratch, groups, vectors });
                    (units, None, Some(groups))
                }
                (Some(partner), groups) => {
                    let (units, pairs) = cosines::of_block(rows, partner, start, vectors, context.level);
                    // The block is in cache now.
                    let groups = groups.map(|groups| {
                        context.level.dispatch(InGroups { rows, scratch, groups, vectors: [] }).1
                    });
                    (units, Some(pairs), groups)
                }
            })
        },
        |(units, pairs, groups)| {
            scores.append(units, reference);
            scores.partner.iter_mut().zip(pairs).for_each(|(all, part)| all.append(part));
            scores.group_conformity.iter_mut().zip(groups).for_each(|(all, part)| all.extend(part));
            Ok(())
        },
    ))?;
    // Where there are no groups, no row is in one.
    scores.group_conformity.iter_mut().for_each(|all| all.resize(rows.count(), f64::NAN));
    Ok(scores)
}

impl Scores {
    /// Of no rows, with room for `count`.
    fn with_capacity(count: usize, beside: &Beside) -> Self {
        let room = || Vec::with_capacity(count);
        Scores {
            conformity: room(),
            cosine_to_mean: room(),
            norm: room(),
            status: Vec::with_capacity(count),
            partner: beside.partner.map(|_| Cosines::with_capacity(count)),
            group_conformity: beside.groups.map(|_| room()),
        }
    }

    fn append(&mut self, part: Units<2>, reference: &Reference) {
        let [products, cosines] = part.products;
        self.conformity.extend(products.into_iter().map(|product| reference.conformity(product)));
        self.cosine_to_mean.extend(cosines.into_iter().map(cosine));
        self.norm.extend(part.norm);
        self.status.extend(part.status);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Rows;
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
                    let reference = Reference { count: n as u64, unit_mean: unit_mean.clone(), member };
                    let all = AnyRows::F64(Rows::new(&x, d));
                    let scores = score(all, &reference, &mean, Beside::default(), context).unwrap();
                    let alone = conformity(all, &reference, context).unwrap();
                    assert_eq!(alone, (scores.conformity.clone(), scores.status.clone()));
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
        let reference = Reference { count: 3, unit_mean: vec![0.6, 0.2], member: false };
        let plain = [3.0, 4.0, -1.0, 2.0, 0.0, 0.0, f64::NAN, 1.0];
        everywhere(|context| {
            let of = |x: &[f64]| {
                let rows = AnyRows::F64(Rows::new(x, 2));
                score(rows, &reference, &[0.5, 0.25], Beside::default(), context).unwrap()
            };
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

    #[test]
    fn where_there_are_no_groups_no_row_is_in_one() {
        let reference = Reference { count: 3, unit_mean: vec![0.6, 0.2], member: false };
        let groups = Grouped { group: &[0, 1, 2], count: &[], unit_sum: &[], member: false };
        everywhere(|context| {
            let rows = AnyRows::F64(Rows::new(&[1.0; 6], 2));
            let beside = Beside { groups: Some(groups), ..Beside::default() };
            let found = score(rows, &reference, &[0.5, 0.25], beside, context).unwrap();
            assert_eq!(found.status, [Status::Ok; 3]);
            let conformity = found.group_conformity.unwrap();
            assert!(conformity.len() == 3 && conformity.iter().all(|c| c.is_nan()));
        });
    }

    #[test]
    fn what_is_beside_the_scores_is_what_it_is_alone() {
        let (n, d) = (2 * crate::blocks::BLOCK + 13, 21);
        let (x, y) = (data(n, d), data(n, d + 1));
        let y: Vec<f32> = y.chunks(d + 1).flat_map(|row| &row[1..]).map(|&y| y as f32).collect();
        let (rows, partner) = (AnyRows::F64(Rows::new(&x, d)), AnyRows::F32(Rows::new(&y, d)));
        // Of the last group there is one row, and the number 9 is that of no group.
        let group: Vec<u32> =
            (0..n as u32).map(|i| [0, 1, 1, 9][i as usize % 4]).chain([2]).skip(1).collect();
        let count: Vec<u64> = (0..3).map(|g| group.iter().filter(|&&own| own == g).count() as u64).collect();
        let unit = |row: &[f64]| {
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            row.iter().map(|x| x / norm).collect::<Vec<_>>()
        };
        let mut unit_sum = vec![0.0; 3 * d];
        for (row, &group) in x.chunks(d).zip(&group).filter(|&(_, &group)| group < 3) {
            unit(row).iter().enumerate().for_each(|(k, u)| unit_sum[group as usize * d + k] += u);
        }
        let reference = Reference { count: n as u64, unit_mean: vec![0.1; d], member: true };
        everywhere(|context| {
            for member in [true, false] {
                let groups = Grouped { group: &group, count: &count, unit_sum: &unit_sum, member };
                let beside = Beside { partner: Some(partner), groups: Some(groups) };
                let found = score(rows, &reference, &vec![1.0; d], beside, context).unwrap();
                let plain = score(rows, &reference, &vec![1.0; d], Beside::default(), context).unwrap();
                assert_eq!((&found.conformity, &found.norm), (&plain.conformity, &plain.norm));
                assert_eq!(found.partner.unwrap(), cosines::cosines(rows, partner, context).unwrap());
                let conformity = found.group_conformity.unwrap();
                for (row, (&group, &got)) in x.chunks(d).zip(group.iter().zip(&conformity)) {
                    let own = u8::from(member);
                    if group == 9 || count[group as usize] <= u64::from(own) {
                        assert!(got.is_nan());
                        continue;
                    }
                    let sum = &unit_sum[group as usize * d..][..d];
                    let product = unit(row).iter().zip(sum).map(|(u, s)| u * s).sum::<f64>() - f64::from(own);
                    let want = product / (count[group as usize] as f64 - f64::from(own));
                    assert!((got - want).abs() < 1e-14, "{group}: {got} {want}");
                }
            }
        });
    }
}
