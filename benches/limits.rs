//! What this machine can do at best: arithmetic, memory, cache, files in the page cache.
//!
//! ```text
//! cargo bench --features bench --bench limits -- [--folder DIR]   everything, as JSON
//! cargo bench --features bench --bench limits -- --serve          one measurement per line of input
//! ```
//!
//! The second form lets a measurement of a limit take its turn among the contenders of another
//! process. It reads lines and answers each with seconds:
//!
//! ```text
//! memory THREADS BYTES PASSES         read a buffer of that size
//! mapped THREADS PASSES PATH...       read files by mapping and populating windows of them
//! pread THREADS PASSES PATH...        read files into a buffer
//! ```

mod reference;

use clipsoid::Level;
use clipsoid::element::Real;
use clipsoid::simd::{Isa, Kernel};
use reference::*;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

const ROUNDS: usize = 7;
/// Words of eight bytes to a cache line.
const LINE: usize = 8;
/// Streams that one thread reads at one time, and how far ahead of each it asks, in words.
const STREAMS: usize = 4;
const AHEAD: usize = 256;
/// Bytes handed to a thread at a time: of memory, of a mapped file, of a file that is copied.
const PIECE: usize = 1 << 20;
const WINDOW: usize = 4 << 20;
const BUFFER: usize = 256 << 10;
/// Bytes of memory and of file that the limits are measured on: beyond any cache.
const LARGE: usize = 2 << 30;
const FILE: usize = 1 << 30;
/// What fits into the L2 cache of one core.
const SMALL: usize = 512 << 10;

/// Reads every word once.
struct Read<'a> {
    words: &'a [u64],
}

impl Kernel for Read<'_> {
    type Output = u64;
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> u64 {
        let stream = self.words.len() / STREAMS / LINE * LINE;
        let mut sums = [[0u64; LINE]; STREAMS];
        for at in (0..stream).step_by(LINE) {
            for (s, sum) in sums.iter_mut().enumerate() {
                let line = &self.words[s * stream + at..][..LINE];
                isa.prefetch(line.as_ptr().wrapping_add(AHEAD).cast());
                for (sum, word) in sum.iter_mut().zip(line) {
                    *sum ^= word;
                }
            }
        }
        let rest = self.words[STREAMS * stream..].iter().fold(0, |sum, word| sum ^ word);
        sums.iter().flatten().fold(rest, |sum, word| sum ^ word)
    }
}

/// Does `jobs` numbered jobs on `threads` threads, whoever is free.
fn share<T>(threads: usize, jobs: usize, job: impl Fn(usize) -> T + Sync) {
    let ticket = AtomicUsize::new(0);
    let work = || {
        loop {
            let mine = ticket.fetch_add(1, Ordering::Relaxed);
            if mine >= jobs {
                break;
            }
            black_box(job(mine));
        }
    };
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(work)));
        work();
    });
}

fn read_memory(level: Level, words: &[u64], threads: usize, passes: usize) {
    let pieces: Vec<&[u64]> = words.chunks(PIECE / 8).collect();
    for _ in 0..passes {
        share(threads, pieces.len(), |i| level.dispatch(Read { words: pieces[i] }));
    }
}

/// Memory that was written to, in huge pages where the system has them, as numpy asks for too.
fn memory(bytes: usize) -> Vec<u64> {
    let mut words: Vec<u64> = Vec::with_capacity(bytes / 8);
    // SAFETY: advice on pages that this allocation covers; the kernel ignores what it cannot do.
    unsafe {
        let start = words.as_mut_ptr().cast::<u8>().wrapping_add(4095) as usize & !4095;
        libc::madvise(start as *mut libc::c_void, bytes.saturating_sub(4096), libc::MADV_HUGEPAGE);
    }
    words.extend((0..bytes as u64 / 8).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    words
}

/// `(file, offset, length)` of every piece of the files.
fn pieces(paths: &[PathBuf], length: usize) -> std::io::Result<Vec<(File, usize, usize)>> {
    let mut pieces = Vec::new();
    for path in paths {
        let size = path.metadata()?.len() as usize;
        for offset in (0..size).step_by(length) {
            pieces.push((File::open(path)?, offset, length.min(size - offset)));
        }
    }
    Ok(pieces)
}

fn read_mapped(level: Level, paths: &[PathBuf], threads: usize, passes: usize) -> std::io::Result<()> {
    let windows = pieces(paths, WINDOW)?;
    for _ in 0..passes {
        share(threads, windows.len(), |i| {
            let (file, offset, length) = &windows[i];
            // SAFETY: a private mapping of a file that nobody cuts meanwhile; read only while mapped.
            unsafe {
                #[rustfmt::skip]
                let start = libc::mmap(
                    std::ptr::null_mut(), *length, libc::PROT_READ, libc::MAP_PRIVATE,
                    file.as_raw_fd(), *offset as libc::off_t,
                );
                assert!(start != libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
                #[cfg(target_os = "linux")]
                libc::madvise(start, *length, libc::MADV_POPULATE_READ);
                let words = std::slice::from_raw_parts(start.cast::<u64>(), length / 8);
                black_box(level.dispatch(Read { words }));
                libc::munmap(start, *length);
            }
        });
    }
    Ok(())
}

fn read_copied(level: Level, paths: &[PathBuf], threads: usize, passes: usize) -> std::io::Result<()> {
    thread_local! {
        static WORDS: std::cell::RefCell<Vec<u64>> = std::cell::RefCell::new(vec![1; BUFFER / 8]);
    }
    let buffers = pieces(paths, BUFFER)?;
    for _ in 0..passes {
        share(threads, buffers.len(), |i| {
            WORDS.with_borrow_mut(|words| {
                let (file, offset, length) = &buffers[i];
                // SAFETY: the bytes of a vector of numbers.
                let bytes = unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), *length) };
                file.read_exact_at(bytes, *offset as u64).expect("a file that can be read");
                black_box(level.dispatch(Read { words: &words[..length / 8] }));
            });
        });
    }
    Ok(())
}

