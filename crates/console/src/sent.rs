//! A form that was sent.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Form, FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use crate::access::Viewer;
use crate::state::Console;
use crate::visit::{Visit, text};

/// Who sends a form slowly holds a connection for no longer.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);

/// By this page, from this console, by a viewer who may.
#[derive(Debug)]
pub(crate) struct Sent<N = ToRepair> {
    pub(crate) visit: Visit,
    fields: BTreeMap<String, String>,
    needs: PhantomData<N>,
}

/// What a form needs.
pub(crate) trait Needs {
    fn has(viewer: &Viewer) -> bool;
}

#[derive(Debug)]
pub(crate) struct ToRepair;
#[derive(Debug)]
pub(crate) struct ToDestroy;
#[derive(Debug)]
pub(crate) struct ToSeePayloads;

impl Needs for ToRepair {
    fn has(viewer: &Viewer) -> bool {
        viewer.may_repair
    }
}

impl Needs for ToDestroy {
    fn has(viewer: &Viewer) -> bool {
        viewer.may_destroy
    }
}

impl Needs for ToSeePayloads {
    fn has(viewer: &Viewer) -> bool {
        viewer.may_see_payloads
    }
}

impl<N> Sent<N> {
    pub(crate) fn fields(&self) -> &BTreeMap<String, String> {
        &self.fields
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.trim())
    }
}

impl<N: Needs> FromRequest<Arc<Console>> for Sent<N> {
    type Rejection = Response;

    async fn from_request(request: Request, console: &Arc<Console>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visit =
            Visit::from_request_parts(&mut parts, console).await.map_err(IntoResponse::into_response)?;
        let forbidden = |why: &'static str| (StatusCode::FORBIDDEN, why).into_response();
        if !N::has(&visit.viewer) {
            console.wall.refused(&*console.ask, &visit.who(), parts.uri.path()).await;
            return Err(forbidden("You may not do this.\n"));
        }
        if !is_from_here(&parts.headers, &console.settings.hosts) {
            return Err(forbidden(
                "The form was sent from another site (Origin): open this console, and send it there.\n",
            ));
        }
        let form = Form::<BTreeMap<String, String>>::from_request(Request::from_parts(parts, body), console);
        let form = timeout(ARRIVES_WITHIN, form).await;
        let late = |_| (StatusCode::REQUEST_TIMEOUT, "the form did not arrive in time\n").into_response();
        let Form(fields) = form.map_err(late)?.map_err(IntoResponse::into_response)?;
        let sent = Self { visit, fields, needs: PhantomData };
        if !console.secret.are_same(sent.field("form_token"), &sent.visit.form_token()) {
            return Err(forbidden(
                "The form is of another console, or of an earlier start: load the page again.\n",
            ));
        }
        Ok(sent)
    }
}

/// Pure: whether a browser sent the form from a page of this console.
fn is_from_here(headers: &HeaderMap, hosts: &[String]) -> bool {
    if text(headers, &HeaderName::from_static("sec-fetch-site")).is_some_and(|site| site != "same-origin") {
        return false;
    }
    let (Some(origin), Some(host)) = (text(headers, &ORIGIN), text(headers, &HOST)) else { return false };
    let Some((_, origin)) = origin.split_once("://") else { return false };
    origin.eq_ignore_ascii_case(host) || hosts.iter().any(|known| origin.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a form of another site is refused, and one without a sender.
    #[test]
    fn a_form_of_another_site_is_refused() {
        for (origin, site, is_ours) in [
            (Some("http://127.0.0.1:9466"), None, true),
            (Some("http://127.0.0.1:9466"), Some("same-origin"), true),
            (Some("https://outbox.corp"), None, true),
            (Some("http://127.0.0.1:9466"), Some("cross-site"), false),
            (Some("http://127.0.0.1:9467"), None, false),
            (Some("http://evil"), Some("same-origin"), false),
            (Some("null"), None, false),
            (None, None, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "127.0.0.1:9466".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            if let Some(site) = site {
                headers.insert("sec-fetch-site", site.parse().unwrap());
            }
            let hosts = ["outbox.corp".to_owned()];
            assert_eq!(is_from_here(&headers, &hosts), is_ours, "{origin:?} {site:?}");
        }
    }
}
