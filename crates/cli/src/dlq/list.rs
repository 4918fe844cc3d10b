use std::cmp::Reverse;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use outbox_contract::Contract;
use outbox_event::{EventId, Message};
use outbox_event_router::Rpc;
use outbox_transport::operate::{At, Count, DeadLetters, Filter, Letter, Operator, Queues};
use serde::Serialize;
use serde_json::value::RawValue;

use super::args::{List, Show};
use super::hiding::Hiding;
use crate::filter;
use crate::options::Format;
use crate::pace::interrupted;
use crate::repair;
use crate::safe::{self, line};
use crate::show::{self, NAME_CHARS_MAX, NOT_KNOWN, age, moment, moment_of, or_dash, seconds_since, table};
use crate::stopped::Stopped;
use crate::terminal::print;
use crate::transport::Work;

const REASON_CHARS_MAX: usize = 80;

/// A dead letter without its payload; the names are stable.
#[derive(Debug, Serialize)]
struct Listed {
    source: String,
    id: String,
    rpc: String,
    event: Option<EventId>,
    /// Unknown if the body is malformed.
    event_name: Option<String>,
    attempts: Option<i32>,
    code: String,
    reason: String,
    /// `null` if the row's time is not a valid date.
    dead_at: At,
    dead_seconds: Option<f64>,
}

/// The letter with the contents of its body; the payload only on request.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    listed: Listed,
    key: Option<String>,
    occurred_at: Option<DateTime<Utc>>,
    headers: Vec<String>,
    body_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    /// Whether proto says which fields must be hidden: if not, all are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden_by_proto: Option<bool>,
    /// The body, if no payload can be found in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

impl Listed {
    fn of<H>(source: &str, letter: &Letter<H>) -> Self {
        let message = Message::decode(&letter.body).ok();
        Self {
            source: source.to_owned(),
            id: letter.id.clone(),
            rpc: letter.rpc.to_string(),
            event: letter.event,
            event_name: message.map(|message| message.event.name.into_owned()),
            attempts: letter.attempts,
            code: letter.code.clone(),
            reason: letter.reason.clone(),
            dead_at: letter.dead_at,
            dead_seconds: letter.dead_at.known().map(seconds_since),
        }
    }
}

impl Shown {
    fn of<H>(source: &str, letter: &Letter<H>, hiding: Option<(&Hiding, Option<&Contract>)>) -> Self {
        let message = Message::decode(&letter.body).ok();
        let event = message.as_ref().map(|message| &message.event);
        let (payload, hidden_by_proto) = match (hiding, event) {
            (Some((hiding, contract)), Some(event)) => {
                let (payload, known) = hiding.shown(contract, &event.name, &event.payload);
                (payload, Some(known))
            }
            _ => (None, None),
        };
        Self {
            listed: Listed::of(source, letter),
            key: event.and_then(|event| event.key.as_deref().map(str::to_owned)),
            occurred_at: event.map(|event| event.occurred_at),
            headers: event.map(|event| event.headers.keys().cloned().collect()).unwrap_or_default(),
            body_bytes: letter.body_bytes,
            payload,
            hidden_by_proto,
            body: (hiding.is_some_and(|(hiding, _)| !hiding.needs_proto()) && event.is_none())
                .then(|| letter.body.clone()),
        }
    }
}

pub(super) struct Listing<'a>(pub(super) &'a List);

