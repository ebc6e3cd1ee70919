//! Threads whose number never shows in the result.
//!
//! [`ordered`] runs numbered jobs on several threads and merges what they return *in the order of
//! their numbers*: the merge sees what one thread would have seen.

use crate::error::Error;
use crate::simd::Level;
use crate::threads::with_helpers;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What another thread may say during a call: the wish to stop.
#[derive(Debug, Default)]
pub struct Control {
    cancelled: AtomicBool,
}

impl Control {
    /// Asks the call to end with [`Error::Interrupted`] within a block of work.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// An error if the call was asked to stop.
    pub fn check(&self) -> Result<(), Error> {
        if self.cancelled.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// How to run: on what, with how many threads, under whose control.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// SIMD level of every kernel.
    pub level: Level,
    /// Most threads to use, at least 1.
    pub threads: usize,
    /// Cancellation.
    pub control: &'a Control,
}

/// How far a thread may run ahead of the slowest one, in jobs per thread: bounds the results that
/// wait for their turn.
const AHEAD: usize = 2;

struct Queue<T, M> {
    /// The next job to merge.
    next: usize,
    waiting: BTreeMap<usize, Result<T, Error>>,
    merge: M,
    failure: Option<Error>,
}

/// Runs `map` for each job, on up to `context.threads` threads, each with a state of its own from
/// `init`, and `merge` for each result, one at a time and in job order. The first error in job order
/// ends the call.
pub fn ordered<S, T, I, F, M>(
    jobs: usize,
    context: &Context,
    init: I,
    map: F,
    mut merge: M,
) -> Result<(), Error>
where
    T: Send,
    I: Fn() -> S + Sync,
    F: Fn(&mut S, usize) -> Result<T, Error> + Sync,
    M: FnMut(T) -> Result<(), Error> + Send,
{
    let control = context.control;
    let threads = context.threads.min(jobs);
    if threads <= 1 {
        let mut state = init();
        for job in 0..jobs {
            control.check()?;
            merge(map(&mut state, job)?)?;
        }
        return Ok(());
    }

    let ticket = AtomicUsize::new(0);
    let queue = Mutex::new(Queue { next: 0, waiting: BTreeMap::new(), merge, failure: None });
    let turn = Condvar::new();
    let work = || {
        // A panic on this thread must not leave the others waiting for its job.
        let alarm = Alarm { queue: &queue, turn: &turn };
        let mut state = init();
        loop {
            let job = ticket.fetch_add(1, Ordering::Relaxed);
            if job >= jobs {
                break;
            }
            let mut held = lock(&queue);
            while held.failure.is_none() && job >= held.next + AHEAD * threads {
                held = turn.wait(held).unwrap_or_else(PoisonError::into_inner);
            }
            if held.failure.is_some() {
                break;
            }
            drop(held);
            let result = control.check().and_then(|()| map(&mut state, job));
            let mut held = lock(&queue);
            held.waiting.insert(job, result);
            held.merge_what_is_due();
            turn.notify_all();
        }
        std::mem::forget(alarm);
    };
    with_helpers(threads - 1, &work, |_| work());
    let queue = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
    queue.failure.map_or(Ok(()), Err)
}

/// As [`ordered`], with the results in job order.
pub fn collected<T: Send>(
    jobs: usize,
    context: &Context,
    map: impl Fn(usize) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let mut all = Vec::with_capacity(jobs);
    let keep = |result| {
        all.push(result);
        Ok(())
    };
    ordered(jobs, context, || (), |(), job| map(job), keep)?;
    Ok(all)
}

impl<T, M: FnMut(T) -> Result<(), Error>> Queue<T, M> {
    fn merge_what_is_due(&mut self) {
        while self.failure.is_none() {
            let Some(result) = self.waiting.remove(&self.next) else { break };
            if let Err(error) = result.and_then(|part| (self.merge)(part)) {
                self.failure = Some(error);
            }
            self.next += 1;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Alarm<'a, T, M> {
    queue: &'a Mutex<Queue<T, M>>,
    turn: &'a Condvar,
}

impl<T, M> Drop for Alarm<'_, T, M> {
    fn drop(&mut self) {
        if thread::panicking() {
            lock(self.queue).failure = Some(Error::Interrupted);
            self.turn.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(threads: usize, jobs: usize, bad: Option<usize>) -> (Vec<usize>, Result<(), Error>) {
        let control = Control::default();
        let context = Context { level: Level::current().unwrap(), threads, control: &control };
        let mut seen = Vec::new();
        let outcome = ordered(
            jobs,
            &context,
            || (),
            |(), job| {
                // Later jobs finish first, so that the order has to be restored.
                thread::sleep(std::time::Duration::from_micros(50 * (7 - job as u64 % 7)));
                if Some(job) == bad {
                    Err(Error::InvalidRow { row: job as u64, status: crate::Status::ZeroNorm })
                } else {
                    Ok(job)
                }
            },
            |job| {
                seen.push(job);
                Ok(())
            },
        );
        (seen, outcome)
    }

    #[test]
    fn merges_in_order_whatever_the_threads() {
        for threads in [1, 2, 3, 8] {
            let (seen, outcome) = run(threads, 50, None);
            assert_eq!((seen, outcome), ((0..50).collect(), Ok(())));
        }
        assert_eq!(run(4, 0, None), (vec![], Ok(())));
    }

    #[test]
    fn the_first_error_in_job_order_ends_the_call() {
        for threads in [1, 2, 8] {
            let (seen, outcome) = run(threads, 50, Some(20));
            assert_eq!(seen, (0..20).collect::<Vec<_>>());
            assert_eq!(outcome, Err(Error::InvalidRow { row: 20, status: crate::Status::ZeroNorm }));
        }
    }

    #[test]
    fn cancelling_ends_the_call() {
        let control = Control::default();
        let context = Context { level: Level::current().unwrap(), threads: 2, control: &control };
        let outcome = ordered(
            1000,
            &context,
            || (),
            |(), job| {
                if job == 10 {
                    control.cancel();
                }
                Ok(())
            },
            |()| Ok(()),
        );
        assert_eq!(outcome, Err(Error::Interrupted));
    }

    #[test]
    fn a_panic_is_passed_on_and_leaves_nobody_waiting() {
        let control = Control::default();
        let context = Context { level: Level::current().unwrap(), threads: 2, control: &control };
        let panicked = std::panic::catch_unwind(|| {
            ordered(
                100,
                &context,
                || (),
                |(), job| {
                    assert!(job != 3);
                    Ok(())
                },
                |()| Ok(()),
            )
        });
        assert!(panicked.is_err());
    }
}
