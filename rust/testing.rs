//! What unit tests share: reproducible rows, and a way to run at each level and thread count.

use crate::schedule::{Context, Control};
use crate::simd::Level;

/// `n * d` reproducible numbers near 0.4, of a scale that varies with the feature.
pub fn data(n: usize, d: usize) -> Vec<f64> {
    let mut state = (n * 1000 + d) as u64;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    };
    (0..n * d).map(|at| 0.4 + uniform() * (1.0 + (at % d) as f64 / d as f64)).collect()
}

/// Runs `work` at each level that the CPU has, on one and on three threads.
pub fn everywhere(mut work: impl FnMut(&Context)) {
    for level in Level::available() {
        for threads in [1, 3] {
            let control = Control::default();
            work(&Context { level, threads, control: &control });
        }
    }
}
