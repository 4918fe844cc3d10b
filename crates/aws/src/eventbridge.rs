//! Amazon EventBridge. `Source` is the database's name, `DetailType` the event's, `Detail` the envelope.

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::operation::put_events::PutEventsError;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, PutEventsResultEntry};
use outbox_event::Envelope;
use outbox_transport::{BusLimits, PutError, PutErrorKind, RemoteBus};
use tokio_util::task::AbortOnDropHandle;

use crate::Failure;

/// Per request.
const ENTRIES_MAX: usize = 10;
/// For all entries of a request. Where the limit is lower, AWS says so and the request is split.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// The size that AWS counts for a time.
const TIME_BYTES: usize = 14;
const TRACE_HEADER: &str = "x-amzn-trace-id";

#[derive(Debug, Clone)]
pub struct EventBridge {
    client: Client,
    bus: String,
    source: String,
    concurrency: usize,
}

impl EventBridge {
    pub fn new(client: Client, bus: &str, source: &str, concurrency: usize) -> Self {
        Self { client, bus: bus.to_owned(), source: source.to_owned(), concurrency }
    }

    /// Sends one request. `None` if AWS refuses it as a whole, which does not show the entry at fault.
    async fn request(&self, events: &[&Envelope<'_>]) -> Option<Vec<Result<(), PutError>>> {
        let mut sent = Vec::with_capacity(events.len());
        let mut results: Vec<_> =
            events.iter().map(|event| self.entry(event).map(|entry| sent.push(entry))).collect();
        let count = sent.len();
        if count == 0 {
            return Some(results);
        }
        // A task of its own: serializing and signing take most of the time, and the leader has one core for all requests.
        let request = self.client.put_events().set_entries(Some(sent)).send();
        let unavailable =
            |code: &str, reason| vec![Err(PutError::new(PutErrorKind::Unavailable, code, reason)); count];
        let answers = match AbortOnDropHandle::new(tokio::spawn(request)).await {
            Ok(Ok(answer)) if answer.entries().len() == count => {
                answer.entries().iter().map(result).collect()
            }
            Ok(Ok(answer)) => {
                let results = answer.entries().len();
                unavailable("UnreadableAnswer", format!("{results} results for {count} entries"))
            }
            Ok(Err(error)) => match self.failure(&error) {
                refused if refused.kind == PutErrorKind::Refused && count > 1 => return None,
                failure => vec![Err(failure); count],
            },
            Err(broken) => unavailable("Interrupted", broken.to_string()),
        };
        // Entries that were not sent have their results already.
        for (result, answer) in results.iter_mut().filter(|result| result.is_ok()).zip(answers) {
            *result = answer;
        }
        Some(results)
    }

    fn failure(&self, error: &aws_sdk_eventbridge::error::SdkError<PutEventsError>) -> PutError {
        let Failure { code, message: reason, refused } = Failure::of(error);
        let (kind, reason) = match code.as_str() {
            "ResourceNotFoundException" => {
                let bus = &self.bus;
                let reason =
                    format!("there is no bus '{bus}' here: see --bus, AWS_REGION and the account ({reason})");
                (PutErrorKind::Unavailable, reason)
            }
            _ if refused => (PutErrorKind::Refused, reason),
            // One of the entries may be the cause: packs get smaller until it stands alone.
            _ if failed_within(error) => (PutErrorKind::Failed, reason),
            _ => (PutErrorKind::Unavailable, reason),
        };
        PutError { kind, code, reason }
    }

    fn entry(&self, event: &Envelope<'_>) -> Result<PutEventsRequestEntry, PutError> {
        let trace = event.headers.get(TRACE_HEADER).filter(|trace| (1..=500).contains(&trace.len())).cloned();
        let detail = serde_json::to_string(event).expect("an envelope serializes");
        let bytes = TIME_BYTES + self.source.len() + event.name.len() + detail.len();
        if bytes > REQUEST_BYTES_MAX {
            let reason = format!("{bytes} bytes; at most {REQUEST_BYTES_MAX} fit in a request");
            return Err(PutError::refused("EntryTooLarge", reason));
        }
        let occurred_at = DateTime::from_millis(event.occurred_at.timestamp_millis());
        Ok(PutEventsRequestEntry::builder()
            .event_bus_name(&self.bus)
            .source(&self.source)
            .detail_type(event.name.as_ref())
            .detail(detail)
            .time(occurred_at)
            .set_trace_header(trace)
            .build())
    }
}

impl RemoteBus for EventBridge {
    fn limits(&self) -> BusLimits {
        BusLimits { entries_max: ENTRIES_MAX, bytes_max: REQUEST_BYTES_MAX, concurrency: self.concurrency }
    }

    /// Halves a request that is refused as a whole, until the refused entry stands alone.
    async fn put(&self, events: &[&Envelope<'_>]) -> Vec<Result<(), PutError>> {
        let (mut results, mut parts) = (Vec::with_capacity(events.len()), vec![events]);
        // Work from the end, so that results come in order.
        while let Some(part) = parts.pop() {
            match self.request(part).await {
                Some(answers) => results.extend(answers),
                None => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            }
        }
        results
    }
}

/// HTTP 500. With 502 to 504 no server has read the entries.
fn failed_within(error: &aws_sdk_eventbridge::error::SdkError<PutEventsError>) -> bool {
    error.raw_response().is_some_and(|response| response.status().as_u16() == 500)
}

/// A successful answer may contain failed entries.
fn result(entry: &PutEventsResultEntry) -> Result<(), PutError> {
    let Some(code) = entry.error_code() else { return Ok(()) };
    let kind = match code {
        "ThrottlingException" => PutErrorKind::Unavailable,
        "InvalidArgument" | "MalformedDetail" | "RedactionFailure" => PutErrorKind::Refused,
        // InternalFailure, InternalException, unknown codes, and missing permissions, which an operator can add.
        _ => PutErrorKind::Failed,
    };
    Err(PutError::new(kind, code, entry.error_message().unwrap_or_default()))
}
