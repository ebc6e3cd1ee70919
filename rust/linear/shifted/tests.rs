use super::*;
use crate::error::{Side, Status};
use crate::linear::covariance::Precision;
use crate::linear::moments::{Moments, OnInvalid};
use crate::testing::{data, everywhere};

/// By the definition: rows moved, normalised, every pair compared.
fn naive(x: &[f64], d: usize, mean: &[f64], alpha: f64) -> Vec<f64> {
    let units: Vec<Vec<f64>> = x
        .chunks(d)
        .map(|row| {
            let moved: Vec<f64> = row.iter().zip(mean).map(|(x, m)| x - alpha * m).collect();
            let norm = moved.iter().map(|x| x * x).sum::<f64>().sqrt();
            moved.iter().map(|x| x / norm).collect()
        })
        .collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let others = |j: usize| (0..units.len()).filter(move |&k| k != j);
    (0..units.len())
        .map(|j| others(j).map(|k| dot(&units[j], &units[k])).sum::<f64>() / (units.len() - 1) as f64)
        .collect()
}

fn centre_of(rows: AnyRows, context: &Context) -> Centre {
    let mut moments = Moments::new(rows.dim(), false, Precision::Auto);
    moments.update(rows, OnInvalid::Error, context).unwrap();
    Centre::of(moments.sums(context).unwrap())
}

fn of(rows: AnyRows, alphas: &[f64], context: &Context) -> Result<Vec<f64>, Error> {
    let grid = Grid::new(alphas.to_vec(), centre_of(rows, context));
    let mut means = UnitMeans::new(grid.clone());
    means.update(rows, context)?;
    conformity(rows, &grid, &means.finish(context)?, context)
}

fn close(got: &[f64], want: &[f64], error: f64) {
    assert_eq!(got.len(), want.len());
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= error, "{at}: {got} {want}");
    }
}

#[test]
fn equals_the_definition_for_every_tail_at_every_level() {
    // More alphas than a panel holds, near 1 in a cloud whose rows there shrink.
    let alphas: Vec<f64> = (0..14).map(|at| f64::from(at) * 0.19 - 1.1).collect();
    for (n, d) in (1..=40).map(|d| (9, d)).chain([(2, 5), (CHUNK - 1, 7), (CHUNK + 1, 3), (BLOCK + 70, 2)]) {
        let x = data(n, d);
        everywhere(|context| {
            let rows = AnyRows::F64(Rows::new(&x, d));
            let (got, mean) = (of(rows, &alphas, context).unwrap(), centre_of(rows, context).mean);
            for (values, &alpha) in got.chunks(n).zip(&alphas) {
                close(values, &naive(&x, d, &mean, alpha), 1e-12);
            }
        });
    }
}

#[test]
fn batches_and_threads_never_show() {
    let (n, d, alphas) = (2 * BLOCK + 77, 9, [-0.5, 0.0, 0.9, 1.0]);
    let x: Vec<f32> = data(n, d).iter().map(|&x| x as f32).collect();
    let mut first = Vec::new();
    everywhere(|context| {
        let rows = AnyRows::F32(Rows::new(&x, d));
        let grid = Grid::new(alphas.to_vec(), centre_of(rows, context));
        let fit = |batch: usize| {
            let mut means = UnitMeans::new(grid.clone());
            for part in x.chunks(batch * d) {
                means.update(AnyRows::F32(Rows::new(part, d)), context).unwrap();
            }
            means.finish(context).unwrap()
        };
        let whole = fit(n);
        for batch in [1, 7, BLOCK, BLOCK + 1] {
            assert_eq!(fit(batch), whole, "batches of {batch}");
        }
        let values = conformity(rows, &grid, &whole, context).unwrap();
        // Two runs in a row are of one level, with one and with three threads.
        if context.threads == 1 {
            first.push(values);
        } else {
            assert_eq!(first.last(), Some(&values), "threads");
        }
    });
}

#[test]
fn a_row_close_to_the_mean_keeps_its_digits() {
    // Mirror images in a mean of small whole numbers: it is exact, and so is what is left of a row.
    let (d, mean) = (4, [3.0, -5.0, 0.0, 0.0]);
    for exponent in [-1, -4, -5, -12, -30, -45] {
        let little = 2f64.powi(exponent);
        let offsets = [[0.0, 0.0, little, -little], [1.0, 2.0, -1.0, 3.0], [-2.0, 1.0, 2.0, 0.5]];
        let x: Vec<f64> = offsets
            .iter()
            .flat_map(|offset| [1.0, -1.0].map(|sign| [0, 1, 2, 3].map(|k| mean[k] + sign * offset[k])))
            .flatten()
            .collect();
        everywhere(|context| {
            let rows = AnyRows::F64(Rows::new(&x, d));
            assert_eq!(centre_of(rows, context).mean, mean);
            let got = of(rows, &[1.0, 0.25], context).unwrap();
            close(&got[..6], &naive(&x, d, &mean, 1.0), 1e-13);
            close(&got[6..], &naive(&x, d, &mean, 0.25), 1e-13);
        });
    }
}