impl Work for Listing<'_> {
    async fn on<O: Operator>(self, mut transports: Vec<O>) -> Result<ExitCode, Stopped> {
        let which = &self.0.which;
        filter::rpc(&self.0.options, &transports, which.rpc.as_ref()).await?;
        filter::letter_code(&mut transports, which.code.as_ref()).await?;
        filter::letter_name(&self.0.options, &mut transports, &which.filter().about).await?;
        let limit = self.0.limit as usize;
        let filter = Filter { newest_first: !self.0.oldest_first, ..self.0.which.filter() };
        let (mut listed, mut more) = (Vec::new(), false);
        for transport in &mut transports {
            let looked = gather(transport, &filter, limit, &mut listed).await;
            transport.put_back().await;
            more |= looked?;
        }
        if filter.newest_first {
            listed.sort_by_key(|letter| Reverse(letter.dead_at.known()));
        }
        more |= listed.len() > limit;
        listed.truncate(limit);
        // It asks how deep all queues are, which takes long where they are.
        let all =
            if more && self.0.options.prints_text() { self.all(&transports, &filter).await? } else { None };
        self.0.options.answer(&listed, || text(&listed, more, all, self.0))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Listing<'_> {
    /// How many there are, if that is known without reading each.
    async fn all(&self, transports: &[impl Operator], filter: &Filter) -> Result<Option<Count>, Stopped> {
        let of_rpc =
            Filter { rpc: filter.rpc.clone(), newest_first: filter.newest_first, ..Filter::default() };
        if *filter != of_rpc {
            return Ok(None);
        }
        let router = self.0.options.router()?;
        let rpcs: Vec<Rpc> =
            router.iter().flat_map(|router| router.rpcs()).map(|(rpc, _)| rpc.clone()).collect();
        let mut all = Count::default();
        for transport in transports {
            let depths = transport.depths(&rpcs).await?.into_iter();
            let of = depths.filter(|depth| filter.rpc.as_ref().is_none_or(|rpc| rpc.as_str() == depth.rpc));
            all = of.fold(all, |all, depth| all + depth.dead);
        }
        Ok(Some(all))
    }
}

/// Returns whether there are, or may be, more than `limit`. Ctrl-C ends the reading, but not the putting back.
async fn gather<O: Queues + DeadLetters>(
    transport: &mut O,
    filter: &Filter,
    limit: usize,
    listed: &mut Vec<Listed>,
) -> Result<bool, Stopped> {
    let start = listed.len();
    let interrupted = interrupted();
    tokio::pin!(interrupted);
    loop {
        let letters = tokio::select! {
            letters = transport.next(filter) => letters?,
            () = &mut interrupted => return Ok(true),
        };
        if letters.is_empty() {
            return Ok(false);
        }
        for letter in letters {
            if listed.len() - start == limit {
                return Ok(true);
            }
            listed.push(Listed::of(transport.source(), &letter));
        }
    }
}

fn text(listed: &[Listed], more: bool, all: Option<Count>, args: &List) -> String {
    if listed.is_empty() {
        return "No dead letters.".to_owned();
    }
    let several = listed.iter().any(|letter| letter.source != listed[0].source);
    let mut rows = table([
        "ID",
        "RPC",
        "EVENT",
        "NAME",
        "DEAD FOR",
        "ATTEMPTS",
        "CODE",
        "REASON",
        if several { "SOURCE" } else { "" },
    ]);
    for letter in listed {
        rows.add_row([
            letter.id.clone(),
            letter.rpc.clone(),
            or_dash(letter.event),
            or_dash(letter.event_name.as_deref().map(|name| line(name, NAME_CHARS_MAX))),
            letter.dead_seconds.map_or_else(|| NOT_KNOWN.to_owned(), age),
            or_dash(letter.attempts),
            line(&letter.code, NAME_CHARS_MAX),
            line(&letter.reason, REASON_CHARS_MAX),
            if several { letter.source.clone() } else { String::new() },
        ]);
    }
    let mut text = rows.trim_fmt();
    if more {
        let shown = all.map(|all| format!("{} of {all} dead letters are shown. ", listed.len()));
        text.push_str(&format!(
            "\n\n{}There are more: --limit is {}.",
            shown.unwrap_or_default(),
            args.limit
        ));
    }
    let (first, options) = (&listed[0], &args.options);
    let one_rpc = listed.iter().all(|letter| letter.rpc == first.rpc);
    let which = if one_rpc { vec!["--rpc", &first.rpc] } else { vec!["--all"] };
    text.push_str(&format!(
        "\n\nto deliver them again: {}",
        options.command(["dlq", "redrive"].into_iter().chain(which))
    ));
    text
}

pub(super) struct Showing<'a> {
    args: &'a Show,
    filter: Filter,
}

impl<'a> Showing<'a> {
    pub(super) fn of(args: &'a Show) -> Result<Self, Stopped> {
        let which = args.which.filter();
        if args.id.is_none() && !args.newest && which == Filter::default() {
            return Err(Stopped::unusable(
                "`outbox dlq show` needs an id or a filter",
                "pass the id that `outbox dlq list` shows, or a filter, or --newest",
            ));
        }
        // Of several with one number all are shown.
        let limit = args.id.is_none().then_some(1);
        Ok(Self { args, filter: Filter { id: args.id.clone(), newest_first: args.newest, limit, ..which } })
    }
}

