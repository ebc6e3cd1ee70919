//! What kernels are measured against: the arithmetic peak, plain loops, and the crates that multiply.

#![allow(dead_code)] // Each bench target takes what it needs from here.

use clipsoid::Element;
use clipsoid::element::Real;
use clipsoid::math::aligned::Aligned;
use clipsoid::math::product::{Panels, Product, micro_shape};
use clipsoid::simd::{Isa, Kernel, Level};
use std::hint::black_box;
use std::marker::PhantomData;
use std::time::Instant;

/// Chains of multiply-adds that run at one time: more than latency times ports (8) on every CPU in
/// question, and few enough for the 16 registers of AVX2.
const CHAINS: usize = 12;

/// Multiply-adds between registers, and nothing else. Returns the number of operations done.
pub struct Peak<T> {
    pub steps: usize,
    pub element: PhantomData<T>,
}

impl<T> Peak<T> {
    pub fn new(steps: usize) -> Self {
        Peak { steps, element: PhantomData }
    }
}

impl<T: Real> Kernel for Peak<T> {
    type Output = f64;
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> f64 {
        let splat = |x: f64| T::splat(isa, T::from_f64(black_box(x)));
        let (factor, term) = (splat(0.5), splat(0.5));
        let mut sums = [splat(1.0); CHAINS];
        for _ in 0..self.steps {
            for sum in &mut sums {
                *sum = T::mul_add(isa, *sum, factor, term);
            }
        }
        black_box(sums);
        2.0 * (self.steps * CHAINS * T::lanes::<I>()) as f64
    }
}

/// Numbers in [-0.5, 0.5), the same in every run.
pub fn numbers(count: usize) -> impl Iterator<Item = f64> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    (0..count).map(move |_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    })
}

/// Two square operands of a tile, by rows and in the panels of a level, and room for the product.
pub struct Operands<T> {
    pub side: usize,
    pub depth: usize,
    pub left: Vec<T>,
    pub right: Vec<T>,
    pub tile: Vec<T>,
}

impl<T: Real> Operands<T> {
    pub fn new(side: usize, depth: usize) -> Self {
        let mut all = numbers(2 * side * depth).map(T::from_f64);
        let left = all.by_ref().take(side * depth).collect();
        Operands { side, depth, left, right: all.collect(), tile: vec![T::default(); side * side] }
    }

    fn panels(&self, rows: &[T], width: usize) -> Panels<T> {
        let mut panels = Panels::default();
        panels.reshape(self.side, self.depth, width);
        for (i, row) in rows.chunks_exact(self.depth).enumerate() {
            for (k, &x) in row.iter().enumerate() {
                panels.panel_mut(i / width)[k * width + i % width] = x;
            }
        }
        panels
    }

    /// Both operands packed as a level wants them.
    pub fn packed(&self, level: Level) -> (Panels<T>, Panels<T>) {
        let (mr, nr) = micro_shape::<T>(level);
        (self.panels(&self.left, mr), self.panels(&self.right, nr))
    }

    pub fn flops(&self) -> f64 {
        2.0 * (self.side * self.side * self.depth) as f64
    }
}

/// The crate's product of operands that are packed already.
pub fn own<T: Real>(level: Level, (left, right): &(Panels<T>, Panels<T>), tile: &mut Aligned<T>) {
    level.dispatch(Product { left, first: 0, panels: left.count(), right, tile });
}

/// A type that the other crates multiply too. Each packs its operands within the call: it has no
/// other way in.
pub trait Multiplied: Real {
    fn matrixmultiply(operands: &mut Operands<Self>);
    fn gemm(operands: &mut Operands<Self>) {
        let Operands { side, depth, left, right, tile } = operands;
        let (rows, stride) = (*side as isize, *depth as isize);
        let (zero, one) = (Self::from_f64(0.0), Self::from_f64(1.0));
        // SAFETY: both operands are `side x depth` by rows, the tile is `side x side` by columns.
        unsafe {
            #[rustfmt::skip]
            gemm::gemm(
                *side, *side, *depth, tile.as_mut_ptr(), rows, 1, false,
                left.as_ptr(), 1, stride, right.as_ptr(), stride, 1,
                zero, one, false, false, false, gemm::Parallelism::None,
            );
        }
    }
}