#[test]
fn a_row_that_vanishes_is_named() {
    for (at, factor) in [(0, 0.5), (CHUNK + 3, -1.0), (BLOCK + 4, 1.0)] {
        // A row and its neighbour change places with mirror images in the mean, which stays.
        let n = BLOCK + 10;
        let mut x: Vec<f64> = (0..n).flat_map(|i| [8.0, if i % 2 == 0 { 4.0 } else { -4.0 }]).collect();
        let (row, other) = (at * 2, (at ^ 1) * 2);
        x[row..row + 2].copy_from_slice(&[8.0 * factor, 0.0]);
        x[other..other + 2].copy_from_slice(&[16.0 - 8.0 * factor, 0.0]);
        everywhere(|context| {
            let rows = AnyRows::F64(Rows::new(&x, 2));
            let error = of(rows, &[-2.0, factor, 5.0], context).unwrap_err();
            assert_eq!(error, Error::Vanishes { side: Side::Right, row: at as u64, alpha: factor });
        });
    }
}

#[test]
fn a_mean_that_cancels_is_as_uncertain_as_what_it_is_made_of() {
    // Opposite pairs of rows and one short one: that is as many times the mean as there are rows, but
    // for the rounding of the pairs.
    let (n, d) = (BLOCK + 301, 16);
    let (row, alpha) = (CHUNK + 7, n as f64);
    let pairs = data(n / 2, d);
    let opposite =
        |pair: &[f64]| [1e6, -1e6].map(|factor| pair.iter().map(|x| factor * x).collect::<Vec<_>>());
    let mut x: Vec<f64> = pairs.chunks(d).flat_map(opposite).flatten().collect();
    x.splice(row * d..row * d, data(1, d));
    everywhere(|context| {
        let rows = AnyRows::F64(Rows::new(&x, d));
        assert!(of(rows, &[-alpha, 0.5 * alpha, 2.0 * alpha], context).is_ok());
        let error = of(rows, &[0.5, alpha], context).unwrap_err();
        assert_eq!(error, Error::Vanishes { side: Side::Right, row: row as u64, alpha });
    });
}

#[test]
fn what_float64_does_not_hold_is_not_said_to_vanish() {
    // The sum of the rows overflows, then all that is left of the first one underflows.
    let great = [1e308, 0.5e308, 1e308, -0.5e308, 1e308, 0.5e308];
    let small = [1e-300, 1e-310, 1e-300, -1e-310, 1e-300, 2e-300, 1e-300, -2e-300];
    everywhere(|context| {
        let of = |x, alphas: &[f64]| of(AnyRows::F64(Rows::new(x, 2)), alphas, context);
        for (x, alphas) in [(&great[..], [0.0, 0.25]), (&small[..], [0.0, 1.0])] {
            assert!(of(x, &alphas[..1]).is_ok());
            let out_of_range = Error::OutOfRange { side: Side::Right, row: 0, alpha: alphas[1] };
            assert_eq!(of(x, &alphas).unwrap_err(), out_of_range);
        }
    });
}

#[test]
fn extreme_rows_move_as_their_directions_do() {
    let plain = data(40, 3);
    everywhere(|context| {
        let alphas = [-1.0, 0.5, 1.0, 1e200];
        let of = |x: &[f64]| of(AnyRows::F64(Rows::new(x, 3)), &alphas, context).unwrap();
        let want = of(&plain);
        for factor in [1e-290, 1e-200, 1e200, 1e290] {
            let scaled: Vec<f64> = plain.iter().map(|x| x * factor).collect();
            close(&of(&scaled), &want, 1e-13);
        }
        // Nothing but the mean, turned round, is left of any row.
        close(&want[3 * 40..], &[1.0; 40], 1e-15);
    });
}

#[test]
fn rows_about_the_origin_do_not_move() {
    let half = data(30, 5);
    let x: Vec<f64> = half.iter().copied().chain(half.iter().map(|x| -x)).collect();
    everywhere(|context| {
        let rows = AnyRows::F64(Rows::new(&x, 5));
        let grid = Grid::new(vec![0.0, 1e300], Centre::new(vec![0.0; 5], 60, 1.0));
        let mut means = UnitMeans::new(grid.clone());
        means.update(rows, context).unwrap();
        let values = conformity(rows, &grid, &means.finish(context).unwrap(), context).unwrap();
        assert_eq!(values[..60], values[60..]);
    });
}

#[test]
fn what_does_not_fit_is_refused() {
    everywhere(|context| {
        let grid = |count| Grid::new(vec![0.0], Centre::new(vec![1.0, 1.0], count, 2.0));
        let (x, grid, single) = ([1.0, 2.0, 0.0, 0.0], grid(2), grid(1));
        let rows = AnyRows::F64(Rows::new(&x, 2));
        let error = UnitMeans::new(grid.clone()).update(AnyRows::F64(Rows::new(&x, 4)), context).unwrap_err();
        assert_eq!(error, Error::Dimension { what: "rows", found: 4, expected: 2 });
        let mut means = UnitMeans::new(grid.clone());
        means.update(rows, context).unwrap();
        let error = means.finish(context).unwrap_err();
        assert_eq!(error, Error::InvalidRow { row: 1, status: Status::ZeroNorm });
        let error =
            conformity(AnyRows::F64(Rows::new(&x[..2], 2)), &single, &[1.0, 0.0], context).unwrap_err();
        assert_eq!(error, Error::TooFewRows { what: "conformity", found: 1, needed: 2 });
    });
}
