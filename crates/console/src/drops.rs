//! What can't be taken back: letters, a parked event, or a queue are dropped. First they are counted and shown, then the name is
//! typed with a reason, and with `second_person` another person confirms it.

use std::time::Duration;

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::answers::{Letter, Moved, Parked, Queued};
use crate::ask::{Refusal, words};
use crate::changes::begun;
use crate::pages::drop::{Counted, Demand, MINUTES, Pairs, Sample, What, confirm, link, page};
use crate::shown::query;
use crate::visit::{Sent, ToDestroy, Visit};

const SAMPLE: &str = "3";
const PLACE: (&str, &str) = ("/dead", "Drop for good");

/// The command, without what it says of consent. Letters that died later than the count are not touched.
fn words_of(what: &What, since: Duration) -> Vec<String> {
    match what {
        What::Letters(group) => {
            let mut words = words::filtered(&["dlq", "drop"], &group.pairs());
            words.push(older_than(since));
            words
        }
        What::Parked(id) => words::of(&["parked", "drop", id]),
        What::Queue(rpc) => words::filtered(&["queue", "drop"], &[("rpc", rpc)]),
    }
}

fn sample_of(what: &What, since: Duration) -> Vec<String> {
    let limit = ("limit", SAMPLE);
    match what {
        What::Letters(group) => {
            let [rpc, code, reason, event] = group.pairs();
            let mut words = words::filtered(&["dlq", "list"], &[rpc, code, reason, event, limit]);
            words.extend([older_than(since), "--oldest-first".to_owned()]);
            words
        }
        What::Parked(_) => words::filtered(&["parked", "list"], &[("limit", "10000")]),
        What::Queue(rpc) => words::filtered(&["queue", "list"], &[("rpc", rpc), limit]),
    }
}

fn place_of(what: &What) -> &'static str {
    match what {
        What::Letters(_) => "/repairs",
        What::Parked(_) => "/parked",
        What::Queue(_) => "/",
    }
}

fn older_than(since: Duration) -> String {
    format!("--older-than={}", humantime::format_duration(since))
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
    let counted_at = demand.as_ref().map_or(visit.now.timestamp_millis(), |demand| demand.counted_at);
    let since = since(&visit, counted_at).unwrap_or_default();
    let command = words_of(&what, since);
    match counted(&visit, &what, since).await {
        Ok((counted, json)) => visit.show(PLACE, &command, &json, || match &demand {
            None => page(&visit.frame(), &what, &counted),
            Some(demand) => {
                let signature = pairs.get("signature").map_or("", String::as_str);
                let asked = pairs.get("asked").map_or("", String::as_str);
                confirm(&visit.frame(), &what, &counted, demand, [("asked", asked), ("signature", signature)])
            }
        }),
        Err(refusal) => visit.refuse(PLACE, &command, &refusal),
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
                match (What::of(&demand.pairs), since(visit, demand.counted_at)) {
                    (Some(what), Some(since)) => go(visit, &what, since, &why).await,
                    _ => visit.refuse(PLACE, &words::of(&["dlq", "drop"]), &nothing_meant()),
                }
            }
            Err(refusal) => visit.refuse(PLACE, &words::of(&["audit"]), &refusal),
        };
    }
    let counted_at = sent.field("counted_at").parse::<i64>().unwrap_or(i64::MAX);
    let (Some(what), Some(since)) = (What::of(sent.fields()), since(visit, counted_at)) else {
        return visit.refuse(PLACE, &words::of(&["dlq", "drop"]), &nothing_meant());
    };
    let words = words_of(&what, since);
    let counted = match counted(visit, &what, since).await {
        Ok((counted, _)) => counted,
        Err(refusal) => return visit.refuse(PLACE, &words, &refusal),
    };
    let why = sent.field("why");
    if sent.field("typed") != counted.name || why.is_empty() {
        let problem = format!("Type {} and give a reason.", counted.name);
        let refusal =
            Refusal { code: 2, problem, remedy: "go back to the form: nothing was dropped".to_owned() };
        return visit.refuse(PLACE, &words, &refusal);
    }
    if !visit.console.settings.second_person {
        return go(visit, &what, since, why).await;
    }
    let demand = Demand {
        pairs: what.pairs(),
        counted_at,
        found: counted.found,
        why: why.to_owned(),
        by: visit.viewer.name.clone(),
        until: visit.now.timestamp_millis() + MINUTES * 60_000,
    };
    let asked = serde_json::to_string(&demand).unwrap_or_default();
    let signature = visit.console.secret.sign_for("drop", &asked);
    let path = format!("/drop{}", query(&[("asked", &asked), ("signature", &signature)]));
    visit.show(PLACE, &words, &Value::Null, || link(&visit.frame(), &path))
}

async fn go(visit: &Visit, what: &What, since: Duration, why: &str) -> Response {
    let mut words = words_of(what, since);
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
    if visit.viewer.is(&demand.by) {
        return Err(refusal(
            "you have asked for it: another person confirms it",
            "send the address to one who may drop",
        ));
    }
    Ok(demand)
}

/// How long ago it was counted. `None` for a time that is to come: that would be a bound that moves.
fn since(visit: &Visit, counted_at: i64) -> Option<Duration> {
    let millis = visit.now.timestamp_millis().checked_sub(counted_at)?;
    u64::try_from(millis).ok().map(Duration::from_millis)
}

async fn counted(visit: &Visit, what: &What, since: Duration) -> Result<(Counted, Value), Refusal> {
    let (console, who) = (&visit.console, visit.who());
    let mut words = words_of(what, since);
    words.push("--dry-run".to_owned());
    let (moved, json) = console.ask::<Moved>(&who, words).await?;
    let sample = sample_of(what, since);
    let (name, samples) = match what {
        What::Letters(group) => {
            let letters: Vec<Letter> = console.ask(&who, sample).await?.0;
            (method(&group.rpc), letters.into_iter().map(Sample::from).collect())
        }
        What::Queue(rpc) => {
            let queued: Vec<Queued> = console.ask(&who, sample).await?.0;
            (method(rpc), queued.into_iter().map(Sample::from).collect())
        }
        What::Parked(id) => {
            let parked: Vec<Parked> = console.ask(&who, sample).await?.0;
            let one = parked.into_iter().find(|one| one.id == *id);
            (
                one.as_ref().map_or_else(String::new, |one| one.name.clone()),
                one.into_iter().map(Sample::from).collect(),
            )
        }
    };
    Ok((Counted { found: moved.found, at: visit.now - since, name, samples }, json))
}

fn method(rpc: &str) -> String {
    rpc.split_once('/').map_or(rpc, |(_, method)| method).to_owned()
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
        let at = Duration::from_secs(40);
        for (text, expected) in [
            ("what=letters&rpc=A/B&code=internal", "dlq drop --rpc=A/B --code=internal --older-than=40s"),
            ("what=letters&rpc=A/B&event=7", "dlq drop --rpc=A/B --event=7 --older-than=40s"),
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
