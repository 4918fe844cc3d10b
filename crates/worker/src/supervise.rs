//! Keeps one RPC's consumer running, on either transport, and beside it the measurements of its queue.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outbox_runtime::{Chain, Finished, Part};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::circuit::Circuit;
use crate::consumer::Consumer;
use crate::rpc::RpcClient;
use crate::subscriber::Subscriber;
use outbox_transport::{Dedup, Depths, Poison, Queue};

/// Only while an RPC is held.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// When a consumer ends.
#[derive(Debug, Clone)]
pub(crate) struct Stops {
    /// It receives nothing more, and finishes its calls.
    pub(crate) stop: CancellationToken,
    /// All consumers of the source end: from then on, time is limited.
    pub(crate) ending: CancellationToken,
    /// Unfinished deliveries are given back.
    pub(crate) give_up: CancellationToken,
}

/// Runs a consumer, and another one after each that panicked. `open` gives each its queue, its dedup record and the store of
/// `outbox poison`; nothing at the stop. `every` is the pause between measurements of the queue's depth.
pub(crate) async fn consume<Q: Queue + Depths, D: Dedup, P: Poison, C: RpcClient + Clone, F>(
    subscriber: &Subscriber<C>,
    part: &Part,
    every: Duration,
    stops: &Stops,
    open: impl Fn() -> F,
) -> Finished
where
    F: Future<Output = Option<(Arc<Q>, D, Arc<P>)>>,
{
    let Subscriber { circuit, duty, metrics, unrecorded, .. } = subscriber;
    let (stop, began) = (&stops.stop, AtomicBool::new(false));
    let term = || async {
        if began.swap(true, Ordering::Relaxed) {
            // The consumer before this one panicked, and its settler ended with it.
            unrecorded.orphaned(Instant::now());
        }
        let _on_duty = duty.begins();
        let Some((queue, dedup, poison)) = open().await else { return Ok(Finished::All) };
        let consumer = Consumer::new(subscriber, Arc::clone(&queue), dedup).ending(&stops.ending);
        let watching = outbox_runtime::again("depth", part, stop, || async {
            tokio::join!(metrics.watch(&*queue, duty, every), watch_poison(&metrics.rpc, circuit, &*poison));
            Ok(())
        });
        // The consumer's end ends it.
        let never = async {
            watching.await;
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            finished = Box::pin(consumer.run(stop, &stops.give_up)) => finished,
            never = never => match never {},
        }
    };
    let finished = outbox_runtime::again(&metrics.name(), part, stop, term).await;
    finished.unwrap_or_else(|| {
        // It panicked while it finished its calls.
        unrecorded.orphaned(Instant::now());
        Finished::NotAll
    })
}

/// Asks regularly while the RPC is held, until it is dropped.
async fn watch_poison<P: Poison>(rpc: &str, circuit: &Circuit, poison: &P) {
    loop {
        // Without a timer, because there may be thousands of queues.
        circuit.asks_poison().await;
        tokio::time::sleep(ASK_EVERY).await;
        let (is_held, is_poison) =
            circuit.with(|breaker| (breaker.held().is_some(), breaker.is_poison(Instant::now())));
        if !is_held && !is_poison {
            continue;
        }
        match Box::pin(poison.poison_for()).await {
            Ok(None) if is_held => {}
            Ok(left) => {
                circuit.with(|breaker| breaker.poison(Instant::now() + left.unwrap_or_default()));
                if is_held || left.is_none() {
                    let seconds = left.unwrap_or_default().as_secs_f64();
                    tracing::warn!(%rpc, seconds, "`outbox poison` was used: for so long, events that the RPC refuses are dead-lettered and not held");
                }
            }
            Err(error) => {
                tracing::warn!(%rpc, error = %Chain(&error), "failed to ask whether `outbox poison` was used");
            }
        }
    }
}
