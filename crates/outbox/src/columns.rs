//! Many checked events, as the arrays of one statement.

use outbox_event::EventId;
use uuid::Uuid;

use crate::{EnqueueError, Entry};

/// Many rows as [`INSERT_ALL`](crate::INSERT_ALL) takes them.
#[derive(Default)]
pub(crate) struct Columns {
    pub(crate) ids: Vec<Uuid>,
    pub(crate) names: Vec<&'static str>,
    pub(crate) keys: Vec<Option<String>>,
    pub(crate) payloads: Vec<String>,
    pub(crate) headers: Vec<Option<String>>,
}

impl Columns {
    /// Checks all, so that nothing is sent if one is refused.
    pub(crate) fn of(entries: impl IntoIterator<Item: Into<Entry>>) -> Result<Self, EnqueueError> {
        let mut columns = Self::default();
        for entry in entries {
            let row = entry.into().into_row()?;
            columns.ids.push(row.id.as_uuid());
            columns.names.push(row.name);
            columns.keys.push(row.key);
            columns.payloads.push(row.payload);
            columns.headers.push(row.headers);
        }
        Ok(columns)
    }

    /// The name of the first event, if there is one: without any, nothing is sent.
    pub(crate) fn first_name(&self) -> Option<&'static str> {
        self.names.iter().copied().next()
    }

    /// In the order of the entries.
    pub(crate) fn ids(&self) -> Vec<EventId> {
        self.ids.iter().copied().map(EventId::from).collect()
    }
}
