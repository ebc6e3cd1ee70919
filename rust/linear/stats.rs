//! Count, mean, variance, minimum and maximum of a stream of numbers.

use crate::math::norm::SAFE;

/// Statistics of one variable, by Welford's update and Chan's merge.
///
/// `push` is sequential: the result depends on the numbers and their order alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    /// How many numbers.
    pub count: u64,
    /// Their mean; 0 when there are none.
    pub mean: f64,
    /// The sum of their squared deviations from the mean.
    pub squares: f64,
    /// The least; infinity when there are none.
    pub min: f64,
    /// The greatest; minus infinity when there are none.
    pub max: f64,
}

impl Default for Stats {
    fn default() -> Self {
        Stats { count: 0, mean: 0.0, squares: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Stats {
    /// Of numbers that are at hand.
    pub fn of(numbers: &[f64]) -> Self {
        // Lane by lane, because one sum is a chain that waits for each addition.
        let sum = |of: &dyn Fn(f64) -> f64| {
            let (chunks, rest) = numbers.as_chunks::<8>();
            let mut lanes = [0.0; 8];
            for chunk in chunks {
                for i in 0..8 {
                    lanes[i] += of(chunk[i]);
                }
            }
            lanes.into_iter().sum::<f64>() + rest.iter().map(|&x| of(x)).sum::<f64>()
        };
        if numbers.is_empty() {
            return Stats::default();
        }
        let mean = sum(&|x| x) / numbers.len() as f64;
        if !mean.is_finite() {
            // The sum left the range of float64, which no mean of finite numbers does.
            return numbers.iter().copied().collect();
        }
        Stats {
            count: numbers.len() as u64,
            mean,
            squares: sum(&|x| (x - mean) * (x - mean)),
            min: numbers.iter().copied().fold(f64::INFINITY, f64::min),
            max: numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }

    /// Adds a number.
    pub fn push(&mut self, x: f64) {
        self.count += 1;
        let delta = x - self.mean;
        self.mean += delta / self.count as f64;
        self.squares += delta * (x - self.mean);
        self.min = self.min.min(x);
        self.max = self.max.max(x);
    }

    /// Adds the numbers of another stream.
    pub fn merge(&mut self, other: &Stats) {
        if other.count == 0 {
            return;
        }
        let (n, k) = (self.count as f64, other.count as f64);
        let delta = other.mean - self.mean;
        self.count += other.count;
        self.mean += delta * (k / (n + k));
        self.squares += other.squares + delta * delta * (n * k / (n + k));
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Variance with ddof 0; NaN when there are no numbers.
    pub fn variance(&self) -> f64 {
        self.squares / self.count as f64
    }

    /// Root of the mean square of numbers that are not negative; where squares leave the range of
    /// float64, the bound that is the root of the mean times the greatest.
    pub fn root_mean_square(&self) -> f64 {
        let square = self.mean * self.mean + self.variance();
        if SAFE.contains(&square) { square.sqrt() } else { self.mean.sqrt() * self.max.sqrt() }
    }
}

impl FromIterator<f64> for Stats {
    fn from_iter<T: IntoIterator<Item = f64>>(numbers: T) -> Self {
        let mut stats = Stats::default();
        numbers.into_iter().for_each(|x| stats.push(x));
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_root_mean_square_is_bounded_beyond_the_range_of_squares() {
        for scale in [1e-300, 1e-200, 1.0, 1e200, 1e300] {
            let stats: Stats = [3.0, 1.0, 5.0, 1.0].iter().map(|x| x * scale).collect();
            let found = stats.root_mean_square() / scale;
            // Of a mean of 2.5 and a greatest of 5.
            let want = if scale == 1.0 { 3.0 } else { 12.5f64.sqrt() };
            assert!((found - want).abs() < 1e-14, "{scale}: {found}");
        }
    }

    #[test]
    fn the_mean_of_the_greatest_numbers_is_one_of_them() {
        let greatest = [f64::MAX; 20];
        assert_eq!(Stats::of(&greatest), greatest.into_iter().collect());
        assert_eq!(Stats::of(&greatest).mean, f64::MAX);
        assert_eq!(Stats::of(&[]), Stats::default());
    }

    proptest! {
        #[test]
        fn equals_the_definition_and_merges(x in prop::collection::vec(-1e3f64..1e3, 1..200), cut in 0usize..200) {
            let cut = cut.min(x.len());
            let n = x.len() as f64;
            let mean = x.iter().sum::<f64>() / n;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            let mut halves: Stats = x[..cut].iter().copied().collect();
            halves.merge(&x[cut..].iter().copied().collect());
            for stats in [x.iter().copied().collect(), Stats::of(&x), halves] {
                prop_assert_eq!(stats.count, x.len() as u64);
                prop_assert!((stats.mean - mean).abs() <= 1e-12 * 1e3);
                prop_assert!((stats.variance() - variance).abs() <= 1e-12 * 1e6);
                prop_assert_eq!(stats.min, x.iter().copied().fold(f64::INFINITY, f64::min));
                prop_assert_eq!(stats.max, x.iter().copied().fold(f64::NEG_INFINITY, f64::max));
            }
        }
    }
}
