use std::error::Error;
use std::fmt;

/// An error with its causes, on one line: `failed to migrate: connection refused`.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(without_line(&said))?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Many errors already end in their cause's text.
            if !said.contains(&text) {
                write!(f, ": {}", without_line(&text))?;
                said = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

/// sqlx appends the line in the source of Postgres, which looks like a line of ours.
fn without_line(text: &str) -> &str {
    if !text.contains("error returned from database: ") {
        return text;
    }
    match text.rsplit_once(" at line ") {
        Some((before, line)) if !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()) => before,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: an error of Postgres has no line of its source. Other lines are kept.
    #[test]
    fn the_source_of_postgres_has_no_place_in_an_error() {
        for (text, shown) in [
            (
                "error returned from database: No space left on device at line 486",
                "error returned from database: No space left on device",
            ),
            (
                "not read: error returned from database: at line x at line 7",
                "not read: error returned from database: at line x",
            ),
            ("error returned from database: at line ", "error returned from database: at line "),
            ("error returned from database: gone", "error returned from database: gone"),
            ("malformed message at line 3", "malformed message at line 3"),
            ("", ""),
        ] {
            assert_eq!(Chain(&std::io::Error::other(text)).to_string(), shown);
        }
    }
}
