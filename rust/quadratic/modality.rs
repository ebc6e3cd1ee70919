//! One of two modalities, as pairs of rows are compared: unit rows and the mean that they move by.

use crate::element::Element;
use crate::error::{Error, Status};
use crate::linear::covariance::Precision;
use crate::linear::moments::{Moments, OnInvalid};
use crate::linear::unit::{Units, units};
use crate::math::norm::Norm;
use crate::rows::AnyRows;
use crate::schedule::Context;
use crate::with_rows;

/// Rows that all have a direction, with their norms and their raw mean.
#[derive(Clone)]
pub struct Modality<'a> {
    /// The rows.
    pub rows: AnyRows<'a>,
    /// `1 / |x|` of each row.
    pub inverse: Vec<f64>,
    /// Raw mean `m`.
    pub mean: Vec<f64>,
    /// `m / |m|`; zeros if it is zero.
    pub direction: Vec<f64>,
    /// Root of the mean square of the norms: what rounding of the mean is relative to.
    pub rms: f64,
    /// `|m| / |x|` of each row.
    pub reach: Vec<f64>,
    /// `cos(m, x)` of each row; 0 if `m` is zero.
    pub cosine: Vec<f64>,
}

impl<'a> Modality<'a> {
    /// Measures the rows; one without a direction is refused.
    pub fn new(rows: AnyRows<'a>, context: &Context) -> Result<Self, Error> {
        let mut moments = Moments::new(rows.dim(), false, Precision::Auto);
        moments.extend(rows, OnInvalid::Error, context)?;
        let mean = moments.sums(context)?.mean;
        let length = Norm::new(mean.iter().map(|x| x * x).sum(), || mean.clone());
        let direction: Vec<f64> = match length.status {
            Status::Ok => mean.iter().map(|x| x * length.scale * length.inverse).collect(),
            _ => vec![0.0; mean.len()],
        };
        let Units { norm, products: [cosine], .. } = units(rows, [&direction], context)?;
        // A quotient beyond float64 is as good as its end.
        let reach = norm.iter().map(|norm| (length.value / norm).min(f64::MAX)).collect();
        let greatest = norm.iter().copied().fold(0.0, f64::max);
        let squares: f64 = norm.iter().map(|norm| (norm / greatest).powi(2)).sum();
        let rms = greatest * (squares / norm.len() as f64).sqrt();
        let inverse = norm.iter().map(|norm| 1.0 / norm).collect();
        Ok(Modality { rows, inverse, mean, rms, direction, reach, cosine })
    }

    /// `x - alpha m` of a row, as its norm and its direction. The status tells a row that vanishes.
    pub fn moved(&self, row: usize, alpha: f64) -> (Norm, Vec<f64>) {
        let difference = |k: usize, x: f64| x - alpha * self.mean[k];
        let mut moved: Vec<f64> = with_rows!(self.rows, rows => {
            (0..rows.dim()).map(|k| difference(k, rows.get(row, k).to_f64())).collect()
        });
        let norm = Norm::new(moved.iter().map(|x| x * x).sum(), || moved.clone());
        moved.iter_mut().for_each(|x| *x *= norm.scale * norm.inverse);
        (norm, moved)
    }

    /// Number of rows.
    pub fn count(&self) -> usize {
        self.inverse.len()
    }
}
