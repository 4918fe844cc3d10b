//! Whether a statement failed because the server is away, or because the server refuses it for good.

use outbox_transport::{Kind, Unsettled};

pub(crate) fn unsettled(error: &sqlx::Error) -> Unsettled {
    let Some(database) = error.as_database_error() else {
        return Unsettled::new(Kind::Away, "unreachable", &outbox_runtime::Chain(error).to_string());
    };
    let state = database.code().unwrap_or_default();
    Unsettled::new(kind_of_sqlstate(&state), &state, shown(&state, database.message()))
}

/// Refusals concern values, constraints, privileges, missing objects, and exceptions of triggers. All others concern the
/// server's state: connections, locks, deadlocks, space, a standby, a shutdown.
fn kind_of_sqlstate(state: &str) -> Kind {
    const REFUSING: [&str; 9] = ["0A", "21", "22", "23", "27", "42", "44", "54", "P0"];
    if REFUSING.iter().any(|class| state.starts_with(class)) { Kind::Refused } else { Kind::Away }
}

/// Postgres quotes the value in most errors about values. These two don't, and show what to correct.
fn shown<'a>(state: &str, message: &'a str) -> &'a str {
    match state {
        "22021" | "22P05" => message,
        _ if state.starts_with("22") => "a value is refused",
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promises 3 and 6: a row that Postgres refuses is distinguished from a Postgres that is away.
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

    /// Guards: no value of a row is shown.
    #[test]
    fn a_message_quotes_no_value() {
        assert_eq!(shown("22P02", "invalid input syntax for type integer: \"secret\""), "a value is refused");
        assert_eq!(shown("22021", "invalid byte sequence"), "invalid byte sequence");
    }
}
