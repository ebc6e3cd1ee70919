//! The Euclidean norm of a row, and whether the row has a direction at all.
//!
//! The fast path is the sum of squares in float64, which no float16, bfloat16 or float32 row can
//! overflow or underflow. What is left, float64 rows of extreme magnitude, zeros, NaN and infinities,
//! is measured again with the row scaled by a power of two, so that every finite row whose norm is a
//! normal float64 gets its direction to full precision. A norm below the least normal float64
//! (2.2e-308) counts as zero.

use crate::error::Status;

/// Sums of squares in this range have neither overflowed nor lost anything to underflow.
pub const SAFE: std::ops::RangeInclusive<f64> = 1e-280..=1e280;

/// The length of a row and the factors that make it a unit vector: `u_k = x_k * scale * inverse`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Whether the row can be used.
    pub status: Status,
    /// The norm; NaN when the row is not finite.
    pub value: f64,
    /// A power of two that brings the row into range; 1 except for extreme rows.
    pub scale: f64,
    /// One over the norm of the scaled row; zero for a row that cannot be used.
    pub inverse: f64,
}

impl Norm {
    /// From the plain sum of squares where that is safe, else from the elements.
    #[inline(always)]
    pub fn new(sum_of_squares: f64, row: impl Fn() -> Vec<f64>) -> Norm {
        if SAFE.contains(&sum_of_squares) {
            let value = sum_of_squares.sqrt();
            Norm { status: Status::Ok, value, scale: 1.0, inverse: 1.0 / value }
        } else {
            Norm::of_extreme(&row())
        }
    }

    /// True when `scale` is 1 and the row is valid: the row may be used as it stands.
    #[inline(always)]
    pub fn is_plain(&self) -> bool {
        self.status == Status::Ok && self.scale == 1.0
    }

    #[cold]
    fn of_extreme(row: &[f64]) -> Norm {
        let unusable = |status, value| Norm { status, value, scale: 1.0, inverse: 0.0 };
        if row.iter().any(|x| !x.is_finite()) {
            return unusable(Status::NonFinite, f64::NAN);
        }
        let largest = row.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
        // Brings the largest element of any normal row near 1; a row of zeros keeps its zeros.
        let exponent = largest.max(f64::MIN_POSITIVE).log2().floor() as i32;
        let scale = 2f64.powi((-exponent).clamp(-1000, 1000));
        let scaled = row.iter().map(|x| (x * scale) * (x * scale)).sum::<f64>().sqrt();
        let value = scaled / scale;
        if value.is_infinite() {
            return unusable(Status::NonFinite, f64::NAN);
        }
        if value < f64::MIN_POSITIVE {
            return unusable(Status::ZeroNorm, value);
        }
        Norm { status: Status::Ok, value, scale, inverse: 1.0 / scaled }
    }
}

/// Norms and their inverses, from plain sums of squares; None where one of them is not safe.
#[inline(always)]
pub fn plain<const R: usize>(sums_of_squares: [f64; R]) -> Option<([f64; R], [f64; R])> {
    let safe = sums_of_squares.iter().all(|sum| SAFE.contains(sum));
    let values = sums_of_squares.map(f64::sqrt);
    safe.then(|| (values, values.map(|value| 1.0 / value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norm(row: &[f64]) -> Norm {
        Norm::new(row.iter().map(|x| x * x).sum(), || row.to_vec())
    }

    #[test]
    fn extreme_rows_have_directions() {
        for magnitude in [1e-307, 1e-300, 1e-200, 1e-20, 1.0, 1e20, 1e200, 1e307] {
            let row = [3.0 * magnitude, -4.0 * magnitude];
            let n = norm(&row);
            assert_eq!(n.status, Status::Ok);
            let unit = row.map(|x| x * n.scale * n.inverse);
            assert!((unit[0] - 0.6).abs() < 1e-15 && (unit[1] + 0.8).abs() < 1e-15, "{magnitude}: {unit:?}");
            assert!((n.value / magnitude / 5.0 - 1.0).abs() < 1e-15, "{magnitude}: {}", n.value);
        }
    }

    #[test]
    fn plain_norms_are_those_of_each_row_and_only_safe_ones() {
        let (norms, inverse) = plain([25.0, 2.0, 1e-280]).unwrap();
        for (i, square) in [25.0, 2.0, 1e-280].into_iter().enumerate() {
            let each = Norm::new(square, || unreachable!("{square} is safe"));
            assert_eq!((norms[i], inverse[i]), (each.value, each.inverse));
        }
        for odd in [0.0, 1e-290, 1e290, f64::INFINITY, f64::NAN] {
            assert_eq!(plain([1.0, odd]), None, "{odd}");
        }
        assert!(plain([1e-280, 1e280]).is_some());
    }

    #[test]
    fn what_has_no_direction_is_named() {
        assert_eq!(norm(&[0.0, -0.0]).status, Status::ZeroNorm);
        assert_eq!(norm(&[1e-320, 1e-310]).status, Status::ZeroNorm);
        assert_eq!(norm(&[0.0, f64::NAN]).status, Status::NonFinite);
        assert_eq!(norm(&[f64::INFINITY, 1.0]).status, Status::NonFinite);
        assert_eq!(norm(&[f64::MAX, f64::MAX]).status, Status::NonFinite);
    }
}
