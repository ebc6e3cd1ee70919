//! A modality whose centre has moved by `alpha`, in terms of its unit rows.
//!
//! With `u = x / |x|` and the mean's direction `n = m / |m|`, `(x - alpha m) / |x| = u - q n` where
//! `q = alpha |m| / |x|`. Its length over `|x|` is `sqrt(1 - 2 q n.u + q^2)`, so that nothing here
//! depends on the scale of the rows.

use crate::error::{Error, Side, Status};
use crate::quadratic::modality::Modality;

/// The moved rows at one alpha.
#[derive(Clone, Debug)]
pub struct Shifted {
    /// `q` of each row.
    pub factor: Vec<f64>,
    /// `|x| / |x - alpha m|` of each row.
    pub stretch: Vec<f64>,
    /// Rows that came so near to zero that products made before the move have lost their digits:
    /// ascending. [`Modality::moved`] gives them.
    pub exact: Vec<usize>,
}

/// Beyond this `q` the mean is all that is left of a row in float32.
const GREATEST_FACTOR: f64 = 1e12;

impl Shifted {
    /// Moves the rows. A row is left to exact arithmetic where `|x - alpha m| < least |x|`.
    ///
    /// # Errors
    /// [`Error::Vanishes`] for a row that is `alpha m`, to rounding.
    pub fn new(modality: &Modality, alpha: f64, least: f64, side: Side) -> Result<Self, Error> {
        let count = modality.count();
        let mut shifted = Shifted {
            factor: Vec::with_capacity(count),
            stretch: Vec::with_capacity(count),
            exact: Vec::new(),
        };
        for row in 0..count {
            let (q, cosine) = (alpha * modality.reach[row], modality.cosine[row]);
            // Divided by the greater of 1 and |q|, so that no square overflows.
            let scale = q.abs().max(1.0);
            let (a, b) = (1.0 / scale, q / scale);
            let length = (a * a - 2.0 * a * b * cosine + b * b).max(0.0).sqrt() * scale;
            if length < least || q.abs() > GREATEST_FACTOR {
                // Rounding of the mean, which grows with the number of rows, and of the difference,
                // relative to what was subtracted.
                let steps = 8.0 + (count as f64).sqrt();
                let rounding = steps * f64::EPSILON * scale / modality.inverse[row];
                let (norm, _) = modality.moved(row, alpha);
                if norm.status != Status::Ok || norm.value <= rounding {
                    return Err(Error::Vanishes { side, row: row as u64, alpha });
                }
                shifted.exact.push(row);
                // Anything finite: nobody looks.
                shifted.factor.push(0.0);
                shifted.stretch.push(1.0);
            } else {
                shifted.factor.push(q);
                shifted.stretch.push(1.0 / length);
            }
        }
        Ok(shifted)
    }
}
