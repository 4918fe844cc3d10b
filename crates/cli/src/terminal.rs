//! What a person reads of a command.

use std::io::{ErrorKind, Write};

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use terminal_size::terminal_size_of;

use crate::colour::Colour;
use crate::safe;
use crate::stopped::Stopped;

/// Narrower, a table can't be read.
const WIDTH_MIN: usize = 40;

/// Whether output has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum When {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    Always,
    Never,
}

impl When {
    /// For all output from here on.
    pub(crate) fn apply(self) {
        let choice = match self {
            Self::Auto => ColorChoice::Auto,
            Self::Always => ColorChoice::Always,
            Self::Never => ColorChoice::Never,
        };
        choice.write_global();
    }
}

/// Text from others is safe by here; this is a second check. A closed pipe, as in `outbox … | head`, must not cause a panic.
pub(crate) fn print(text: &str) -> Result<(), Stopped> {
    write(&shown(text, &std::io::stdout()))
}

/// As `print`, on standard error.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", shown(text, &std::io::stderr()));
}

/// Writes unchanged text, such as JSON that is escaped already.
pub(crate) fn write(text: &str) -> Result<(), Stopped> {
    written(&format!("{text}\n")).map(|_| ())
}

/// `false` if the reader is gone.
pub(crate) fn written(text: &str) -> Result<bool, Stopped> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            Err(Stopped::unusable(format!("failed to print: {error}"), "see where standard output goes"))
        }
    }
}

/// Text as it is printed on standard output.
pub(crate) fn printed(text: &str) -> String {
    shown(text, &std::io::stdout())
}

pub(crate) fn is_coloured() -> bool {
    has_colours(&std::io::stdout())
}

/// How wide a table may be: `COLUMNS`, or the terminal's width. Elsewhere a row is one line.
pub(crate) fn width() -> Option<usize> {
    // The output of a unit test is the same in every terminal.
    if cfg!(test) {
        return None;
    }
    let given = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    given
        .or_else(|| size().map(|(width, _)| width))
        .filter(|width| *width > 0)
        .map(|width| width.max(WIDTH_MIN))
}

/// Columns and rows of the terminal.
pub(crate) fn size() -> Option<(usize, usize)> {
    let (width, height) = terminal_size_of(std::io::stdout())?;
    Some((width.0.into(), height.0.into()))
}

fn shown<S: RawStream>(text: &str, stream: &S) -> String {
    let safe = checked(text);
    match has_colours(stream) {
        true => safe,
        false => anstream::adapter::strip_str(&safe).to_string(),
    }
}

fn has_colours<S: RawStream>(stream: &S) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}

/// Makes everything safe, except colours of ours.
fn checked(text: &str) -> String {
    let (mut clean, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('\u{1b}') {
        clean.push_str(&safe::text(&rest[..at]));
        rest = &rest[at..];
        let code = Colour::code(rest);
        let (first, more) = rest.split_at(code.unwrap_or(1));
        match code {
            Some(_) => clean.push_str(first),
            None => clean.push_str(&safe::text(first)),
        }
        rest = more;
    }
    clean.push_str(&safe::text(rest));
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: nothing but colours of ours reaches a terminal unescaped.
    #[test]
    fn only_colours_reach_a_terminal() {
        let red = Colour::paint(Some(Colour::Problem), "a\nb");
        assert_eq!(checked(&red), red);
        assert_eq!(checked("a\u{1b}[2Kb\r"), "a\\u{1b}[2Kb ");
        assert_eq!(checked(&format!("{red}\u{1b}")), format!("{red}\\u{{1b}}"));
        assert_eq!(checked("plain\ntext"), "plain\ntext");
    }
}
