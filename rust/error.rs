//! The errors of the core. Messages are lower-case sentences that carry the numbers.

use thiserror::Error;

/// Why a row cannot be scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// The row is finite and has a norm.
    Ok = 0,
    /// An element is NaN or infinite, or the norm exceeds the largest float64.
    NonFinite = 1,
    /// Every element is zero.
    ZeroNorm = 2,
}

impl Status {
    /// What is wrong, as a phrase that follows "row 7".
    pub fn describe(self) -> &'static str {
        match self {
            Status::Ok => "is valid",
            Status::NonFinite => "holds a value that is not finite (NaN or infinity), or its norm is not",
            Status::ZeroNorm => "has zero norm",
        }
    }
}

/// One of two sets of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first.
    Left,
    /// The second.
    Right,
}

/// Everything that the core refuses.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum Error {
    /// A row is invalid and the policy is to stop at it.
    #[error("row {row} {}", status.describe())]
    InvalidRow {
        /// Row number, counted from the first row ever seen by the accumulator.
        row: u64,
        /// What is wrong with it.
        status: Status,
    },
    /// A row that is nothing but the mean that it is moved by.
    #[error("row {row} vanishes at alpha = {alpha}: it is alpha times the mean")]
    Vanishes {
        /// The set that it belongs to.
        side: Side,
        /// Row number.
        row: u64,
        /// The alpha.
        alpha: f64,
    },
    /// A row that float64 does not hold once it is moved: its norm, or what is subtracted, is too great
    /// or too small.
    #[error("row {row} leaves the range of float64 at alpha = {alpha}")]
    OutOfRange {
        /// The set that it belongs to.
        side: Side,
        /// Row number.
        row: u64,
        /// The alpha.
        alpha: f64,
    },
    /// Two lengths that must agree do not.
    #[error("{what}: found {found} features, expected {expected}")]
    Dimension {
        /// The argument or object.
        what: &'static str,
        /// Its number of features.
        found: usize,
        /// The number that was expected.
        expected: usize,
    },
    /// Too few rows for the statistic.
    #[error("{what}: found {found} valid rows, wanted {needed} or more")]
    TooFewRows {
        /// The statistic.
        what: &'static str,
        /// How many valid rows there are.
        found: u64,
        /// How many it takes.
        needed: u64,
    },
    /// A row of one of two sets is invalid.
    #[error("{set}: row {row} {}", status.describe())]
    InvalidRowOf {
        /// The set.
        set: &'static str,
        /// Row number within it.
        row: u64,
        /// What is wrong with it.
        status: Status,
    },
    /// Two sets that must be of one element type are not.
    #[error("{what}: found {found} elements, expected {expected}")]
    ElementType {
        /// The set.
        what: &'static str,
        /// Its element type.
        found: &'static str,
        /// The type of the other set.
        expected: &'static str,
    },
    /// The SIMD level asked for cannot run here.
    #[error("SIMD level '{asked}' is not available on this CPU; available: {available}")]
    SimdLevel {
        /// The level asked for.
        asked: String,
        /// The levels that would work.
        available: String,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}
