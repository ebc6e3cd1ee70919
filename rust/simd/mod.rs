//! The only place that detects CPU features.
//!
//! A kernel is a struct that implements [`Kernel`]; its body is written once, generic over the
//! instruction set [`Isa`], and marked `#[inline(always)]` all the way down, so that
//! [`Level::dispatch`] compiles it three times: under AVX-512, under AVX2 + FMA + F16C, and for the
//! baseline CPU in a form that the compiler vectorises by itself (SSE2, NEON). Dispatch happens once
//! per operation on a block of rows, never per row.
//!
//! A [`Level`] can only be made when the CPU has the features it names: holding one is the proof
//! that makes the `unsafe` call into a `#[target_feature]` function sound.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use crate::error::Error;
use std::fmt;
use std::sync::OnceLock;

/// The environment variable that forces a level: `portable`, `avx2` or `avx512`.
pub const LEVEL_VARIABLE: &str = "CLIPSOID_SIMD";

/// Vector operations of one instruction set, on registers of `f32` and of `f64`.
///
/// # Safety
/// Methods may only be called from code that runs under the features of the instruction set, which
/// [`Level::dispatch`] grants. Those that take a pointer read or write one whole register there, at
/// any alignment.
pub trait Isa: Copy + Send + Sync + 'static {
    /// A register of `f32`.
    type F32: Copy;
    /// A register of `f64`.
    type F64: Copy;
    /// Number of `f32` in a register.
    const LANES_F32: usize;
    /// Number of `f64` in a register.
    const LANES_F64: usize;

    /// Asks for a cache line that will be read soon; any address will do.
    fn prefetch(self, p: *const u8);

    /// All lanes zero.
    fn zero_f32(self) -> Self::F32;
    /// All lanes `x`.
    fn splat_f32(self, x: f32) -> Self::F32;
    /// Reads a register.
    /// # Safety
    /// `p` is readable for `LANES_F32` elements.
    unsafe fn load_f32(self, p: *const f32) -> Self::F32;
    /// Writes a register.
    /// # Safety
    /// `p` is writable for `LANES_F32` elements.
    unsafe fn store_f32(self, p: *mut f32, x: Self::F32);
    /// Lane-wise `a + b`.
    fn add_f32(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Lane-wise `a * b`.
    fn mul_f32(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The greater of each lane.
    fn max_f32(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `x - floor(x)`.
    fn fraction_f32(self, x: Self::F32) -> Self::F32;
    /// `p * 2^floor(x)`, for `p` in [1/2, 4]: zero or subnormal below the least normal number.
    fn scale_by_floor_f32(self, p: Self::F32, x: Self::F32) -> Self::F32;
    /// The greatest lane.
    fn greatest_f32(self, x: Self::F32) -> f32;
    /// Sum of the lanes, in a fixed order.
    fn sum_f32(self, x: Self::F32) -> f32;
    /// Lane-wise `a * b + c`, fused where the instruction set fuses.
    fn mul_add_f32(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// Adds 1 to each lane of `count` where `a > b`; a NaN is not greater and nothing is greater than it.
    fn count_greater_f32(self, count: Self::F32, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Where `a > b`: bit `i` for lane `i`.
    fn greater_bits_f32(self, a: Self::F32, b: Self::F32) -> u32;
    /// Widens `LANES_F32` float16.
    /// # Safety
    /// `p` is readable for `LANES_F32` elements.
    unsafe fn f16_to_f32(self, p: *const half::f16) -> Self::F32;
    /// Widens `LANES_F32` bfloat16.
    /// # Safety
    /// `p` is readable for `LANES_F32` elements.
    unsafe fn bf16_to_f32(self, p: *const half::bf16) -> Self::F32;

    /// All lanes zero.
    fn zero_f64(self) -> Self::F64;
    /// All lanes `x`.
    fn splat_f64(self, x: f64) -> Self::F64;
    /// Reads a register.
    /// # Safety
    /// `p` is readable for `LANES_F64` elements.
    unsafe fn load_f64(self, p: *const f64) -> Self::F64;
    /// Writes a register.
    /// # Safety
    /// `p` is writable for `LANES_F64` elements.
    unsafe fn store_f64(self, p: *mut f64, x: Self::F64);
    /// Writes a register, rounded to float32.
    /// # Safety
    /// `p` is writable for `LANES_F64` elements.
    unsafe fn store_f64_as_f32(self, p: *mut f32, x: Self::F64);
    /// Lane-wise `a + b`.
    fn add_f64(self, a: Self::F64, b: Self::F64) -> Self::F64;
    /// Lane-wise `a * b`.
    fn mul_f64(self, a: Self::F64, b: Self::F64) -> Self::F64;
    /// The greater of each lane; `b` where they are equal or one is NaN.
    fn max_f64(self, a: Self::F64, b: Self::F64) -> Self::F64;
    /// The lesser of each lane; `b` where they are equal or one is NaN.
    fn min_f64(self, a: Self::F64, b: Self::F64) -> Self::F64;
    /// `x - floor(x)`.
    fn fraction_f64(self, x: Self::F64) -> Self::F64;
    /// `p * 2^floor(x)`, for `p` in [1/2, 4]: zero or subnormal below the least normal number.
    fn scale_by_floor_f64(self, p: Self::F64, x: Self::F64) -> Self::F64;
    /// The greatest lane.
    fn greatest_f64(self, x: Self::F64) -> f64;
    /// Lane-wise `a - b`.
    fn sub_f64(self, a: Self::F64, b: Self::F64) -> Self::F64;
    /// Lane-wise `a * b + c`, fused where the instruction set fuses.
    fn mul_add_f64(self, a: Self::F64, b: Self::F64, c: Self::F64) -> Self::F64;
    /// Adds 1 to each lane of `count` where `a > b`; a NaN is not greater and nothing is greater than it.
    fn count_greater_f64(self, count: Self::F64, a: Self::F64, b: Self::F64) -> Self::F64;
    /// Where `a > b`: bit `i` for lane `i`.
    fn greater_bits_f64(self, a: Self::F64, b: Self::F64) -> u32;
    /// Sum of the lanes, in a fixed order.
    fn sum_f64(self, x: Self::F64) -> f64;
    /// Widens `LANES_F64` float16.
    /// # Safety
    /// `p` is readable for `LANES_F64` elements.
    unsafe fn f16_to_f64(self, p: *const half::f16) -> Self::F64;
    /// Widens `LANES_F64` bfloat16.
    /// # Safety
    /// `p` is readable for `LANES_F64` elements.
    unsafe fn bf16_to_f64(self, p: *const half::bf16) -> Self::F64;
    /// Widens `LANES_F64` float32.
    /// # Safety
    /// `p` is readable for `LANES_F64` elements.
    unsafe fn f32_to_f64(self, p: *const f32) -> Self::F64;

    /// Transposes a square of `LANES_F32` rows: `to[k * to_stride + r] = from[r * from_stride + k]`.
    /// # Safety
    /// All those elements are readable or writable, and the squares do not overlap.
    unsafe fn transpose_f32(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize);
    /// As `transpose_f32`, of `LANES_F64` rows.
    /// # Safety
    /// See `transpose_f32`.
    unsafe fn transpose_f64(self, from: *const f64, from_stride: usize, to: *mut f64, to_stride: usize);

    /// The tile product's inner loop, in the register shape that suits this instruction set.
    /// # Safety
    /// See [`crate::math::product::micro`].
    unsafe fn micro_f32(self, depth: usize, a: *const f32, b: *const f32, c: *mut f32, ldc: usize);
    /// As `micro_f32`.
    /// # Safety
    /// See [`crate::math::product::micro`].
    unsafe fn micro_f64(self, depth: usize, a: *const f64, b: *const f64, c: *mut f64, ldc: usize);
    /// Rows and columns of the register tile of `micro_f32`.
    const MICRO_F32: (usize, usize);
    /// Rows and columns of the register tile of `micro_f64`.
    const MICRO_F64: (usize, usize);
}

/// An operation with one body for every instruction set.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// The body; implementations are `#[inline(always)]`.
    fn run<I: Isa>(self, isa: I) -> Self::Output;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// An instruction set that this CPU has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(Kind);

impl Level {
    /// Every level that this CPU can run, the fastest last.
    pub fn available() -> Vec<Level> {
        #[allow(unused_mut)]
        let mut levels = vec![Level(Kind::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            // The features tested here are those enabled in `dispatch` below.
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            if avx2 {
                levels.push(Level(Kind::Avx2));
            }
            if avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
            {
                levels.push(Level(Kind::Avx512));
            }
        }
        levels
    }

    /// The level named, if this CPU has it.
    pub fn named(name: &str) -> Result<Level, Error> {
        let levels = Level::available();
        levels.iter().copied().find(|level| level.name() == name).ok_or_else(|| Error::SimdLevel {
            asked: name.to_owned(),
            available: levels.iter().map(|l| l.name()).collect::<Vec<_>>().join(", "),
        })
    }

    /// The level in force: the one that [`LEVEL_VARIABLE`] names when it is first asked for, else
    /// the fastest.
    pub fn current() -> Result<Level, Error> {
        static CURRENT: OnceLock<Result<Level, Error>> = OnceLock::new();
        CURRENT
            .get_or_init(|| match std::env::var(LEVEL_VARIABLE) {
                Ok(name) if !name.is_empty() => Level::named(&name),
                _ => Ok(Level::available().pop().unwrap_or(Level(Kind::Portable))),
            })
            .clone()
    }

    /// `portable`, `avx2` or `avx512`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
        }
    }

    /// Runs `kernel` compiled for this level.
    pub fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Kind::Portable => kernel.run(portable::Portable),
            // SAFETY: a Level of this kind exists only when `available` found its features.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { under_avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { under_avx512(kernel) },
        }
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// The features enabled must be those that `Level::available` tests for.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn under_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(avx2::Avx2)
}

// The features enabled must be those that `Level::available` tests for.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq")]
unsafe fn under_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(avx512::Avx512)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Widens every 16-bit pattern through both register types.
    struct WidenAll;

    impl Kernel for WidenAll {
        type Output = ();
        #[inline(always)]
        fn run<I: Isa>(self, isa: I) {
            for start in (0..65536usize).step_by(16) {
                let halves: Vec<half::f16> =
                    (start..start + 16).map(|b| half::f16::from_bits(b as u16)).collect();
                let brains: Vec<half::bf16> =
                    (start..start + 16).map(|b| half::bf16::from_bits(b as u16)).collect();
                let (mut narrow, mut wide) = ([0f32; 16], [0f64; 16]);
                let check = |want: &dyn Fn(usize) -> f32, narrow: &[f32; 16], wide: &[f64; 16]| {
                    for i in 0..16 {
                        let want = want(i);
                        assert!(narrow[i].to_bits() == want.to_bits() || want.is_nan() && narrow[i].is_nan());
                        assert!(wide[i] == f64::from(want) || want.is_nan() && wide[i].is_nan());
                    }
                };
                // SAFETY: each access stays within the arrays of 16, which every lane count divides.
                unsafe {
                    for i in (0..16).step_by(I::LANES_F32) {
                        isa.store_f32(narrow.as_mut_ptr().add(i), isa.f16_to_f32(halves.as_ptr().add(i)));
                    }
                    for i in (0..16).step_by(I::LANES_F64) {
                        isa.store_f64(wide.as_mut_ptr().add(i), isa.f16_to_f64(halves.as_ptr().add(i)));
                    }
                    check(&|i| halves[i].to_f32(), &narrow, &wide);
                    for i in (0..16).step_by(I::LANES_F32) {
                        isa.store_f32(narrow.as_mut_ptr().add(i), isa.bf16_to_f32(brains.as_ptr().add(i)));
                    }
                    for i in (0..16).step_by(I::LANES_F64) {
                        isa.store_f64(wide.as_mut_ptr().add(i), isa.bf16_to_f64(brains.as_ptr().add(i)));
                    }
                    check(&|i| brains[i].to_f32(), &narrow, &wide);
                }
            }
        }
    }

    #[test]
    fn every_16_bit_pattern_widens_exactly_at_every_level() {
        for level in Level::available() {
            level.dispatch(WidenAll);
        }
    }

    #[test]
    fn levels_have_names_and_unknown_names_are_refused() {
        for level in Level::available() {
            assert_eq!(Level::named(level.name()), Ok(level));
        }
        let error = Level::named("neon9").unwrap_err().to_string();
        assert!(error.contains("neon9") && error.contains("portable"), "{error}");
    }
}
