//! Off-diagonal dominance, the tilt of an ellipsoid (Eq. 6 of Levi & Gilboa).
//!
//! `ODD(l) = sum over k != l of |C_lk| / C_ll`: far above 1 where the axes of the ellipsoid are not the
//! coordinate axes. Uncorrelated features do not give 0 in a finite sample: a sample covariance of
//! two independent normal features has mean magnitude `sqrt(2 / (pi N)) sigma_l sigma_k`, so that
//!
//! ```text
//! null(l) = sqrt(2 / (pi N)) (sum_k sigma_k - sigma_l) / sigma_l
//! ```
//!
//! is what an untilted ellipsoid would show. Real CLIP features lie at 2.5 to 5 times their null.

/// `(ODD, null)` of each feature, from a `d x d` row-major covariance of `count` rows. NaN for a
/// feature that does not vary.
///
/// # Panics
/// If `covariance` is not `dim x dim`.
pub fn off_diagonal_dominance(covariance: &[f64], dim: usize, count: u64) -> (Vec<f64>, Vec<f64>) {
    assert_eq!(covariance.len(), dim * dim);
    let sigma: Vec<f64> = (0..dim).map(|l| covariance[l * dim + l].max(0.0).sqrt()).collect();
    let total: f64 = sigma.iter().sum();
    let factor = (2.0 / (std::f64::consts::PI * count as f64)).sqrt();
    (0..dim)
        .map(|l| {
            let (row, own) = (&covariance[l * dim..(l + 1) * dim], covariance[l * dim + l]);
            if own <= 0.0 {
                return (f64::NAN, f64::NAN);
            }
            let off: f64 = row.iter().enumerate().filter(|&(k, _)| k != l).map(|(_, c)| c.abs()).sum();
            (off / own, factor * (total - sigma[l]) / sigma[l])
        })
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_small_matrix_by_hand() {
        let covariance = [4.0, -2.0, 0.0, -2.0, 1.0, 0.5, 0.0, 0.5, 0.0];
        let (odd, null) = off_diagonal_dominance(&covariance, 3, 50);
        assert_eq!(odd[..2], [0.5, 2.5]);
        assert!(odd[2].is_nan() && null[2].is_nan());
        let factor = (2.0 / (std::f64::consts::PI * 50.0)).sqrt();
        assert!((null[0] - factor * 0.5).abs() < 1e-15 && (null[1] - factor * 2.0).abs() < 1e-15);
    }
}
