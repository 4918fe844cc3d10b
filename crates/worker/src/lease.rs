//! Leasing: reads messages, and requests the leases of a whole batch from the dedup record, unless the queue gave them with
//! the messages.

use std::sync::Arc;
use std::time::Duration;

use outbox_event::{EventId, Message, MessageError};
use outbox_runtime::{Chain, Part};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use outbox_transport::{Dedup, Delivery, Lease, LeaseAnswer};

/// A delivery whose body was read, and the dedup record's answer for it.
pub(crate) struct Leased<R> {
    /// Without its body.
    pub(crate) delivery: Delivery<R>,
    /// Read once, because a payload may be large.
    pub(crate) message: Result<Message<'static>, MessageError>,
    /// None if the body names no event, or if the record did not answer in time.
    pub(crate) answer: Option<LeaseAnswer>,
    /// The lease was requested then, or later.
    pub(crate) asked_at: Instant,
    /// From then on another worker may soon have the lease, so no call begins.
    pub(crate) fresh_until: Instant,
}

pub(crate) struct Leasing<D> {
    pub(crate) dedup: Arc<D>,
    pub(crate) visibility: Duration,
    pub(crate) metrics: Metrics,
    pub(crate) part: Part,
    pub(crate) stop: CancellationToken,
}

impl<D: Dedup> Leasing<D> {
    /// Each delivery with its answer, and whether the record answered all requests.
    pub(crate) async fn lease<R>(&self, deliveries: Vec<Delivery<R>>) -> (Vec<Leased<R>>, bool) {
        let leased_since =
            deliveries.iter().filter_map(|delivery| delivery.lease).map(|(_, since)| since).min();
        let asked_at = leased_since.unwrap_or_else(Instant::now);
        let fresh_until = asked_at + self.visibility / 2;
        let leased = |mut delivery: Delivery<R>| {
            let answer = delivery.lease.take().map(|(lease, _)| LeaseAnswer::Won(lease));
            let body = std::mem::take(&mut delivery.body);
            let message = Message::decode(&body).map(Message::into_owned);
            Leased { delivery, message, answer, asked_at, fresh_until }
        };
        let mut batch: Vec<Leased<R>> = deliveries.into_iter().map(leased).collect();
        let unknown = batch.iter().enumerate().filter(|(_, leased)| leased.answer.is_none());
        let (places, events): (Vec<usize>, Vec<EventId>) =
            unknown.filter_map(|(at, leased)| Some((at, leased.message.as_ref().ok()?.event.id))).unzip();
        // Deliveries that arrived during a stop go back at once.
        let answers = if events.is_empty() || self.stop.is_cancelled() {
            Some(Vec::new())
        } else {
            self.ask(&events, fresh_until).await
        };
        let Some(answers) = answers else { return (batch, false) };
        self.part.moves();
        for (at, answer) in places.into_iter().zip(answers) {
            if let LeaseAnswer::WonAfter(_, made) = answer {
                batch[at].delivery.attempt = made.saturating_add(1);
            }
            batch[at].answer = Some(answer);
        }
        (batch, true)
    }

    async fn ask(&self, events: &[EventId], fresh_until: Instant) -> Option<Vec<LeaseAnswer>> {
        match Box::pin(self.dedup.lease(events)).await {
            Ok(answers) if Instant::now() < fresh_until => return Some(answers),
            Ok(_) => {
                self.part.waits("the dedup record answers too late");
                tracing::warn!(rpc = %self.metrics.rpc, "not calling: the dedup record answered so late that the leases are old");
            }
            Err(error) => {
                self.part.waits(format!("can't ask what was done before: {}", Chain(&error)));
                tracing::warn!(rpc = %self.metrics.rpc, error = %Chain(&error), "not calling: can't ask what was done before");
            }
        }
        self.metrics.failed("claim");
        None
    }
}

impl<R> Leased<R> {
    /// The lease to record or to give back, if this worker has it.
    pub(crate) fn lease(&self) -> Option<Lease> {
        match self.answer? {
            LeaseAnswer::Won(lease) | LeaseAnswer::WonAfter(lease, _) => Some(lease),
            LeaseAnswer::Done | LeaseAnswer::Early { .. } | LeaseAnswer::Held { .. } => None,
        }
    }
}
