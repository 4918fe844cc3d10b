//! Leasing: messages are read, and the right to call is asked of the dedup record for a whole batch, unless its queue gave it
//! with the messages.

use std::sync::Arc;
use std::time::Duration;

use event::{EventId, Message, MessageError};
use runtime::{Chain, Part};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use outbox_transport::{Dedup, Delivery, Lease, LeaseAnswer};

/// A delivery that was read, and what the dedup record says of it.
pub(crate) struct Leased<R> {
    /// Without its body.
    pub(crate) delivery: Delivery<R>,
    /// Read once: a payload may be large.
    pub(crate) message: Result<Message<'static>, MessageError>,
    /// None for a body that names no event, and where the record could not be asked or answered too late.
    pub(crate) answer: Option<LeaseAnswer>,
    /// The lease was asked for then, or later.
    pub(crate) asked_at: Instant,
    /// From then on another worker may soon have the lease: nothing is called any more.
    pub(crate) fresh_until: Instant,
}

/// Asks for one consumer.
pub(crate) struct Leasing<D> {
    pub(crate) dedup: Arc<D>,
    pub(crate) visibility: Duration,
    pub(crate) metrics: Metrics,
    pub(crate) part: Part,
    pub(crate) stop: CancellationToken,
}

impl<D: Dedup> Leasing<D> {
    /// Each delivery with its answer, and whether all that had to be asked could be.
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
        // What came in as the process was told to stop goes back at once.
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
    /// Ours to use, to record or to give back.
    pub(crate) fn lease(&self) -> Option<Lease> {
        match self.answer? {
            LeaseAnswer::Won(lease) | LeaseAnswer::WonAfter(lease, _) => Some(lease),
            LeaseAnswer::Done | LeaseAnswer::Early { .. } | LeaseAnswer::Held { .. } => None,
        }
    }
}
