//! Mapped pages, brought in before they are touched.

use pyo3::prelude::*;

/// Brings mapped pages into memory, so that reading them afterwards cannot fault.
///
/// Raises OSError: EFAULT when the file no longer reaches that far, EINVAL or ENOSYS where the
/// kernel (before Linux 5.14) or the system does not know how.
#[pyfunction]
pub fn populate(py: Python<'_>, address: usize, length: usize) -> PyResult<()> {
    py.detach(|| populate_pages(address, length)).map_err(PyErr::from)
}

#[cfg(target_os = "linux")]
fn populate_pages(address: usize, length: usize) -> std::io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    // SAFETY: sysconf reads a constant.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let start = address / page * page;
    let length = address + length - start;
    // SAFETY: MADV_POPULATE_READ changes no contents; the kernel checks the range.
    let code = unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_POPULATE_READ) };
    if code == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(not(target_os = "linux"))]
fn populate_pages(_: usize, _: usize) -> std::io::Result<()> {
    Err(std::io::Error::from(std::io::ErrorKind::Unsupported))
}
