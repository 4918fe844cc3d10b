//! Dead letters, as they are looked at.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use outbox_event::EventId;
use outbox_transport::operate::{About, Addressed, DeadLetters, Deliveries, Filter, Repaired};

use super::{
    Subject, buried, dead, listed, look, messages, of_rpc, one, other, settled_as, sorted, stranger,
};

/// Guards promise 8: every dead letter is listed once, with what it was and why it died, over several pages, and again
/// after it was put back.
pub(super) async fn dead_letters_are_listed_page_by_page<S: Subject>(subject: &S) {
    let began = Utc::now() - TimeDelta::minutes(1);
    let mut operator = subject.operator().await;
    assert!(operator.next(&Filter::default()).await.unwrap().is_empty(), "nothing has died yet");
    operator.put_back().await;

    let sent = messages(&one(), S::PAGES);
    settled_as(subject, &sent, &dead("internal", "no card")).await;
    let first = operator.next(&Filter::default()).await.unwrap();
    assert!(!first.is_empty() && first.len() < S::PAGES, "{} letters are no page", first.len());
    let mut letters = first;
    letters.extend(look(&mut operator, &Filter::default()).await);
    assert!(operator.next(&Filter::default()).await.unwrap().is_empty(), "the end stays the end");
    assert_eq!(letters.len(), S::PAGES);
    for letter in &letters {
        let event = letter.event.unwrap();
        let message = sent.iter().find(|message| message.event == event).unwrap();
        assert_eq!((&letter.rpc, &letter.body), (&one(), &message.body));
        assert_eq!((letter.code.as_str(), letter.reason.as_str()), ("internal", "no card"));
        assert_eq!(letter.attempts, S::COUNTS_ATTEMPTS.then_some(1));
        let at = letter.dead_at.known().unwrap();
        assert!((began..=Utc::now() + TimeDelta::minutes(1)).contains(&at), "{at}");
    }
    assert_eq!(
        sorted(letters.iter().map(|letter| letter.event.unwrap())),
        sorted(sent.iter().map(|message| message.event)),
        "each once"
    );
    let mut ids = sorted(letters.iter().map(|letter| letter.id.clone()));
    ids.dedup();
    assert_eq!(ids.len(), S::PAGES, "an id is one letter's");
    if S::ORDERED {
        let ids = letters.iter().map(|letter| letter.id.parse::<i64>().unwrap());
        assert!(ids.is_sorted());
    }

    let beside = if S::HIDES { 0 } else { S::PAGES };
    assert_eq!(listed(subject, &Filter::default()).await.len(), beside, "looked at by somebody else");
    operator.put_back().await;
    assert_eq!(listed(subject, &Filter::default()).await.len(), S::PAGES, "put back");
    assert_eq!(look(&mut operator, &Filter::default()).await.len(), S::PAGES, "looked at anew");
    operator.put_back().await;

    // Where a look hides letters, one that was put back may be somebody else's by now.
    let repair = super::begun(&operator, "drop").await;
    let left = if S::HIDES { Repaired::Gone } else { Repaired::Moved };
    assert_eq!(operator.take_away(&repair, &letters[..1]).await, [Ok(left)]);
}

