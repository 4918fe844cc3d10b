//! A secret of this process: it signs forms, and compares tokens in the same time whether they are alike or not.

use std::{fmt, io};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

#[derive(Clone)]
pub(crate) struct Secret([u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    pub(crate) fn new() -> io::Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self(bytes))
    }

    /// As text: what the printed address and the cookie have.
    pub(crate) fn text(&self) -> String {
        hex(&self.0)
    }

    pub(crate) fn sign(&self, text: &str) -> String {
        hex(&self.mac(text).finalize().into_bytes())
    }

    /// For one use, so that what is signed for another is no signature here.
    pub(crate) fn sign_for(&self, what: &str, text: &str) -> String {
        self.sign(&format!("{what}\0{text}"))
    }

    pub(crate) fn are_same(&self, one: &str, other: &str) -> bool {
        self.mac(one).verify(&self.mac(other).finalize().into_bytes()).is_ok()
    }

    fn mac(&self, text: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::new_from_slice(&self.0).expect("a key may have any length");
        mac.update(text.as_bytes());
        mac
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: another process or another name signs differently, and only the same text is the same.
    #[test]
    fn a_signature_has_one_text_and_one_secret() {
        let (one, other) = (Secret::new().unwrap(), Secret::new().unwrap());
        assert_eq!(one.sign("a"), one.sign("a"));
        assert!(one.sign("a") != one.sign("b") && one.sign("a") != other.sign("a"));
        assert!(one.are_same("a", "a") && !one.are_same("a", "b") && !one.are_same("", "a"));
        assert!(!format!("{one:?}").contains(&one.text()) && one.text().len() == 64);
    }
}