/// GFLOP/s of `threads` threads at once.
fn peak<T: Real>(level: Level, threads: usize) -> f64 {
    let steps = 3_000_000 * 4 / size_of::<T>();
    let flops = level.dispatch(Peak::<T>::new(1000)) / 1000.0 * (steps * threads) as f64;
    let round = |_| flops / seconds(|| share(threads, threads, |_| level.dispatch(Peak::<T>::new(steps))));
    median((0..ROUNDS).map(round).collect()) / 1e9
}

/// GB/s of `work`, which reads `bytes`.
fn rate(bytes: usize, mut work: impl FnMut()) -> f64 {
    bytes as f64 / median((0..ROUNDS).map(|_| seconds(&mut work)).collect()) / 1e9
}

fn report(folder: &Path) -> std::io::Result<()> {
    let level = Level::available().pop().expect("one level at least");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let large = memory(LARGE);
    let path = folder.join("clipsoid-limits.bin");
    let mut file = File::create(&path)?;
    // SAFETY: the bytes of a slice of numbers.
    let bytes = unsafe { std::slice::from_raw_parts(large.as_ptr().cast::<u8>(), FILE) };
    file.write_all(bytes)?;
    file.sync_all()?;
    let paths = [path];
    let mut columns = Vec::new();
    for threads in if cores == 1 { vec![1] } else { vec![1, cores] } {
        let small: Vec<Vec<u64>> = (0..threads).map(|_| memory(SMALL)).collect();
        let cached = || {
            share(threads, threads, |i| {
                for _ in 0..2000 {
                    black_box(level.dispatch(Read { words: &small[i] }));
                }
            });
        };
        let figures = [
            ("fma_float32_gflops", peak::<f32>(level, threads)),
            ("fma_float64_gflops", peak::<f64>(level, threads)),
            ("memory_gb_per_s", rate(LARGE, || read_memory(level, &large, threads, 1))),
            ("l2_gb_per_s", rate(2000 * SMALL * threads, cached)),
            ("file_mapped_gb_per_s", rate(FILE, || read_mapped(level, &paths, threads, 1).expect("a file"))),
            ("file_pread_gb_per_s", rate(FILE, || read_copied(level, &paths, threads, 1).expect("a file"))),
        ];
        let figures: Vec<String> = figures.map(|(name, value)| format!("\"{name}\": {value:.1}")).into();
        columns.push(format!("  {{\"threads\": {threads}, {}}}", figures.join(", ")));
    }
    std::fs::remove_file(&paths[0])?;
    println!("{{\"simd\": \"{}\", \"limits\": [\n{}\n]}}", level.name(), columns.join(",\n"));
    Ok(())
}

/// Answers measurements until the input ends.
fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let level = Level::available().pop().expect("one level at least");
    let mut words = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words_of_line: Vec<&str> = line.split('\t').collect();
        let number = |i: usize| -> Result<usize, Box<dyn std::error::Error>> {
            Ok(words_of_line.get(i).ok_or("too few words")?.parse()?)
        };
        let threads = number(1)?;
        let time = if words_of_line[0] == "memory" {
            if words.len() != number(2)? / 8 {
                // The old buffer goes before the new one comes.
                drop(std::mem::take(&mut words));
                words = memory(number(2)?);
            }
            let passes = number(3)?;
            seconds(|| read_memory(level, &words, threads, passes))
        } else {
            let (passes, paths): (_, Vec<PathBuf>) =
                (number(2)?, words_of_line[3..].iter().map(PathBuf::from).collect());
            let read = if words_of_line[0] == "mapped" { read_mapped } else { read_copied };
            let mut outcome = Ok(());
            let time = seconds(|| outcome = read(level, &paths, threads, passes));
            outcome?;
            time
        };
        println!("{time}");
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "--serve") {
        return serve();
    }
    let folder = arguments.iter().position(|argument| argument == "--folder");
    let folder = folder.and_then(|at| arguments.get(at + 1)).map_or_else(std::env::temp_dir, PathBuf::from);
    Ok(report(&folder)?)
}
