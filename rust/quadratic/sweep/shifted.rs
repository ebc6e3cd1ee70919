//! A modality whose centre has moved by `alpha`: in terms of its unit rows, or made afresh.
//!
//! With `u = x / |x|` and the mean's direction `n = m / |m|`, `(x - alpha m) / |x| = u - q n` where
//! `q = alpha |m| / |x|`. Its length over `|x|` is `sqrt(1 - 2 q n.u + q^2)`, so that nothing here
//! depends on the scale of the rows. What rounding did to the product of two unit rows grows by the
//! inverse of that length, the *stretch* of either row.

use crate::element::Element;
use crate::error::{Error, Side};
use crate::pack::ScaledRows;
use crate::quadratic::modality::Modality;
use crate::rows::Rows;
use crate::schedule::{Context, collected};
use crate::tiles::SIDE;

/// The moved rows at one alpha.
#[derive(Clone, Debug)]
pub struct Shifted {
    /// `q` of each row.
    pub factor: Vec<f64>,
    /// `|x| / |x - alpha m|` of each row.
    pub stretch: Vec<f64>,
}

/// Beyond this `q` the mean is all that is left of a row in float32.
const GREATEST_FACTOR: f64 = 1e12;

impl Shifted {
    /// Moves the rows.
    pub fn new(modality: &Modality, alpha: f64) -> Self {
        let length = |(reach, cosine): (&f64, &f64)| {
            let q = alpha * reach;
            // Divided by the greater of 1 and |q|, so that no square overflows.
            let scale = q.abs().max(1.0);
            let (a, b) = (1.0 / scale, q / scale);
            (a * a - 2.0 * a * b * cosine + b * b).max(0.0).sqrt() * scale
        };
        Shifted {
            factor: modality.reach.iter().map(|reach| alpha * reach).collect(),
            stretch: modality.reach.iter().zip(&modality.cosine).map(length).map(f64::recip).collect(),
        }
    }

    /// Rows that stay where they are.
    pub fn none(count: usize) -> Self {
        Shifted { factor: vec![0.0; count], stretch: vec![1.0; count] }
    }

    /// By how much the rounding of a product of unit rows may have grown.
    pub fn greatest_stretch(&self) -> f64 {
        if self.factor.iter().any(|factor| factor.abs() > GREATEST_FACTOR) {
            return f64::INFINITY;
        }
        self.stretch.iter().copied().fold(0.0, f64::max)
    }
}

/// Rows that are moved, in float64, before they are multiplied.
#[derive(Clone, Debug)]
pub struct Moved {
    /// `alpha m`.
    centre: Vec<f64>,
    /// `1 / |x - alpha m|` of each row.
    inverse: Vec<f64>,
}

impl Moved {
    /// Measures what is left of the rows.
    ///
    /// # Errors
    /// [`Error::Vanishes`] for a row that is `alpha m`, to rounding; [`Error::OutOfRange`] for one whose
    /// move float64 does not hold.
    pub fn new(modality: &Modality, alpha: f64, side: Side, context: &Context) -> Result<Self, Error> {
        let count = modality.count();
        let inverse = |row: usize| {
            let (left, _) = modality.moved(row, alpha);
            modality.centre.check_left(&left, 1.0 / modality.inverse[row], alpha, side, row as u64)?;
            Ok(1.0 / left.value)
        };
        let blocks = collected(count.div_ceil(SIDE), context, |block| {
            (block * SIDE..count.min((block + 1) * SIDE)).map(inverse).collect::<Result<Vec<_>, _>>()
        })?;
        Ok(Moved {
            centre: modality.centre.mean.iter().map(|mean| alpha * mean).collect(),
            inverse: blocks.concat(),
        })
    }

    /// The rows of a modality, as unit rows that have moved or, without a move, as they are.
    pub fn units<'a, E: Element>(
        moved: Option<&'a Moved>,
        modality: &'a Modality,
        rows: Rows<'a, E>,
    ) -> ScaledRows<'a, E> {
        match moved {
            None => ScaledRows::new(rows, &modality.inverse),
            Some(Moved { centre, inverse }) => ScaledRows { rows, scale: inverse, centre: Some(centre) },
        }
    }
}
