use std::path::PathBuf;

use outbox_contract::Sources;
use outbox_event_router::Router;
use outbox_finding::Severity;

use super::diagnosis::Diagnosis;
use crate::check;
use crate::options::Options;
use crate::stopped::Stopped;

/// The readable part of event_router.yaml, and the findings of `outbox check` about it.
pub(super) fn look(
    options: &Options,
    protos: &[PathBuf],
) -> Result<(Option<Router>, Vec<Diagnosis>), Stopped> {
    let file = options.router_file().display().to_string();
    let Ok(text) = std::fs::read_to_string(options.router_file()) else {
        let finding = Diagnosis::error(
            &file,
            "there is no such file",
            "pass --router FILE, as relay and worker have it",
        );
        return Ok((None, vec![finding]));
    };
    let sources = Sources { protos: protos.to_vec(), includes: Vec::new(), ..Sources::default() };
    let examined = check::examine(&file, text, (!protos.is_empty()).then_some(&sources), &|| Ok(None))?;
    let mut findings: Vec<Diagnosis> = examined
        .report
        .findings()
        .iter()
        .map(|found| match found.severity {
            Severity::Error => Diagnosis::error(&found.place.to_string(), &found.message, &found.hint),
            Severity::Warning => Diagnosis::warning(&found.place.to_string(), &found.message, &found.hint),
        })
        .collect();
    if findings.is_empty() {
        let routes = examined.router.routes().count();
        let against =
            if protos.is_empty() { ", not checked against proto (--proto)" } else { ", as proto has them" };
        findings.push(Diagnosis::ok(file, format!("{}{against}", crate::show::counted(routes, "route"))));
    }
    Ok((Some(examined.router), findings))
}