impl Work for Showing<'_> {
    async fn on<O: Operator>(self, mut transports: Vec<O>) -> Result<ExitCode, Stopped> {
        let Self { args, filter } = self;
        filter::rpc(&args.options, &transports, filter.rpc.as_ref()).await?;
        filter::letter_code(&mut transports, filter.code.as_ref()).await?;
        filter::letter_name(&args.options, &mut transports, &filter.about).await?;
        filter::ordered(&transports, &filter)?;
        let contract = if args.payload { args.hiding.contract()? } else { None };
        let hiding = args.payload.then_some((&args.hiding, contract.as_ref()));
        // Who has looked at a payload is in the audit, because it may be confidential.
        if args.payload {
            let repair = repair::begin(&args.options.asked, &transports, true).await?;
            repair::end(repair, &transports, &serde_json::json!({"looked_at_payload_of": args.id})).await;
        }
        let mut shown = Vec::new();
        for mut transport in transports {
            let looked = tokio::select! {
                letters = transport.next(&filter) => letters,
                () = interrupted() => Ok(Vec::new()),
            };
            transport.put_back().await;
            shown.extend(looked?.iter().map(|letter| Shown::of(transport.source(), letter, hiding)));
        }
        if args.id.is_none() {
            shown.truncate(1);
        }
        if !shown.is_empty() {
            if args.options.asked.keeps(&shown) {
                return Ok(ExitCode::SUCCESS);
            }
            match args.options.format {
                Format::Json => shown.iter().try_for_each(show::json)?,
                Format::Table => print(&text_of(&shown, args))?,
            }
            return Ok(ExitCode::SUCCESS);
        }
        let command = |words: &[&str]| args.options.command(words);
        let Some(id) = &args.id else {
            return Err(Stopped::failed(
                "there is no such dead letter",
                format!("see `{}`: it may have been delivered again", command(&["dlq", "list"])),
            ));
        };
        let remedy = match id.parse::<EventId>() {
            Ok(_) => format!("that is an event's id: see `{}`", command(&["dlq", "list", "--event", id])),
            Err(_) => format!("see `{}`: it may have been delivered again", command(&["dlq", "list"])),
        };
        Err(Stopped::failed(format!("there is no dead letter {id}"), remedy))
    }
}

fn text_of(shown: &[Shown], args: &Show) -> String {
    let several = shown.iter().any(|one| one.listed.source != shown[0].listed.source);
    shown.iter().map(|one| describe(one, several, args)).collect::<Vec<_>>().join("\n\n")
}

fn describe(shown: &Shown, several: bool, args: &Show) -> String {
    let Listed { source, id, rpc, event, event_name, attempts, code, reason, dead_at, .. } = &shown.listed;
    let mut rows = table(["ID", id]);
    if several {
        rows.add_row(["source", source]);
    }
    rows.add_row(["rpc", rpc]);
    rows.add_row(["event", &or_dash(*event)]);
    rows.add_row(["name", &or_dash(event_name.as_deref())]);
    rows.add_row(["key", &or_dash(shown.key.as_deref())]);
    rows.add_row(["occurred", &or_dash(shown.occurred_at.map(moment))]);
    rows.add_row(["dead", &moment_of(*dead_at)]);
    rows.add_row(["attempts", &or_dash(*attempts)]);
    rows.add_row(["code", code]);
    rows.add_row(["reason", &line(reason, 1000)]);
    rows.add_row(["headers", &or_dash(Some(shown.headers.join(", ")).filter(|names| !names.is_empty()))]);
    rows.add_row(["body", &format!("{} bytes", shown.body_bytes)]);
    let mut text = rows.trim_fmt();
    match (&shown.payload, &shown.body) {
        (Some(payload), _) => text.push_str(&format!("\n\n{}", safe::json(payload.get()))),
        (None, Some(body)) => text.push_str(&format!("\n\nthe body is malformed:\n{}", body.escape_debug())),
        (None, None) if shown.hidden_by_proto.is_some() => {
            text.push_str("\n\nits message is not in proto, so it is not known what must be hidden");
        }
        (None, None) => text.push_str("\n\n--payload prints the payload, too."),
    }
    let options = &args.options;
    if let Some(event) = event.map(|event| event.to_string()) {
        let again = options.command(["dlq", "redrive", "--event", &event, "--rpc", rpc]);
        text.push_str(&format!(
            "\n\nits history: {}\nto deliver it again: {again}",
            options.command(["why", &event])
        ));
    }
    text
}
