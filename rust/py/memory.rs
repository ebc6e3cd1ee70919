//! Mapped pages: brought in before they are touched, and given up where their file has been cut.
//!
//! Touching a mapped page that lies behind the end of its file raises SIGBUS, which ends the process. A batch
//! is checked before it is used and again after; a file that is cut in between would still be its end. So
//! the rest of such a mapping is replaced by zeros where it is touched: the computation goes on, and the
//! check after it says what has happened. (systemd reads its journals in this way.)

use pyo3::ffi::{Py_buffer, PyBuffer_FillInfo};
use pyo3::prelude::*;
use std::ffi::c_int;

/// Brings mapped pages into memory, so that reading them afterwards does not fault while the file is whole.
///
/// Raises OSError: EFAULT when the file no longer reaches that far, EINVAL or ENOSYS where the
/// kernel (before Linux 5.14) or the system does not know how.
#[pyfunction]
pub fn populate(py: Python<'_>, address: usize, length: usize) -> PyResult<()> {
    py.detach(|| system::populate(address, length)).map_err(PyErr::from)
}

/// A window of a file, mapped read-only: a buffer of bytes, guarded against SIGBUS as long as it lives.
///
/// Python's own mmap gives up its pages with the GIL held, which for a batch of rows takes a tenth of the time
/// that it is computed on.
#[pyclass(frozen)]
pub struct Mapping {
    address: usize,
    length: usize,
    guard: Option<usize>,
}

#[pymethods]
impl Mapping {
    /// Maps `length` bytes from `offset` on, a multiple of the size of a page.
    ///
    /// Raises OSError, and NotImplementedError where the system has no mappings of this kind.
    #[new]
    fn new(file: c_int, offset: i64, length: usize) -> PyResult<Self> {
        let address = system::map(file, offset, length)?;
        Ok(Mapping { address, length, guard: system::guard(address, length) })
    }

    /// False where too many are guarded already, or the system has no guards.
    #[getter]
    fn is_guarded(&self) -> bool {
        self.guard.is_some()
    }

    /// # Safety
    /// `view` is valid, as Python sees to.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut Py_buffer, flags: c_int) -> PyResult<()> {
        let (address, length) = (slf.get().address, slf.get().length);
        // SAFETY: the pages are readable as long as `slf` lives, to which the view holds a reference.
        let code =
            unsafe { PyBuffer_FillInfo(view, slf.as_ptr(), address as *mut _, length as isize, 1, flags) };
        if code == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // First, because another mapping may come to lie here at once.
        if let Some(guard) = self.guard {
            system::release(guard);
        }
        let (address, length) = (self.address, self.length);
        Python::attach(|py| py.detach(|| system::unmap(address, length)));
    }
}

/// How often guarded pages were replaced by zeros so far.
#[pyfunction]
pub fn zero_fills() -> usize {
    system::zero_fills()
}

#[cfg(target_os = "linux")]
mod system {
    use libc::{c_int, c_void, siginfo_t};
    use pyo3::PyErr;
    use std::cell::UnsafeCell;
    use std::io::Error;
    use std::mem::MaybeUninit;
    use std::ptr;
    use std::sync::Once;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A guarded mapping: its first address, 0 where there is none, and its end.
    struct Guarded(AtomicUsize, AtomicUsize);

    /// Two readers have some four mappings each at one time; what finds no place goes without a guard.
    static GUARDED: [Guarded; 64] = [const { Guarded(AtomicUsize::new(0), AtomicUsize::new(0)) }; 64];

    static ZERO_FILLS: AtomicUsize = AtomicUsize::new(0);

    /// What was done about SIGBUS before.
    struct Before(UnsafeCell<MaybeUninit<libc::sigaction>>);

    // SAFETY: written once, before the handler that reads it is there.
    unsafe impl Sync for Before {}

    static BEFORE: Before = Before(UnsafeCell::new(MaybeUninit::uninit()));
    static INSTALL: Once = Once::new();

    /// Marks a place that is being filled: no address is so high.
    const TAKEN: usize = usize::MAX;

    fn page() -> usize {
        // SAFETY: sysconf reads a constant; it may be called in a signal handler.
        unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
    }

