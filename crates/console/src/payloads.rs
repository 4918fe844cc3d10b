//! The payload of one letter: for who may see it, with a reason, and never in a list. It is the one answer that is not cleaned.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use crate::ask::{Refusal, words};
use crate::asked::cleaned;
use crate::changes::question;
use crate::commands;
use crate::pages::payload::page;
use crate::sent::{Sent, ToSeePayloads};
use crate::visit::as_html;

/// The command writes to the audit who looked and why, before it reads. It also hides the fields that proto marks.
pub(crate) async fn show(Path(id): Path<String>, sent: Sent<ToSeePayloads>) -> Response {
    let visit = &sent.visit;
    let (place, why) = (("/dead", "Payload"), sent.field("why"));
    let words = commands::payload(if words::is_id(&id) { &id } else { "" }, why);
    if why.is_empty() || !words::is_id(&id) {
        let remedy = "go back to the letter".to_owned();
        let refusal = Refusal { code: 2, problem: "a letter and a reason are needed".to_owned(), remedy };
        return visit.refuse(place, &words, &refusal);
    }
    if let Some(refusal) = words::unusable(&words) {
        return visit.refuse(place, &words, &refusal);
    }
    let letters = match visit.console.ask.ask(question(visit, words.clone())).await {
        Ok(answer) => answer.json,
        Err(refusal) => return visit.refuse(place, &words, &cleaned(&refusal)),
    };
    let payloads: Vec<String> = letters.as_array().into_iter().flatten().filter_map(payload).collect();
    let command = visit.console.ask.command(&words);
    let frame = visit.frame();
    as_html(StatusCode::OK, &frame.page(place.0, place.1, &command, &page(&frame, &id, &payloads)))
}

/// A body that can't be read may have anything in it: it stays in the terminal.
fn payload(letter: &Value) -> Option<String> {
    serde_json::to_string_pretty(letter.get("payload")?).ok()
}
