//! The tile product: packed panels and a register tile.
//!
//! An own micro-kernel, because a dot product's bits must depend on its two vectors alone (identical
//! rows must tie exactly), and because packing is where 16-bit elements are widened and rows are
//! scaled, once for several tiles and without a copy of the input. `cargo bench --bench shares`
//! compares it: 75 to 84 % of the machine's float32 peak where matrixmultiply reaches 71 to 74 % and
//! gemm 68 to 81 %; in float64 61 to 75 %, where gemm reaches 81 to 86 %. Each
//! product here is a sum of chains of [`CHAIN`] fused multiply-adds over `k = 0, 1, 2, ...`, wherever
//! in a tile it falls, and `a.b` has the bits of `b.a`.
//!
//! Layout: the left operand in panels of `MR` vectors, the right one in panels of `NR`; in a panel,
//! `k` is the slow index. `C` is stored with the left index fast: `c[j * ldc + i] = a_i . b_j`.
//!
//! Error: with `u = 2^-24` in float32 and `2^-53` in float64, at most
//! `(CHAIN + depth / CHAIN) u sum |a_k b_k|`. Chains are short because equal terms, as two-valued
//! features give, all round the same way.

use super::aligned::Aligned;
use crate::element::Real;
use crate::simd::{Isa, Kernel, Level};

/// Terms summed in a register before they are added to the tile. At 32 the register tile is written
/// often enough to cost 5 to 10 %, and float32 errors stay below `1e-6 sum |a_k b_k|` at any depth in use.
pub const CHAIN: usize = 32;

/// A register tile of `V` registers x `NR`: `c[j * ldc + i] = sum_k a[k][i] b[k][j]`.
///
/// # Safety
/// `a` is readable for `depth * V * lanes` elements, `b` for `depth * NR`, `c` writable for
/// `(NR - 1) * ldc + V * lanes`, and the caller runs under `I`.
#[inline(always)]
pub unsafe fn micro<T: Real, I: Isa, const V: usize, const NR: usize>(
    isa: I,
    depth: usize,
    mut a: *const T,
    mut b: *const T,
    c: *mut T,
    ldc: usize,
) {
    let lanes = T::lanes::<I>();
    // Opaque, or the compiler unrolls a whole chain and runs out of registers.
    let chain = std::hint::black_box(CHAIN);
    for start in (0..depth.max(1)).step_by(chain) {
        let mut sums = [[T::zero(isa); V]; NR];
        for _ in start..depth.min(start + chain) {
            // SAFETY: `a` and `b` advance `depth` times within what the caller grants.
            unsafe {
                let mut left = [T::zero(isa); V];
                for v in 0..V {
                    left[v] = T::load_real(isa, a.add(v * lanes));
                }
                for j in 0..NR {
                    let right = T::splat(isa, *b.add(j));
                    for v in 0..V {
                        sums[j][v] = T::mul_add(isa, left[v], right, sums[j][v]);
                    }
                }
                a = a.add(V * lanes);
                b = b.add(NR);
            }
        }
        for j in 0..NR {
            for v in 0..V {
                // SAFETY: the caller grants NR columns of V registers at stride ldc.
                unsafe {
                    let c = c.add(j * ldc + v * lanes);
                    let sum =
                        if start == 0 { sums[j][v] } else { T::add(isa, T::load_real(isa, c), sums[j][v]) };
                    T::store(isa, c, sum);
                }
            }
        }
    }
}

/// A register of products, `c[i] = sum_k a[k][i] b[k][i]`, each with the bits that [`micro`] gives it.
///
/// # Safety
/// `a` and `b` are readable for `depth` registers, `c` writable for one, and the caller runs under
/// `I`.
#[inline(always)]
pub unsafe fn elementwise<T: Real, I: Isa>(isa: I, depth: usize, a: *const T, b: *const T, c: *mut T) {
    let lanes = T::lanes::<I>();
    let mut total = T::zero(isa);
    for start in (0..depth).step_by(CHAIN) {
        let mut sum = T::zero(isa);
        for k in start..depth.min(start + CHAIN) {
            // SAFETY: k < depth.
            let (a, b) =
                unsafe { (T::load_real(isa, a.add(k * lanes)), T::load_real(isa, b.add(k * lanes))) };
            sum = T::mul_add(isa, a, b, sum);
        }
        total = if start == 0 { sum } else { T::add(isa, total, sum) };
    }
    // SAFETY: the caller grants one register.
    unsafe { T::store(isa, c, total) };
}

/// Rows and columns of the register tile for a type at a level.
pub fn micro_shape<T: Real>(level: Level) -> (usize, usize) {
    struct Shape<T>(std::marker::PhantomData<T>);
    impl<T: Real> Kernel for Shape<T> {
        type Output = (usize, usize);
        #[inline(always)]
        fn run<I: Isa>(self, _: I) -> (usize, usize) {
            T::micro_shape::<I>()
        }
    }
    level.dispatch(Shape::<T>(std::marker::PhantomData))
}

/// Packed vectors: panels of `width`, padded with zeros to whole panels.
#[derive(Debug, Default)]
pub struct Panels<T> {
    elements: Aligned<T>,
    /// Vectors in a panel: `MR` for a left operand, `NR` for a right one.
    pub width: usize,
    /// Length of a vector.
    pub depth: usize,
    /// Panels.
    count: usize,
}

