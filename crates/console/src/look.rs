//! How a browser shows the pages: colours, times and keys. A cookie keeps it, and a link changes it, so no script is needed.

use axum::http::HeaderMap;
use axum::http::header::COOKIE;

const COOKIE_NAME: &str = "outbox_look";
const SECONDS: u32 = 365 * 24 * 60 * 60;

/// Each choice with its values. The first value holds without a cookie. No word is a value of two choices.
pub(crate) const CHOICES: [(&str, &[&str]); 3] =
    [("theme", &["auto", "light", "dark"]), ("times", &["utc", "local"]), ("keys", &["on", "off"])];

/// By choice: which of its values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Look(pub(crate) [usize; 3]);

impl Look {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let mut pairs = cookies.flat_map(|all| all.split(';')).filter_map(|one| one.trim().split_once('='));
        let kept = pairs.find(|(name, _)| *name == COOKIE_NAME).map_or("", |(_, value)| value);
        kept.split('.').fold(Self::default(), Self::with)
    }

    /// A word that is no value changes nothing.
    pub(crate) fn with(mut self, word: &str) -> Self {
        for (chosen, (_, values)) in self.0.iter_mut().zip(CHOICES) {
            *chosen = values.iter().position(|value| *value == word).unwrap_or(*chosen);
        }
        self
    }

    fn values(self) -> [&'static str; 3] {
        [0, 1, 2].map(|n| CHOICES[n].1[self.0[n]])
    }

    /// For a year, and for nothing but these pages.
    pub(crate) fn cookie(self, base: &str) -> String {
        let values = self.values().join(".");
        format!("{COOKIE_NAME}={values}; Path={base}/; Max-Age={SECONDS}; HttpOnly; SameSite=Strict")
    }

    pub(crate) fn theme(self) -> &'static str {
        self.values()[0]
    }

    pub(crate) fn times(self) -> &'static str {
        self.values()[1]
    }

    pub(crate) fn keys(self) -> &'static str {
        self.values()[2]
    }
}

/// Pure: whether it is a path of this console, and not the address of another server.
pub(crate) fn is_ours(path: &str, first: &str) -> bool {
    path.starts_with(first)
        && !path.starts_with("//")
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: what a cookie has is one of the values, and others change nothing.
    #[test]
    fn a_cookie_has_known_values() {
        for (cookie, values) in [
            ("outbox_look=dark.local.off", ["dark", "local", "off"]),
            ("a=b; outbox_look=light", ["light", "utc", "on"]),
            ("outbox_look=<script>.dark", ["dark", "utc", "on"]),
            ("a=dark", ["auto", "utc", "on"]),
        ] {
            let headers = HeaderMap::from_iter([(COOKIE, cookie.parse().unwrap())]);
            assert_eq!(Look::of(&headers).values(), values, "{cookie}");
        }
    }

    /// Guards: a link to the console leads to no other server.
    #[test]
    fn the_way_back_is_ours() {
        for (path, first, ours) in [
            ("/dead?rpc=A%2FB", "/", true),
            ("/outbox/dead", "/outbox/", true),
            ("/dead", "/outbox/", false),
            ("//evil.example", "/", false),
            ("/\\evil.example", "/", false),
            ("https://evil.example", "/", false),
            ("/a\r\nx: y", "/", false),
            ("", "/", false),
        ] {
            assert_eq!(is_ours(path, first), ours, "{path}");
        }
    }
}
