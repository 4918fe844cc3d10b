use outbox_event::Envelope;

/// The limits of one call of [`RemoteBus::put`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusLimits {
    pub entries_max: usize,
    pub bytes_max: usize,
    pub concurrency: usize,
}

/// A bus outside the database.
pub trait RemoteBus: Send + Sync {
    fn limits(&self) -> BusLimits;

    /// Puts events; one result per event, in their order.
    fn put(&self, events: &[&Envelope<'_>]) -> impl Future<Output = Vec<Result<(), PutError>>> + Send;
}

/// For a process without a remote bus.
impl RemoteBus for std::convert::Infallible {
    fn limits(&self) -> BusLimits {
        match *self {}
    }

    async fn put(&self, _: &[&Envelope<'_>]) -> Vec<Result<(), PutError>> {
        match *self {}
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct PutError {
    pub kind: PutErrorKind,
    pub code: String,
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutErrorKind {
    /// The bus accepts nothing now, or not so much. The event is not the cause, and waits as long as necessary.
    Unavailable,
    /// The bus failed at this event and may accept it later. If it goes on accepting others and not this one, it never will.
    Failed,
    /// The bus will never accept the event. The event is parked, and all others go on.
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
