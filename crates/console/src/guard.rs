//! What stands before every page: which name was called, who calls, and what a browser may do with the answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, SET_COOKIE, WWW_AUTHENTICATE,
};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::access::{Access, Viewer};
use crate::state::{Console, Settings};

pub(crate) const ADDRESS_BYTES_MAX: usize = 2 * 1024;
const DEMAND_BYTES_MAX: usize = 12 * 1024;

/// No script, style or request but our own, and no frame around it. `same-origin` for the referrer, because without one browsers
/// send forms with the origin `null`.
const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cache-control", "no-store"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

pub(crate) async fn with_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        // Style and scripts may be kept by the browser.
        let headers = response.headers_mut();
        headers.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    }
    response
}

pub(crate) async fn guard(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    if !is_called_by_name(request.headers(), &console.settings.hosts) {
        let why = "this console has another name (Host): open the address that it printed\n";
        return closing((StatusCode::MISDIRECTED_REQUEST, why).into_response());
    }
    if is_too_long(request.uri(), &console.settings.base_path) {
        let why = "this address is too long: enter less\n";
        return closing((StatusCode::URI_TOO_LONG, why).into_response());
    }
    if let Some(response) = first_visit(&console, &request) {
        return response;
    }
    let (mut parts, body) = request.into_parts();
    match viewer(&console, &parts).await {
        Ok(viewer) => {
            parts.extensions.insert(viewer);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(response) => closing(response),
    }
}

/// Who asks, with what the rules allow. The database's role is asked by pages only: style and scripts wait for no database.
pub(crate) async fn viewer(console: &Console, parts: &Parts) -> Result<Viewer, Response> {
    let Settings { access, allow, .. } = &console.settings;
    let Some(viewer) = access.viewer(parts, &console.secret).await else { return Err(unknown(access)) };
    let allowed = match access {
        // A service around this console decides by itself who may what.
        Access::Mounted => Some(allow.limit(viewer)),
        _ => allow.apply(viewer, matches!(access, Access::Once(_))),
    };
    allowed.ok_or_else(|| {
        let why = "you are known, and may not look at this console (--allow view)\n";
        (StatusCode::FORBIDDEN, why).into_response()
    })
}

/// Who is not known keeps no connection.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Pure: a page repeats its address in several links, so that a long one would make a large page. The address that a second person
/// opens has what the first one wrote.
fn is_too_long(address: &Uri, base: &str) -> bool {
    let max = if address.path() == format!("{base}/drop") { DEMAND_BYTES_MAX } else { ADDRESS_BYTES_MAX };
    address.path_and_query().is_some_and(|text| text.as_str().len() > max)
}

/// Another site that lets its name point here must not read anything (DNS rebinding).
fn is_called_by_name(headers: &HeaderMap, hosts: &[String]) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_port = |port: &str| !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        _ => host,
    };
    hosts.is_empty()
        || hosts.iter().any(|known| known.eq_ignore_ascii_case(name) || known.eq_ignore_ascii_case(host))
}

/// The printed address: its token becomes a cookie, and disappears from the address.
fn first_visit(console: &Console, request: &Request) -> Option<Response> {
    let Access::Once(once) = &console.settings.access else { return None };
    if request.method() != Method::GET {
        return None;
    }
    let Query(pairs) = Query::<BTreeMap<String, String>>::try_from_uri(request.uri()).ok()?;
    let base = &console.settings.base_path;
    let cookie = once.cookie(pairs.get("token")?, request.headers(), base, &console.secret)?;
    Some((StatusCode::SEE_OTHER, [(SET_COOKIE, cookie), (LOCATION, format!("{base}/"))]).into_response())
}

fn unknown(access: &Access) -> Response {
    let why = match access {
        Access::Once(_) => {
            "open the address that `outbox console` printed; each address is for one browser, and for 12 hours: start another console for another\n"
        }
        Access::Tokens(_) => {
            let ask = [(WWW_AUTHENTICATE, "Basic realm=\"outbox console\", charset=\"UTF-8\"")];
            return (StatusCode::UNAUTHORIZED, ask, "a token is needed\n").into_response();
        }
        #[cfg(feature = "jwt")]
        Access::Jwt(_) => {
            "a signed token is needed that names you, by a checked email or by the claim of --auth-jwt-name: open this console by the address of its proxy\n"
        }
        Access::Header { .. } => "the proxy before this console does not say who asks, or is not trusted\n",
        Access::Mounted => "the service around this console does not say who asks\n",
    };
    (StatusCode::UNAUTHORIZED, why).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: an address is so short that no page repeats much of it.
    #[test]
    fn an_address_is_short() {
        for (path, bytes, is_long) in [
            ("/events?key=", 2000, false),
            ("/events?key=", 2048, true),
            ("/rpc/A/", 2048, true),
            ("/outbox/drop?asked=", 12_000, false),
            ("/outbox/drop?asked=", 12_288, true),
            ("/drop?asked=", 12_000, true),
        ] {
            let address: Uri = format!("{path}{}", "x".repeat(bytes)).parse().unwrap();
            assert_eq!(is_too_long(&address, "/outbox"), is_long, "{path} {bytes}");
        }
    }

    /// Guards: a name of another site that points here is refused.
    #[test]
    fn only_its_own_names_are_answered() {
        let hosts = ["127.0.0.1", "localhost", "[::1]"].map(str::to_owned);
        for (host, is_ours) in [
            ("127.0.0.1:9466", true),
            ("LOCALHOST", true),
            ("[::1]:9466", true),
            ("[::1]", true),
            ("evil.example:9466", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil:80", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            assert_eq!(is_called_by_name(&headers, &hosts), is_ours, "{host}");
            assert!(is_called_by_name(&headers, &[]));
        }
    }
}
