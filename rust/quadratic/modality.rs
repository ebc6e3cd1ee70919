//! One of two modalities, as pairs of rows are compared: unit rows and the mean that they move by.

use crate::error::{Error, Status};
use crate::linear::covariance::Precision;
use crate::linear::moments::{Moments, OnInvalid};
use crate::linear::unit::{Units, units};
use crate::math::norm::Norm;
use crate::rows::AnyRows;
use crate::schedule::Context;

/// Rows that all have a direction, with their norms and their raw mean.
#[derive(Clone)]
pub struct Modality<'a> {
    /// The rows.
    pub rows: AnyRows<'a>,
    /// `1 / |x|` of each row.
    pub inverse: Vec<f64>,
    /// `m / |m|` of the raw mean `m`; zeros if it is zero.
    pub direction: Vec<f64>,
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
        // A quotient beyond float64 is as good as one near its end.
        let reach = norm.iter().map(|norm| (length.value / norm).min(1e290)).collect();
        let inverse = norm.iter().map(|norm| 1.0 / norm).collect();
        Ok(Modality { rows, inverse, direction, reach, cosine })
    }

    /// Number of rows.
    pub fn count(&self) -> usize {
        self.inverse.len()
    }
}
