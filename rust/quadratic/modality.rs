//! One of two modalities, as pairs of rows are compared: unit rows and the mean that they move by.

use crate::element::Element;
use crate::error::Error;
use crate::linear::centre::Centre;
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
    /// Their raw mean `m`.
    pub centre: Centre,
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
        let centre = Centre::of(moments.sums(context)?);
        let Units { norm, products: [cosine], .. } = units(rows, [&centre.direction], context)?;
        let reach = norm.iter().map(|&norm| centre.reach(norm)).collect();
        let inverse = norm.iter().map(|norm| 1.0 / norm).collect();
        Ok(Modality { rows, inverse, centre, reach, cosine })
    }

    /// `x - alpha m` of a row, as its norm and its direction.
    pub fn moved(&self, row: usize, alpha: f64) -> (Norm, Vec<f64>) {
        let difference = |k: usize, x: f64| x - alpha * self.centre.mean[k];
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
