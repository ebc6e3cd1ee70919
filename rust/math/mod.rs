//! Kernels: one family per file, each with its error bound, each with one body for every SIMD level.

pub mod aligned;
pub mod dots;
pub mod exp;
pub mod norm;
pub mod product;
