//! What a person reads of a command.

use std::io::{ErrorKind, Write};

use crate::safe;
use crate::stopped::Stopped;

/// What others wrote is safe by here; this sees to it that nothing was forgotten. `outbox … | head` is no reason to panic.
pub(crate) fn print(text: &str) -> Result<(), Stopped> {
    write(&safe::text(text))
}

/// The same on standard error.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", safe::text(text));
}

/// As it is: JSON that is escaped already, or colours of our own.
pub(crate) fn write(text: &str) -> Result<(), Stopped> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Stopped::unusable(format!("failed to print: {error}"), "see where standard output goes"))
        }
        _ => Ok(()),
    }
}
