//! `2^x`, a register at a time.
//!
//! `2^x = 2^floor(x) 2^f` with `f = x - floor(x)` in [0, 1): a polynomial for the second factor, the
//! exponent's bits for the first. Whoever wants `e^x` folds `log2 e` into the scale of `x`.
//!
//! Error, relative: float32 `7.5e-8` of the polynomial (degree 5) and about `1.5e-7` of rounding;
//! float64 `2e-16` (degree 10) and about `5e-16`. Results below the least normal number become zero
//! or subnormal, results above the greatest become infinite. Coefficients are those of the least
//! greatest relative error on [0, 1] (Remez), constant term last.

use crate::element::Real;
use crate::simd::Isa;

/// See [`exp2`].
pub const EXP2_F32: &[f32] =
    &[0.001_877_576_8, 0.008_989_34, 0.055_826_32, 0.240_153_62, 0.693_153_1, 0.999_999_9];

/// See [`exp2`].
pub const EXP2_F64: &[f64] = &[
    9.952_216_154_360_77e-9,
    9.460_944_679_437_102e-8,
    1.331_272_018_943_45e-6,
    1.524_465_963_144_262_7e-5,
    1.540_395_749_235_676e-4,
    1.333_354_373_088_2e-3,
    9.618_129_409_177_628e-3,
    5.550_410_862_824_452e-2,
    2.402_265_069_613_608e-1,
    6.931_471_805_598_913e-1,
    1.000_000_000_000_000_2,
];

/// `2^x` in each lane.
#[inline(always)]
pub fn exp2<T: Real, I: Isa>(isa: I, x: T::Register<I>) -> T::Register<I> {
    let fraction = T::fraction(isa, x);
    let mut sum = T::splat(isa, T::EXP2[0]);
    for &coefficient in &T::EXP2[1..] {
        sum = T::mul_add(isa, sum, fraction, T::splat(isa, coefficient));
    }
    T::scale_by_floor(isa, sum, x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Kernel, Level};

    struct All<'a, T>(&'a [T]);

    impl<T: Real> Kernel for All<'_, T> {
        type Output = Vec<T>;
        #[inline(always)]
        fn run<I: Isa>(self, isa: I) -> Vec<T> {
            let mut found = vec![T::default(); self.0.len()];
            for i in (0..self.0.len()).step_by(T::lanes::<I>()) {
                // SAFETY: the length is a multiple of every lane count.
                unsafe {
                    let y = exp2::<T, I>(isa, T::load_real(isa, self.0[i..].as_ptr()));
                    T::store(isa, found[i..].as_mut_ptr(), y);
                }
            }
            found
        }
    }

    #[test]
    fn float32_is_within_its_bound_over_the_whole_range() {
        let x: Vec<f32> = (0..1 << 20).map(|i| -126.0 + i as f32 * (254.0 / (1 << 20) as f32)).collect();
        for level in Level::available() {
            for (x, got) in x.iter().zip(level.dispatch(All(&x))) {
                let want = f64::from(*x).exp2();
                assert!((f64::from(got) / want - 1.0).abs() <= 2.3e-7, "{level:?} {x}: {got} {want}");
            }
        }
    }

    #[test]
    fn float64_is_within_its_bound_over_the_whole_range() {
        let x: Vec<f64> = (0..1 << 18).map(|i| -1022.0 + i as f64 * (2046.0 / (1 << 18) as f64)).collect();
        for level in Level::available() {
            for (x, got) in x.iter().zip(level.dispatch(All(&x))) {
                assert!((got / x.exp2() - 1.0).abs() <= 8e-16, "{level:?} {x}: {got} {}", x.exp2());
            }
        }
    }

    #[test]
    fn ends_of_the_range() {
        for level in Level::available() {
            let x: [f32; 16] = std::array::from_fn(|i| if i % 2 == 0 { -200.0 } else { -4e33 });
            assert_eq!(level.dispatch(All(&x)), [0.0; 16], "{level:?}");
            assert_eq!(level.dispatch(All(&[130.0f32; 16])), [f32::INFINITY; 16], "{level:?}");
            let x: [f64; 16] = std::array::from_fn(|i| if i % 2 == 0 { -2000.0 } else { -4e33 });
            assert_eq!(level.dispatch(All(&x)), [0.0; 16], "{level:?}");
            assert_eq!(level.dispatch(All(&[1030.0f64; 16])), [f64::INFINITY; 16], "{level:?}");
        }
    }
}
