//! Why a term ended.

use outbox_postgres::outbox::OpenError;
use outbox_schema::SchemaError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum TermError {
    #[error("the database can't be used")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("another relay leads, or the database was restored under this one")]
    Deposed,
    #[error("a task beside the leader ended")]
    Beside(#[source] tokio::task::JoinError),
}

impl TermError {
    /// Whether it may pass without any change by an operator.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Schema(error) => error.is_transient(),
            Self::Database(error) => !outbox_schema::is_pooler(error),
            Self::Open(_) | Self::Deposed | Self::Beside(_) => true,
        }
    }
}
