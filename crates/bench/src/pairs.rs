//! A B A B …: a disturbance meets both halves of a pair, and the median ignores the worst pairs.

/// Two things, measured in turn.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    ours: Vec<f64>,
    baseline: Vec<f64>,
}

impl Pairs {
    pub(crate) fn push(&mut self, ours: f64, baseline: f64) {
        self.ours.push(ours);
        self.baseline.push(baseline);
    }

    pub(crate) fn ours(&self) -> f64 {
        median(&self.ours)
    }

    pub(crate) fn baseline(&self) -> f64 {
        median(&self.baseline)
    }

    /// The ratio of each pair.
    fn ratios(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.baseline).map(|(ours, baseline)| ours / baseline).collect()
    }

    pub(crate) fn ratio(&self) -> f64 {
        median(&self.ratios())
    }

    /// The least and the greatest ratio.
    pub(crate) fn spread(&self) -> [f64; 2] {
        let ratios = self.ratios();
        [ratios.iter().copied().fold(f64::INFINITY, f64::min), ratios.iter().copied().fold(0.0, f64::max)]
    }
}

pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The smallest value that is at least as large as this share of the values; NaN without values.
pub(crate) fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: the ratio is the median of the pairs' ratios, not a ratio of medians. A quantile is a measured value.
    #[test]
    fn ratios_are_of_pairs() {
        let mut pairs = Pairs::default();
        for (ours, baseline) in [(10.0, 10.0), (90.0, 100.0), (8.0, 10.0)] {
            pairs.push(ours, baseline);
        }
        assert_eq!(pairs.ratio(), 0.9);
        assert_eq!(pairs.spread(), [0.8, 1.0]);
        assert_eq!((pairs.ours(), pairs.baseline()), (10.0, 10.0));

        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((quantile(&values, 0.99), quantile(&values, 0.5)), (99.0, 50.0));
        assert_eq!(quantile(&[7.0], 0.99), 7.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
