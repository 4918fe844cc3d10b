//! Each form shows the command that it runs.

use std::sync::Arc;

use axum::http::StatusCode;
use outbox_console::{Ask, Demo, Viewer};

use super::support::*;

/// What a required field gets that has no value: the command shows it so.
const ENTERED: &str = "…";

/// A form as a browser has it when the page is loaded.
#[derive(Debug)]
struct Form {
    action: String,
    fields: Vec<(String, String)>,
}

fn forms(page: &str) -> Vec<Form> {
    page.split("<form class=\"change\"")
        .skip(1)
        .map(|part| form(part.split("</form>").next().unwrap()))
        .collect()
}

fn form(html: &str) -> Form {
    let mut fields = Vec::new();
    for tag in html.split("<input").skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let value = attribute(tag, "value")
            .unwrap_or_else(|| if tag.contains(" required") { ENTERED.to_owned() } else { String::new() });
        fields.push((attribute(tag, "name").unwrap(), value));
    }
    for select in html.split("<select").skip(1) {
        let chosen =
            select.split("<option").find(|option| option.split('>').next().unwrap().contains(" selected"));
        fields.push((attribute(select, "name").unwrap(), attribute(chosen.unwrap(), "value").unwrap()));
    }
    Form { action: attribute(html, "action").unwrap(), fields }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    Some(unescaped(rest.split('"').next().unwrap()))
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte.is_ascii_alphanumeric() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// What the form agrees to is not for a terminal.
fn is_shown(word: &&String) -> bool {
    *word != "--yes"
}

/// Guards promise 8: an operator sees which command a form runs, and can run it in a terminal.
#[tokio::test]
async fn each_form_shows_its_command() {
    let boss = || Viewer { may_see_payloads: true, ..operator() };
    let mut seen = std::collections::BTreeSet::new();
    for path in PAGES {
        let kept = Shared::default();
        let console = console(Arc::new(kept.clone()));
        let (_, shown) = page(&console, path, boss()).await;
        for Form { action, fields } in forms(&shown) {
            let sent: Vec<String> =
                fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
            let response = answer(&console, post(&action, boss(), ORIGIN, &sent.join("&"))).await;
            assert!(response.status().as_u16() < 400, "{path} {action}: {}", text(response).await);
            let words = kept.0.changes().pop().unwrap().words;
            let words: Vec<String> = words.iter().filter(is_shown).cloned().collect();
            let command = Demo.command(&words);
            // In a list one command stands for all rows.
            let id = action.split('/').nth(2).unwrap_or_default();
            let of_all = command.replace(id, "ID");
            let is_shown = |command: &str| unescaped(&shown).contains(&format!("<code>{command}</code>"));
            assert!(is_shown(&command) || is_shown(&of_all), "{path} {action} runs {command}: {shown}");
            seen.insert(action.rsplit('/').next().unwrap().to_owned());
        }
    }
    for known in
        ["pause", "resume", "limit", "retry", "give-up", "redrive", "replay", "stop", "pace", "payload"]
    {
        assert!(seen.contains(known), "{known} is not among {seen:?}");
    }
}

/// Guards promise 8: a few letters are tried before all of them are moved.
#[tokio::test]
async fn a_few_letters_are_tried_first() {
    let kept = Shared::default();
    let console = console(Arc::new(kept.clone()));
    let (_, shown) = page(&console, PAGES[3], operator()).await;
    for few in ["1", "10"] {
        assert!(shown.contains(&format!("name=\"limit\" value=\"{few}\">Try {few}</button>")), "{shown}");
        let fields: Vec<String> = forms(&shown)[0]
            .fields
            .iter()
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect();
        let fields = format!("{}&limit={few}", fields.join("&"));
        let response = answer(&console, post("/dead/redrive", operator(), ORIGIN, &fields)).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        let words = kept.0.changes().pop().unwrap().words;
        assert!(words.contains(&format!("--limit={few}")), "{words:?}");
    }
}
