//! The baseline CPU: small arrays that the compiler turns into SSE2 or NEON registers.
//!
//! `mul_add` is a product and a sum: without hardware FMA the fused form is a library call, a
//! hundred times slower.

use super::Isa;
use crate::math::product::micro;

/// Runs anywhere.
#[derive(Clone, Copy)]
pub struct Portable;

#[inline(always)]
fn zip<T: Copy, const N: usize>(a: [T; N], b: [T; N], f: impl Fn(T, T) -> T) -> [T; N] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

/// float16 to float32 without a branch: shift exponent and mantissa into place and let one
/// multiplication by 2^112 move the bias, which also normalises subnormals.
#[inline(always)]
fn widen_f16(bits: u16) -> f32 {
    let magnitude = u32::from(bits & 0x7fff) << 13;
    let value = (f32::from_bits(magnitude) * f32::from_bits(0x7780_0000)).to_bits();
    let special = if magnitude >= 0x0f80_0000 { 0x7f80_0000 } else { 0 };
    f32::from_bits(value | special | (u32::from(bits & 0x8000) << 16))
}

#[inline(always)]
fn widen_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

impl Isa for Portable {
    type F32 = [f32; 4];
    type F64 = [f64; 4];
    const LANES_F32: usize = 4;
    const LANES_F64: usize = 4;
    const MICRO_F32: (usize, usize) = (8, 4);
    const MICRO_F64: (usize, usize) = (4, 4);

