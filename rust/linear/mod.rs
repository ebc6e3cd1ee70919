//! What passes over rows give, at `O(d)` or `O(d^2)` memory: moments, conformity, shell, regression,
//! whitening.
//!
//! Everything fitted here has a `merge`, so that shards can be fitted apart.

pub mod centre;
pub mod cosines;
pub mod covariance;
pub mod dominance;
pub mod group_scores;
pub mod groups;
pub mod histograms;
pub mod moments;
mod panel;
pub mod ranges;
pub mod regression;
pub mod score;
pub mod shell;
pub mod shifted;
pub mod stats;
mod streams;
pub mod sums;
pub mod transform;
pub mod unit;
