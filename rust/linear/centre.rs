//! The raw mean that rows are moved by, and the rule by which a move leaves nothing of a row.
//!
//! A row `x` becomes `x - alpha m`. The mean is known up to the rounding of its sum, which grows with
//! the number of rows `N` and is relative to what was added up: where rows cancel, that is far more
//! than the mean. Of a row that is `alpha m`, rounding leaves up to
//!
//! ```text
//! (8 + sqrt(N)) 2^-52 max(|alpha| rms|x_j|, |x|)
//! ```
//!
//! and a row of which no more is left vanishes: its direction would be noise. Whatever is known of the
//! mean, one that keeps a 32nd of its length is not `alpha m`.

use super::sums::Sums;
use crate::error::{Error, Side, Status};
use crate::math::norm::Norm;

/// A row of which this share is left does not vanish.
const LEAST_SHARE: f64 = 1.0 / 32.0;

/// Greatest `|m| / |x|`: a quotient beyond float64 is as good, and can be multiplied.
const GREATEST_REACH: f64 = 1e290;

/// The length up to which what is left of a row of length `norm` may be rounding alone, given the
/// number of rows behind the mean and the root mean square of their norms.
pub fn least_left(count: u64, rms: f64, alpha: f64, norm: f64) -> f64 {
    let rounding = (8.0 + (count as f64).sqrt()) * f64::EPSILON;
    (rounding * (alpha.abs() * rms).max(norm)).min(LEAST_SHARE * norm)
}

/// The raw mean of a set of rows, as they are moved by it.
#[derive(Clone, Debug)]
pub struct Centre {
    /// Raw mean `m`.
    pub mean: Vec<f64>,
    /// `m / |m|`; zeros if it is zero.
    pub direction: Vec<f64>,
    /// `|m|`; NaN if float64 does not hold the mean.
    length: f64,
    /// Rows behind it.
    pub count: u64,
    /// Root mean square of their norms.
    rms: f64,
}

impl Centre {
    /// Of `count` rows, of which `rms` is the root mean square of the norms.
    pub fn new(mean: Vec<f64>, count: u64, rms: f64) -> Self {
        let norm = Norm::new(mean.iter().map(|x| x * x).sum(), || mean.clone());
        let direction = match norm.status {
            Status::Ok => mean.iter().map(|x| x * norm.scale * norm.inverse).collect(),
            _ => vec![0.0; mean.len()],
        };
        Centre { mean, direction, length: norm.value, count, rms }
    }

    /// Of the rows that were summed.
    pub fn of(sums: Sums) -> Self {
        Centre::new(sums.mean, sums.count, sums.norms.root_mean_square())
    }

    /// `|m| / |x|` of a row of length `norm`.
    pub fn reach(&self, norm: f64) -> f64 {
        (self.length / norm).min(GREATEST_REACH)
    }

    /// Whether float64 holds the mean, if `alpha` takes any of it.
    pub fn is_held(&self, alpha: f64) -> bool {
        alpha == 0.0 || self.length.is_finite()
    }

    /// Refuses a row of length `norm` of which nothing is `left` at `alpha`, or nothing that float64
    /// holds.
    ///
    /// # Errors
    /// [`Error::Vanishes`] and [`Error::OutOfRange`].
    pub fn check_left(&self, left: &Norm, norm: f64, alpha: f64, side: Side, row: u64) -> Result<(), Error> {
        // A norm that is not finite is NaN, and no less than anything.
        if left.value <= least_left(self.count, self.rms, alpha, norm) {
            return Err(Error::Vanishes { side, row, alpha });
        }
        match left.status {
            Status::Ok => Ok(()),
            _ => Err(Error::OutOfRange { side, row, alpha }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(left: [f64; 2], norm: f64, alpha: f64, rms: f64) -> Result<(), Error> {
        let left = Norm::new(left.iter().map(|x| x * x).sum(), || left.to_vec());
        Centre::new(vec![1.0, 0.0], 64, rms).check_left(&left, norm, alpha, Side::Left, 3)
    }

    #[test]
    fn what_is_left_is_compared_with_the_rounding_of_what_was_taken() {
        let vanishes = |alpha| Err(Error::Vanishes { side: Side::Left, row: 3, alpha });
        // Of 64 rows: 16 units of rounding, of the row or of what the mean was added up from.
        let unit = 16.0 * f64::EPSILON;
        for scale in [1e-290, 1.0, 1e290] {
            for (rms, alpha, least) in [(1.0, 1.0, unit), (1.0, -1.0, unit), (50.0, -1e4, 5e5 * unit)] {
                let left = |share: f64| outcome([0.0, share * least * scale], scale, alpha, rms * scale);
                assert_eq!(left(0.99), vanishes(alpha));
                assert_eq!(left(1.01), Ok(()));
            }
            assert_eq!(outcome([0.0; 2], scale, 1.0, scale), vanishes(1.0));
            // So little is known of the mean here that any row could be alpha times it.
            let left = |share: f64| outcome([share * scale, 0.0], scale, 1e30, scale);
            assert_eq!(left(0.03), vanishes(1e30));
            assert_eq!(left(0.04), Ok(()));
        }
    }

    #[test]
    fn what_float64_does_not_hold_is_told_apart() {
        let out_of_range = Err(Error::OutOfRange { side: Side::Left, row: 3, alpha: 1.0 });
        assert_eq!(outcome([f64::INFINITY, 0.0], 1e300, 1.0, 1e300), out_of_range);
        assert_eq!(outcome([f64::MAX, f64::MAX], 1e300, 1.0, 1e300), out_of_range);
        assert_eq!(outcome([f64::NAN, 0.0], 1e300, 1.0, 1e300), out_of_range);
        // Far more than the rounding of the row, and yet too short to have a direction.
        assert_eq!(outcome([1e-310, 0.0], 1e-300, 1.0, 1e-300), out_of_range);
    }

    #[test]
    fn what_moves_nothing_is_held() {
        let centre = Centre::new(vec![f64::INFINITY, 0.0], 2, 1e308);
        assert!(centre.is_held(0.0) && !centre.is_held(0.5));
        assert_eq!(centre.direction, [0.0; 2]);
        assert!(Centre::new(vec![0.0; 2], 2, 1.0).is_held(0.5));
        assert_eq!(0.0 * Centre::new(vec![1e300, 0.0], 2, 1e300).reach(1e-300), 0.0);
    }
}