macro_rules! multiplied {
    ($type:ty, $function:ident) => {
        impl Multiplied for $type {
            fn matrixmultiply(operands: &mut Operands<Self>) {
                let Operands { side, depth, left, right, tile } = operands;
                let (rows, stride) = (*side as isize, *depth as isize);
                // SAFETY: as for `gemm`.
                unsafe {
                    let (a, b, c) = (left.as_ptr(), right.as_ptr(), tile.as_mut_ptr());
                    let (m, n, k) = (*side, *side, *depth);
                    matrixmultiply::$function(m, k, n, 1.0, a, stride, 1, b, 1, stride, 0.0, c, 1, rows);
                }
            }
        }
    };
}
multiplied!(f32, sgemm);
multiplied!(f64, dgemm);

/// The three loops.
pub fn naive_product<T: Real>(operands: &mut Operands<T>) {
    let Operands { side, depth, left, right, tile } = operands;
    for (j, b) in right.chunks_exact(*depth).enumerate() {
        for (i, a) in left.chunks_exact(*depth).enumerate() {
            let mut sum = T::default();
            a.iter().zip(b).for_each(|(&x, &y)| sum += x * y);
            tile[j * *side + i] = sum;
        }
    }
}

/// Panics unless the crates and the loops agree: a wrong call is no comparison.
pub fn check_products<T: Multiplied>(level: Level, operands: &mut Operands<T>) {
    let mut tile = Aligned::default();
    own(level, &operands.packed(level), &mut tile);
    let stride = tile.len() / operands.side.next_multiple_of(micro_shape::<T>(level).1);
    for product in [naive_product, T::matrixmultiply, T::gemm] {
        product(operands);
        for (j, column) in operands.tile.chunks_exact(operands.side).enumerate() {
            for (i, x) in column.iter().enumerate() {
                assert!((x.to_f64() - tile[j * stride + i].to_f64()).abs() < 1e-3, "{i} {j}");
            }
        }
    }
}

/// The rows' squares and one dot product, as loops.
pub fn naive_dots<E: Element>(rows: &[E], y: &[f64]) -> f64 {
    let mut total = 0.0;
    for row in rows.chunks_exact(y.len()) {
        let (mut square, mut product) = (0.0, 0.0);
        for (x, y) in row.iter().zip(y) {
            square += x.to_f64() * x.to_f64();
            product += x.to_f64() * y;
        }
        total += product / f64::sqrt(square);
    }
    total
}

/// Mean, squares and unit sum of rows, as loops.
pub fn naive_moments<E: Element>(rows: &[E], dim: usize) -> [Vec<f64>; 3] {
    let [mut sum, mut squares, mut units] = [(); 3].map(|()| vec![0.0; dim]);
    for row in rows.chunks_exact(dim) {
        let norm = row.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>().sqrt();
        for (k, x) in row.iter().enumerate() {
            sum[k] += x.to_f64();
            squares[k] += x.to_f64() * x.to_f64();
            units[k] += x.to_f64() / norm;
        }
    }
    [sum, squares, units]
}

/// The scatter of centred rows, as loops over one triangle.
pub fn naive_scatter<E: Element>(rows: &[E], dim: usize) -> Vec<f64> {
    let [sum, ..] = naive_moments(rows, dim);
    let n = (rows.len() / dim) as f64;
    let mut scatter = vec![0.0; dim * dim];
    for row in rows.chunks_exact(dim) {
        let centred: Vec<f64> = row.iter().zip(&sum).map(|(x, sum)| x.to_f64() - sum / n).collect();
        for i in 0..dim {
            for j in i..dim {
                scatter[i * dim + j] += centred[i] * centred[j];
            }
        }
    }
    scatter
}

/// Seconds of one call.
pub fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
