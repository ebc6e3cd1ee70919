//! The geometry of CLIP embeddings, exactly and at any number of rows.
//!
//! A modality is a matrix of `N` raw (not normalised) embeddings `x_j` in `d` dimensions. With
//! `u_j = x_j / |x_j|`, the raw mean `m` and the unit mean `s = (1/N) sum u_j`, the *conformity* of
//! a row, its mean cosine to all the others, is linear in what one pass over the rows gives:
//!
//! ```text
//! c_j = mean over k != j of cos(x_j, x_k) = (N s.u_j - 1) / (N - 1)
//! ```
//!
//! because `sum_k cos(x_j, x_k) = u_j . sum_k u_k`. So there are two kinds of work, and a room for
//! each:
//!
//! - [`linear`]: what one pass over rows gives. Two passes over `N x d` elements and `d` numbers of
//!   state make an exact conformity. Rows are read where they lie and widened, register by register,
//!   to float64: the arithmetic of every linear statistic is float64 whatever the storage, which
//!   costs little, because memory is the limit.
//! - [`quadratic`]: what is made of Gram tiles, `rows x rows`, one cache-sized tile at a time.
//!
//! Below them: [`rows`] (a borrowed matrix of any layout), [`element`] (the four element types),
//! [`blocks`] and [`tiles`] (the two loops), [`schedule`] (parallel work in which the number of
//! threads never shows), [`threads`] (kept between calls), [`simd`] (one body, three instruction
//! sets), [`math`] (kernels).
//!
//! Nothing here knows of Python; `py/`, behind the feature `python`, is the only exception.
//!
//! # Determinism
//! A result depends on the rows, their order and the SIMD level; never on the number of threads, on
//! how rows were cut into batches, or on timing. Work is cut into blocks by global row number, each
//! is computed by one thread in a fixed order, and the partial results are merged in block order.

pub mod blocks;
pub mod element;
pub mod error;
pub mod linear;
pub mod math;
pub mod pack;
pub mod quadratic;
pub mod rows;
pub mod schedule;
pub mod simd;
pub mod threads;
pub mod tiles;

#[cfg(feature = "python")]
mod py;
#[cfg(test)]
mod testing;

pub use element::Element;
pub use error::{Error, Status};
pub use rows::{AnyRows, Rows};
pub use schedule::{Context, Control};
pub use simd::Level;
