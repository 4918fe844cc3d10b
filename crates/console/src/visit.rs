//! One request of a viewer who is known by now.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Form, FromRequest, FromRequestParts, Query, Request};
use axum::http::header::{ACCEPT, HOST, HeaderMap, ORIGIN};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use crate::access::Viewer;
use crate::ask::{Refusal, words};
use crate::asked::read_seen;
use crate::clean::without_keys;
use crate::frame::Frame;
use crate::guard::ADDRESS_BYTES_MAX;
use crate::late::older;
use crate::look::Look;
use crate::pages::outcome::notes;
use crate::parts::refused;
use crate::sampler::{For, Sample};
use crate::shared::Seen;
use crate::state::{Console, status_of};

/// Who sends a form slowly holds a connection for no longer.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);
/// What was said of the form that opened a page.
pub(crate) const SAID: &str = "said";

#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) console: Arc<Console>,
    pub(crate) viewer: Viewer,
    pub(crate) now: DateTime<Utc>,
    pub(crate) look: Look,
    /// The address, if it is one of a page, and short.
    path: String,
    pub(crate) wants_json: bool,
    /// Of the form that opened this page.
    notes: Vec<String>,
}

impl FromRequestParts<Arc<Console>> for Visit {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, StatusCode> {
        // The guard has put it there.
        let viewer = parts.extensions.get::<Viewer>().cloned().ok_or(StatusCode::UNAUTHORIZED)?;
        let viewer = console.wall.limit(viewer, &console.ask).await;
        let accepted = text(&parts.headers, &ACCEPT).unwrap_or_default();
        let said = Query::<BTreeMap<String, String>>::try_from_uri(&parts.uri).ok();
        let said = said.and_then(|Query(pairs)| pairs.get(SAID).cloned()).unwrap_or_default();
        Ok(Self {
            console: Arc::clone(console),
            notes: console.said.of(&viewer.name, &said),
            viewer,
            now: console.now(),
            look: Look::of(&parts.headers),
            path: match (&parts.method, parts.uri.path_and_query()) {
                (&Method::GET, Some(path)) if path.as_str().len() <= ADDRESS_BYTES_MAX => path.to_string(),
                _ => console.settings.base_path.clone() + "/",
            },
            wants_json: accepted.contains("application/json"),
        })
    }
}

