//! Amazon EventBridge. `Source` is the database's name, `DetailType` the event's, `Detail` the envelope.

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::operation::put_events::PutEventsError;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, PutEventsResultEntry};
use outbox_aws::Failure;
use sqlx::PgConnection;
use tokio_util::task::AbortOnDropHandle;

use super::{Bus, Limits, PutError, envelope};
use crate::outbox::Entry;

/// Of one request.
const ENTRIES_MAX: usize = 10;
/// For all entries of a request together; where the limit is lower, AWS says so and the request is split.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// What a given time counts for.
const TIME_BYTES: usize = 14;
const TRACE_HEADER: &str = "x-amzn-trace-id";

/// Puts events on one bus, in the name of one database.
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

    /// One request. `None` if it is refused as a whole: then whoever is to blame is not known.
    async fn request(&self, entries: &[&Entry]) -> Option<Vec<Result<(), PutError>>> {
        let mut sent = Vec::with_capacity(entries.len());
        let mut results: Vec<_> =
            entries.iter().map(|entry| self.entry(entry).map(|entry| sent.push(entry))).collect();
        let count = sent.len();
        if count == 0 {
            return Some(results);
        }
        // A task of its own: serializing and signing take most of the time, and the leader has one core for all requests.
        let request = self.client.put_events().set_entries(Some(sent)).send();
        let unavailable =
            |code: &str, reason| vec![Err(PutError::Unavailable { code: code.to_owned(), reason }); count];
        let answers = match AbortOnDropHandle::new(tokio::spawn(request)).await {
            Ok(Ok(answer)) if answer.entries().len() == count => {
                answer.entries().iter().map(result).collect()
            }
            Ok(Ok(answer)) => {
                let results = answer.entries().len();
                unavailable("UnreadableAnswer", format!("{results} results for {count} entries"))
            }
            Ok(Err(error)) => match self.failure(&error) {
                PutError::Refused { .. } if count > 1 => return None,
                failure => vec![Err(failure); count],
            },
            Err(broken) => unavailable("Interrupted", broken.to_string()),
        };
        // Those that were not sent have theirs already.
        for (result, answer) in results.iter_mut().filter(|result| result.is_ok()).zip(answers) {
            *result = answer;
        }
        Some(results)
    }

    fn failure(&self, error: &aws_sdk_eventbridge::error::SdkError<PutEventsError>) -> PutError {
        let Failure { code, message: reason, refused } = Failure::of(error);
        match code.as_str() {
            "ResourceNotFoundException" => PutError::Unavailable {
                reason: format!(
                    "there is no bus '{}' here: see --bus, AWS_REGION and the account ({reason})",
                    self.bus
                ),
                code,
            },
            _ if refused => PutError::Refused { code, reason },
            // One of the entries may be what it fails at: packs get smaller then, until it stands alone.
            _ if failed_within(error) => PutError::Failed { code, reason },
            _ => PutError::Unavailable { code, reason },
        }
    }

    fn entry(&self, entry: &Entry) -> Result<PutEventsRequestEntry, PutError> {
        let envelope = envelope(entry)?;
        let trace =
            envelope.headers.get(TRACE_HEADER).filter(|trace| (1..=500).contains(&trace.len())).cloned();
        let detail = serde_json::to_string(&envelope).expect("an envelope serializes");
        let bytes = TIME_BYTES + self.source.len() + entry.name.len() + detail.len();
        if bytes > REQUEST_BYTES_MAX {
            let reason = format!("{bytes} bytes; at most {REQUEST_BYTES_MAX} fit in a request");
            return Err(PutError::Refused { code: "EntryTooLarge".to_owned(), reason });
        }
        let occurred_at = DateTime::from_millis(entry.occurred_at.timestamp_millis());
        Ok(PutEventsRequestEntry::builder()
            .event_bus_name(&self.bus)
            .source(&self.source)
            .detail_type(&entry.name)
            .detail(detail)
            .time(occurred_at)
            .set_trace_header(trace)
            .build())
    }
}

impl Bus for EventBridge {
    fn limits(&self) -> Limits {
        Limits {
            entries_max: ENTRIES_MAX,
            bytes_max: REQUEST_BYTES_MAX,
            concurrency: self.concurrency,
            atomic: false,
        }
    }

    async fn begin(&mut self, _: &mut PgConnection) -> Result<(), sqlx::Error> {
        Ok(())
    }

    /// A request that is refused as a whole is halved until whoever is to blame stands alone.
    async fn put(&self, entries: &[&Entry]) -> Vec<Result<(), PutError>> {
        let (mut results, mut parts) = (Vec::with_capacity(entries.len()), vec![entries]);
        // From the end, so that results come in order.
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

/// HTTP 500. With 502 to 504 nobody has looked at the entries.
fn failed_within(error: &aws_sdk_eventbridge::error::SdkError<PutEventsError>) -> bool {
    error.raw_response().is_some_and(|response| response.status().as_u16() == 500)
}

/// A failed entry comes within an answer that is a success.
fn result(entry: &PutEventsResultEntry) -> Result<(), PutError> {
    let Some(code) = entry.error_code() else { return Ok(()) };
    let (code, reason) = (code.to_owned(), entry.error_message().unwrap_or_default().to_owned());
    Err(match code.as_str() {
        "ThrottlingException" => PutError::Unavailable { code, reason },
        "InvalidArgument" | "MalformedDetail" | "RedactionFailure" => PutError::Refused { code, reason },
        // InternalFailure, InternalException, what AWS has not thought of yet, and permissions, which somebody can mend.
        _ => PutError::Failed { code, reason },
    })
}
