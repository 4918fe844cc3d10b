use std::fmt;

use serde::{Serialize, Serializer};

/// Rows are counted up to this number.
pub const COUNTED_MAX: i64 = 10_000;
/// The limit of a counting statement: one more row shows that there are more.
pub const COUNT_LIMIT: i64 = COUNTED_MAX + 1;

/// A number of rows, counted up to [`COUNTED_MAX`], so that the answer comes soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Count(i64);

impl Count {
    /// From rows counted under [`COUNT_LIMIT`], or from a service's own count.
    pub fn new(counted: i64) -> Self {
        Self(counted)
    }

    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub fn get(self) -> i64 {
        self.0.min(COUNTED_MAX)
    }
}

impl std::ops::Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ..=COUNTED_MAX => f.write_str(&thousands(self.0)),
            _ => write!(f, "{}+", thousands(COUNTED_MAX)),
        }
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.get())
    }
}

/// 12,345
pub fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}
