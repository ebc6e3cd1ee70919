//! The four element types: how each widens, and what it is multiplied in.

use crate::math::exp::{EXP2_F32, EXP2_F64};
use crate::simd::Isa;
use half::{bf16, f16};
use std::ops::{AddAssign, Mul};

/// A stored element: float16, bfloat16, float32 or float64.
///
/// The 16-bit types are storage only. Linear statistics widen every type to float64; tile products
/// widen the 16-bit types to float32 and multiply in [`Element::Real`].
pub trait Element: Copy + Default + std::fmt::Debug + Send + Sync + 'static {
    /// What tile products are computed in: float32, or float64 for float64.
    type Real: Real;
    /// The name that users see.
    const NAME: &'static str;
    /// Exact.
    fn to_f64(self) -> f64;
    /// Exact.
    fn to_real(self) -> Self::Real;
    /// The element with its bytes reversed, for data of the other endianness.
    fn swap_bytes(self) -> Self;
    /// Reads a register's worth, widened to float64.
    /// # Safety
    /// `p` is readable for `I::LANES_F64` elements, at any alignment, and the caller runs under `I`.
    unsafe fn load_f64<I: Isa>(isa: I, p: *const Self) -> I::F64;
    /// Reads a register's worth, widened to [`Element::Real`].
    /// # Safety
    /// `p` is readable for as many elements as a register of `Real` holds, and the caller runs
    /// under `I`.
    unsafe fn load_real<I: Isa>(isa: I, p: *const Self) -> <Self::Real as Real>::Register<I>;
}

/// A type that the machine multiplies: float32 or float64.
#[allow(clippy::missing_safety_doc)] // Each method's contract is that of its namesake in `Isa`.
pub trait Real: Element<Real = Self> + PartialOrd + AddAssign + Mul<Output = Self> {
    /// Coefficients of [`crate::math::exp::exp2`].
    const EXP2: &'static [Self];
    /// A register of this type.
    type Register<I: Isa>: Copy;
    /// Number of lanes of a register.
    fn lanes<I: Isa>() -> usize;
    /// Rows and columns of the register tile of the product.
    fn micro_shape<I: Isa>() -> (usize, usize);
    /// Rounds.
    fn from_f64(x: f64) -> Self;
    /// All lanes zero.
    fn zero<I: Isa>(isa: I) -> Self::Register<I>;
    /// All lanes `x`.
    fn splat<I: Isa>(isa: I, x: Self) -> Self::Register<I>;
    /// Writes `LANES_F64` elements, rounded to this type.
    unsafe fn store_f64<I: Isa>(isa: I, p: *mut Self, x: I::F64);
    /// Writes a register.
    unsafe fn store<I: Isa>(isa: I, p: *mut Self, x: Self::Register<I>);
    /// `a + b`.
    fn add<I: Isa>(isa: I, a: Self::Register<I>, b: Self::Register<I>) -> Self::Register<I>;
    /// `a * b`.
    fn times<I: Isa>(isa: I, a: Self::Register<I>, b: Self::Register<I>) -> Self::Register<I>;
    /// The greater of each lane.
    fn max<I: Isa>(isa: I, a: Self::Register<I>, b: Self::Register<I>) -> Self::Register<I>;
    /// `x - floor(x)`.
    fn fraction<I: Isa>(isa: I, x: Self::Register<I>) -> Self::Register<I>;
    /// `p * 2^floor(x)`.
    fn scale_by_floor<I: Isa>(isa: I, p: Self::Register<I>, x: Self::Register<I>) -> Self::Register<I>;
    /// The greatest lane.
    fn greatest<I: Isa>(isa: I, x: Self::Register<I>) -> Self;
    /// Sum of the lanes.
    fn sum<I: Isa>(isa: I, x: Self::Register<I>) -> Self;
    /// `a * b + c`.
    fn mul_add<I: Isa>(
        isa: I,
        a: Self::Register<I>,
        b: Self::Register<I>,
        c: Self::Register<I>,
    ) -> Self::Register<I>;
    /// Adds 1 to each lane of `count` where `a > b`.
    fn count_greater<I: Isa>(
        isa: I,
        count: Self::Register<I>,
        a: Self::Register<I>,
        b: Self::Register<I>,
    ) -> Self::Register<I>;
    /// Where `a > b`: bit `i` for lane `i`.
    fn greater_bits<I: Isa>(isa: I, a: Self::Register<I>, b: Self::Register<I>) -> u32;
    /// The greatest number below this one.
    fn next_down(self) -> Self;
    /// Transposes a square.
    unsafe fn transpose<I: Isa>(
        isa: I,
        from: *const Self,
        from_stride: usize,
        to: *mut Self,
        to_stride: usize,
    );
    /// The register tile of the product; see [`crate::math::product::micro`].
    unsafe fn micro<I: Isa>(isa: I, depth: usize, a: *const Self, b: *const Self, c: *mut Self, ldc: usize);
}

