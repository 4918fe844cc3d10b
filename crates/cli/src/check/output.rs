use outbox_event_router::Router;
use outbox_finding::{Finding, Report, Severity};
use serde::Serialize;

use crate::safe;
use crate::show::counted;
use crate::terminal::is_coloured;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people: the source line, underlined.
    Text,
    /// One object: errors, warnings, findings.
    Json,
    /// Annotations of a GitHub workflow.
    Github,
}

impl Format {
    pub(crate) fn render(self, report: &Report, router: &Router) -> String {
        match self {
            Format::Text => text(report, router),
            Format::Json => safe::json(&json(report)).into_owned(),
            Format::Github => safe::text(&github(report)).into_owned(),
        }
    }
}

fn text(report: &Report, router: &Router) -> String {
    // Only colours of ours are left: the report makes a file's control characters visible.
    let findings = match is_coloured() {
        true => report.styled(),
        false => safe::text(&report.to_string()).into_owned(),
    };
    if report.is_empty() {
        let (events, routes) = (router.events().count(), router.routes().count());
        return format!("ok: {}, {}", counted(events, "event"), counted(routes, "subscriber"));
    }
    format!("{findings}\n\n{}", summary(report))
}

fn summary(report: &Report) -> String {
    let (errors, warnings) = (report.count(Severity::Error), report.count(Severity::Warning));
    match (errors, warnings) {
        (0, warnings) => counted(warnings, "warning"),
        (errors, 0) => counted(errors, "error"),
        (errors, warnings) => format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")),
    }
}

#[derive(Serialize)]
struct Json<'a> {
    errors: usize,
    warnings: usize,
    findings: Vec<JsonFinding<'a>>,
}

#[derive(Serialize)]
struct JsonFinding<'a> {
    severity: &'static str,
    file: &'a str,
    line: usize,
    column: usize,
    message: &'a str,
    hint: &'a str,
}

fn json(report: &Report) -> String {
    let findings = report.findings().iter().map(|Finding { severity, place, message, hint }| JsonFinding {
        severity: severity.as_str(),
        file: &place.file,
        line: place.line,
        column: place.column,
        message,
        hint,
    });
    let json = Json {
        errors: report.count(Severity::Error),
        warnings: report.count(Severity::Warning),
        findings: findings.collect(),
    };
    serde_json::to_string_pretty(&json).expect("texts and numbers serialize")
}

fn github(report: &Report) -> String {
    let annotation = |Finding { severity, place, message, hint }: &Finding| {
        format!(
            "::{} file={},line={},col={},title=outbox check::{}",
            severity.as_str(),
            property(&place.file),
            place.line,
            place.column,
            data(&format!("{message}\n{hint}"))
        )
    };
    let lines = report.findings().iter().map(annotation).chain((!report.is_empty()).then(|| summary(report)));
    lines.collect::<Vec<_>>().join("\n")
}

/// Escapes what follows the second `::`, as the workflow's toolkit does.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes what stands before it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
