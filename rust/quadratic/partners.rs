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
    T::sum(isa, counts).to_f64() as u64
}

/// Adds 1 to each of a register of numbers where `a > b`.
///
/// # Safety
/// `counts` is readable and writable for a register, and the caller runs under `I`.
#[inline(always)]
pub unsafe fn count_in_place<T: Real, I: Isa>(isa: I, counts: *mut T, a: T::Register<I>, b: T::Register<I>) {
    // SAFETY: the contract is the same.
    unsafe { T::store(isa, counts, T::count_greater(isa, T::load_real(isa, counts), a, b)) }
}

/// Counts as whole numbers.
#[inline(always)]
pub fn counts_of<T: Real>(counts: &[T]) -> Vec<u64> {
    counts.iter().map(|count| count.to_f64() as u64).collect()
}

/// The greatest `T` that is not above `x`: a `T` exceeds the one where it exceeds the other.
pub fn at_most<T: Real>(x: f64) -> T {
    let nearest = T::from_f64(x);
    if nearest.to_f64() > x { nearest.next_down() } else { nearest }
}

/// The least `T` that is not below `x`.
pub fn at_least<T: Real>(x: f64) -> T {
    T::from_f64(-at_most::<T>(-x).to_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_between_two_others_are_rounded_one_way() {
        for x in [0.0, 0.1, -0.1, 0.5, 1e-50, -1e-50, 1e300, -1e300] {
            let (below, above): (f32, f32) = (at_most(x), at_least(x));
            assert!(f64::from(below) <= x && f64::from(below.next_up()) > x, "{x} {below}");
            assert!(f64::from(above) >= x && f64::from(above.next_down()) < x, "{x} {above}");
            assert_eq!((at_most::<f64>(x), at_least::<f64>(x)), (x, x));
        }
    }
}
