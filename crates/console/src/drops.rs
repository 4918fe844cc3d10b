//! What can't be taken back: letters, a parked event, or a queue are dropped. First they are counted and shown, then the name is
//! typed with a reason, and with `second_person` another person confirms it.

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::answers::{Letter, Moved, Parked, Queued};
use crate::ask::{Refusal, words};
use crate::changes::begun;
use crate::pages::drop::{Counted, Demand, MINUTES, Pairs, Sample, What, confirm, link, page, to_type};
use crate::sent::{Sent, ToDestroy};
use crate::shown::{query, stamp};
use crate::visit::Visit;

const SAMPLE: &str = "3";
const PLACE: (&str, &str) = ("/dead", "Drop for good");

/// The command, without what it says of consent. Letters that died after the bound are not touched.
fn words_of(what: &What, dead_by: Option<DateTime<Utc>>) -> Vec<String> {
    match what {
        What::Letters(group) => bounded(words::filtered(&["dlq", "drop"], &group.pairs()), dead_by),
        What::Parked(id) => words::of(&["parked", "drop", id]),
        What::Queue(rpc) => words::filtered(&["queue", "drop"], &[("rpc", rpc)]),
    }
}

fn bounded(mut words: Vec<String>, dead_by: Option<DateTime<Utc>>) -> Vec<String> {
    words::with(&mut words, "--dead-by", &dead_by.map_or_else(String::new, stamp));
    words
}

fn place_of(what: &What) -> &'static str {
    match what {
        What::Letters(_) => "/repairs",
        What::Parked(_) => "/parked",
        What::Queue(_) => "/",
    }
}

/// The count, or what a second person is asked to confirm.
pub(crate) async fn ask(visit: Visit, Query(pairs): Query<Pairs>) -> Response {
    if !visit.viewer.may_destroy {
        return (StatusCode::FORBIDDEN, "You may not drop.\n").into_response();
    }
    let demand =
        match pairs.get("asked").map(|asked| demanded(&visit, asked, pairs.get("signature"))).transpose() {
            Ok(demand) => demand,
            Err(refusal) => return visit.refuse(PLACE, &words::of(&["audit"]), &refusal),
        };
    let Some(what) = What::of(demand.as_ref().map_or(&pairs, |demand| &demand.pairs)) else {
        return visit.refuse(PLACE, &words::of(&["dlq", "drop"]), &nothing_meant());
    };
    let dead_by = demand.as_ref().and_then(|demand| demand.dead_by);
    match counted(&visit, &what, dead_by).await {
        Ok((counted, json)) => {
            visit.show(PLACE, &words_of(&what, counted.dead_by), &json, || match &demand {
                None => page(&visit.frame(), &what, &counted),
                Some(demand) => {
                    let signature = pairs.get("signature").map_or("", String::as_str);
                    let asked = pairs.get("asked").map_or("", String::as_str);
                    let signed = [("asked", asked), ("signature", signature)];
                    confirm(&visit.frame(), &what, &counted, demand, signed)
                }
            })
        }
        Err(refusal) => visit.refuse(PLACE, &words_of(&what, dead_by), &refusal),
    }
}

/// Drops it, or makes the address that a second person opens.
pub(crate) async fn drop(sent: Sent<ToDestroy>) -> Response {
    let visit = &sent.visit;
    let asked = sent.field("asked");
    let signature = sent.field("signature").to_owned();
    if !asked.is_empty() {
        return match demanded(visit, asked, Some(&signature)) {
            Ok(demand) => {
                let why = format!("{} (asked for by {})", demand.why, demand.by);
                match What::of(&demand.pairs) {
                    Some(what) => go(visit, &what, demand.dead_by, &why).await,
                    None => visit.refuse(PLACE, &words::of(&["dlq", "drop"]), &nothing_meant()),
                }
            }
            Err(refusal) => visit.refuse(PLACE, &words::of(&["audit"]), &refusal),
        };
    }
    let Some(what) = What::of(sent.fields()) else {
        return visit.refuse(PLACE, &words::of(&["dlq", "drop"]), &nothing_meant());
    };
    let dead_by =
        sent.field("dead_by").parse::<DateTime<Utc>>().ok().filter(|_| matches!(what, What::Letters(_)));
    let words = words_of(&what, dead_by);
    let why = sent.field("why");
    match meant(visit, &what, dead_by, (sent.field("typed"), why)).await {
        Err(refusal) => visit.refuse(PLACE, &words, &refusal),
        Ok(()) if !visit.console.settings.second_person => go(visit, &what, dead_by, why).await,
        Ok(()) => match counted(visit, &what, dead_by).await {
            Ok((counted, _)) => demand(visit, &what, &counted, why),
            Err(refusal) => visit.refuse(PLACE, &words, &refusal),
        },
    }
}

