//! The oldest C library that the programs run with: the newest version among the symbols that they ask for.

use super::super::programs::Programs;

const PREFIX: &[u8] = b"GLIBC_2.";

/// For example `2.34`.
pub(super) fn needed(programs: &Programs) -> Result<String, String> {
    let mut newest = 0;
    for (_, path) in programs.each() {
        let contents = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        newest = newest.max(minor(&contents));
    }
    match newest {
        0 => Err("the programs name no version of the C library: are they for GNU/Linux?".to_owned()),
        minor => Ok(format!("2.{minor}")),
    }
}

/// 34 if `GLIBC_2.34` is the newest that stands in a program. The names of versions stand there as text.
fn minor(contents: &[u8]) -> u32 {
    let mut newest = 0;
    let mut rest = contents;
    while let Some(at) = rest.iter().position(|byte| *byte == PREFIX[0]) {
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix(PREFIX) {
            let digits: String = after
                .iter()
                .take(3)
                .take_while(|byte| byte.is_ascii_digit())
                .map(|byte| *byte as char)
                .collect();
            newest = newest.max(digits.parse().unwrap_or(0));
        }
        rest = &rest[1..];
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the Debian package: it can't be installed where its programs would not start.
    #[test]
    fn the_newest_version_counts() {
        assert_eq!(minor(b"\0GLIBC_2.2.5\0GLIBC_2.34\0GGLIBC_2.17\0"), 34);
        assert_eq!(minor(b"GLIBC_PRIVATE GLIB"), 0);
    }
}
