//! Why one thing could not be written: its server is away, or refuses it for good.
//!
//! Pure. What is away comes back by itself, and is asked again soon. What is refused is refused again, whatever becomes of
//! its neighbours: somebody must mend a right, a queue or a rule first.

/// Text of a server is for people, and may be of any length.
const MESSAGE_CHARS_MAX: usize = 300;

/// One message or record that could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Unsettled {
    pub kind: Kind,
    /// The server's own: an SQLSTATE, or AWS's.
    pub code: String,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The server did not answer, throttles, or takes nobody's requests now.
    Away,
    /// The server takes other requests, and not this one.
    Refused,
}

impl Unsettled {
    pub(crate) fn new(kind: Kind, code: &str, message: &str) -> Self {
        let message = message.chars().map(|c| if c.is_control() { ' ' } else { c });
        Self { kind, code: code.to_owned(), message: message.take(MESSAGE_CHARS_MAX).collect() }
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.kind == Kind::Refused
    }
}

/// What a statement failed with.
impl From<sqlx::Error> for Unsettled {
    fn from(error: sqlx::Error) -> Self {
        let Some(database) = error.as_database_error() else {
            return Self::new(Kind::Away, "unreachable", &runtime::Chain(&error).to_string());
        };
        let state = database.code().unwrap_or_default();
        Self::new(kind_of_sqlstate(&state), &state, shown(&state, database.message()))
    }
}

/// Refused are values, constraints, rights, what is not there, and what a trigger raises. Everything else is the server's
/// own state: connections, locks, deadlocks, space, a standby, a shutdown.
fn kind_of_sqlstate(state: &str) -> Kind {
    const REFUSING: [&str; 9] = ["0A", "21", "22", "23", "27", "42", "44", "54", "P0"];
    if REFUSING.iter().any(|class| state.starts_with(class)) { Kind::Refused } else { Kind::Away }
}

/// Postgres quotes the value itself in most errors of values. Two that it does not quote say what is needed.
fn shown<'a>(state: &str, message: &'a str) -> &'a str {
    match state {
        "22021" | "22P05" => message,
        _ if state.starts_with("22") => "a value is refused",
        _ => message,
    }
}

#[cfg(feature = "aws")]
impl From<outbox_aws::Failure> for Unsettled {
    fn from(failure: outbox_aws::Failure) -> Self {
        // SQS has names of its older protocol, too.
        let code = failure.code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(&failure.code);
        Self::new(kind_of_aws(code), code, &failure.message)
    }
}

/// What is unknown here is refused: that is asked again, too, and holds up nothing.
#[cfg(feature = "aws")]
pub(crate) fn kind_of_aws(code: &str) -> Kind {
    if outbox_aws::is_away(code) { Kind::Away } else { Kind::Refused }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promises 3 and 6: a row that Postgres refuses is told from a Postgres that is away.
    #[test]
    fn each_sqlstate_has_its_kind() {
        for (state, kind) in [
            ("23514", Kind::Refused), // check_violation
            ("23505", Kind::Refused), // unique_violation
            ("22021", Kind::Refused), // character_not_in_repertoire
            ("22P05", Kind::Refused), // untranslatable_character
            ("42501", Kind::Refused), // insufficient_privilege
            ("42P01", Kind::Refused), // undefined_table
            ("54000", Kind::Refused), // program_limit_exceeded
            ("P0001", Kind::Refused), // raise_exception
            ("08006", Kind::Away),    // connection_failure
            ("25006", Kind::Away),    // read_only_sql_transaction
            ("40P01", Kind::Away),    // deadlock_detected
            ("53100", Kind::Away),    // disk_full
            ("55P03", Kind::Away),    // lock_not_available
            ("57014", Kind::Away),    // query_canceled
            ("57P01", Kind::Away),    // admin_shutdown
            ("XX000", Kind::Away),
            ("", Kind::Away),
        ] {
            assert_eq!(kind_of_sqlstate(state), kind, "{state}");
        }
    }

    /// Guards promises 3 and 6: a message that SQS or DynamoDB refuses is told from an AWS that is away.
    #[cfg(feature = "aws")]
    #[test]
    fn each_code_of_aws_has_its_kind() {
        for code in [
            "InvalidParameterValue",
            "InvalidMessageContents",
            "InvalidAttributeValue",
            "AccessDenied",
            "AccessDeniedException",
            "QueueDoesNotExist",
            "AWS.SimpleQueueService.NonExistentQueue",
            "KmsDisabled",
            "KMS.DisabledException",
            "KmsAccessDenied",
            "KmsInvalidState",
            "KmsNotFound",
            "ResourceNotFoundException",
            "ValidationException",
            "SomethingNew",
        ] {
            assert_eq!(kind_of_aws(code), Kind::Refused, "{code}");
        }
        for code in [
            "Unreachable",
            "Timeout",
            "ThrottlingException",
            "RequestThrottled",
            "AWS.SimpleQueueService.OverLimit",
            "InternalError",
            "ExpiredToken",
            "ProvisionedThroughputExceededException",
        ] {
            assert_eq!(kind_of_aws(code), Kind::Away, "{code}");
        }
    }

    /// Guards: no value of a row is shown, and no message is longer than anybody reads.
    #[test]
    fn a_message_is_bounded_and_quotes_no_value() {
        assert_eq!(shown("22P02", "invalid input syntax for type integer: \"secret\""), "a value is refused");
        assert_eq!(shown("22021", "invalid byte sequence"), "invalid byte sequence");
        let long = Unsettled::new(Kind::Refused, "P0001", &format!("a\u{1b}b{}", "x".repeat(1000)));
        assert_eq!((long.message.chars().count(), &long.message[..3]), (MESSAGE_CHARS_MAX, "a b"));
    }
}