impl Visit {
    pub(crate) fn frame(&self) -> Frame<'_> {
        Frame {
            base: &self.console.settings.base_path,
            title: &self.console.settings.title,
            version: &self.console.assets.version,
            viewer: &self.viewer,
            look: self.look,
            path: &self.path,
            form_token: self.form_token(),
            now: self.now,
            clock: self.now,
            ask: &*self.console.ask,
        }
    }

    fn form_token(&self) -> String {
        self.console.secret.sign_for("form", &self.viewer.name)
    }

    pub(crate) fn who(&self) -> String {
        self.viewer.who()
    }

    /// What all viewers see. A page says that its numbers are older than they should be. JSON has no place for that: it is refused.
    pub(crate) async fn sample(&self) -> Result<Sample, Refusal> {
        let sample = self.console.sample().await?;
        match &sample.late {
            Some(late) if self.wants_json => Err(late.clone()),
            _ => Ok(sample),
        }
    }

    /// The page of one command: as JSON what the command prints.
    pub(crate) async fn answer<T: DeserializeOwned>(
        &self,
        place: (&str, &str),
        words: Vec<String>,
        page: impl FnOnce(&Frame, &T) -> Markup,
    ) -> Response {
        self.open(
            place,
            For::One,
            words,
            |frame, seen: &Seen<T>| html! { (older(seen)) (page(frame, &seen.value)) },
        )
        .await
    }

    /// A page that many may watch.
    pub(crate) async fn watch<T: DeserializeOwned>(
        &self,
        place: (&str, &str),
        words: Vec<String>,
        page: impl FnOnce(&Frame, &T) -> Markup,
    ) -> Response {
        self.open(
            place,
            For::All,
            words,
            |frame, seen: &Seen<T>| html! { (older(seen)) (page(frame, &seen.value)) },
        )
        .await
    }

    /// The same, for a page that says itself how old its numbers are.
    pub(crate) async fn open<T: DeserializeOwned>(
        &self,
        place: (&str, &str),
        whose: For,
        words: Vec<String>,
        page: impl FnOnce(&Frame, &Seen<T>) -> Markup,
    ) -> Response {
        let seen = self.console.seen((whose, &self.who()), words.clone()).await;
        if let Some(refusal) = self.lacks([&seen]) {
            return self.refuse(place, &words, refusal);
        }
        let read = seen.and_then(|seen| Ok((seen.value.clone(), read_seen::<T>(seen)?)));
        match read {
            Ok((json, seen)) => self.show_of(seen.at, place, &words, &json, |frame| page(frame, &seen)),
            Err(refusal) => self.refuse(place, &words, &refusal),
        }
    }

    /// Why a page of these answers is none: as JSON it has all of them as they are now, or it is refused.
    pub(crate) fn lacks<'a>(
        &self,
        answers: impl IntoIterator<Item = &'a Result<Seen<Value>, Refusal>>,
    ) -> Option<&'a Refusal> {
        let missing = |answer: &'a Result<Seen<Value>, Refusal>| match answer {
            Ok(seen) => seen.late.as_ref(),
            Err(refusal) => Some(refusal),
        };
        answers.into_iter().find_map(missing).filter(|_| self.wants_json)
    }

    /// What is so at this moment.
    pub(crate) fn show(
        &self,
        place: (&str, &str),
        words: &[String],
        json: &Value,
        page: impl FnOnce() -> Markup,
    ) -> Response {
        self.show_of(self.now, place, words, json, |_| page())
    }

    /// A page on which nothing was entered yet. As JSON it refuses, as its command does.
    pub(crate) fn first(
        &self,
        place: (&str, &str),
        words: &[String],
        refusal: &Refusal,
        page: impl FnOnce() -> Markup,
    ) -> Response {
        if self.wants_json {
            return self.refuse(place, words, refusal);
        }
        self.show(place, words, &Value::Null, page)
    }

    /// What was so at that time. Ages on the page are as they were then.
    pub(crate) fn show_of(
        &self,
        at: DateTime<Utc>,
        (here, heading): (&str, &str),
        words: &[String],
        json: &Value,
        page: impl FnOnce(&Frame) -> Markup,
    ) -> Response {
        if self.wants_json {
            // Of one event, all who may look see its key.
            return match self.viewer.may_search_keys || words::is_of_one(words) {
                true => as_json(StatusCode::OK, json),
                false => as_json(StatusCode::OK, &without_keys(json.clone())),
            };
        }
        let frame = Frame { now: at, ..self.frame() };
        let command = self.console.ask.command(words);
        let body = html! { (notes(&self.notes)) (page(&frame)) };
        as_html(StatusCode::OK, &frame.page(here, heading, &command, &body))
    }

    pub(crate) fn refuse(&self, place: (&str, &str), words: &[String], refusal: &Refusal) -> Response {
        self.refuse_as(status_of(refusal), place, words, refusal)
    }

    /// What this viewer may not see.
    pub(crate) fn forbid(&self, place: (&str, &str), words: &[String], refusal: &Refusal) -> Response {
        self.refuse_as(StatusCode::FORBIDDEN, place, words, refusal)
    }

    fn refuse_as(
        &self,
        status: StatusCode,
        (here, heading): (&str, &str),
        words: &[String],
        refusal: &Refusal,
    ) -> Response {
        if self.wants_json {
            let Refusal { problem, remedy, .. } = refusal;
            return as_json(status, &serde_json::json!({"problem": problem, "remedy": remedy}));
        }
        let command = self.console.ask.command(words);
        as_html(status, &self.frame().page(here, heading, &command, &refused(refusal)))
    }
}

/// A form that was sent: by this page, from this console, by a viewer who may.
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
    if text(headers, &header::HeaderName::from_static("sec-fetch-site"))
        .is_some_and(|site| site != "same-origin")
    {
        return false;
    }
    let (Some(origin), Some(host)) = (text(headers, &ORIGIN), text(headers, &HOST)) else { return false };
    let Some((_, origin)) = origin.split_once("://") else { return false };
    origin.eq_ignore_ascii_case(host) || hosts.iter().any(|known| origin.eq_ignore_ascii_case(known))
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

pub(crate) fn as_html(status: StatusCode, page: &Markup) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (status, kind, page.0.clone()).into_response()
}

pub(crate) fn as_json(status: StatusCode, value: &impl Serialize) -> Response {
    let text = serde_json::to_string(value).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
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
