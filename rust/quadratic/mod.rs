//! What is made of Gram tiles: everything that needs all pairs of rows.
//!
//! A statistic here is a *reduction*: a function of one tile, and a merge of its results in tile
//! order. The tiles themselves, and the rows in them, are [`crate::tiles`]' business.

pub mod conformity;
pub mod false_negatives;
pub mod histogram;
pub mod modality;
pub mod nearest;
pub mod partners;
pub mod ranks;
pub mod sweep;
