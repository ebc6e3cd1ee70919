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
    fn mul_f32(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn max_f32(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn fraction_f32(self, x: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(x, _mm256_floor_ps(x)) }
    }
    #[inline(always)]
    fn scale_by_floor_f32(self, p: __m256, x: __m256) -> __m256 {
        unsafe {
            // The exponents of zero and infinity are the ends.
            let n = _mm256_floor_ps(x);
            let n = _mm256_min_ps(_mm256_max_ps(n, _mm256_set1_ps(-127.0)), _mm256_set1_ps(128.0));
            let bits = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(bits)))
        }
    }
    #[inline(always)]
    fn greatest_f32(self, x: __m256) -> f32 {
        let mut lanes = [0.0; 8];
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), x) };
        lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    fn sum_f32(self, x: __m256) -> f32 {
        let mut l = [0.0; 8];
        unsafe { _mm256_storeu_ps(l.as_mut_ptr(), x) };
        ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
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
    fn mul_f64(self, a: __m256d, b: __m256d) -> __m256d {
        unsafe { _mm256_mul_pd(a, b) }
    }
    #[inline(always)]
    fn max_f64(self, a: __m256d, b: __m256d) -> __m256d {
        unsafe { _mm256_max_pd(a, b) }
    }
    #[inline(always)]
    fn min_f64(self, a: __m256d, b: __m256d) -> __m256d {
        unsafe { _mm256_min_pd(a, b) }
    }
    #[inline(always)]
    fn fraction_f64(self, x: __m256d) -> __m256d {
        unsafe { _mm256_sub_pd(x, _mm256_floor_pd(x)) }
    }
    #[inline(always)]
    fn scale_by_floor_f64(self, p: __m256d, x: __m256d) -> __m256d {
        unsafe {
            // The exponents of zero and infinity are the ends. Added to 2^52 + 1023, an integer shows
            // in the low bits of the sum.
            let n = _mm256_floor_pd(x);
            let n = _mm256_min_pd(_mm256_max_pd(n, _mm256_set1_pd(-1023.0)), _mm256_set1_pd(1024.0));
            let bits =
                _mm256_castpd_si256(_mm256_add_pd(n, _mm256_set1_pd(4_503_599_627_370_496.0 + 1023.0)));
            _mm256_mul_pd(p, _mm256_castsi256_pd(_mm256_slli_epi64::<52>(bits)))
        }
    }
    #[inline(always)]
    fn greatest_f64(self, x: __m256d) -> f64 {
        let mut lanes = [0.0; 4];
        unsafe { _mm256_storeu_pd(lanes.as_mut_ptr(), x) };
        lanes.into_iter().fold(f64::NEG_INFINITY, f64::max)
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
    unsafe fn transpose_f32(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        unsafe {
            let mut x = [_mm256_setzero_ps(); 8];
            for r in 0..8 {
                x[r] = _mm256_loadu_ps(from.add(r * from_stride));
            }
            let mut y = x;
            for i in (0..8).step_by(4) {
                let (a, b) = (_mm256_unpacklo_ps(x[i], x[i + 1]), _mm256_unpackhi_ps(x[i], x[i + 1]));
                let (c, d) = (_mm256_unpacklo_ps(x[i + 2], x[i + 3]), _mm256_unpackhi_ps(x[i + 2], x[i + 3]));
                let (a, b, c, d) =
                    (_mm256_castps_pd(a), _mm256_castps_pd(b), _mm256_castps_pd(c), _mm256_castps_pd(d));
                y[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, c));
                y[i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, c));
                y[i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(b, d));
                y[i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(b, d));
            }
            // Half h of y[4 i + c] holds column 4 h + c of rows 4 i on.
            let mut z = y;
            for c in 0..4 {
                z[c] = _mm256_permute2f128_ps::<0x20>(y[c], y[c + 4]);
                z[c + 4] = _mm256_permute2f128_ps::<0x31>(y[c], y[c + 4]);
            }
            for k in 0..8 {
                _mm256_storeu_ps(to.add(k * to_stride), z[k]);
            }
        }
    }
    #[inline(always)]
    unsafe fn transpose_f64(self, from: *const f64, from_stride: usize, to: *mut f64, to_stride: usize) {
        unsafe {
            let mut x = [_mm256_setzero_pd(); 4];
            for r in 0..4 {
                x[r] = _mm256_loadu_pd(from.add(r * from_stride));
            }
            let mut y = x;
            for i in (0..4).step_by(2) {
                y[i] = _mm256_unpacklo_pd(x[i], x[i + 1]);
                y[i + 1] = _mm256_unpackhi_pd(x[i], x[i + 1]);
            }
            // Half h of y[2 i + c] holds column 2 h + c of rows 2 i on.
            let mut z = y;
            for c in 0..2 {
                z[c] = _mm256_permute2f128_pd::<0x20>(y[c], y[c + 2]);
                z[c + 2] = _mm256_permute2f128_pd::<0x31>(y[c], y[c + 2]);
            }
            for k in 0..4 {
                _mm256_storeu_pd(to.add(k * to_stride), z[k]);
            }
        }
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
