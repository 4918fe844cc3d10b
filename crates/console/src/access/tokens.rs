use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Viewer;
use crate::secret::Secret;

const TOKEN_CHARS_MIN: usize = 20;

/// A file with `NAME ROLE TOKEN GROUP …` on each line, where ROLE is `viewer` or `operator`. There may be no group.
pub struct Tokens(Vec<(Viewer, String)>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(viewer, _)| viewer)).finish()
    }
}

impl Tokens {
    /// By the header `Authorization`. Each token is compared, so that the time does not say which one is near.
    pub(super) fn viewer(&self, given: &str, secret: &Secret) -> Option<Viewer> {
        let (scheme, given) = given.split_once(' ')?;
        let token = match scheme.to_ascii_lowercase().as_str() {
            "bearer" => given.trim().to_owned(),
            "basic" => {
                let pair = String::from_utf8(STANDARD.decode(given.trim()).ok()?).ok()?;
                pair.split_once(':')?.1.to_owned()
            }
            _ => return None,
        };
        let fitting: Vec<&Viewer> = self
            .0
            .iter()
            .filter(|(_, kept)| secret.are_same(kept, &token))
            .map(|(viewer, _)| viewer)
            .collect();
        fitting.first().map(|viewer| (*viewer).clone())
    }
}

impl FromStr for Tokens {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let refused =
                |what: &str| format!("line {}: {what}: write NAME viewer|operator TOKEN [GROUP …]", at + 1);
            match words[..] {
                [] => {}
                [first, ..] if first.starts_with('#') => {}
                [name, role @ ("viewer" | "operator"), token, ref groups @ ..] => {
                    if token.chars().count() < TOKEN_CHARS_MIN {
                        return Err(refused(&format!("a token has at least {TOKEN_CHARS_MIN} characters")));
                    }
                    let viewer = Viewer {
                        name: name.to_owned(),
                        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
                        may_repair: role == "operator",
                        ..Viewer::default()
                    };
                    tokens.push((viewer, token.to_owned()));
                }
                _ => return Err(refused("it has not three words")),
            }
        }
        if tokens.is_empty() {
            Err("it has no token: write NAME viewer|operator TOKEN".to_owned())
        } else {
            Ok(Self(tokens))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a token is read from its file, has one viewer, and is in no message.
    #[test]
    fn a_token_names_its_viewer() {
        let tokens: Tokens =
            "# people\n\nann operator 0123456789abcdefghij sre lead\nbob viewer jihgfedcba9876543210\n"
                .parse()
                .unwrap();
        let secret = Secret::new().unwrap();
        let viewer =
            |given: &str| tokens.viewer(given, &secret).map(|viewer| (viewer.name, viewer.may_repair));
        assert_eq!(viewer("Bearer 0123456789abcdefghij"), Some(("ann".to_owned(), true)));
        let basic = format!("Basic {}", STANDARD.encode("any:jihgfedcba9876543210"));
        assert_eq!(viewer(&basic), Some(("bob".to_owned(), false)));
        let ann = tokens.viewer("Bearer 0123456789abcdefghij", &secret).unwrap();
        assert!(ann.groups == ["sre", "lead"] && !ann.may_destroy && !ann.may_see_payloads, "{ann:?}");
        for bad in ["Bearer 0123456789abcdefghi", "Bearer ", "0123456789abcdefghij", "Basic !", "Digest x"] {
            assert_eq!(viewer(bad), None, "{bad}");
        }
        assert!(!format!("{tokens:?}").contains("0123"));
        for bad in ["", "ann operator short", "ann 0123456789abcdefghij", "ann admin 0123456789abcdefghij"] {
            assert!(bad.parse::<Tokens>().is_err_and(|why| !why.contains("0123")), "{bad}");
        }
    }
}
