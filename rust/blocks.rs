//! The loop over row blocks: results never depend on threads or batches.
//!
//! Rows are cut into blocks of [`BLOCK`] by *global* row number, counted from the first row an
//! accumulator ever saw. Rows that do not fill a block wait, in their own element type, in a
//! [`Carry`]; the next batch completes it. Any way of cutting the same rows into batches therefore
//! gives the same blocks and the same bits.

use crate::element::Element;
use crate::error::Error;
use crate::rows::{AnyRows, Rows};
use crate::schedule::{Context, ordered};
use crate::with_rows;
use half::{bf16, f16};
use std::sync::{Mutex, PoisonError};

/// Rows in a block: 1 MB of float16 at 512 features. Large enough to hide the merge of `d` sums,
/// small enough that a block read once is still in L2 or L3 when it is read again, and that 32 MB
/// batches keep many threads busy.
pub const BLOCK: usize = 1024;

/// Maps blocks of [`BLOCK`] rows, counted from the first row given, on several threads, and merges
/// the results in order. `map` gets the first row's number and the rows of the block.
pub fn for_each_block<'a, E: Element, S, T: Send>(
    rows: Rows<'a, E>,
    context: &Context,
    init: impl Fn() -> S + Sync,
    map: impl Fn(&mut S, usize, Rows<E>) -> Result<T, Error> + Sync,
    merge: impl FnMut(T) -> Result<(), Error> + Send,
) -> Result<(), Error> {
    let jobs = rows.count().div_ceil(BLOCK);
    let map = |state: &mut S, job: usize| {
        let start = job * BLOCK;
        map(state, start, rows.slice(start..rows.count().min(start + BLOCK)))
    };
    ordered(jobs, context, init, map, merge)
}

/// Buffers of blocks that have been merged: fresh memory costs more than filling it again.
#[derive(Default)]
pub struct Spare(Mutex<Vec<Vec<f64>>>);

impl Spare {
    /// A buffer, or an empty one.
    pub fn take(&self) -> Vec<f64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// For the next block.
    pub fn give_back(&self, buffer: Vec<f64>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// Rows that wait for their block to fill.
#[derive(Clone, Debug)]
pub struct Carry {
    dim: usize,
    buffer: Buffer,
}

#[derive(Clone, Debug)]
enum Buffer {
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Carry {
    /// Empty, for rows of `dim` elements.
    pub fn new(dim: usize) -> Self {
        Carry { dim, buffer: Buffer::F64(Vec::new()) }
    }

    /// Number of rows waiting.
    pub fn count(&self) -> usize {
        self.rows().count()
    }

    /// The rows waiting.
    pub fn rows(&self) -> AnyRows<'_> {
        match &self.buffer {
            Buffer::F16(x) => AnyRows::F16(Rows::new(x, self.dim)),
            Buffer::Bf16(x) => AnyRows::Bf16(Rows::new(x, self.dim)),
            Buffer::F32(x) => AnyRows::F32(Rows::new(x, self.dim)),
            Buffer::F64(x) => AnyRows::F64(Rows::new(x, self.dim)),
        }
    }

    /// The rows waiting, as the bytes of their elements in the machine's order.
    pub fn bytes(&self) -> Vec<u8> {
        fn of<E: Copy, const N: usize>(elements: &[E], bytes: impl Fn(E) -> [u8; N]) -> Vec<u8> {
            elements.iter().flat_map(|&element| bytes(element)).collect()
        }
        match &self.buffer {
            Buffer::F16(x) => of(x, f16::to_ne_bytes),
            Buffer::Bf16(x) => of(x, bf16::to_ne_bytes),
            Buffer::F32(x) => of(x, f32::to_ne_bytes),
            Buffer::F64(x) => of(x, f64::to_ne_bytes),
        }
    }

    /// Where `count` rows that follow are cut: those before the first cut go to the rows that wait,
    /// those up to the second are whole blocks.
    pub fn cuts(&self, count: usize) -> (usize, usize) {
        let waiting = self.count();
        let head = if waiting == 0 { 0 } else { count.min(BLOCK - waiting) };
        (head, head + (count - head) / BLOCK * BLOCK)
    }

    /// Adds rows that follow: gives back the block that the first of them complete, and the whole
    /// blocks after it. What is left waits.
    pub fn fill<'a>(&mut self, rows: AnyRows<'a>) -> (Option<Carry>, AnyRows<'a>) {
        let (head, tail) = self.cuts(rows.count());
        self.push(slice(&rows, 0..head));
        let completed = (self.count() == BLOCK).then(|| std::mem::replace(self, Carry::new(self.dim)));
        self.push(slice(&rows, tail..rows.count()));
        (completed, slice(&rows, head..tail))
    }

    /// Appends rows. A block of several element types is kept in float64, which holds them all
    /// exactly.
    pub fn push(&mut self, rows: AnyRows) {
        if rows.count() == 0 {
            return;
        }
        if self.count() == 0 {
            self.buffer = match rows {
                AnyRows::F16(_) => Buffer::F16(Vec::new()),
                AnyRows::Bf16(_) => Buffer::Bf16(Vec::new()),
                AnyRows::F32(_) => Buffer::F32(Vec::new()),
                AnyRows::F64(_) => Buffer::F64(Vec::new()),
            };
        }
        match (&mut self.buffer, rows) {
            (Buffer::F16(buffer), AnyRows::F16(rows)) => rows.copy_to(buffer),
            (Buffer::Bf16(buffer), AnyRows::Bf16(rows)) => rows.copy_to(buffer),
            (Buffer::F32(buffer), AnyRows::F32(rows)) => rows.copy_to(buffer),
            (Buffer::F64(buffer), AnyRows::F64(rows)) => rows.copy_to(buffer),
            (_, rows) => {
                let mut wide = Vec::new();
                with_rows!(self.rows(), waiting => widen(waiting, &mut wide));
                with_rows!(rows, rows => widen(rows, &mut wide));
                self.buffer = Buffer::F64(wide);
            }
        }
    }
}

fn widen<E: Element>(rows: Rows<E>, wide: &mut Vec<f64>) {
    for i in 0..rows.count() {
        wide.extend((0..rows.dim()).map(|k| rows.get(i, k).to_f64()));
    }
}

/// The rows of a range, of whichever type.
pub fn slice<'a>(rows: &AnyRows<'a>, range: std::ops::Range<usize>) -> AnyRows<'a> {
    match rows {
        AnyRows::F16(x) => AnyRows::F16(x.slice(range)),
        AnyRows::Bf16(x) => AnyRows::Bf16(x.slice(range)),
        AnyRows::F32(x) => AnyRows::F32(x.slice(range)),
        AnyRows::F64(x) => AnyRows::F64(x.slice(range)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carry_keeps_one_type_and_widens_a_mixture() {
        let narrow: Vec<f16> = [1.5, -2.0].map(f16::from_f32).to_vec();
        let mut carry = Carry::new(2);
        carry.push(AnyRows::F16(Rows::new(&narrow, 2)));
        assert!(matches!(carry.rows(), AnyRows::F16(_)));
        carry.push(AnyRows::F32(Rows::new(&[0.25f32, 8.0], 2)));
        let AnyRows::F64(rows) = carry.rows() else { panic!("a mixture is float64") };
        let all: Vec<f64> = (0..2).flat_map(|i| (0..2).map(move |k| rows.get(i, k))).collect();
        assert_eq!(all, [1.5, -2.0, 0.25, 8.0]);
        assert_eq!(carry.bytes(), all.iter().flat_map(|x| x.to_ne_bytes()).collect::<Vec<u8>>());
    }
}
