//! Every kernel at every SIMD level, beside the plain loop and the alternatives.
//!
//! ```text
//! cargo bench --features bench --bench kernels -- [FILTER]
//! ```
//!
//! One thread. Throughput is in bytes read, or in floating-point operations ("elements") for
//! whatever multiplies. `dots`, `moments` and `score` work on a block that the cache holds, `stream`
//! on a gigabyte. Contenders run one after the other: where the machine is shared, `shares` compares
//! the products better, because there they take turns.

mod reference;

use clipsoid::element::Element;
use clipsoid::linear::covariance::Precision;
use clipsoid::linear::moments::{Moments, OnInvalid};
use clipsoid::linear::score::{Reference, conformity};
use clipsoid::math::aligned::Aligned;
use clipsoid::math::dots::dots;
use clipsoid::pack::ScaledRows;
use clipsoid::quadratic::conformity::pairwise_conformity;
use clipsoid::rows::{AnyRows, Rows};
use clipsoid::simd::{Isa, Kernel};
use clipsoid::tiles::{SIDE, Which, for_each_tile};
use clipsoid::{Context, Control, Level};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use half::{bf16, f16};
use reference::*;
use std::hint::black_box;
use std::time::Duration;

const DIM: usize = 512;
/// Rows of a block: a whole one, so that no accumulator has to keep a rest.
const ROWS: usize = 1024;

/// An element type that a bench can make rows of.
trait Stored: Element {
    fn rows(elements: &[Self]) -> AnyRows<'_>;
    fn of(x: f64) -> Self;
}

macro_rules! stored {
    ($($type:ty, $variant:ident, $of:expr;)*) => {$(
        impl Stored for $type {
            fn rows(elements: &[Self]) -> AnyRows<'_> {
                AnyRows::$variant(Rows::new(elements, DIM))
            }
            fn of(x: f64) -> Self {
                $of(x)
            }
        }
    )*};
}
stored! {
    f16, F16, f16::from_f64;
    bf16, Bf16, bf16::from_f64;
    f32, F32, |x| x as f32;
    f64, F64, |x| x;
}

fn elements<E: Stored>(rows: usize) -> Vec<E> {
    numbers(rows * DIM).map(E::of).collect()
}

fn best() -> Level {
    Level::available().pop().expect("one level at least")
}

/// Runs `work` under each level, on one thread.
fn at_every_level(group: &mut BenchmarkGroup<WallTime>, name: &str, mut work: impl FnMut(&Context)) {
    let control = Control::default();
    for level in Level::available() {
        let context = Context { level, threads: 1, control: &control };
        group.bench_function(format!("{name}/{level:?}"), |bench| bench.iter(|| work(&context)));
    }
}

fn fit(rows: AnyRows, covariance: bool, context: &Context) {
    let mut moments = Moments::new(DIM, covariance, Precision::Auto);
    moments.update(rows, OnInvalid::Error, context).expect("finite rows");
    black_box(&moments);
}

fn reference() -> Reference {
    Reference { count: 1_000_000, unit_mean: numbers(DIM).map(|x| x / 10.0).collect(), member: true }
}

/// Norm and one dot product of rows, eight side by side.
struct Dots<'a, E> {
    rows: &'a [E],
    vector: &'a [f64],
}

impl<E: Element> Kernel for Dots<'_, E> {
    type Output = f64;
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> f64 {
        let mut total = 0.0;
        for group in self.rows.chunks_exact(8 * DIM) {
            let rows = std::array::from_fn::<_, 8, _>(|r| group[r * DIM..].as_ptr());
            // SAFETY: `group` holds eight rows of DIM elements, and this runs under `I`.
            let (squares, products) =
                unsafe { dots::<I, E, 8, 1>(isa, rows, [self.vector.as_ptr()], DIM, 0) };
            // Every result is used, or the compiler would leave rows out.
            total += squares.iter().chain(products.as_flattened()).sum::<f64>();
        }
        total
    }
}

fn linear<E: Stored>(c: &mut Criterion) {
    let (x, y): (Vec<E>, Vec<f64>) = (elements(ROWS), numbers(DIM).collect());
    let (rows, reference) = (E::rows(&x), reference());
    let bytes = || Throughput::Bytes(size_of_val(&x[..]) as u64);

    let mut group = c.benchmark_group("dots");
    group.throughput(bytes());
    group.bench_function(format!("{}/loop", E::NAME), |bench| bench.iter(|| naive_dots(&x, &y)));
    at_every_level(&mut group, E::NAME, |context| {
        black_box(context.level.dispatch(Dots { rows: &x, vector: &y }));
    });
    group.finish();

    let mut group = c.benchmark_group("moments");
    group.throughput(bytes());
    group.bench_function(format!("{}/loop", E::NAME), |bench| bench.iter(|| naive_moments(&x, DIM)));
    at_every_level(&mut group, E::NAME, |context| fit(rows, false, context));
    group.finish();

    let mut group = c.benchmark_group("score");
    group.throughput(bytes());
    group.bench_function(format!("{}/loop", E::NAME), |bench| {
        bench.iter(|| naive_dots(&x, &y));
    });
    at_every_level(&mut group, E::NAME, |context| {
        black_box(conformity(rows, &reference, context).expect("rows of DIM"));
    });
    group.finish();
}

