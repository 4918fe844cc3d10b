//! Makes text from others safe: on a line, in an SQL statement to paste, and in a shell's command to paste.
//!
//! A role chooses its own name and those of its sessions, transactions and publications. A server may answer any text, and a
//! row may hold any. Such text must not move a terminal's cursor, reverse the reading direction, begin a line of its own, or
//! end a literal.

use std::borrow::Cow;
use std::fmt::Write;

/// On one line of bounded length. Invisible characters become escapes, and white space becomes a space.
pub(crate) fn line(text: &str, chars_max: usize) -> String {
    let mut clean = String::new();
    for c in text.chars() {
        match c {
            c if c.is_whitespace() => clean.push(' '),
            c if is_seen(c) => clean.push(c),
            c => clean.extend(c.escape_unicode()),
        }
    }
    if clean.chars().count() <= chars_max {
        return clean;
    }
    clean.chars().take(chars_max - 1).chain(['…']).collect()
}

/// Several lines of ours that may contain text from others: the last check before a terminal.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| c == '\n' || is_seen(c)) {
        return Cow::Borrowed(text);
    }
    let lines: Vec<String> = text.split('\n').map(|one| line(one, usize::MAX)).collect();
    Cow::Owned(lines.join("\n"))
}

/// JSON without characters that a terminal obeys; its value is the same. Between strings there is white space only.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| c == '\n' || is_seen(c)) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\t' | '\r' => escaped.push(' '),
            c if c == '\n' || is_seen(c) => escaped.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
        }
    }
    Cow::Owned(escaped)
}

/// An SQL literal. With a backslash or an invisible character it is `E'…'`, which means the same in every session.
pub(crate) fn literal(text: &str) -> String {
    let quoted = doubled(text, '\'', |c| format!("\\U{c:08x}"));
    if quoted.contains('\\') { format!("E'{quoted}'") } else { format!("'{quoted}'") }
}

/// An SQL identifier. It is always quoted, because the words that need quotes differ between versions.
pub(crate) fn identifier(name: &str) -> String {
    if name.chars().all(is_seen) {
        return format!("\"{}\"", name.replace('"', "\"\""));
    }
    format!("U&\"{}\"", doubled(name, '"', |c| format!("\\+{c:06x}")))
}

/// Quotes and backslashes twice, and invisible characters as escapes.
fn doubled(text: &str, quote: char, escape: impl Fn(u32) -> String) -> String {
    let double = |c: char| match c {
        c if c == quote || c == '\\' => format!("{c}{c}"),
        c if is_seen(c) => c.to_string(),
        c => escape(u32::from(c)),
    };
    text.chars().map(double).collect()
}

/// One word of a shell. Invisible characters make it `$'…'`; a shell without that syntax still reads one word.
pub(crate) fn word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    if word.chars().all(is_seen) {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    let mut quoted = String::new();
    for c in word.chars() {
        match c {
            // Escapes each quote and backslash that another shell could interpret.
            '\'' | '\\' | '!' => {
                let _ = write!(quoted, "\\{:03o}", u32::from(c));
            }
            c if is_seen(c) => quoted.push(c),
            c => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(quoted, "\\{byte:03o}");
                }
            }
        }
    }
    format!("$'{quoted}'")
}

