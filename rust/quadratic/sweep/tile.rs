//! One tile at one alpha: the exponentials that serve both directions.
//!
//! An entry's logit is affine in the product `g` that the tile holds, so that all alphas are made of
//! one product. In units of `log 2`, above an offset that all tiles share,
//!
//! ```text
//! the right rows move    y = (g - q_k a_i) s_k - offset
//! both move              y = (g - q_k a_i - p_i w_k) r_i s_k - offset
//! ```
//!
//! for left row `i` and right row `k`; see [`super`] for the letters. Each `2^y` is added to the sum
//! of its row and to that of its column. Rivals are compared in `y` itself: equal rows have equal
//! products, and so equal `y`.

use crate::element::Real;
use crate::math::exp::exp2;
use crate::simd::{Isa, Kernel};

/// Stands for the product of a pair that is none of the rivals: its exponential is zero, and it is
/// below every other.
pub const NO_RIVAL: f64 = -1e30;

/// What the left rows contribute, one entry per row of the tile and for the padding after them.
pub struct LeftRows<'a, T> {
    /// `a`, the cosine to the mean that the right rows move by.
    pub cosine: &'a [T],
    /// `p`, `r` and minus the offset, if the left rows move too. The last is [`NO_RIVAL`] for what fills
    /// the last register.
    pub moved: Option<[Vec<T>; 3]>,
}

/// What the right rows contribute, one entry per column of the tile.
#[derive(Default)]
pub struct RightRows<T> {
    /// `q`.
    pub factor: Vec<T>,
    /// `s = stretch log2(e) / temperature`.
    pub scale: Vec<T>,
    /// `w`, if the left rows move too.
    pub product: Vec<T>,
}

/// Sums of `2^y` over the rivals, and the greatest `y`, of each row and column of a tile.
#[derive(Clone, Debug)]
pub struct Found<T> {
    /// Of left rows, the padding included.
    pub left: Rivals<T>,
    /// Of right rows.
    pub right: Rivals<T>,
}

/// One entry per row.
#[derive(Clone, Debug)]
pub struct Rivals<T> {
    /// Sum of `2^y`.
    pub sum: Vec<T>,
    /// Greatest `y`.
    pub greatest: Vec<T>,
}

impl<T: Real> Rivals<T> {
    fn none(count: usize) -> Self {
        Rivals { sum: vec![T::default(); count], greatest: vec![T::from_f64(NO_RIVAL * 1e6); count] }
    }
}

/// The kernel: one tile at one alpha.
pub struct Exponentials<'a, T> {
    /// The products: columns of `stride`, those of no rivals replaced by [`NO_RIVAL`].
    pub products: &'a [T],
    /// Left rows, with padding to whole registers.
    pub stride: usize,
    /// See [`LeftRows`].
    pub left: &'a LeftRows<'a, T>,
    /// See [`RightRows`].
    pub right: &'a RightRows<T>,
    /// Minus the offset.
    pub shift: T,
}

/// Columns side by side: their polynomials hide each other's latency, and the sums of the rows are
/// loaded and stored once for all.
const GROUP: usize = 4;

impl<T: Real> Kernel for Exponentials<'_, T> {
    type Output = Found<T>;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Found<T> {
        let mut found =
            Found { left: Rivals::none(self.stride), right: Rivals::none(self.right.factor.len()) };
        let count = self.right.factor.len();
        let whole = count - count % GROUP;
        for column in (0..whole).step_by(GROUP) {
            match &self.left.moved {
                None => self.columns::<I, GROUP>(isa, column, &mut found, None),
                Some(moved) => self.columns::<I, GROUP>(isa, column, &mut found, Some(moved)),
            }
        }
        for column in whole..count {
            self.columns::<I, 1>(isa, column, &mut found, self.left.moved.as_ref());
        }
        found
    }
}

