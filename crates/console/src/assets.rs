//! Style and script. They are in the binary as they are, so no other file is needed.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

pub(crate) const CSS: &str = include_str!("assets/console.css");
pub(crate) const JS: &str = include_str!("assets/console.js");

pub(crate) fn css(accent: Option<&str>) -> Response {
    let accent = accent.filter(|accent| is_colour(accent));
    let text =
        accent.map_or_else(|| CSS.to_owned(), |accent| format!("{CSS}\n:root {{ --accent: {accent}; }}\n"));
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], text).into_response()
}

pub(crate) fn js() -> Response {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], JS).into_response()
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

    /// Guards: the assets are small, come from nowhere else, and a colour is only a colour.
    #[test]
    fn assets_are_small_and_ours() {
        assert!(JS.len() <= 6 * 1024 && CSS.len() <= 14 * 1024, "{} {}", JS.len(), CSS.len());
        for text in [JS, CSS] {
            assert!(!text.contains("http:") && !text.contains("https:") && !text.contains("@import"));
        }
        assert!(is_colour("#b00020") && is_colour("crimson") && is_colour("#abc"));
        assert!(!is_colour("red;}") && !is_colour("#12") && !is_colour("url(x)") && !is_colour(""));
    }
}