/// Nothing, if it was counted, and the name was typed with a reason.
async fn meant(
    visit: &Visit,
    what: &What,
    dead_by: Option<DateTime<Utc>>,
    (typed, why): (&str, &str),
) -> Result<(), Refusal> {
    let name = match what {
        What::Letters(_) if dead_by.is_none() => return Err(not_counted()),
        What::Letters(group) => method(&group.rpc),
        What::Queue(rpc) => method(rpc),
        What::Parked(id) => {
            let one = parked(visit, id).await?;
            to_type(&one.name, id).to_owned()
        }
    };
    if name.is_empty() || typed != name || why.is_empty() {
        let problem = format!("Type {name} and give a reason.");
        return Err(Refusal {
            code: 2,
            problem,
            remedy: "go back to the form: nothing was dropped".to_owned(),
        });
    }
    Ok(())
}

/// The address that a second person opens.
fn demand(visit: &Visit, what: &What, counted: &Counted, why: &str) -> Response {
    let demand = Demand {
        pairs: what.pairs(),
        dead_by: counted.dead_by,
        found: counted.found,
        why: why.to_owned(),
        by: visit.viewer.name.clone(),
        subject: visit.viewer.subject.clone(),
        until: visit.now.timestamp_millis() + MINUTES * 60_000,
    };
    let asked = serde_json::to_string(&demand).unwrap_or_default();
    let signature = visit.console.secret.sign_for("drop", &asked);
    let path = format!("/drop{}", query(&[("asked", &asked), ("signature", &signature)]));
    visit.show(PLACE, &words_of(what, counted.dead_by), &Value::Null, || link(&visit.frame(), &path))
}

async fn go(visit: &Visit, what: &What, dead_by: Option<DateTime<Utc>>, why: &str) -> Response {
    let mut words = words_of(what, dead_by);
    words::with(&mut words, "--why", why);
    words.push("--yes".to_owned());
    begun(visit, PLACE, words, place_of(what)).await
}

/// Signed here, not too old, and asked for by another person.
fn demanded(visit: &Visit, asked: &str, signature: Option<&String>) -> Result<Demand, Refusal> {
    let refusal = |problem: &str, remedy: &str| Refusal {
        code: 2,
        problem: problem.to_owned(),
        remedy: remedy.to_owned(),
    };
    let secret = &visit.console.secret;
    let is_signed = secret.are_same(signature.map_or("", String::as_str), &secret.sign_for("drop", asked));
    let demand = serde_json::from_str::<Demand>(asked).ok().filter(|_| is_signed);
    let Some(demand) = demand else {
        return Err(refusal(
            "this address is of another console, or of an earlier start",
            "ask for a new one",
        ));
    };
    if demand.until < visit.now.timestamp_millis() {
        return Err(refusal("this address is older than 10 minutes", "ask for a new one"));
    }
    if visit.viewer.is(&demand.by, demand.subject.as_deref()) {
        return Err(refusal(
            "you have asked for it: another person confirms it",
            "send the address to one who may drop",
        ));
    }
    Ok(demand)
}