/// Elements between two panels. Without a gap, panels of 256 or 512 terms would lie whole pages apart,
/// and what is packed or read across panels would compete for a few lines of the cache.
const GAP: usize = 16;

impl<T: Real> Panels<T> {
    /// Makes room for `count` vectors of `depth`; contents are unspecified.
    pub fn reshape(&mut self, count: usize, depth: usize, width: usize) {
        (self.count, self.depth, self.width) = (count.div_ceil(width), depth, width);
        self.elements.reshape(self.count * self.stride());
    }

    /// Number of panels.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Elements from one panel to the next.
    #[inline(always)]
    fn stride(&self) -> usize {
        self.width * self.depth + GAP
    }

    /// Panel `p`: element `k` of its vector `i` is `panel[k * width + i]`.
    #[inline(always)]
    pub fn panel(&self, p: usize) -> &[T] {
        &self.elements[p * self.stride()..][..self.width * self.depth]
    }

    /// Panel `p`, writable for a register beyond its end: the gap.
    pub fn spilling(&mut self, p: usize) -> *mut T {
        let start = p * self.stride();
        self.elements[start..].as_mut_ptr()
    }

    /// As [`Panels::panel`], to be filled.
    #[inline(always)]
    pub fn panel_mut(&mut self, p: usize) -> &mut [T] {
        let start = p * self.stride();
        &mut self.elements[start..][..self.width * self.depth]
    }
}

/// All products of the panels of `left` from `first` on, `panels` of them, with those of `right`:
/// a tile with `panels * MR` as its leading dimension.
pub struct Product<'a, T> {
    /// Left operand, panels of `MR`.
    pub left: &'a Panels<T>,
    /// First panel of `left` to use.
    pub first: usize,
    /// Number of panels of `left` to use.
    pub panels: usize,
    /// Right operand, panels of `NR`.
    pub right: &'a Panels<T>,
    /// Receives `right.count() * NR` columns of `panels * MR`; resized.
    pub tile: &'a mut Aligned<T>,
}

impl<T: Real> Kernel for Product<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let (mr, nr) = T::micro_shape::<I>();
        let Product { left, first, panels, right, tile } = self;
        assert!(left.width == mr && right.width == nr && left.depth == right.depth);
        let ldc = panels * mr;
        tile.reshape(right.count() * nr * ldc);
        // A right panel stays in L1 while the left ones stream past it from L2.
        for q in 0..right.count() {
            for p in 0..panels {
                let a = left.panel(first + p).as_ptr();
                let c = tile[q * nr * ldc + p * mr..].as_mut_ptr();
                // SAFETY: the panels have `depth` x their widths; the tile has room for NR columns
                // of MR at stride ldc from `c` on.
                unsafe { T::micro(isa, left.depth, a, right.panel(q).as_ptr(), c, ldc) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack<T: Real>(vectors: &[Vec<f64>], depth: usize, width: usize) -> Panels<T> {
        let mut panels = Panels::default();
        panels.reshape(vectors.len(), depth, width);
        (0..panels.count()).for_each(|p| panels.panel_mut(p).fill(T::default()));
        for (i, vector) in vectors.iter().enumerate() {
            for (k, &x) in vector.iter().enumerate() {
                panels.panel_mut(i / width)[k * width + i % width] = T::from_f64(x);
            }
        }
        panels
    }

    fn check<T: Real>(unit_roundoff: f64) {
        for level in Level::available() {
            let (mr, nr) = micro_shape::<T>(level);
            for (rows, columns, depth) in
                [(1, 1, 0), (1, 1, 1), (mr, nr, 3), (mr + 1, nr - 1, 17), (2 * mr + 3, 3 * nr + 1, 130)]
            {
                let element =
                    |i: usize, k: usize| T::from_f64(((i * 31 + k * 17) % 23) as f64 / 7.0 - 1.5).to_f64();
                let vectors = |n: usize, shift: usize| -> Vec<Vec<f64>> {
                    (0..n).map(|i| (0..depth).map(|k| element(i % 5 + shift, k)).collect()).collect()
                };
                let (a, b) = (vectors(rows, 0), vectors(columns, 2));
                let (left, right) = (pack::<T>(&a, depth, mr), pack::<T>(&b, depth, nr));
                let mut tile = Aligned::default();
                level.dispatch(Product {
                    left: &left,
                    first: 0,
                    panels: left.count(),
                    right: &right,
                    tile: &mut tile,
                });
                let ldc = left.count() * mr;
                for i in 0..if depth == 0 { 0 } else { rows } {
                    for j in 0..columns {
                        let terms = || a[i].iter().zip(&b[j]).map(|(x, y)| x * y);
                        let (want, size): (f64, f64) = (terms().sum(), terms().map(f64::abs).sum());
                        let got = tile[j * ldc + i].to_f64();
                        assert!(
                            (got - want).abs() <= depth as f64 * unit_roundoff * size,
                            "{level:?} {i} {j}: {got} {want}"
                        );
                        // Rows repeat with period 5: the same two vectors, the same bits.
                        assert!(tile[j * ldc + i] == tile[(j % 5) * ldc + i % 5]);
                    }
                }
            }
        }
    }

    #[test]
    fn products_at_every_edge_and_level() {
        check::<f32>(2f64.powi(-24));
        check::<f64>(2f64.powi(-53));
    }
}
