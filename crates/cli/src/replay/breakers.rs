//! Whether the RPCs that get messages answer now, by the reports of their workers.

use std::collections::BTreeSet;

use outbox_transport::operate::Operator;
use outbox_transport::process::Breaker;

/// A sentence for each RPC that a running worker has taken away. It is only a warning, so an error is none.
pub(super) async fn open(transports: &[impl Operator], rpcs: &BTreeSet<String>) -> Vec<String> {
    let mut away = BTreeSet::new();
    for transport in transports {
        let seen = transport.processes().await.unwrap_or_default();
        let running = seen.iter().filter(|one| one.seen_seconds_ago <= one.silent_after_seconds);
        for report in running.flat_map(|one| &one.process.report.rpcs) {
            if report.breaker == Breaker::Away && rpcs.contains(&report.rpc) {
                away.insert(report.rpc.clone());
            }
        }
    }
    away.into_iter().map(|rpc| format!("the server of {rpc} does not answer: its breaker is open")).collect()
}
