//! Against the definition, at every level: the moved rows are made and compared one by one.

use super::*;
use crate::rows::AnyRows;
use crate::testing::{data, everywhere};
use crate::tiles::SIDE;
use half::{bf16, f16};

/// Of each left and each right row, in base 2: `log(sum over rivals of e^(logit - own))`, and by how much
/// the nearest rival's logit exceeds its own.
type Sides = [Vec<(f64, f64)>; 2];

fn definition(left: &[f64], right: &[f64], dim: usize, options: &Options, alpha: f64) -> Sides {
    let moved = |x: &[f64], by: f64| -> Vec<Vec<f64>> {
        let n = (x.len() / dim) as f64;
        let mean: Vec<f64> = (0..dim).map(|k| x.chunks(dim).map(|row| row[k]).sum::<f64>() / n).collect();
        let row = |row: &[f64]| {
            let moved: Vec<f64> = row.iter().zip(&mean).map(|(x, m)| x - by * m).collect();
            let norm = moved.iter().map(|x| x * x).sum::<f64>().sqrt();
            moved.iter().map(|x| x / norm).collect()
        };
        x.chunks(dim).map(row).collect()
    };
    let (a, b) = (moved(left, if options.both { alpha } else { 0.0 }), moved(right, alpha));
    let logit = |i: usize, k: usize| {
        a[i].iter().zip(&b[k]).map(|(x, y)| x * y).sum::<f64>() * LOG2_E / options.temperature
    };
    let side = |of: &dyn Fn(usize, usize) -> f64| -> Vec<(f64, f64)> {
        (0..a.len())
            .map(|i| {
                let rivals: Vec<f64> = (0..a.len()).filter(|&k| k != i).map(|k| of(i, k)).collect();
                let sum: f64 = rivals.iter().map(|rival| (rival - of(i, i)).exp2()).sum();
                (sum.log2(), rivals.into_iter().fold(f64::NEG_INFINITY, f64::max) - of(i, i))
            })
            .collect()
    };
    [side(&logit), side(&|k, i| logit(i, k))]
}

fn check<E: Element>(
    rows: impl Fn(&[E]) -> AnyRows,
    cast: impl Fn(f64) -> E,
    options: &Options,
    cone: f64,
    tolerance: f64,
) -> usize {
    let (n, dim) = (SIDE + 9, 11);
    let shared = data(n, dim);
    let make = |salt: usize| -> Vec<E> {
        let own = data(n + salt, dim);
        shared.iter().zip(&own).map(|(s, x)| cast(cone + s + 0.4 * x)).collect()
    };
    let (left, right) = (make(1), make(2));
    let wide = |x: &[E]| -> Vec<f64> { x.iter().map(|x| x.to_f64()).collect() };
    let (wide_left, wide_right) = (wide(&left), wide(&right));
    let want: Vec<Sides> = options
        .alphas
        .iter()
        .map(|&alpha| definition(&wide_left, &wide_right, dim, options, alpha))
        .collect();
    let mut passes = 0;
    everywhere(|context| {
        let [l, r] = [&left, &right].map(|x| Modality::new(rows(x), context).unwrap());
        let sweep = Sweep::new(l, r, options, context).unwrap();
        passes = sweep.passes();
        let length = n * options.alphas.len();
        let mut totals = [Totals::new(length), Totals::new(length)];
        let [a, b] = &mut totals;
        // In parts, as a cluster would.
        sweep.run(1..2, a, b, context).unwrap();
        sweep.run(0..1, a, b, context).unwrap();
        let (own, _) = sweep.own();
        for (totals, side) in totals.iter().zip(0..) {
            for at in 0..length {
                let (want, excess) = want[at / n][side][at % n];
                let got = totals.sum[at].log2() - own[at];
                // Far below the pair's own logit only the magnitude of the sum matters.
                let error = if want < -20.0 { (got.exp2() - want.exp2()).abs() } else { (got - want).abs() };
                assert!(error <= tolerance, "{:?} {options:?} {at}: {got} {want}", context.level);
                // Else rounding decides.
                if excess.abs() > tolerance {
                    assert_eq!(totals.missed[at], excess > 0.0, "{:?} {at}", context.level);
                }
            }
        }
    });
    passes
}

