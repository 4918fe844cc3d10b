use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

/// A time in a row; none if it is not a date between the years 1 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At(Option<DateTime<Utc>>);

impl At {
    pub fn known(self) -> Option<DateTime<Utc>> {
        self.0
    }
}

impl From<DateTime<Utc>> for At {
    fn from(at: DateTime<Utc>) -> Self {
        Self(Some(at))
    }
}

/// `null` if it is unknown.
impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(feature = "sqlx")]
mod postgres;