/// Guards promise 8: a filter chooses the letters that fit all of it, and no others; what fits nothing is an empty list.
pub(super) async fn a_filter_chooses_what_fits_it<S: Subject>(subject: &S) {
    let [a, b] = buried(subject, &one(), 2).await[..] else { panic!("two died") };
    let refused = messages(&one(), 1);
    settled_as(subject, &refused, &dead("invalid_argument", "no such card")).await;
    let c = refused[0].event;
    // The same event, dead at another RPC, too.
    let elsewhere = [super::message(a, &other())];
    settled_as(subject, &elsewhere, &dead("internal", "down")).await;

    let mut operator = subject.operator().await;
    let letters = look(&mut operator, &Filter::default()).await;
    operator.put_back().await;
    let id_of = |event, rpc| letters.iter().find(|one| one.event == Some(event) && one.rpc == rpc).unwrap();
    let id = |event, rpc| Filter { id: Some(id_of(event, rpc).id.clone()), ..Filter::default() };
    let event = |event| Filter { event: Some(event), ..Filter::default() };
    let code = |code: &str| Filter { code: Some(code.to_owned()), ..Filter::default() };
    let older = |than| Filter { older_than: Some(than), ..Filter::default() };
    let unknown = |id: &str| Filter { id: Some(id.to_owned()), ..Filter::default() };
    let about = |about| Filter { about, ..Filter::default() };
    let header = |name: &str, value: &str| About {
        header: Some((name.to_owned(), value.to_owned())),
        ..About::default()
    };
    for (name, filter, expected) in [
        ("all", Filter::default(), vec![a, a, b, c]),
        ("an RPC", of_rpc(one()), vec![a, b, c]),
        ("another RPC", of_rpc(other()), vec![a]),
        ("an event", event(a), vec![a, a]),
        ("an event at an RPC", Filter { rpc: Some(other()), ..event(a) }, vec![a]),
        ("an event at an RPC where it did not die", Filter { rpc: Some(other()), ..event(b) }, vec![]),
        ("an event that is unknown", event(EventId::new()), vec![]),
        ("a code", code("invalid_argument"), vec![c]),
        ("a code of two RPCs", code("internal"), vec![a, a, b]),
        ("the beginning of a code", code("intern"), vec![]),
        ("a code with a wildcard", code("%"), vec![]),
        ("an id", id(b, one()), vec![b]),
        ("an id at its RPC", Filter { rpc: Some(one()), ..id(b, one()) }, vec![b]),
        ("an id of another queue", Filter { rpc: Some(other()), ..id(b, one()) }, vec![]),
        ("an id with another's code", Filter { code: Some("internal".into()), ..id(c, one()) }, vec![]),
        ("an id that is unknown", unknown("9007199254740993"), vec![]),
        ("an id that is none", unknown("' or 1=1 --"), vec![]),
        ("an id beyond numbers", unknown("99999999999999999999"), vec![]),
        ("no id", unknown(""), vec![]),
        ("any age", older(Duration::ZERO), vec![a, a, b, c]),
        ("an age that none has", older(Duration::from_secs(3600)), vec![]),
        ("an age older than time", older(Duration::from_secs(1 << 40)), vec![]),
        ("an age without end", older(Duration::MAX), vec![]),
        ("a part of a reason", about(About { reason: Some("such".into()), ..About::default() }), vec![c]),
        (
            "a reason with a wildcard",
            about(About { reason: Some("no%card".into()), ..About::default() }),
            vec![],
        ),
        ("a key", about(About { key: Some("key \"é\"".into()), ..About::default() }), vec![a, a, b, c]),
        ("the beginning of a key", about(About { key: Some("key".into()), ..About::default() }), vec![]),
        ("a name", about(About { name: Some("event_one".into()), ..About::default() }), vec![a, a, b, c]),
        ("another name", about(About { name: Some("event_two".into()), ..About::default() }), vec![]),
        ("a header", about(header("acme-tenant", "t-1")), vec![a, a, b, c]),
        ("a header with another value", about(header("acme-tenant", "t-2")), vec![]),
        ("a header that none has", about(header("tenant", "t-1")), vec![]),
        (
            "a reason at an RPC",
            Filter { rpc: Some(other()), ..about(About { reason: Some("down".into()), ..About::default() }) },
            vec![a],
        ),
    ] {
        let found = listed(subject, &filter).await;
        assert_eq!(sorted(found.into_iter().flatten()), sorted(expected), "{name}");
    }
    let nobody = operator.next(&of_rpc(stranger())).await;
    match S::MAKES_QUEUES {
        true => assert!(nobody.unwrap().is_empty()),
        false => assert!(nobody.err().unwrap().problem.contains("there is no queue")),
    }
}