/// In every element type; how often all rows were multiplied.
fn check_all(options: &Options, cone: f64) -> [usize; 4] {
    // A float32 cosine is off by 1.5e-7, by three times that where rows shrink, and two of them make a
    // term. In float64 the definition is rounded as well, and in a cone the sums that the mean is made
    // of weigh more than the cosine.
    let (of_narrow, of_wide) = (1.5e-7, 5e-16 * (1.0 + 8.0 * cone));
    let tolerance = |cosine: f64| 2.0 * GREATEST_STRETCH * cosine * LOG2_E / options.temperature;
    [
        check(|x| AnyRows::F32(Rows::new(x, 11)), |x| x as f32, options, cone, tolerance(of_narrow)),
        check(|x| AnyRows::F16(Rows::new(x, 11)), f16::from_f64, options, cone, tolerance(of_narrow)),
        check(|x| AnyRows::Bf16(Rows::new(x, 11)), bf16::from_f64, options, cone, tolerance(of_narrow)),
        check(|x| AnyRows::F64(Rows::new(x, 11)), |x| x, options, cone, tolerance(of_wide)),
    ]
}

#[test]
fn equals_the_definition_at_every_level() {
    for both in [false, true] {
        for temperature in [0.07, 0.01, LEAST_TEMPERATURE] {
            check_all(&Options { alphas: vec![-1.0, 0.0, 0.7, 1.5], both, temperature }, 0.0);
        }
    }
}

#[test]
fn rows_of_a_narrow_cone_are_moved_before_they_are_multiplied() {
    for both in [false, true] {
        let options = Options { alphas: vec![-1.0, 0.9, 1.0, 1.1], both, temperature: 0.01 };
        // One pass for -1, and one for each alpha that leaves little of the rows.
        assert_eq!(check_all(&options, 12.0), [4; 4]);
    }
}

#[test]
fn a_mean_that_cancels_is_as_uncertain_as_what_it_is_made_of() {
    // Rows of length about 4 with a mean of about 0.01: 400 times it is a row but for rounding.
    let (n, dim) = (400, 16);
    let mut x: Vec<f64> = data(n, dim);
    let mean = |x: &[f64], k: usize| x.chunks(dim).map(|row| row[k]).sum::<f64>() / n as f64;
    for k in 0..dim {
        let off = mean(&x, k) - 0.01;
        x.iter_mut().skip(k).step_by(dim).for_each(|x| *x -= off);
    }
    for _ in 0..60 {
        for k in 0..dim {
            x[5 * dim + k] = 100.0 * mean(&x, k);
        }
    }
    let y = data(n, dim);
    everywhere(|context| {
        let [x, y] = [&x, &y].map(|x| Modality::new(AnyRows::F64(Rows::new(x, dim)), context).unwrap());
        let options = Options { alphas: vec![100.0], both: false, temperature: 0.01 };
        let error = Sweep::new(y, x, &options, context).err();
        assert_eq!(error, Some(Error::Vanishes { side: Side::Right, row: 5, alpha: 100.0 }));
    });
}

#[test]
fn what_float64_does_not_hold_is_not_said_to_vanish() {
    let mut x = data(40, 3);
    x[..3].fill(1e300);
    let y = data(40, 3);
    everywhere(|context| {
        let [x, y] = [&x, &y].map(|x| Modality::new(AnyRows::F64(Rows::new(x, 3)), context).unwrap());
        let options = Options { alphas: vec![1e12], both: false, temperature: 0.01 };
        let error = Sweep::new(y, x, &options, context).err();
        assert_eq!(error, Some(Error::OutOfRange { side: Side::Right, row: 0, alpha: 1e12 }));
    });
}

#[test]
fn a_row_that_is_its_mean_vanishes() {
    let x = [1.0, 2.0, 1.0, 2.0, 1.0, 2.0];
    let y = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0];
    everywhere(|context| {
        let [x, y] = [&x, &y].map(|x| Modality::new(AnyRows::F64(Rows::new(x, 2)), context).unwrap());
        let sweep = |left: &Modality, right: &Modality, both| {
            let options = Options { alphas: vec![0.5, 1.0], both, temperature: 0.01 };
            Sweep::new(left.clone(), right.clone(), &options, context).err()
        };
        let error = |side| Some(Error::Vanishes { side, row: 0, alpha: 1.0 });
        assert_eq!(sweep(&y, &x, false), error(Side::Right));
        assert_eq!(sweep(&x, &y, true), error(Side::Left));
        assert_eq!(sweep(&x, &y, false), None);
    });
}
