//! What comparisons of cosines share: rows of unit length, and the partners among them.

use crate::element::{Element, Real};
use crate::error::{Error, Status};
use crate::linear::unit::{Units, units};
use crate::rows::AnyRows;
use crate::schedule::Context;
use crate::simd::Isa;
use crate::tiles::{SIDE, Tile};

/// The factors that scale each row to unit length. A row without a direction is refused, as one of
/// `set`.
pub fn unit_scale(rows: AnyRows, set: &'static str, context: &Context) -> Result<Vec<f64>, Error> {
    let Units { norm, status, products: [] } = units(rows, [], context)?;
    match status.iter().position(|&status| status != Status::Ok) {
        Some(row) => Err(Error::InvalidRowOf { set, row: row as u64, status: status[row] }),
        None => Ok(norm.iter().map(|norm| 1.0 / norm).collect()),
    }
}

/// An error unless the rows of `set` have `expected` features.
pub fn check_dim(set: &'static str, rows: AnyRows, expected: usize) -> Result<(), Error> {
    match rows.dim() {
        found if found == expected => Ok(()),
        found => Err(Error::Dimension { what: set, found, expected }),
    }
}

/// Evaluates an expression, generic over the element type, that two sets have in common.
macro_rules! with_both {
    ($left:expr, $set:literal, $right:expr, ($x:ident, $y:ident) => $body:expr) => {
        match ($left, $right) {
            ($crate::AnyRows::F16($x), $crate::AnyRows::F16($y)) => $body,
            ($crate::AnyRows::Bf16($x), $crate::AnyRows::Bf16($y)) => $body,
            ($crate::AnyRows::F32($x), $crate::AnyRows::F32($y)) => $body,
            ($crate::AnyRows::F64($x), $crate::AnyRows::F64($y)) => $body,
            (left, right) => Err($crate::quadratic::partners::different_types(left, $set, right)),
        }
    };
}
pub(crate) use with_both;

pub(crate) fn different_types(left: AnyRows, what: &'static str, right: AnyRows) -> Error {
    let name = |rows: AnyRows| match rows {
        AnyRows::F16(_) => half::f16::NAME,
        AnyRows::Bf16(_) => half::bf16::NAME,
        AnyRows::F32(_) => f32::NAME,
        AnyRows::F64(_) => f64::NAME,
    };
    Error::ElementType { what, found: name(right), expected: name(left) }
}

/// Turns the product of each right row `j` with left row `own(j)` into NaN, which no comparison counts.
pub fn take_out<T: Real>(tile: &mut Tile<T>, own: impl Fn(usize) -> usize) {
    let (left, right) = (tile.left.clone(), tile.right.clone());
    for (at, j) in right.enumerate() {
        let i = own(j);
        if left.contains(&i) {
            tile.whole_column(at)[i - left.start] = T::from_f64(f64::NAN);
        }
    }
}

/// One number for each row, and more up to whole blocks, so that any block is read in whole registers.
pub fn whole_blocks<T: Real>(mut numbers: Vec<T>) -> Vec<T> {
    numbers.resize(numbers.len().next_multiple_of(SIDE), T::default());
    numbers
}

/// The whole number that the lanes of a register add up to. A tile counts in its own element type, which
/// is exact far beyond its side.
#[inline(always)]
pub fn count_of<T: Real, I: Isa>(isa: I, counts: T::Register<I>) -> u64 {
    let mut lanes = [T::default(); 16];
    // SAFETY: no register has more than sixteen lanes.
    unsafe { T::store(isa, lanes.as_mut_ptr(), counts) };
    lanes.iter().map(|lane| lane.to_f64() as u64).sum()
}

/// Counts as whole numbers.
#[inline(always)]
pub fn counts_of<T: Real>(counts: &[T]) -> Vec<u64> {
    counts.iter().map(|count| count.to_f64() as u64).collect()
}