/// Guards promise 8: where letters have an order the newest come first on request. A limit holds over all pages, and a letter
/// without a readable body fits no condition on its event.
pub(super) async fn the_newest_come_first_and_no_more_than_asked<S: Subject>(subject: &S) {
    let sent = messages(&one(), S::PAGES);
    settled_as(subject, &sent, &dead("internal", "no card")).await;
    let malformed = Addressed { body: "{".to_owned(), ..super::message(EventId::new(), &one()) };
    settled_as(subject, &[malformed], &dead("malformed_message", "no card")).await;
    let about = About { key: Some("key \"é\"".into()), ..About::default() };
    let limit = u32::try_from(S::PAGES - 1).unwrap();
    let filter = Filter { about, limit: Some(limit), ..of_rpc(one()) };
    assert_eq!(listed(subject, &filter).await.len(), S::PAGES - 1);
    assert_eq!(listed(subject, &Filter { limit: None, ..filter.clone() }).await.len(), S::PAGES);
    if S::ORDERED {
        let mut operator = subject.operator().await;
        let newest = Filter { newest_first: true, limit: Some(limit), ..of_rpc(one()) };
        let ids: Vec<i64> =
            look(&mut operator, &newest).await.iter().map(|letter| letter.id.parse().unwrap()).collect();
        assert!(ids.len() == S::PAGES - 1 && ids.iter().rev().is_sorted(), "{ids:?}");
        operator.put_back().await;
    }
}

/// Guards promises 2 and 8: whatever a message and its refusal say, the letter keeps the body as it was, its reason can be
/// read, and it can be moved.
pub(super) async fn a_letter_is_what_died_whatever_text_it_has<S: Subject>(subject: &S) {
    let awkward = "'; drop table outbox.event; -- \u{0}\u{1b}[31m\u{202e}\u{fffe} <\u{e9}\u{1f600}>\n\ttail";
    let event = EventId::new();
    let bodies = [
        ("garbage", "not JSON: {\"rpc\" '; -- <\u{e9}\u{1f600}>\n\t".to_owned()),
        ("a stranger's", super::message(event, &stranger()).body),
        ("large", format!("{{\"text\":\"{}\"}}", "x".repeat(200_000))),
    ];
    let sent = bodies.clone().map(|(_, body)| Addressed { event, rpc: one(), body });
    settled_as(subject, &sent, &dead("malformed_message", awkward)).await;
    let repaired = subject.operator().await;
    let repair = super::begun(&repaired, "redrive").await;
    let mut operator = subject.operator().await;
    let letters = look(&mut operator, &of_rpc(one())).await;
    assert_eq!(letters.len(), bodies.len());
    for (name, body) in &bodies {
        let letter = letters.iter().find(|letter| letter.body == *body);
        let letter = letter.unwrap_or_else(|| panic!("{name}: its body is another one"));
        assert_eq!((&letter.rpc, letter.code.as_str()), (&one(), "malformed_message"), "{name}");
        let reason = &letter.reason;
        assert!(reason.starts_with("'; drop table outbox.event; -- "), "{name}: {reason:?}");
        assert!(reason.ends_with(" <\u{e9}\u{1f600}>\n\ttail"), "{name}: {reason:?}");
        assert!(!reason.contains('\u{0}'), "{name}: {reason:?}");
        // A row has the event beside the body; a message on SQS has nothing else.
        assert!(S::SEES_QUEUES || *name == "a stranger's" || letter.event.is_none(), "{name}");
    }
    let moved = operator.redrive(&repair, &letters, false).await;
    assert_eq!(super::tally(&moved), super::all_of(&Repaired::Moved, letters.len()));
    let queue = subject.queue(&one()).await;
    let again = super::receive::<S>(&queue, letters.len()).await;
    assert_eq!(
        sorted(again.into_iter().map(|one| one.body)),
        sorted(bodies.map(|(_, body)| body)),
        "as they were"
    );
    assert_eq!(operator.done(&[(event, one())]).await.unwrap(), [false]);
}
