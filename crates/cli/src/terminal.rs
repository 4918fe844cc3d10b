//! What a person reads of a command.

use std::io::{ErrorKind, Write};

use crate::safe;
use crate::stopped::Stopped;

/// Text from others is safe by here; this is a second check. A closed pipe, as in `outbox … | head`, must not cause a panic.
pub(crate) fn print(text: &str) -> Result<(), Stopped> {
    write(&safe::text(text))
}

/// As `print`, on standard error.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", safe::text(text));
}

/// Writes unchanged text: JSON that is escaped already, or colours of our own.
pub(crate) fn write(text: &str) -> Result<(), Stopped> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Stopped::unusable(format!("failed to print: {error}"), "see where standard output goes"))
        }
        _ => Ok(()),
    }
}
