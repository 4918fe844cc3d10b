//! `outbox queue list`.

use std::process::ExitCode;

use outbox_event_router::Rpc;
use outbox_transport::operate::{Hand, InQueue, Operator, Stage, Which};
use serde::Serialize;

use super::args::{By, List, State, look};
use super::gather::{Reach, bound, gather};
use super::groups::Groups;
use crate::filter;
use crate::running::Running;
use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, NOT_KNOWN, age, or_dash, seconds_since, table};
use crate::stopped::Stopped;
use crate::transport::Work;

const KEY_CHARS_MAX: usize = 40;
const REASON_CHARS_MAX: usize = 80;

/// The names are stable.
#[derive(Debug, Serialize)]
struct Listed {
    source: String,
    #[serde(flatten)]
    message: InQueue,
}

pub(super) struct Listing<'a>(pub(super) &'a List);

impl Work for Listing<'_> {
    async fn on<O: Operator>(self, transports: Vec<O>) -> Result<ExitCode, Stopped> {
        let args = self.0;
        if let Some(refused) = transports.iter().find_map(|transport| transport.refusal(Hand::List)) {
            return Err(refused.into());
        }
        filter::rpc(&args.options, &transports, args.rpc.as_ref()).await?;
        let queues = queues(args, &transports).await?;
        let stage = args.state.and_then(State::stage);
        let which = Which { stage, ..args.which.which() };
        let header = match (&args.by, &which.about.header) {
            (Some(By::Header(name)), _) | (_, Some((name, _))) => Some(name.as_str()),
            _ => None,
        };
        if let (Some(By::Header(name)), Some((other, _))) = (&args.by, &which.about.header)
            && name != other
        {
            return Err(Stopped::unusable(
                "--header and --by header:NAME name two headers",
                "name the same one, or leave one out",
            ));
        }
        let mut reach = Reach::default();
        if let Some(by) = &args.by {
            let mut groups = Groups::new(by.clone());
            for (transport, rpc) in &queues {
                let look = look(rpc, stage, header, args.newest);
                gather(*transport, &look, &which, &mut reach, |one| groups.add(transport.source(), &one))
                    .await?;
            }
            self.nothing_found(&which, groups.is_empty())?;
            let groups = groups.largest(args.limit as usize);
            args.options.answer(&groups.json(&reach), || groups.text(&reach, args))?;
            return Ok(code(&reach));
        }
        let (mut listed, limit, mut more) = (Vec::new(), args.limit as usize, false);
        for (transport, rpc) in &queues {
            let look = look(rpc, stage, header, args.newest);
            let (mut here, source) = (0, transport.source().to_owned());
            gather(*transport, &look, &which, &mut reach, |message| {
                more |= here == limit;
                if here < limit {
                    listed.push(Listed { source: source.clone(), message });
                }
                here += 1;
                here <= limit
            })
            .await?;
        }
        self.nothing_found(&which, listed.is_empty())?;
        listed.sort_by_key(|one| one.message.since.known());
        if args.newest {
            listed.reverse();
        }
        more |= listed.len() > limit;
        listed.truncate(limit);
        args.options.answer(&listed, || text(&listed, more, &reach, args))?;
        Ok(code(&reach))
    }
}

impl Listing<'_> {
    fn nothing_found(&self, which: &Which, is_nothing: bool) -> Result<(), Stopped> {
        match is_nothing {
            true => {
                filter::found_nothing(&self.0.options, which.code.as_deref(), which.about.name.as_deref())
            }
            false => Ok(()),
        }
    }
}

fn code(reach: &Reach) -> ExitCode {
    if reach.interrupted { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The queues that are meant. Without a worker are those that no process reports to serve.
async fn queues<'a, O: Operator>(args: &List, transports: &'a [O]) -> Result<Vec<(&'a O, Rpc)>, Stopped> {
    let running = match args.state {
        Some(State::Nobody) => Some(Running::ask(transports, &[]).await?),
        _ => None,
    };
    let mut queues = Vec::new();
    for transport in transports {
        let all = transport.queues().await?;
        let meant = all.into_iter().filter(|rpc| {
            let served = |running: &Running| running.workers(transport.source(), rpc.as_str()).workers > 0;
            args.rpc.as_ref().is_none_or(|only| only == rpc) && !running.as_ref().is_some_and(served)
        });
        queues.extend(meant.map(|rpc| (transport, rpc)));
    }
    Ok(queues)
}

fn text(listed: &[Listed], more: bool, reach: &Reach, args: &List) -> String {
    let mut lines = Vec::new();
    match listed.first() {
        None => lines.push("No such messages.".to_owned()),
        Some(first) => {
            let several = listed.iter().any(|one| one.source != first.source);
            let mut rows = table([
                "RPC",
                "EVENT",
                "NAME",
                "KEY",
                "STATE",
                "FOR",
                "ATTEMPTS",
                "NEXT IN",
                "CODE",
                "REASON",
                if several { "SOURCE" } else { "" },
            ]);
            for Listed { source, message } in listed {
                rows.add_row(row(message, if several { source } else { "" }));
            }
            lines.push(rows.trim_fmt());
        }
    }
    if more {
        lines.push(format!("\nThere are more: --limit is {}.", args.limit));
    }
    lines.extend(bound(reach));
    if let Some(Listed { message, .. }) = listed.first() {
        let why = args.options.command(["why", &message.event.to_string()]);
        lines.push(format!("\nthe history of the first: {why}"));
        if listed.iter().any(|one| matches!(one.message.state, Stage::Retrying | Stage::Held)) {
            let rpc = message.rpc.as_str();
            let retry = args.options.command(["queue", "retry", "--rpc", rpc, "--all"]);
            lines.push(format!("to try again at once:     {retry}"));
            let event = message.event.to_string();
            let give_up = args.options.command(["queue", "give-up", "--rpc", rpc, "--event", &event]);
            lines.push(format!("to give up the first:     {give_up}"));
        }
    }
    lines.join("\n")
}

fn row(message: &InQueue, source: &str) -> [String; 11] {
    let next = match message.state {
        Stage::Retrying | Stage::Held => message.due_at.map(|at| match at.known() {
            Some(at) => age(-seconds_since(at)),
            None => NOT_KNOWN.to_owned(),
        }),
        Stage::Waiting | Stage::Calling => None,
    };
    [
        message.rpc.clone(),
        message.event.to_string(),
        or_dash(message.event_name.as_deref().map(|name| line(name, NAME_CHARS_MAX))),
        or_dash(message.key.as_deref().map(|key| line(key, KEY_CHARS_MAX))),
        message.state.as_str().to_owned(),
        message.since.known().map_or_else(|| NOT_KNOWN.to_owned(), |at| age(seconds_since(at))),
        message.attempts.to_string(),
        or_dash(next),
        or_dash(message.code.as_deref().map(|code| line(code, NAME_CHARS_MAX))),
        or_dash(message.reason.as_deref().map(|reason| line(reason, REASON_CHARS_MAX))),
        source.to_owned(),
    ]
}