    pub fn populate(address: usize, length: usize) -> Result<(), Error> {
        if length == 0 {
            return Ok(());
        }
        let start = address / page() * page();
        let length = address + length - start;
        // SAFETY: MADV_POPULATE_READ changes no contents; the kernel checks the range.
        let code = unsafe { libc::madvise(start as *mut c_void, length, libc::MADV_POPULATE_READ) };
        if code == 0 { Ok(()) } else { Err(Error::last_os_error()) }
    }

    pub fn map(file: c_int, offset: i64, length: usize) -> Result<usize, PyErr> {
        // SAFETY: a new mapping, through which nothing is written.
        let address =
            unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, file, offset) };
        if address == libc::MAP_FAILED { Err(Error::last_os_error().into()) } else { Ok(address as usize) }
    }

    /// Gives up a mapping that nobody reads any more.
    pub fn unmap(address: usize, length: usize) {
        // SAFETY: `map` made it. It cannot fail: there is such a mapping.
        unsafe { libc::munmap(address as *mut c_void, length) };
    }

    pub fn guard(address: usize, length: usize) -> Option<usize> {
        INSTALL.call_once(install);
        let place = GUARDED.iter().position(|Guarded(start, _)| {
            start.compare_exchange(0, TAKEN, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })?;
        GUARDED[place].1.store(address + length, Ordering::Relaxed);
        GUARDED[place].0.store(address, Ordering::Release);
        Some(place)
    }

    pub fn release(guard: usize) {
        GUARDED[guard].0.store(0, Ordering::Release);
    }

    pub fn zero_fills() -> usize {
        ZERO_FILLS.load(Ordering::Acquire)
    }

    fn install() {
        // SAFETY: both actions are valid for the call; the handler does what a handler may.
        unsafe {
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            action.sa_sigaction = on_bus_error as extern "C" fn(c_int, *mut siginfo_t, *mut c_void) as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(libc::SIGBUS, ptr::null(), (*BEFORE.0.get()).as_mut_ptr());
            libc::sigaction(libc::SIGBUS, &action, ptr::null_mut());
        }
    }

    /// Puts zeros where a guarded mapping has lost its file; hands everything else back to whoever came before.
    extern "C" fn on_bus_error(signal: c_int, info: *mut siginfo_t, _: *mut c_void) {
        // SAFETY: the kernel passes a valid description, and a fault (a positive code) has an address.
        let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
        let found = GUARDED.iter().find_map(|Guarded(start, end)| {
            let (start, end) = (start.load(Ordering::Acquire), end.load(Ordering::Relaxed));
            (code > 0 && start != 0 && start <= address && address < end).then_some(end)
        });
        // SAFETY: the pages lie within a mapping that its owner reads and nobody writes. `mmap`, `sigaction` and
        // `raise` are system calls; errno is put back.
        unsafe {
            let errno = *libc::__errno_location();
            if let Some(end) = found {
                let first = address / page() * page();
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
                let zeros = libc::mmap(first as *mut c_void, end - first, libc::PROT_READ, flags, -1, 0);
                *libc::__errno_location() = errno;
                if zeros != libc::MAP_FAILED {
                    ZERO_FILLS.fetch_add(1, Ordering::AcqRel);
                    return;
                }
            }
            // The faulting instruction runs again, and meets them.
            libc::sigaction(signal, (*BEFORE.0.get()).as_ptr(), ptr::null_mut());
            if code <= 0 {
                libc::raise(signal);
            }
            *libc::__errno_location() = errno;
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use pyo3::PyErr;
    use pyo3::exceptions::PyNotImplementedError;

    pub fn map(_: std::ffi::c_int, _: i64, _: usize) -> Result<usize, PyErr> {
        Err(PyNotImplementedError::new_err("files are mapped on Linux only"))
    }

    pub fn unmap(_: usize, _: usize) {}

    pub fn populate(_: usize, _: usize) -> Result<(), std::io::Error> {
        Err(std::io::Error::from(std::io::ErrorKind::Unsupported))
    }

    pub fn guard(_: usize, _: usize) -> Option<usize> {
        None
    }

    pub fn release(_: usize) {}

    pub fn zero_fills() -> usize {
        0
    }
}