impl<T: Real> Exponentials<'_, T> {
    #[inline(always)]
    fn columns<I: Isa, const C: usize>(
        &self,
        isa: I,
        first: usize,
        found: &mut Found<T>,
        moved: Option<&[Vec<T>; 3]>,
    ) {
        let (lanes, stride) = (T::lanes::<I>(), self.stride);
        let Rivals { sum: row_sums, greatest: row_greatest } = &mut found.left;
        assert!(stride.is_multiple_of(lanes) && row_sums.len() == stride && row_greatest.len() == stride);
        assert!(self.left.cosine.len() == stride);
        assert!(moved.is_none_or(|moved| moved.iter().all(|vector| vector.len() == stride)));
        let minus = |x: T| T::from_f64(-x.to_f64());
        let mut products = [self.products.as_ptr(); C];
        let (mut factor, mut scale, mut product) = ([T::zero(isa); C], [T::zero(isa); C], [T::zero(isa); C]);
        // Loops and not `map`: a closure does not have the instructions of the level.
        for c in 0..C {
            let k = first + c;
            products[c] = self.products[k * stride..(k + 1) * stride].as_ptr();
            factor[c] = T::splat(isa, minus(self.right.factor[k]));
            scale[c] = T::splat(isa, self.right.scale[k]);
            if moved.is_some() {
                product[c] = T::splat(isa, minus(self.right.product[k]));
            }
        }
        let shift = T::splat(isa, self.shift);
        let mut sums = [T::zero(isa); C];
        let mut greatest = [T::splat(isa, T::from_f64(NO_RIVAL * 1e6)); C];
        for i in (0..stride).step_by(lanes) {
            // SAFETY: i + lanes <= stride, the length of every vector here and of every column.
            unsafe {
                let cosine = T::load_real(isa, self.left.cosine.as_ptr().add(i));
                let (row_sum, row_top) = (row_sums.as_mut_ptr().add(i), row_greatest.as_mut_ptr().add(i));
                let (mut sum, mut top) = (T::load_real(isa, row_sum), T::load_real(isa, row_top));
                for c in 0..C {
                    let x = T::mul_add(isa, factor[c], cosine, T::load_real(isa, products[c].add(i)));
                    let y = match moved {
                        None => T::mul_add(isa, x, scale[c], shift),
                        Some([factors, stretches, shifts]) => {
                            let x =
                                T::mul_add(isa, T::load_real(isa, factors.as_ptr().add(i)), product[c], x);
                            let x = T::times(isa, x, T::load_real(isa, stretches.as_ptr().add(i)));
                            T::mul_add(isa, x, scale[c], T::load_real(isa, shifts.as_ptr().add(i)))
                        }
                    };
                    let e = exp2::<T, I>(isa, y);
                    sum = T::add(isa, sum, e);
                    sums[c] = T::add(isa, sums[c], e);
                    top = T::max(isa, top, y);
                    greatest[c] = T::max(isa, greatest[c], y);
                }
                T::store(isa, row_sum, sum);
                T::store(isa, row_top, top);
            }
        }
        for c in 0..C {
            found.right.sum[first + c] = T::sum(isa, sums[c]);
            found.right.greatest[first + c] = T::greatest(isa, greatest[c]);
        }
    }
}

/// The `y` of pairs, with the bits that the kernel gives it; `products` are those of row `i` of either
/// side.
pub struct Own<'a, T> {
    /// `g` of each pair.
    pub products: &'a [T],
    /// See [`LeftRows`]; as long as `products`.
    pub left: &'a LeftRows<'a, T>,
    /// See [`RightRows`].
    pub right: &'a RightRows<T>,
    /// Minus the offset.
    pub shift: T,
}

impl<T: Real> Kernel for Own<'_, T> {
    type Output = Vec<T>;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Vec<T> {
        let Own { products, left, right, shift } = self;
        let lanes = T::lanes::<I>();
        let mut found = Vec::with_capacity(products.len());
        let mut buffer = vec![T::default(); lanes];
        for start in (0..products.len()).step_by(lanes) {
            let range = start..products.len().min(start + lanes);
            let mut load = |from: &[T]| {
                buffer[..range.len()].copy_from_slice(&from[range.clone()]);
                // SAFETY: the buffer holds one register.
                unsafe { T::load_real(isa, buffer.as_ptr()) }
            };
            let minus = T::splat(isa, T::from_f64(-1.0));
            let factor = load(&right.factor);
            let x = T::mul_add(isa, T::times(isa, factor, minus), load(left.cosine), load(products));
            let scale = load(&right.scale);
            let y = match &left.moved {
                None => T::mul_add(isa, x, scale, T::splat(isa, shift)),
                Some([factors, stretches, shifts]) => {
                    let product = load(&right.product);
                    let x = T::mul_add(isa, load(factors), T::times(isa, product, minus), x);
                    let x = T::times(isa, x, load(stretches));
                    T::mul_add(isa, x, scale, load(shifts))
                }
            };
            // SAFETY: as above.
            unsafe { T::store(isa, buffer.as_mut_ptr(), y) };
            found.extend_from_slice(&buffer[..range.len()]);
        }
        found
    }
}
