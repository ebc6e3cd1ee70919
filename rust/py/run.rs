//! Long work: the GIL is released, and Ctrl-C is heard.

use super::errors::to_python;
use crate::error::Error;
use crate::schedule::{Context, Control};
use crate::simd::Level;
use crate::threads::with_helpers;
use pyo3::prelude::*;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Below this many element visits a call ends too soon for anybody to interrupt it.
const BRIEF: usize = 1 << 22;

/// How long a Ctrl-C may wait.
const PATIENCE: Duration = Duration::from_millis(50);

/// Runs `work` without the GIL on at most `threads` threads (all that the process may use when None).
/// `cost` is the number of elements visited: brief work runs on the calling thread; for longer work
/// that thread keeps looking for signals instead.
pub fn run<T: Send>(
    py: Python<'_>,
    threads: Option<usize>,
    cost: usize,
    work: impl FnOnce(&Context) -> Result<T, Error> + Send,
) -> PyResult<T> {
    let level = Level::current().map_err(|error| to_python(py, error))?;
    let all = || thread::available_parallelism().map_or(1, usize::from);
    let control = &Control::default();
    let context = Context { level, threads: threads.unwrap_or_else(all).max(1), control };
    if cost < BRIEF {
        return py.detach(|| work(&context)).map_err(|error| to_python(py, error));
    }
    let (done, finished) = channel();
    let job = Mutex::new(Some((work, done)));
    let help = &|| {
        let job = job.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((work, done)) = job {
            // The receiver lives until this has returned.
            let _ = done.send(work(&context));
        }
    };
    let watch = move |started| {
        // No thread was to be had: Ctrl-C has to wait.
        if started == 0 {
            help();
        }
        let mut signal = None;
        loop {
            match finished.recv_timeout(PATIENCE) {
                Ok(outcome) => return (outcome, signal),
                // The work panicked, which is passed on when this returns.
                Err(RecvTimeoutError::Disconnected) => return (Err(Error::Interrupted), signal),
                Err(RecvTimeoutError::Timeout) if signal.is_none() => {
                    if let Err(raised) = Python::attach(|py| py.check_signals()) {
                        control.cancel();
                        signal = Some(raised);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    };
    let (outcome, signal) = py.detach(|| with_helpers(1, help, watch));
    match signal {
        Some(raised) => Err(raised),
        None => outcome.map_err(|error| to_python(py, error)),
    }
}

/// The SIMD level in force.
#[pyfunction]
pub fn simd_level(py: Python<'_>) -> PyResult<&'static str> {
    Level::current().map(Level::name).map_err(|error| to_python(py, error))
}

/// Every SIMD level that this CPU can run, the fastest last.
#[pyfunction]
pub fn simd_levels() -> Vec<&'static str> {
    Level::available().into_iter().map(Level::name).collect()
}
