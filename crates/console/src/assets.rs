//! Style and scripts. They are in the binary as they are, so no other file is needed.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

const CSS: &str = include_str!("assets/console.css");
const JS: &str = include_str!("assets/console.js");
/// From npm, byte by byte: <https://www.npmjs.com/package/htmx.org/v/4.0.1>.
const HTMX: &str = include_str!("assets/vendor/htmx-4.0.1.min.js");
const SSE: &str = include_str!("assets/vendor/hx-sse-4.0.1.min.js");
const NOTE: &str = "/* htmx and its extension hx-sse, 4.0.1, licence 0BSD, unchanged. */\n";
/// Their addresses have their version.
const KEPT: &str = "private, max-age=31536000, immutable";

#[derive(Debug)]
pub(crate) struct Assets {
    css: String,
    /// Another one for other texts, so that browsers keep none that is older.
    pub(crate) version: String,
}

impl Assets {
    pub(crate) fn new(accent: Option<&str>) -> Self {
        let accent = accent.filter(|accent| is_colour(accent));
        let accent = accent.map(|accent| format!("\n:root {{ --accent: {accent}; }}\n"));
        let css = CSS.to_owned() + &accent.unwrap_or_default();
        let all =
            [css.as_str(), JS, HTMX, SSE].iter().fold(Sha256::new(), |all, text| all.chain_update(text));
        let version = all.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Self { css, version }
    }

    pub(crate) fn css(&self) -> Response {
        kept("text/css; charset=utf-8", self.css.clone())
    }
}

pub(crate) fn js() -> Response {
    kept("text/javascript; charset=utf-8", JS)
}

pub(crate) fn htmx() -> Response {
    kept("text/javascript; charset=utf-8", [NOTE, HTMX, "\n", SSE].concat())
}

fn kept(kind: &'static str, text: impl IntoResponse) -> Response {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, KEPT)], text).into_response()
}

/// A colour by its number or name, and nothing else of CSS.
pub fn is_colour(text: &str) -> bool {
    match text.strip_prefix('#') {
        Some(digits) => matches!(digits.len(), 3 | 6) && digits.chars().all(|c| c.is_ascii_hexdigit()),
        None => (1..30).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphabetic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: the assets are small, ours come from nowhere else, and a colour is only a colour.
    #[test]
    fn assets_are_small_and_ours() {
        assert!(JS.len() <= 6 * 1024 && JS.lines().count() <= 200, "{} bytes", JS.len());
        assert!(CSS.len() <= 14 * 1024, "{} bytes", CSS.len());
        let all: usize = [CSS, JS, NOTE, HTMX, SSE].iter().map(|text| text.len()).sum();
        assert!(all <= 64 * 1024, "{all} bytes");
        for text in [JS, CSS] {
            assert!(!text.contains("http:") && !text.contains("https:") && !text.contains("@import"));
        }
        assert!(is_colour("#b00020") && is_colour("crimson") && is_colour("#abc"));
        assert!(!is_colour("red;}") && !is_colour("#12") && !is_colour("url(x)") && !is_colour(""));
    }

    /// Guards: the script of others is the one that was published.
    #[test]
    fn what_others_wrote_is_unchanged() {
        for (text, expected) in [
            (HTMX, "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"),
            (SSE, "18ef2761356ec1fe0bb6d92612315b37517a7c1e9856b661c5ae81fef239d103"),
        ] {
            let hash: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hash, expected);
        }
    }
}
