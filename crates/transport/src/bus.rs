use outbox_event::Envelope;

/// How much one call of [`RemoteBus::put`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusLimits {
    pub entries_max: usize,
    pub bytes_max: usize,
    pub concurrency: usize,
}

/// A bus outside the database. It takes events, and says of each what became of it.
pub trait RemoteBus: Send + Sync {
    fn limits(&self) -> BusLimits;

    /// Puts events; one result per event, in their order.
    fn put(&self, events: &[&Envelope<'_>]) -> impl Future<Output = Vec<Result<(), PutError>>> + Send;
}

/// The type of a remote bus where there is none.
impl RemoteBus for std::convert::Infallible {
    fn limits(&self) -> BusLimits {
        match *self {}
    }

    async fn put(&self, _: &[&Envelope<'_>]) -> Vec<Result<(), PutError>> {
        match *self {}
    }
}

/// Why the bus did not take an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct PutError {
    pub kind: PutErrorKind,
    pub code: String,
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutErrorKind {
    /// The bus takes nothing now, or not so much. That says nothing of the event, which waits however long it takes.
    Unavailable,
    /// The bus failed at this event. It may take it later; if it goes on taking others and not this one, it never will.
    Failed,
    /// The bus never will take it. The event is parked, and all others go on.
    Refused,
}

impl PutError {
    pub fn new(kind: PutErrorKind, code: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { kind, code: code.into(), reason: reason.into() }
    }

    pub fn refused(code: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(PutErrorKind::Refused, code, reason)
    }
}
