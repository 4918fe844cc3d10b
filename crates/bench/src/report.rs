//! Results, for programs and for people.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::pairs::Pairs;
use crate::picture;
use crate::plan::Plan;
use crate::result::Result;

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

    fn cells(&self) -> [String; 7] {
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

#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    rows: Vec<Row>,
    began: Instant,
}

const HEAD: [&str; 7] = ["bench", "params", "ours", "baseline", "ratio [least–greatest]", "must be", "met"];

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, rows: Vec::new(), began: Instant::now() }
    }

    pub(crate) fn begins(&self, bench: &str) {
        eprintln!("[{:>4.0} s] {bench}", self.began.elapsed().as_secs_f64());
    }

    pub(crate) fn add(&mut self, row: Row) {
        if self.json {
            println!("{}", serde_json::to_string(&row).expect("a row serializes"));
        }
        self.rows.push(row);
    }

    /// Checks early whether the table can be written there, because a run takes long.
    pub(crate) fn fits(path: &Path) -> Result<()> {
        replaced(path, "").map(drop)
    }

    /// Prints the table, and writes it to the file if one is given, with a picture beside it.
    pub(crate) fn end(&self, plan: &Plan, write: Option<&Path>) -> Result<()> {
        eprintln!("[{:>4.0} s] done", self.began.elapsed().as_secs_f64());
        if !self.json {
            println!("{}", self.table());
        }
        let Some(path) = write else { return Ok(()) };
        let machine = machine(plan);
        std::fs::write(path, replaced(path, &format!("{machine}\n\n{}", self.table()))?)?;
        Ok(std::fs::write(path.with_extension("svg"), picture::svg(&self.rows, &machine))?)
    }

    fn table(&self) -> String {
        let mut table = String::new();
        let mut line = |cells: &[String]| {
            let _ = writeln!(table, "| {} |", cells.join(" | "));
        };
        line(&HEAD.map(str::to_owned));
        line(&HEAD.map(|_| "---".to_owned()));
        self.rows.iter().for_each(|row| line(&row.cells()));
        table
    }
}

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// The file's text with these figures.
fn replaced(path: &Path, measured: &str) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = between(&text, measured);
    text.ok_or_else(|| format!("{}: no line `{BEGIN}` and then `{END}`", path.display()).into())
}

/// The text around the figures is written by hand.
fn between(text: &str, measured: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{measured}\n{END}{after}"))
}

/// The machine, the date and the versions.
fn machine(plan: &Plan) -> String {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
    };
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, cpu)| cpu);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let postgres = testkit::tools::postgres_bin().ok().map(|bin| bin.join("postgres").display().to_string());
    let postgres = postgres.and_then(|postgres| said(&postgres, &["--version"])).unwrap_or_default();
    let commit =
        said("git", &["-C", &testkit::process::root().display().to_string(), "rev-parse", "--short", "HEAD"]);
    let kind = if plan.quick { "quick run: not for quoting" } else { "full run" };
    format!(
        "Measured {} at commit {} ({kind}): {cores} cores ({}), {postgres}, {}.",
        chrono::Utc::now().format("%Y-%m-%d"),
        commit.unwrap_or_else(|| "unknown".to_owned()),
        cpu.unwrap_or("unknown"),
        said("uname", &["-sr"]).unwrap_or_default(),
    )
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

    /// Guards: the text around the figures stays.
    #[test]
    fn only_what_was_measured_is_replaced() {
        let text = format!("# Title\n{BEGIN}\nold\n{END}\nmethod\n");
        let text = between(&text, "new").unwrap();
        assert_eq!(text, format!("# Title\n{BEGIN}\n\nnew\n{END}\nmethod\n"));
        assert_eq!(between("# Title", "new"), None);
    }
}