macro_rules! element {
    ($type:ty, $name:literal, $real:ty, $to_real:expr, $swap:expr, $load_f64:ident, $load_real:ident) => {
        impl Element for $type {
            type Real = $real;
            const NAME: &'static str = $name;
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn to_real(self) -> $real {
                $to_real(self)
            }
            #[inline(always)]
            fn swap_bytes(self) -> Self {
                $swap(self)
            }
            #[inline(always)]
            unsafe fn load_f64<I: Isa>(isa: I, p: *const Self) -> I::F64 {
                // SAFETY: the contract is the same.
                unsafe { isa.$load_f64(p) }
            }
            #[inline(always)]
            unsafe fn load_real<I: Isa>(isa: I, p: *const Self) -> <$real as Real>::Register<I> {
                // SAFETY: the contract is the same.
                unsafe { isa.$load_real(p) }
            }
        }
    };
}

macro_rules! real {
    ($type:ty, $register:ident, $lanes:ident, $shape:ident, $zero:ident, $splat:ident, $store:ident, $store_f64:ident, $add:ident, $mul_add:ident, $count_greater:ident, $greater_bits:ident, $micro:ident,
     $mul:ident, $max:ident, $fraction:ident, $scale_by_floor:ident, $greatest:ident, $sum:ident, $transpose:ident, $exp2:ident) => {
        impl Real for $type {
            const EXP2: &'static [Self] = $exp2;
            type Register<I: Isa> = I::$register;
            #[inline(always)]
            fn lanes<I: Isa>() -> usize {
                I::$lanes
            }
            #[inline(always)]
            fn micro_shape<I: Isa>() -> (usize, usize) {
                I::$shape
            }
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $type
            }
            #[inline(always)]
            fn zero<I: Isa>(isa: I) -> I::$register {
                isa.$zero()
            }
            #[inline(always)]
            fn splat<I: Isa>(isa: I, x: Self) -> I::$register {
                isa.$splat(x)
            }
            #[inline(always)]
            unsafe fn store_f64<I: Isa>(isa: I, p: *mut Self, x: I::F64) {
                // SAFETY: the contract is the same.
                unsafe { isa.$store_f64(p, x) }
            }
            #[inline(always)]
            unsafe fn store<I: Isa>(isa: I, p: *mut Self, x: I::$register) {
                // SAFETY: the contract is the same.
                unsafe { isa.$store(p, x) }
            }
            #[inline(always)]
            fn add<I: Isa>(isa: I, a: I::$register, b: I::$register) -> I::$register {
                isa.$add(a, b)
            }
            #[inline(always)]
            fn times<I: Isa>(isa: I, a: I::$register, b: I::$register) -> I::$register {
                isa.$mul(a, b)
            }
            #[inline(always)]
            fn max<I: Isa>(isa: I, a: I::$register, b: I::$register) -> I::$register {
                isa.$max(a, b)
            }
            #[inline(always)]
            fn fraction<I: Isa>(isa: I, x: I::$register) -> I::$register {
                isa.$fraction(x)
            }
            #[inline(always)]
            fn scale_by_floor<I: Isa>(isa: I, p: I::$register, x: I::$register) -> I::$register {
                isa.$scale_by_floor(p, x)
            }
            #[inline(always)]
            fn greatest<I: Isa>(isa: I, x: I::$register) -> Self {
                isa.$greatest(x)
            }
            #[inline(always)]
            fn sum<I: Isa>(isa: I, x: I::$register) -> Self {
                isa.$sum(x)
            }
            #[inline(always)]
            fn mul_add<I: Isa>(isa: I, a: I::$register, b: I::$register, c: I::$register) -> I::$register {
                isa.$mul_add(a, b, c)
            }
            #[inline(always)]
            fn count_greater<I: Isa>(
                isa: I,
                count: I::$register,
                a: I::$register,
                b: I::$register,
            ) -> I::$register {
                isa.$count_greater(count, a, b)
            }
            #[inline(always)]
            fn greater_bits<I: Isa>(isa: I, a: I::$register, b: I::$register) -> u32 {
                isa.$greater_bits(a, b)
            }
            #[inline(always)]
            fn next_down(self) -> Self {
                <$type>::next_down(self)
            }
            #[inline(always)]
            unsafe fn transpose<I: Isa>(
                isa: I,
                from: *const Self,
                from_stride: usize,
                to: *mut Self,
                to_stride: usize,
            ) {
                // SAFETY: the contract is the same.
                unsafe { isa.$transpose(from, from_stride, to, to_stride) }
            }
            #[inline(always)]
            unsafe fn micro<I: Isa>(
                isa: I,
                depth: usize,
                a: *const Self,
                b: *const Self,
                c: *mut Self,
                ldc: usize,
            ) {
                // SAFETY: the contract is the same.
                unsafe { isa.$micro(depth, a, b, c, ldc) }
            }
        }
    };
}

