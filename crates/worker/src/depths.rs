//! How full the queues are, as metrics.

use std::convert::Infallible;
use std::time::Duration;

use chrono::Utc;
use event_router::Rpc;
use runtime::Chain;

use crate::queue::{Depth, Depths};

/// Looks at a queue again and again, until it is dropped.
pub(crate) async fn watch<Q: Depths>(source: &str, rpc: &Rpc, queue: &Q, every: Duration) {
    loop {
        match queue.depth().await {
            Ok(depth) => show(source, rpc, &depth),
            Err(error) => tracing::debug!(%rpc, error = %Chain(&error), "failed to look how full it is"),
        }
        tokio::time::sleep(every.mul_f64(0.9 + fastrand::f64() / 5.0)).await;
    }
}

/// Beside a lane, whose end is the end of this, too.
pub(crate) async fn for_ever<T>(watching: impl Future<Output = T>) -> Infallible {
    watching.await;
    std::future::pending().await
}

fn show(source: &str, rpc: &Rpc, depth: &Depth) {
    let labels = || [("source", source.to_owned()), ("rpc", rpc.to_string())];
    let age = depth.oldest.map_or(0, |oldest| (Utc::now() - oldest).num_milliseconds().max(0));
    metrics::gauge!("outbox_worker_queue_oldest_seconds", &labels()).set(age as f64 / 1e3);
    metrics::gauge!("outbox_worker_dead_letters", &labels()).set(depth.dead as f64);
    for (state, messages) in [("waiting", depth.waiting), ("hidden", depth.hidden)] {
        let [source, rpc] = labels();
        let labels = [source, rpc, ("state", state.to_owned())];
        metrics::gauge!("outbox_worker_queue_messages", &labels).set(messages as f64);
    }
}
