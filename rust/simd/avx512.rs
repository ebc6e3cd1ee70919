//! AVX-512 (F, VL, BW, DQ): 16 lanes of f32, 8 of f64.

use super::Isa;
use crate::math::product::micro;
use std::arch::x86_64::*;

/// Proof-free token: used only under [`super::Level::dispatch`].
#[derive(Clone, Copy)]
pub struct Avx512;

// SAFETY (of every block below): the caller runs under the features of this level (see `Isa`), and
// pointers are valid for one register, as each method's contract says.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Isa for Avx512 {
    type F32 = __m512;
    type F64 = __m512d;
    const LANES_F32: usize = 16;
    const LANES_F64: usize = 8;
    const MICRO_F32: (usize, usize) = (32, 12);
    const MICRO_F64: (usize, usize) = (16, 12);

    #[inline(always)]
    fn prefetch(self, p: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
    #[inline(always)]
    fn zero_f32(self) -> __m512 {
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    fn splat_f32(self, x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load_f32(self, p: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store_f32(self, p: *mut f32, x: __m512) {
        unsafe { _mm512_storeu_ps(p, x) }
    }
    #[inline(always)]
    fn add_f32(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn mul_f32(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn max_f32(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn fraction_f32(self, x: __m512) -> __m512 {
        // Zero binary digits are kept (the high half), rounded down (the low half).
        unsafe { _mm512_reduce_ps::<1>(x) }
    }
    #[inline(always)]
    fn scale_by_floor_f32(self, p: __m512, x: __m512) -> __m512 {
        unsafe { _mm512_scalef_ps(p, x) }
    }
    #[inline(always)]
    fn greatest_f32(self, x: __m512) -> f32 {
        unsafe { _mm512_reduce_max_ps(x) }
    }
    #[inline(always)]
    fn sum_f32(self, x: __m512) -> f32 {
        unsafe { _mm512_reduce_add_ps(x) }
    }
    #[inline(always)]
    fn mul_add_f32(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn count_greater_f32(self, count: __m512, a: __m512, b: __m512) -> __m512 {
        unsafe {
            let greater = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b);
            _mm512_mask_add_ps(count, greater, count, _mm512_set1_ps(1.0))
        }
    }
    #[inline(always)]
    fn greater_bits_f32(self, a: __m512, b: __m512) -> u32 {
        unsafe { u32::from(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b)) }
    }
    #[inline(always)]
    unsafe fn f16_to_f32(self, p: *const half::f16) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn bf16_to_f32(self, p: *const half::bf16) -> __m512 {
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }

    #[inline(always)]
    fn zero_f64(self) -> __m512d {
        unsafe { _mm512_setzero_pd() }
    }
    #[inline(always)]
    fn splat_f64(self, x: f64) -> __m512d {
        unsafe { _mm512_set1_pd(x) }
    }
    #[inline(always)]
    unsafe fn load_f64(self, p: *const f64) -> __m512d {
        unsafe { _mm512_loadu_pd(p) }
    }
    #[inline(always)]
    unsafe fn store_f64(self, p: *mut f64, x: __m512d) {
        unsafe { _mm512_storeu_pd(p, x) }
    }
    #[inline(always)]
    unsafe fn store_f64_as_f32(self, p: *mut f32, x: __m512d) {
        unsafe { _mm256_storeu_ps(p, _mm512_cvtpd_ps(x)) }
    }
    #[inline(always)]
    fn add_f64(self, a: __m512d, b: __m512d) -> __m512d {
        unsafe { _mm512_add_pd(a, b) }
    }
    #[inline(always)]
    fn mul_f64(self, a: __m512d, b: __m512d) -> __m512d {
        unsafe { _mm512_mul_pd(a, b) }
    }
    #[inline(always)]
    fn max_f64(self, a: __m512d, b: __m512d) -> __m512d {
        unsafe { _mm512_max_pd(a, b) }
    }
    #[inline(always)]
    fn min_f64(self, a: __m512d, b: __m512d) -> __m512d {
        unsafe { _mm512_min_pd(a, b) }
    }
    #[inline(always)]
    fn fraction_f64(self, x: __m512d) -> __m512d {
        // Zero binary digits are kept (the high half), rounded down (the low half).
        unsafe { _mm512_reduce_pd::<1>(x) }
    }
    #[inline(always)]
    fn scale_by_floor_f64(self, p: __m512d, x: __m512d) -> __m512d {
        unsafe { _mm512_scalef_pd(p, x) }
    }
    #[inline(always)]
    fn greatest_f64(self, x: __m512d) -> f64 {
        unsafe { _mm512_reduce_max_pd(x) }
    }
    #[inline(always)]
    fn sub_f64(self, a: __m512d, b: __m512d) -> __m512d {
        unsafe { _mm512_sub_pd(a, b) }
    }
    #[inline(always)]
    fn mul_add_f64(self, a: __m512d, b: __m512d, c: __m512d) -> __m512d {
        unsafe { _mm512_fmadd_pd(a, b, c) }
    }
    #[inline(always)]
    fn count_greater_f64(self, count: __m512d, a: __m512d, b: __m512d) -> __m512d {
        unsafe {
            let greater = _mm512_cmp_pd_mask::<_CMP_GT_OQ>(a, b);
            _mm512_mask_add_pd(count, greater, count, _mm512_set1_pd(1.0))
        }
    }
    #[inline(always)]
    fn greater_bits_f64(self, a: __m512d, b: __m512d) -> u32 {
        unsafe { u32::from(_mm512_cmp_pd_mask::<_CMP_GT_OQ>(a, b)) }
    }
    #[inline(always)]
    fn sum_f64(self, x: __m512d) -> f64 {
        unsafe { _mm512_reduce_add_pd(x) }
    }
    #[inline(always)]
    unsafe fn f16_to_f64(self, p: *const half::f16) -> __m512d {
        unsafe { _mm512_cvtps_pd(_mm256_cvtph_ps(_mm_loadu_si128(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn bf16_to_f64(self, p: *const half::bf16) -> __m512d {
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
            _mm512_cvtps_pd(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide)))
        }
    }
    #[inline(always)]
    unsafe fn f32_to_f64(self, p: *const f32) -> __m512d {
        unsafe { _mm512_cvtps_pd(_mm256_loadu_ps(p)) }
    }

    #[inline(always)]
    unsafe fn transpose_f32(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        unsafe {
            let mut x = [_mm512_setzero_ps(); 16];
            for r in 0..16 {
                x[r] = _mm512_loadu_ps(from.add(r * from_stride));
            }
            let mut y = x;
            for i in (0..16).step_by(4) {
                let (a, b) = (_mm512_unpacklo_ps(x[i], x[i + 1]), _mm512_unpackhi_ps(x[i], x[i + 1]));
                let (c, d) = (_mm512_unpacklo_ps(x[i + 2], x[i + 3]), _mm512_unpackhi_ps(x[i + 2], x[i + 3]));
                let (a, b, c, d) =
                    (_mm512_castps_pd(a), _mm512_castps_pd(b), _mm512_castps_pd(c), _mm512_castps_pd(d));
                y[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
                y[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
                y[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
                y[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
            }
            // Quarter q of y[4 i + c] holds column 4 q + c of rows 4 i on.
            let mut z = y;
            for c in 0..4 {
                let (a, b, e, f) = (y[c], y[c + 4], y[c + 8], y[c + 12]);
                let (even, odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
                let (even_too, odd_too) =
                    (_mm512_shuffle_f32x4::<0x88>(e, f), _mm512_shuffle_f32x4::<0xdd>(e, f));
                z[c] = _mm512_shuffle_f32x4::<0x88>(even, even_too);
                z[c + 4] = _mm512_shuffle_f32x4::<0x88>(odd, odd_too);
                z[c + 8] = _mm512_shuffle_f32x4::<0xdd>(even, even_too);
                z[c + 12] = _mm512_shuffle_f32x4::<0xdd>(odd, odd_too);
            }
            for k in 0..16 {
                _mm512_storeu_ps(to.add(k * to_stride), z[k]);
            }
        }
    }
    #[inline(always)]
    unsafe fn transpose_f64(self, from: *const f64, from_stride: usize, to: *mut f64, to_stride: usize) {
        unsafe {
            let mut x = [_mm512_setzero_pd(); 8];
            for r in 0..8 {
                x[r] = _mm512_loadu_pd(from.add(r * from_stride));
            }
            let mut y = x;
            for i in (0..8).step_by(2) {
                y[i] = _mm512_unpacklo_pd(x[i], x[i + 1]);
                y[i + 1] = _mm512_unpackhi_pd(x[i], x[i + 1]);
            }
            // Quarter q of y[2 i + c] holds column 2 q + c of rows 2 i on.
            let mut z = y;
            for c in 0..2 {
                let (a, b, e, f) = (y[c], y[c + 2], y[c + 4], y[c + 6]);
                let (even, odd) = (_mm512_shuffle_f64x2::<0x88>(a, b), _mm512_shuffle_f64x2::<0xdd>(a, b));
                let (even_too, odd_too) =
                    (_mm512_shuffle_f64x2::<0x88>(e, f), _mm512_shuffle_f64x2::<0xdd>(e, f));
                z[c] = _mm512_shuffle_f64x2::<0x88>(even, even_too);
                z[c + 2] = _mm512_shuffle_f64x2::<0x88>(odd, odd_too);
                z[c + 4] = _mm512_shuffle_f64x2::<0xdd>(even, even_too);
                z[c + 6] = _mm512_shuffle_f64x2::<0xdd>(odd, odd_too);
            }
            for k in 0..8 {
                _mm512_storeu_pd(to.add(k * to_stride), z[k]);
            }
        }
    }

    #[inline(always)]
    unsafe fn micro_f32(self, depth: usize, a: *const f32, b: *const f32, c: *mut f32, ldc: usize) {
        unsafe { micro::<f32, Self, 2, 12>(self, depth, a, b, c, ldc) }
    }
    #[inline(always)]
    unsafe fn micro_f64(self, depth: usize, a: *const f64, b: *const f64, c: *mut f64, ldc: usize) {
        unsafe { micro::<f64, Self, 2, 12>(self, depth, a, b, c, ldc) }
    }
}
