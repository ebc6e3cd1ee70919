//! The tile product's share of the machine's peak, beside the crates that multiply matrices.
//!
//! Contenders take turns in every round, so that what else the machine does falls on all of them:
//! this is the comparison to trust, `kernels` the one to work with. Prints JSON: GFLOP/s of one
//! thread, medians of the rounds.
//!
//! - `peak`: multiply-adds between registers.
//! - `product`: the crate's product of packed panels. `tiles`: the same with all that comes before
//!   it, rows widened, scaled and packed once for several tiles, as every quadratic statistic runs.
//! - `matrixmultiply`, `gemm`: one call for one tile, packing included.

mod reference;

use clipsoid::math::aligned::Aligned;
use clipsoid::pack::ScaledRows;
use clipsoid::rows::Rows;
use clipsoid::tiles::{EVERY, SIDE, Which, for_each_tile};
use clipsoid::{Context, Control, Level};
use reference::*;
use std::hint::black_box;

const ROUNDS: usize = 9;
/// Tiles of one turn.
const REPEATS: usize = 8;
const DEPTHS: [usize; 4] = [256, 512, 768, 1024];
/// Rows on either side of the run over tiles: enough for jobs of several tiles.
const TILES: (usize, usize) = (8 * SIDE, 32 * SIDE);

/// GFLOP/s by name.
type Rates = Vec<(&'static str, f64)>;

/// Seconds of one tile, with operands that the contender itself brought into the cache.
fn turn(mut work: impl FnMut()) -> f64 {
    work();
    seconds(|| (0..REPEATS).for_each(|_| work())) / REPEATS as f64
}

fn rates<T: Multiplied>(depth: usize) -> Rates {
    let level = Level::available().pop().expect("one level at least");
    let mut operands = Operands::<T>::new(SIDE, depth);
    check_products(level, &mut operands);
    let packed = operands.packed(level);
    let mut tile = Aligned::default();
    let elements: Vec<T> = numbers(TILES.1 * depth).map(T::from_f64).collect();
    let control = Control::default();
    let context = Context { level, threads: 1, control: &control };
    let scale = vec![0.5; TILES.1];
    let rows = Rows::new(&elements, depth);
    let left = ScaledRows::new(rows.slice(0..TILES.0), &scale[..TILES.0]);
    let right = ScaledRows::new(rows, &scale);

    let names = ["peak", "product", "tiles", "matrixmultiply", "gemm"];
    let mut found = names.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        let flops = operands.flops();
        let mut done = 0.0;
        let time = seconds(|| done = level.dispatch(Peak::<T>::new(100_000)));
        found[0].push(done / time);
        found[1].push(flops / turn(|| own(level, &packed, &mut tile)));
        let time = seconds(|| {
            for_each_tile(
                left,
                right,
                Which::All(EVERY),
                &context,
                |_, tile| black_box(tile.column(0)[0]),
                |_, _| (),
            )
            .expect("nobody cancels");
        });
        found[2].push(2.0 * (TILES.0 * TILES.1 * depth) as f64 / time);
        found[3].push(flops / turn(|| T::matrixmultiply(&mut operands)));
        found[4].push(flops / turn(|| T::gemm(&mut operands)));
    }
    names.into_iter().zip(found.map(|rates| median(rates) / 1e9)).collect()
}

fn main() {
    let line = |name: &str, depth: usize, rates: Rates| {
        let rates: Vec<String> = rates.iter().map(|(name, rate)| format!("\"{name}\": {rate:.1}")).collect();
        format!("  {{\"dtype\": \"{name}\", \"depth\": {depth}, {}}}", rates.join(", "))
    };
    let mut lines = Vec::new();
    for depth in DEPTHS {
        lines.push(line("float32", depth, rates::<f32>(depth)));
        lines.push(line("float64", depth, rates::<f64>(depth)));
    }
    println!("[\n{}\n]", lines.join(",\n"));
}