async fn counted(
    visit: &Visit,
    what: &What,
    dead_by: Option<DateTime<Utc>>,
) -> Result<(Counted, Value), Refusal> {
    let (console, who) = (&visit.console, visit.who());
    let mut words = words_of(what, dead_by);
    words.push("--dry-run".to_owned());
    let (moved, json) = console.ask::<Moved>(&who, words).await?;
    let Moved { found, dead_by, .. } = moved;
    let limit = ("limit", SAMPLE);
    let counted = match what {
        What::Letters(group) => {
            let dead_by = Some(dead_by.ok_or_else(not_counted)?);
            let [rpc, code, reason, event] = group.pairs();
            let list = words::filtered(&["dlq", "list"], &[rpc, code, reason, event, limit]);
            let mut list = bounded(list, dead_by);
            list.push("--oldest-first".to_owned());
            let letters: Vec<Letter> = console.ask(&who, list).await?.0;
            let samples = letters.into_iter().map(Sample::from).collect();
            Counted { found, is_capped: false, dead_by, name: method(&group.rpc), samples }
        }
        What::Queue(rpc) => {
            let list = words::filtered(&["queue", "list"], &[("rpc", rpc), limit]);
            let queued: Vec<Queued> = console.ask(&who, list).await?.0;
            let samples = queued.into_iter().map(Sample::from).collect();
            Counted { found, is_capped: true, dead_by: None, name: method(rpc), samples }
        }
        What::Parked(id) => {
            let one = parked(visit, id).await?;
            let name = to_type(&one.name, id).to_owned();
            Counted { found, is_capped: false, dead_by: None, name, samples: vec![one.into()] }
        }
    };
    Ok((counted, json))
}

async fn parked(visit: &Visit, id: &str) -> Result<Parked, Refusal> {
    let words = words::of(&["parked", "list", id]);
    let parked: Vec<Parked> = visit.console.ask(&visit.who(), words).await?.0;
    parked.into_iter().find(|one| one.id == id).ok_or_else(|| Refusal {
        code: 1,
        problem: format!("the event {id} is not parked"),
        remedy: "it was retried or dropped meanwhile: its page says what became of it".to_owned(),
    })
}

fn method(rpc: &str) -> String {
    rpc.split_once('/').map_or(rpc, |(_, method)| method).to_owned()
}

/// Without the time of a count, letters that were in no count would be dropped.
fn not_counted() -> Refusal {
    Refusal {
        code: 2,
        problem: "until when the letters were counted is not known".to_owned(),
        remedy: "count again: nothing was dropped".to_owned(),
    }
}

fn nothing_meant() -> Refusal {
    Refusal {
        code: 2,
        problem: "The form names nothing to drop.".to_owned(),
        remedy: "Choose an RPC's letters, its queue, or a parked event on its own page.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(text: &str) -> Option<What> {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        What::of(&pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Guards: a drop names its RPC, is bound to its count, and can't be made of a flag.
    #[test]
    fn a_drop_says_what_it_is_of() {
        let at = "2026-11-22T13:11:42.000001Z".parse::<DateTime<Utc>>().ok();
        for (text, expected) in [
            (
                "what=letters&rpc=A/B&code=internal",
                "dlq drop --rpc=A/B --code=internal --dead-by=2026-11-22T13:11:42.000001Z",
            ),
            (
                "what=letters&rpc=A/B&event=7",
                "dlq drop --rpc=A/B --event=7 --dead-by=2026-11-22T13:11:42.000001Z",
            ),
            ("what=queue&rpc=A/B", "queue drop --rpc=A/B"),
            ("what=parked&id=7", "parked drop 7"),
        ] {
            let what = what(text).unwrap();
            assert_eq!(words_of(&what, at).join(" "), expected);
            assert_eq!(What::of(&what.pairs()).unwrap(), what, "{text}");
        }
        for bad in [
            "",
            "what=letters&code=internal",
            "what=letters&rpc=A",
            "what=parked&id=--all",
            "what=queue",
            "what=x&rpc=A/B",
        ] {
            assert_eq!(what(bad), None, "{bad}");
        }
    }
}