    #[inline(always)]
    fn prefetch(self, _: *const u8) {}
    #[inline(always)]
    fn zero_f32(self) -> [f32; 4] {
        [0.0; 4]
    }
    #[inline(always)]
    fn splat_f32(self, x: f32) -> [f32; 4] {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn load_f32(self, p: *const f32) -> [f32; 4] {
        // SAFETY: the caller grants four elements; any alignment is read.
        unsafe { p.cast::<[f32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_f32(self, p: *mut f32, x: [f32; 4]) {
        // SAFETY: the caller grants four elements; any alignment is written.
        unsafe { p.cast::<[f32; 4]>().write_unaligned(x) }
    }
    #[inline(always)]
    fn add_f32(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn mul_f32(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn max_f32(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn fraction_f32(self, x: [f32; 4]) -> [f32; 4] {
        x.map(|x| x - x.floor())
    }
    #[inline(always)]
    fn scale_by_floor_f32(self, p: [f32; 4], x: [f32; 4]) -> [f32; 4] {
        // The exponents of zero and infinity are the ends.
        let power = |x: f32| f32::from_bits(((x.floor().clamp(-127.0, 128.0) as i32 + 127) as u32) << 23);
        zip(p, x.map(power), |p, power| p * power)
    }
    #[inline(always)]
    fn greatest_f32(self, x: [f32; 4]) -> f32 {
        x.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    fn sum_f32(self, x: [f32; 4]) -> f32 {
        (x[0] + x[2]) + (x[1] + x[3])
    }
    #[inline(always)]
    fn mul_add_f32(self, a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        zip(zip(a, b, |a, b| a * b), c, |p, c| p + c)
    }
    #[inline(always)]
    fn count_greater_f32(self, count: [f32; 4], a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(count, zip(a, b, |a, b| if a > b { 1.0 } else { 0.0 }), |count, one| count + one)
    }
    #[inline(always)]
    fn greater_bits_f32(self, a: [f32; 4], b: [f32; 4]) -> u32 {
        (0..4).map(|i| u32::from(a[i] > b[i]) << i).sum()
    }
    #[inline(always)]
    unsafe fn f16_to_f32(self, p: *const half::f16) -> [f32; 4] {
        // SAFETY: the caller grants four elements; any alignment is read.
        unsafe { p.cast::<[u16; 4]>().read_unaligned() }.map(widen_f16)
    }
    #[inline(always)]
    unsafe fn bf16_to_f32(self, p: *const half::bf16) -> [f32; 4] {
        // SAFETY: the caller grants four elements; any alignment is read.
        unsafe { p.cast::<[u16; 4]>().read_unaligned() }.map(widen_bf16)
    }

    #[inline(always)]
    fn zero_f64(self) -> [f64; 4] {
        [0.0; 4]
    }
    #[inline(always)]
    fn splat_f64(self, x: f64) -> [f64; 4] {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn load_f64(self, p: *const f64) -> [f64; 4] {
        // SAFETY: the caller grants four elements; any alignment is read.
        unsafe { p.cast::<[f64; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_f64(self, p: *mut f64, x: [f64; 4]) {
        // SAFETY: the caller grants four elements; any alignment is written.
        unsafe { p.cast::<[f64; 4]>().write_unaligned(x) }
    }
    #[inline(always)]
    unsafe fn store_f64_as_f32(self, p: *mut f32, x: [f64; 4]) {
        // SAFETY: the contract is the same.
        unsafe { self.store_f32(p, x.map(|x| x as f32)) }
    }
    #[inline(always)]
    fn add_f64(self, a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn mul_f64(self, a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn max_f64(self, a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min_f64(self, a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn fraction_f64(self, x: [f64; 4]) -> [f64; 4] {
        x.map(|x| x - x.floor())
    }
    #[inline(always)]
    fn scale_by_floor_f64(self, p: [f64; 4], x: [f64; 4]) -> [f64; 4] {
        // The exponents of zero and infinity are the ends.
        let power = |x: f64| f64::from_bits(((x.floor().clamp(-1023.0, 1024.0) as i64 + 1023) as u64) << 52);
        zip(p, x.map(power), |p, power| p * power)
    }
    #[inline(always)]
    fn greatest_f64(self, x: [f64; 4]) -> f64 {
        x.into_iter().fold(f64::NEG_INFINITY, f64::max)
    }
    #[inline(always)]
    fn sub_f64(self, a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul_add_f64(self, a: [f64; 4], b: [f64; 4], c: [f64; 4]) -> [f64; 4] {
        zip(zip(a, b, |a, b| a * b), c, |p, c| p + c)
    }
    #[inline(always)]
    fn count_greater_f64(self, count: [f64; 4], a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
        zip(count, zip(a, b, |a, b| if a > b { 1.0 } else { 0.0 }), |count, one| count + one)
    }
    #[inline(always)]
    fn greater_bits_f64(self, a: [f64; 4], b: [f64; 4]) -> u32 {
        (0..4).map(|i| u32::from(a[i] > b[i]) << i).sum()
    }
    #[inline(always)]
    fn sum_f64(self, x: [f64; 4]) -> f64 {
        (x[0] + x[2]) + (x[1] + x[3])
    }
    #[inline(always)]
    unsafe fn f16_to_f64(self, p: *const half::f16) -> [f64; 4] {
        // SAFETY: the contract is the same.
        unsafe { self.f16_to_f32(p) }.map(f64::from)
    }
    #[inline(always)]
    unsafe fn bf16_to_f64(self, p: *const half::bf16) -> [f64; 4] {
        // SAFETY: the contract is the same.
        unsafe { self.bf16_to_f32(p) }.map(f64::from)
    }
    #[inline(always)]
    unsafe fn f32_to_f64(self, p: *const f32) -> [f64; 4] {
        // SAFETY: the contract is the same.
        unsafe { self.load_f32(p) }.map(f64::from)
    }

    #[inline(always)]
    unsafe fn transpose_f32(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for r in 0..4 {
            for k in 0..4 {
                // SAFETY: the contract is the same.
                unsafe { *to.add(k * to_stride + r) = *from.add(r * from_stride + k) };
            }
        }
    }
    #[inline(always)]
    unsafe fn transpose_f64(self, from: *const f64, from_stride: usize, to: *mut f64, to_stride: usize) {
        for r in 0..4 {
            for k in 0..4 {
                // SAFETY: the contract is the same.
                unsafe { *to.add(k * to_stride + r) = *from.add(r * from_stride + k) };
            }
        }
    }

    #[inline(always)]
    unsafe fn micro_f32(self, depth: usize, a: *const f32, b: *const f32, c: *mut f32, ldc: usize) {
        // SAFETY: the contract is the same.
        unsafe { micro::<f32, Self, 2, 4>(self, depth, a, b, c, ldc) }
    }
    #[inline(always)]
    unsafe fn micro_f64(self, depth: usize, a: *const f64, b: *const f64, c: *mut f64, ldc: usize) {
        // SAFETY: the contract is the same.
        unsafe { micro::<f64, Self, 1, 4>(self, depth, a, b, c, ldc) }
    }
}
