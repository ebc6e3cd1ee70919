//! Threads that are kept between calls.
//!
//! A new thread starts on its parent's core, and Linux may take milliseconds to move it to an idle
//! one; a parked thread wakes where it last ran. Measured on two cores: 1.6 ms against 0.04, where a
//! batch of rows takes 5. So threads that have done their work wait for more.
//!
//! There is no queue. Whoever needs a thread takes an idle one or starts one, so that concurrent calls
//! never wait for each other. Nothing starts at import; a forked child, where the parent's threads
//! do not exist, begins with none of its own.

use std::any::Any;
use std::mem::transmute;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Runs `help` on up to `count` other threads while `own` runs on this one, and returns what `own`
/// returns once all of them have ended. `own` is told how many threads there are: fewer than asked
/// for where the system refuses more. A panic on any of them is passed on.
pub fn with_helpers<R>(count: usize, help: &(dyn Fn() + Sync), own: impl FnOnce(usize) -> R) -> R {
    // SAFETY: only the lifetime is changed. The reference is used by tasks that are counted in
    // `helpers`, and that does not go away, by return or by panic, before all of them have ended.
    let help: &'static (dyn Fn() + Sync) = unsafe { transmute(help) };
    let helpers = Helpers(Arc::default());
    let pool = Pool::of_this_process();
    let mut started = 0;
    while started < count && pool.start(Task { help, progress: Arc::clone(&helpers.0) }) {
        started += 1;
    }
    let result = own(started);
    let progress = Arc::clone(&helpers.0);
    drop(helpers);
    match lock(&progress.state).panic.take() {
        Some(panic) => resume_unwind(panic),
        None => result,
    }
}

struct Task {
    help: &'static (dyn Fn() + Sync),
    progress: Arc<Progress>,
}

impl Task {
    fn end(self, outcome: thread::Result<()>) {
        let mut state = lock(&self.progress.state);
        state.running -= 1;
        if let Err(panic) = outcome {
            state.panic.get_or_insert(panic);
        }
        self.progress.ended.notify_all();
    }
}

#[derive(Default)]
struct Progress {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    running: usize,
    panic: Option<Box<dyn Any + Send>>,
}

/// Waits, when it goes away, for every task that was started.
struct Helpers(Arc<Progress>);

impl Drop for Helpers {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        while state.running > 0 {
            state = self.0.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The idle threads of one process.
struct Pool {
    process: u32,
    idle: Mutex<Vec<Sender<Task>>>,
}

impl Pool {
    fn of_this_process() -> &'static Pool {
        static CURRENT: AtomicPtr<Pool> = AtomicPtr::new(std::ptr::null_mut());
        let process = std::process::id();
        loop {
            let found = CURRENT.load(Ordering::Acquire);
            // SAFETY: null, or a pool that is never freed.
            if let Some(pool) = unsafe { found.as_ref() }.filter(|pool| pool.process == process) {
                return pool;
            }
            // After a fork the parent's pool is left alone: another thread may have held its lock.
            let fresh = Box::into_raw(Box::new(Pool { process, idle: Mutex::default() }));
            if CURRENT.compare_exchange(found, fresh, Ordering::AcqRel, Ordering::Acquire).is_err() {
                // SAFETY: nobody else has seen it.
                drop(unsafe { Box::from_raw(fresh) });
            }
        }
    }

    /// Gives the task to an idle thread or to a new one; false if the system refuses a new one.
    fn start(&'static self, task: Task) -> bool {
        let idle = lock(&self.idle).pop();
        let Some(thread) = idle.or_else(|| self.new_thread()) else { return false };
        let progress = Arc::clone(&task.progress);
        lock(&progress.state).running += 1;
        let sent = thread.send(task).is_ok();
        if !sent {
            lock(&progress.state).running -= 1;
        }
        sent
    }

    fn new_thread(&'static self) -> Option<Sender<Task>> {
        let (sender, tasks) = channel::<Task>();
        let mailbox = sender.clone();
        let body = move || {
            for task in tasks {
                let outcome = catch_unwind(AssertUnwindSafe(task.help));
                // Idle before the task counts as ended, so that the caller's next call finds it.
                lock(&self.idle).push(mailbox.clone());
                task.end(outcome);
            }
        };
        thread::Builder::new().name("clipsoid".to_owned()).spawn(body).ok().map(|_| sender)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn helpers_run_beside_the_caller_and_have_ended_when_it_returns() {
        for count in [0, 1, 3] {
            let ended = AtomicUsize::new(0);
            let meet = Barrier::new(count + 1);
            let help = || {
                meet.wait();
                thread::sleep(std::time::Duration::from_millis(5));
                ended.fetch_add(1, Ordering::SeqCst);
            };
            let started = with_helpers(count, &help, |started| {
                meet.wait();
                started
            });
            assert_eq!((started, ended.into_inner()), (count, count));
        }
    }

    #[test]
    fn calls_within_calls_and_beside_calls_do_not_wait_for_each_other() {
        let (done, all) = (AtomicUsize::new(0), Barrier::new(8));
        let inner = || {
            all.wait();
            done.fetch_add(1, Ordering::SeqCst);
        };
        // Four threads, each with a helper of its own: eight have to meet.
        with_helpers(3, &|| with_helpers(1, &inner, |_| inner()), |_| with_helpers(1, &inner, |_| inner()));
        assert_eq!(done.into_inner(), 8);
    }

    #[test]
    fn a_panic_is_passed_on_after_everyone_has_ended() {
        for (there, here) in [(true, false), (false, true), (true, true)] {
            let ended = AtomicUsize::new(0);
            let help = || {
                ended.fetch_add(1, Ordering::SeqCst);
                assert!(!there, "there");
            };
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                with_helpers(2, &help, |_| assert!(!here, "here"));
            }));
            assert!(outcome.is_err());
            assert_eq!(ended.into_inner(), 2);
        }
    }
}
