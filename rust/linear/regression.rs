//! Least squares of one variable on another, in both directions, from one stream of pairs.
//!
//! For conformity this is Definition 2 of Levi & Gilboa (ICML 2025), `c ~ a cos(m, x) + b`. The two
//! directions differ: `slope * inverse_slope = pearson^2`.

/// Joint moments of pairs `(x, y)`, by Welford's update and Chan's merge.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Regression {
    /// How many pairs.
    pub count: u64,
    /// Mean of x.
    pub mean_x: f64,
    /// Mean of y.
    pub mean_y: f64,
    /// Sum of squared deviations of x.
    pub squares_x: f64,
    /// Sum of squared deviations of y.
    pub squares_y: f64,
    /// Sum of products of deviations.
    pub products: f64,
}

/// A straight line and how well it fits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// `y ~ slope x + intercept`.
    pub slope: f64,
    /// See `slope`.
    pub intercept: f64,
    /// `x ~ inverse_slope y + inverse_intercept`.
    pub inverse_slope: f64,
    /// See `inverse_slope`.
    pub inverse_intercept: f64,
    /// Pearson correlation, in [-1, 1].
    pub pearson: f64,
}

impl Regression {
    /// Adds a pair.
    pub fn push(&mut self, x: f64, y: f64) {
        self.count += 1;
        let n = self.count as f64;
        let (dx, dy) = (x - self.mean_x, y - self.mean_y);
        self.mean_x += dx / n;
        self.mean_y += dy / n;
        self.squares_x += dx * (x - self.mean_x);
        self.squares_y += dy * (y - self.mean_y);
        self.products += dx * (y - self.mean_y);
    }

    /// Adds the pairs of another stream.
    pub fn merge(&mut self, other: &Regression) {
        if other.count == 0 {
            return;
        }
        let (n, k) = (self.count as f64, other.count as f64);
        let (dx, dy) = (other.mean_x - self.mean_x, other.mean_y - self.mean_y);
        let weight = n * k / (n + k);
        self.count += other.count;
        self.mean_x += dx * (k / (n + k));
        self.mean_y += dy * (k / (n + k));
        self.squares_x += other.squares_x + dx * dx * weight;
        self.squares_y += other.squares_y + dy * dy * weight;
        self.products += other.products + dx * dy * weight;
    }

    /// The line in both directions; NaN where a variable does not vary.
    pub fn line(&self) -> Line {
        let slope = self.products / self.squares_x;
        let inverse_slope = self.products / self.squares_y;
        let pearson = self.products / (self.squares_x.sqrt() * self.squares_y.sqrt());
        Line {
            slope,
            intercept: self.mean_y - slope * self.mean_x,
            inverse_slope,
            inverse_intercept: self.mean_x - inverse_slope * self.mean_y,
            pearson: pearson.clamp(-1.0, 1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_recovered_and_merges() {
        let x: Vec<f64> = (0..101).map(|i| f64::from(i) * 0.01 - 0.3).collect();
        let (mut whole, mut first, mut second) = <(Regression, Regression, Regression)>::default();
        for (i, &x) in x.iter().enumerate() {
            let y = 0.73 * x - 0.002;
            whole.push(x, y);
            if i < 40 { first.push(x, y) } else { second.push(x, y) }
        }
        first.merge(&second);
        for line in [whole.line(), first.line()] {
            assert!((line.slope - 0.73).abs() < 1e-13);
            assert!((line.intercept + 0.002).abs() < 1e-13);
            assert!((line.inverse_slope - 1.0 / 0.73).abs() < 1e-12);
            assert!((line.inverse_intercept - 0.002 / 0.73).abs() < 1e-12);
            assert!((line.pearson - 1.0).abs() < 1e-14);
        }
    }

    #[test]
    fn a_constant_has_no_slope() {
        let mut constant = Regression::default();
        constant.push(1.0, 2.0);
        constant.push(1.0, 3.0);
        assert!(constant.line().slope.is_nan() && constant.line().pearson.is_nan());
    }
}