fn stream<E: Stored>(c: &mut Criterion) {
    let x: Vec<E> = {
        let some: Vec<E> = elements(ROWS);
        let count = (1 << 30) / size_of::<E>() / DIM / ROWS;
        (0..count).flat_map(|_| some.iter().copied()).collect()
    };
    let (rows, reference, control) = (E::rows(&x), reference(), Control::default());
    let context = Context { level: best(), threads: 1, control: &control };
    let mut group = c.benchmark_group("stream");
    group.throughput(Throughput::Bytes(size_of_val(&x[..]) as u64));
    group.bench_function(format!("{}/moments", E::NAME), |bench| bench.iter(|| fit(rows, false, &context)));
    group.bench_function(format!("{}/score", E::NAME), |bench| {
        bench.iter(|| conformity(rows, &reference, &context).expect("rows of DIM"));
    });
    group.finish();
}

fn product<T: Multiplied>(c: &mut Criterion) {
    let mut group = c.benchmark_group("product");
    for depth in [256, 512, 768, 1024] {
        let mut operands = Operands::<T>::new(SIDE, depth);
        check_products(best(), &mut operands);
        group.throughput(Throughput::Elements(operands.flops() as u64));
        let name = |contender: &str| format!("{} {depth}/{contender}", T::NAME);
        for level in Level::available() {
            let (packed, mut tile) = (operands.packed(level), Aligned::default());
            group.bench_function(name(level.name()), |bench| bench.iter(|| own(level, &packed, &mut tile)));
        }
        group.bench_function(name("matrixmultiply"), |b| b.iter(|| T::matrixmultiply(&mut operands)));
        group.bench_function(name("gemm"), |b| b.iter(|| T::gemm(&mut operands)));
        if depth == DIM {
            group.bench_function(name("loop"), |bench| bench.iter(|| naive_product(&mut operands)));
            group.throughput(Throughput::Elements(best().dispatch(Peak::<T>::new(10_000)) as u64));
            group.bench_function(name("peak"), |b| b.iter(|| best().dispatch(Peak::<T>::new(10_000))));
        }
    }
    group.finish();
}

fn tiles<E: Stored>(c: &mut Criterion) {
    let x: Vec<E> = elements(16 * SIDE);
    let (rows, scale) = (Rows::new(&x, DIM), vec![0.5; 16 * SIDE]);
    let all = ScaledRows { rows, scale: &scale };
    let few = |count: usize| ScaledRows { rows: rows.slice(0..count), scale: &scale[..count] };
    let run = |left: ScaledRows<E>, right: ScaledRows<E>, context: &Context| {
        let reduce = |_, tile: &mut clipsoid::tiles::Tile<E::Real>| black_box(tile.column(0)[0]);
        for_each_tile(left, right, Which::All, context, reduce, |_, _| ()).expect("nobody cancels");
    };

    // Packing and product, as every quadratic statistic runs them.
    let mut group = c.benchmark_group("tiles");
    group.throughput(Throughput::Elements(2 * (8 * SIDE * 16 * SIDE * DIM) as u64));
    at_every_level(&mut group, E::NAME, |context| run(few(8 * SIDE), all, context));
    group.finish();

    // Against a single row, almost all of the time is packing.
    let mut group = c.benchmark_group("packing");
    group.throughput(Throughput::Bytes((4 * SIDE * DIM * size_of::<E>()) as u64));
    at_every_level(&mut group, E::NAME, |context| run(few(4 * SIDE), few(1), context));
    group.finish();
}

fn quadratic<E: Stored>(c: &mut Criterion) {
    let x: Vec<E> = elements(2 * ROWS);
    let mut group = c.benchmark_group("covariance");
    group.throughput(Throughput::Elements((ROWS * DIM * (DIM + 1)) as u64));
    let block = &x[..ROWS * DIM];
    group.bench_function(format!("{}/loop", E::NAME), |bench| bench.iter(|| naive_scatter(block, DIM)));
    at_every_level(&mut group, E::NAME, |context| fit(E::rows(block), true, context));
    group.finish();

    let mut group = c.benchmark_group("pairwise");
    group.throughput(Throughput::Elements((2 * ROWS * (2 * ROWS + 1) * DIM) as u64));
    at_every_level(&mut group, E::NAME, |context| {
        black_box(pairwise_conformity(E::rows(&x), OnInvalid::Error, context).expect("finite rows"));
    });
    group.finish();
}

fn main() {
    let mut c = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .configure_from_args();
    linear::<f16>(&mut c);
    linear::<bf16>(&mut c);
    linear::<f32>(&mut c);
    linear::<f64>(&mut c);
    stream::<f16>(&mut c);
    stream::<f32>(&mut c);
    product::<f32>(&mut c);
    product::<f64>(&mut c);
    tiles::<f16>(&mut c);
    tiles::<f32>(&mut c);
    tiles::<f64>(&mut c);
    quadratic::<f32>(&mut c);
    quadratic::<f64>(&mut c);
    c.final_summary();
}
