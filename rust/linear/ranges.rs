//! The least and the greatest number of each feature.
//!
//! Exact, whatever the element type. A NaN is passed over; what refuses such rows is [`super::moments`].

use super::streams::{Visit, side_by_side};
use crate::blocks::for_each_block;
use crate::element::Element;
use crate::error::Error;
use crate::math::aligned::Aligned;
use crate::math::dots::{ahead, lead};
use crate::rows::{AnyRows, Rows};
use crate::schedule::Context;
use crate::simd::{Isa, Kernel};
use crate::with_rows;

/// Rows compared in registers before the running ranges are touched.
const GROUP: usize = 4;

/// The range of each feature.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges {
    /// The least; infinity when there are no rows.
    pub low: Vec<f64>,
    /// The greatest; minus infinity when there are no rows.
    pub high: Vec<f64>,
}

impl Ranges {
    /// Of no rows.
    pub fn new(dim: usize) -> Self {
        Ranges { low: vec![f64::INFINITY; dim], high: vec![f64::NEG_INFINITY; dim] }
    }

    /// Adds the ranges of other rows.
    pub fn merge(&mut self, low: &[f64], high: &[f64]) {
        let keep = |kept: &mut f64, x: f64, better: bool| {
            if better {
                *kept = x;
            }
        };
        self.low.iter_mut().zip(low).for_each(|(kept, &x)| keep(kept, x, x < *kept));
        self.high.iter_mut().zip(high).for_each(|(kept, &x)| keep(kept, x, x > *kept));
    }
}

/// The range of each feature of `rows`.
pub fn ranges(rows: AnyRows, context: &Context) -> Result<Ranges, Error> {
    let mut all = Ranges::new(rows.dim());
    with_rows!(rows, rows => for_each_block(
        rows,
        context,
        || rows.scratch(GROUP),
        |scratch, _, rows| Ok(context.level.dispatch(Extremes { rows, scratch })),
        |[low, high]| {
            all.merge(&low, &high);
            Ok(())
        },
    ))?;
    Ok(all)
}

/// The kernel: lows and highs of a block.
struct Extremes<'a, E> {
    rows: Rows<'a, E>,
    scratch: &'a mut [E],
}

impl<E: Element> Kernel for Extremes<'_, E> {
    type Output = [Aligned<f64>; 2];
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> Self::Output {
        let (count, dim) = (self.rows.count(), self.rows.dim());
        let mut widening = Widening { of: self, low: Aligned::zeros(dim), high: Aligned::zeros(dim) };
        widening.low.fill(f64::INFINITY);
        widening.high.fill(f64::NEG_INFINITY);
        side_by_side::<I, GROUP>(isa, count, &mut widening);
        [widening.low, widening.high]
    }
}

struct Widening<'a, E> {
    of: Extremes<'a, E>,
    low: Aligned<f64>,
    high: Aligned<f64>,
}

impl<E: Element> Visit for Widening<'_, E> {
    #[inline(always)]
    fn visit<I: Isa, const R: usize>(&mut self, isa: I, numbers: [usize; R]) {
        let Widening { of: Extremes { rows, scratch }, low, high } = self;
        let (dim, rows) = (low.len(), rows.group(numbers, scratch));
        let body = dim - dim % I::LANES_F64;
        let (lows, highs) = (low.as_mut_ptr(), high.as_mut_ptr());
        let mut k = 0;
        while k < body {
            // SAFETY: k + LANES_F64 <= dim, the length of every row and of both vectors.
            unsafe {
                let (mut least, mut greatest) = (isa.load_f64(lows.add(k)), isa.load_f64(highs.add(k)));
                for r in 0..R {
                    ahead(isa, rows[r], k, lead::<E>(dim));
                    let x = E::load_f64(isa, rows[r].add(k));
                    least = isa.min_f64(x, least);
                    greatest = isa.max_f64(x, greatest);
                }
                isa.store_f64(lows.add(k), least);
                isa.store_f64(highs.add(k), greatest);
            }
            k += I::LANES_F64;
        }
        for k in body..dim {
            for r in 0..R {
                // SAFETY: k < dim.
                let x = unsafe { rows[r].add(k).read_unaligned() }.to_f64();
                low[k] = if x < low[k] { x } else { low[k] };
                high[k] = if x > high[k] { x } else { high[k] };
            }
        }
    }
}
