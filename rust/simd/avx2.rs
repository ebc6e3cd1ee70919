//! AVX2 with FMA and F16C: 8 lanes of f32, 4 of f64.

use super::Isa;
use crate::math::product::micro;
use std::arch::x86_64::*;

/// Proof-free token: used only under [`super::Level::dispatch`].
#[derive(Clone, Copy)]
pub struct Avx2;

// SAFETY (of every block below): the caller runs under the features of this level (see `Isa`), and
// pointers are valid for one register, as each method's contract says.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Isa for Avx2 {
    type F32 = __m256;
    type F64 = __m256d;
    const LANES_F32: usize = 8;
    const LANES_F64: usize = 4;
    const MICRO_F32: (usize, usize) = (16, 6);
    const MICRO_F64: (usize, usize) = (8, 6);

    #[inline(always)]
    fn prefetch(self, p: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
    #[inline(always)]
    fn zero_f32(self) -> __m256 {
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    fn splat_f32(self, x: f32) -> __m256 {
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load_f32(self, p: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store_f32(self, p: *mut f32, x: __m256) {
        unsafe { _mm256_storeu_ps(p, x) }
    }
    #[inline(always)]
    fn add_f32(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add_f32(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn count_greater_f32(self, count: __m256, a: __m256, b: __m256) -> __m256 {
        unsafe {
            let greater = _mm256_cmp_ps::<_CMP_GT_OQ>(a, b);
            _mm256_add_ps(count, _mm256_and_ps(greater, _mm256_set1_ps(1.0)))
        }
    }
    #[inline(always)]
    fn greater_bits_f32(self, a: __m256, b: __m256) -> u32 {
        unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(a, b)) as u32 }
    }
    #[inline(always)]
    unsafe fn f16_to_f32(self, p: *const half::f16) -> __m256 {
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn bf16_to_f32(self, p: *const half::bf16) -> __m256 {
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }

    #[inline(always)]
    fn zero_f64(self) -> __m256d {
        unsafe { _mm256_setzero_pd() }
    }
    #[inline(always)]
    fn splat_f64(self, x: f64) -> __m256d {
        unsafe { _mm256_set1_pd(x) }
    }
    #[inline(always)]
    unsafe fn load_f64(self, p: *const f64) -> __m256d {
        unsafe { _mm256_loadu_pd(p) }
    }
    #[inline(always)]
    unsafe fn store_f64(self, p: *mut f64, x: __m256d) {
        unsafe { _mm256_storeu_pd(p, x) }
    }
    #[inline(always)]
    unsafe fn store_f64_as_f32(self, p: *mut f32, x: __m256d) {
        unsafe { _mm_storeu_ps(p, _mm256_cvtpd_ps(x)) }
    }
    #[inline(always)]
    fn add_f64(self, a: __m256d, b: __m256d) -> __m256d {
        unsafe { _mm256_add_pd(a, b) }
    }
    #[inline(always)]
    fn sub_f64(self, a: __m256d, b: __m256d) -> __m256d {
        unsafe { _mm256_sub_pd(a, b) }
    }
    #[inline(always)]
    fn mul_add_f64(self, a: __m256d, b: __m256d, c: __m256d) -> __m256d {
        unsafe { _mm256_fmadd_pd(a, b, c) }
    }
    #[inline(always)]
    fn count_greater_f64(self, count: __m256d, a: __m256d, b: __m256d) -> __m256d {
        unsafe {
            let greater = _mm256_cmp_pd::<_CMP_GT_OQ>(a, b);
            _mm256_add_pd(count, _mm256_and_pd(greater, _mm256_set1_pd(1.0)))
        }
    }
    #[inline(always)]
    fn greater_bits_f64(self, a: __m256d, b: __m256d) -> u32 {
        unsafe { _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_GT_OQ>(a, b)) as u32 }
    }
    #[inline(always)]
    fn sum_f64(self, x: __m256d) -> f64 {
        let mut lanes = [0.0; 4];
        unsafe { _mm256_storeu_pd(lanes.as_mut_ptr(), x) };
        (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])
    }
    #[inline(always)]
    unsafe fn f16_to_f64(self, p: *const half::f16) -> __m256d {
        unsafe { _mm256_cvtps_pd(_mm_cvtph_ps(_mm_loadl_epi64(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn bf16_to_f64(self, p: *const half::bf16) -> __m256d {
        unsafe {
            let wide = _mm_cvtepu16_epi32(_mm_loadl_epi64(p.cast()));
            _mm256_cvtps_pd(_mm_castsi128_ps(_mm_slli_epi32::<16>(wide)))
        }
    }
    #[inline(always)]
    unsafe fn f32_to_f64(self, p: *const f32) -> __m256d {
        unsafe { _mm256_cvtps_pd(_mm_loadu_ps(p)) }
    }

    #[inline(always)]
    unsafe fn micro_f32(self, depth: usize, a: *const f32, b: *const f32, c: *mut f32, ldc: usize) {
        unsafe { micro::<f32, Self, 2, 6>(self, depth, a, b, c, ldc) }
    }
    #[inline(always)]
    unsafe fn micro_f64(self, depth: usize, a: *const f64, b: *const f64, c: *mut f64, ldc: usize) {
        unsafe { micro::<f64, Self, 2, 6>(self, depth, a, b, c, ldc) }
    }
}
