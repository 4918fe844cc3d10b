//! Results, for programs and for people.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::picture;
use crate::plan::Plan;
use crate::result::Result;
use crate::row::Row;

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

    /// Guards: the text around the figures stays.
    #[test]
    fn only_what_was_measured_is_replaced() {
        let text = format!("# Title\n{BEGIN}\nold\n{END}\nmethod\n");
        let text = between(&text, "new").unwrap();
        assert_eq!(text, format!("# Title\n{BEGIN}\n\nnew\n{END}\nmethod\n"));
        assert_eq!(between("# Title", "new"), None);
    }
}
