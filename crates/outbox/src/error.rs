/// Why an event was not enqueued.
///
/// Every variant but [`Insert`](EnqueueError::Insert) is found before SQL is sent: the transaction stays usable.
/// After `Insert` Postgres has aborted it. No message quotes the payload or a header's value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnqueueError {
    #[error(
        "payload of {name} is {payload_bytes} bytes; at most {payload_bytes_max} fit on the bus: put large data where the subscriber can fetch it, and its address in the event"
    )]
    TooLarge { name: &'static str, payload_bytes: usize, payload_bytes_max: usize },

    #[error("payload of {name} is not a JSON object: an event serializes as its message's proto3 JSON")]
    NotAnObject { name: &'static str },

    /// Valid JSON that no reader of proto3 JSON accepts.
    #[error("payload of {name} {problem}: no reader of proto3 JSON takes that")]
    Unreadable { name: &'static str, problem: &'static str },

    #[error("event name `{name}` is not lower_snake_case of at most 128 characters, as in event_router.yaml")]
    InvalidName { name: &'static str },

    #[error(
        "key of {name} is {key_bytes} bytes; at most {key_bytes_max} are allowed: use the id of what the event is about"
    )]
    KeyTooLong { name: &'static str, key_bytes: usize, key_bytes_max: usize },

    #[error("key of {name} holds a null character, which no text in Postgres can hold")]
    InvalidKey { name: &'static str },

    #[error("header `{header}` of {name} {problem}")]
    InvalidHeader { name: &'static str, header: String, problem: &'static str },

    #[error(
        "headers of {name} are {headers_bytes} bytes; at most {headers_bytes_max} are allowed: data belongs in the payload"
    )]
    HeadersTooLarge { name: &'static str, headers_bytes: usize, headers_bytes_max: usize },

    #[error("failed to encode {name}")]
    Encode {
        name: &'static str,
        #[source]
        source: serde_json::Error,
    },

    /// diesel's type of a connection does not tell whether a transaction is open.
    #[error(
        "{name} was not enqueued, because the connection has no open transaction: call this within `connection.transaction(…)`, so that the event commits with its change"
    )]
    NoTransaction { name: &'static str },

    #[error("{name} was not enqueued, because the transaction is not one of Postgres")]
    NotPostgres { name: &'static str },

    /// With the driver's own error: `error.downcast_ref::<sqlx::Error>()`.
    #[error(
        "failed to insert into the outbox (`relay migrate` makes a missing schema, and `outbox.grant_to` allows this role to publish)"
    )]
    Insert(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl EnqueueError {
    /// What the driver said, whichever it is.
    #[cfg(any(feature = "sqlx", feature = "tokio-postgres", feature = "diesel", feature = "sea-orm"))]
    pub(crate) fn insert(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Insert(Box::new(error))
    }
}
