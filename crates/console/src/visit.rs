//! One request of a viewer who is known by now.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Query};
use axum::http::header::{ACCEPT, HeaderMap};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

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

    pub(crate) fn form_token(&self) -> String {
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

pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
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
