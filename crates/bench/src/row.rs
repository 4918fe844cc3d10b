//! One result, and its target.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::pairs::Pairs;

/// One result.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    bench: &'static str,
    params: Map<String, Value>,
    ours: f64,
    baseline: Option<f64>,
    pub(crate) ratio: Option<f64>,
    unit: &'static str,
    /// The least and the greatest ratio of the pairs.
    pub(crate) spread: Option<[f64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) must: Option<Must>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) met: Option<bool>,
}

/// The target of a row.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Must {
    RatioAtLeast(f64),
    RatioAtMost(f64),
    OursAtMost(f64),
    /// Not more than this above the baseline, in the row's unit.
    AboveBaselineAtMost(f64),
}

impl Row {
    pub(crate) fn of_pairs(bench: &'static str, unit: &'static str, pairs: &Pairs) -> Self {
        Self {
            baseline: Some(pairs.baseline()),
            ratio: Some(pairs.ratio()),
            spread: Some(pairs.spread()),
            ..Self::alone(bench, unit, pairs.ours())
        }
    }

    /// A result without a baseline.
    pub(crate) fn alone(bench: &'static str, unit: &'static str, ours: f64) -> Self {
        let params = Map::new();
        Self { bench, params, ours, baseline: None, ratio: None, unit, spread: None, must: None, met: None }
    }

    pub(crate) fn with(mut self, param: &str, value: impl Into<Value>) -> Self {
        self.params.insert(param.to_owned(), value.into());
        self
    }

    pub(crate) fn must(mut self, must: Must) -> Self {
        self.met = Some(match must {
            Must::RatioAtLeast(least) => self.ratio.is_some_and(|ratio| ratio >= least),
            Must::RatioAtMost(most) => self.ratio.is_some_and(|ratio| ratio <= most),
            Must::OursAtMost(most) => self.ours <= most,
            Must::AboveBaselineAtMost(most) => {
                self.baseline.is_some_and(|baseline| self.ours <= baseline + most)
            }
        });
        self.must = Some(must);
        self
    }

    pub(crate) fn ours(&self) -> f64 {
        self.ours
    }

    fn params(&self) -> String {
        let params: Vec<String> = self.params.iter().map(|(name, value)| param(name, value)).collect();
        params.join(", ")
    }

    /// What was measured, in one line.
    pub(crate) fn label(&self) -> String {
        format!("{}, {}", self.bench, self.params())
    }

    pub(crate) fn cells(&self) -> [String; 7] {
        let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), figure);
        let (must, met) = match (self.must, self.met) {
            (Some(must), Some(met)) => (must.to_string(), if met { "yes" } else { "**no**" }),
            _ => (String::new(), ""),
        };
        [
            format!("`{}`", self.bench),
            self.params(),
            format!("{} {}", figure(self.ours), self.unit),
            self.baseline
                .map_or_else(|| "–".to_owned(), |baseline| format!("{} {}", figure(baseline), self.unit)),
            match self.spread {
                Some([least, most]) => format!("{} [{}–{}]", number(self.ratio), figure(least), figure(most)),
                None => number(self.ratio),
            },
            must,
            met.to_owned(),
        ]
    }
}

fn param(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) => format!("{name} {text}"),
        other => format!("{name} {other}"),
    }
}

impl std::fmt::Display for Must {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Must::RatioAtLeast(least) => write!(f, "ratio ≥ {least}"),
            Must::RatioAtMost(most) => write!(f, "ratio ≤ {most}"),
            Must::OursAtMost(most) => write!(f, "≤ {most}"),
            Must::AboveBaselineAtMost(most) => write!(f, "≤ baseline + {most}"),
        }
    }
}

/// Three significant digits, and never more than were measured.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => {
            let digits = format!("{value:.0}");
            let mut parts: Vec<&str> =
                digits.as_bytes().rchunks(3).filter_map(|part| str::from_utf8(part).ok()).collect();
            parts.reverse();
            parts.join(",")
        }
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: figures show no more digits than were measured, and a missed target is marked.
    #[test]
    fn rows_say_whether_they_reach_what_they_must() {
        assert_eq!(
            [1_234_567.8, 12_005.0, 123.4, 12.34, 0.987].map(figure),
            ["1,234,568", "12,005", "123", "12.3", "0.99"]
        );
        let mut pairs = Pairs::default();
        pairs.push(9.0, 10.0);
        let row = |must| Row::of_pairs("wake", "ms", &pairs).must(must);
        assert_eq!(row(Must::RatioAtLeast(0.9)).met, Some(true));
        assert_eq!(row(Must::RatioAtLeast(0.95)).met, Some(false));
        assert_eq!(row(Must::RatioAtMost(1.0)).met, Some(true));
        assert_eq!(row(Must::AboveBaselineAtMost(3.0)).met, Some(true));
        assert_eq!(Row::alone("memory", "MB", 70.0).must(Must::OursAtMost(64.0)).met, Some(false));
    }
}