#[inline(always)]
fn identity<T>(x: T) -> T {
    x
}

element!(
    f16,
    "float16",
    f32,
    f32::from,
    |x: f16| f16::from_bits(x.to_bits().swap_bytes()),
    f16_to_f64,
    f16_to_f32
);
element!(
    bf16,
    "bfloat16",
    f32,
    f32::from,
    |x: bf16| bf16::from_bits(x.to_bits().swap_bytes()),
    bf16_to_f64,
    bf16_to_f32
);
element!(
    f32,
    "float32",
    f32,
    identity,
    |x: f32| f32::from_bits(x.to_bits().swap_bytes()),
    f32_to_f64,
    load_f32
);
element!(
    f64,
    "float64",
    f64,
    identity,
    |x: f64| f64::from_bits(x.to_bits().swap_bytes()),
    load_f64,
    load_f64
);
real!(
    f32,
    F32,
    LANES_F32,
    MICRO_F32,
    zero_f32,
    splat_f32,
    store_f32,
    store_f64_as_f32,
    add_f32,
    mul_add_f32,
    count_greater_f32,
    greater_bits_f32,
    micro_f32,
    mul_f32,
    max_f32,
    fraction_f32,
    scale_by_floor_f32,
    greatest_f32,
    sum_f32,
    transpose_f32,
    EXP2_F32
);
real!(
    f64,
    F64,
    LANES_F64,
    MICRO_F64,
    zero_f64,
    splat_f64,
    store_f64,
    store_f64,
    add_f64,
    mul_add_f64,
    count_greater_f64,
    greater_bits_f64,
    micro_f64,
    mul_f64,
    max_f64,
    fraction_f64,
    scale_by_floor_f64,
    greatest_f64,
    sum_f64,
    transpose_f64,
    EXP2_F64
);