/// Whether a character is visible and does not change its neighbours.
fn is_seen(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // Invisible, though Unicode counts them as letters or marks.
    let blank = matches!(
        c,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{1d159}' | '\u{e0000}'..='\u{e0fff}'
    );
    // The standard library escapes unprintable characters: control and format characters, separators, unassigned ones. It
    // escapes a mark only without a base character.
    let base: String = ['a', c].iter().collect();
    !blank && base.escape_debug().nth(2).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Guards: visible text stays as it is, in any script. Invisible characters are shown or escaped, and lengths are bounded.
    #[test]
    fn texts_keep_what_is_seen() {
        for seen in [
            "plain, (text) [with] \"quotes\" 'n' \\ `ticks`",
            "çà: Grüße, 日本語, עברית, हिन्दी, e\u{301}",
            "→ ✓ 🙂",
        ] {
            assert_eq!(line(seen, 100), seen);
            assert_eq!((text(seen), json(seen)), (seen.into(), seen.into()));
        }
        assert_eq!(line("a\nb\u{1b}[31mc", 20), "a b\\u{1b}[31mc");
        assert_eq!(line("abcdef", 4), "abc…");
        assert_eq!(line("\u{202e}\u{200b}\u{feff}", 99), "\\u{202e}\\u{200b}\\u{feff}");
        assert_eq!(text("a\r\n\tb\u{7f}\n"), "a \n b\\u{7f}\n");
        assert_eq!(json("{\"a\":\r\n\"\u{9b}\u{e0001}\"}"), "{\"a\": \n\"\\u009b\\udb40\\udc01\"}");
    }

    /// Guards: pasted text is one literal, one name, one word.
    #[test]
    fn what_is_pasted_is_quoted() {
        let hostile = "x'\"; drop schema s; -- \\\u{1b}\n";
        assert_eq!(literal("plain 'n'"), "'plain ''n'''");
        assert_eq!(literal(hostile), r#"E'x''"; drop schema s; -- \\\U0000001b\U0000000a'"#);
        assert_eq!(identifier("plain\\ \"n\""), r#""plain\ ""n""""#);
        assert_eq!(identifier(hostile), r#"U&"x'""; drop schema s; -- \\\+00001b\+00000a""#);
        assert_eq!(word("dlq-1/a.b"), "dlq-1/a.b");
        assert_eq!(word(""), "''");
        assert_eq!(word("it's $(x)"), r"'it'\''s $(x)'");
        assert_eq!(word("a'!\u{1b}é\\"), r"$'a\047\041\033é\134'");
    }

    /// Reads `E'…'` and `'…'` as a server does; `None` if it is anything but one literal.
    fn read_literal(sql: &str) -> Option<String> {
        let escapes = sql.starts_with('E');
        let body = sql.trim_start_matches('E').strip_prefix('\'')?.strip_suffix('\'')?;
        let (mut text, mut chars) = (String::new(), body.chars());
        while let Some(c) = chars.next() {
            match c {
                '\'' => text.push(chars.next().filter(|c| *c == '\'')?),
                '\\' if escapes => match chars.next()? {
                    '\\' => text.push('\\'),
                    'U' => text.push(char::from_u32(
                        u32::from_str_radix(&chars.by_ref().take(8).collect::<String>(), 16).ok()?,
                    )?),
                    _ => return None,
                },
                '\\' => return None, // another session could take it for an escape
                c => text.push(c),
            }
        }
        Some(text)
    }

    fn read_identifier(sql: &str) -> Option<String> {
        let escapes = sql.starts_with("U&");
        let body = sql.trim_start_matches("U&").strip_prefix('"')?.strip_suffix('"')?;
        let (mut name, mut chars) = (String::new(), body.chars());
        while let Some(c) = chars.next() {
            match c {
                '"' => name.push(chars.next().filter(|c| *c == '"')?),
                '\\' if escapes => match chars.next()? {
                    '\\' => name.push('\\'),
                    '+' => name.push(char::from_u32(
                        u32::from_str_radix(&chars.by_ref().take(6).collect::<String>(), 16).ok()?,
                    )?),
                    _ => return None,
                },
                c => name.push(c),
            }
        }
        Some(name)
    }

    /// Any characters, most of them harmful.
    fn texts() -> impl Strategy<Value = String> {
        let odd = prop::sample::select("'\"\\`$!;-\n\r\t\0\u{1b}\u{7f}\u{85}\u{9b}\u{ad}\u{200b}\u{200f}\u{202e}\u{2028}\u{2066}\u{feff}\u{fff9}\u{e0041}{}".chars().collect::<Vec<_>>());
        prop::collection::vec(prop_oneof![odd, any::<char>()], 0..40)
            .prop_map(|chars| chars.into_iter().collect())
    }

    fn is_clean(text: &str) -> bool {
        let obeyed = |c: char| {
            c.is_control()
                || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
        };
        !text.chars().any(obeyed)
    }

    proptest! {
        /// Guards SECURITY.md: no character of any text moves, hides or reverses what is printed, and the text is on one line
        /// of bounded length.
        #[test]
        fn no_text_is_obeyed(given in texts(), max in 2..200_usize) {
            let shown = line(&given, max);
            prop_assert!(is_clean(&shown) && shown.chars().count() <= max, "{shown:?}");
            prop_assert!(text(&given).split('\n').all(is_clean), "{:?}", text(&given));
            let value = serde_json::json!({ "text": given });
            let printed = serde_json::to_string_pretty(&value).unwrap();
            let printed = json(&printed);
            prop_assert!(printed.split('\n').all(is_clean), "{printed:?}");
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).unwrap(), value);
        }

        /// Guards SECURITY.md: any quoted text reads back as that text, with nothing after its end.
        #[test]
        fn what_is_quoted_is_one_thing(given in texts()) {
            let (literal, identifier, word) = (literal(&given), identifier(&given), word(&given));
            prop_assert!(is_clean(&literal) && is_clean(&identifier) && is_clean(&word));
            prop_assert_eq!(read_literal(&literal), Some(given.clone()), "{}", literal);
            prop_assert_eq!(read_identifier(&identifier), Some(given), "{}", identifier);
        }
    }

    /// Guards: a shell reads quoted text as one word, and runs nothing of it: `sh`, and `bash` if there is one.
    #[test]
    fn a_shell_takes_it_for_one_word() {
        let hostile = [
            "it's; exit 3",
            "$(exit 3)",
            "`exit 3`",
            "a\n exit 3",
            "'\u{1b}'; exit 3 #",
            "\\'\u{7}; exit 3",
            "!x\u{1}",
            "é\u{202e}",
        ];
        for shell in ["sh", "bash"] {
            for text in hostile {
                let script =
                    format!("for w in {}; do printf '%s' \"$w\"; done; printf '|%s' end", word(text));
                let Ok(ran) = std::process::Command::new(shell).args(["-c", &script]).output() else {
                    continue;
                };
                let said = String::from_utf8_lossy(&ran.stdout).into_owned();
                assert!(ran.status.success() && said.ends_with("|end"), "{shell}: {text:?}: {ran:?}");
                let exact = shell == "bash" || text.chars().all(is_seen);
                assert!(!exact || said == format!("{text}|end"), "{shell}: {text:?}: {said:?}");
            }
        }
    }
}
