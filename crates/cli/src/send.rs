//! `outbox send`: publishes one event, checked against proto.

pub(crate) mod payload; // JSON against the event's message

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use outbox_contract::{Contract, EventType, ReadError, Sources};
use outbox_event::rules::{HEADERS_BYTES_MAX, KEY_BYTES_MAX, header_problem};
use outbox_event_router::Router;
use outbox_finding::closest;
use outbox_postgres::{NewEvent, Source};

use crate::dev_file;
use crate::safe::line;
use crate::stopped::Stopped;
use crate::terminal::{print, say};

const NAME_CHARS_MAX: usize = 200;

/// Publishes one event, for a developer's own database.
///
/// The payload is checked against proto and written as the library writes it. The key comes from the field that proto marks
/// with (outbox.key). It goes to the database of the `outbox dev` that runs in this folder, or else to DATABASE_URL. It prints
/// the event's id.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "For example: outbox send event_card_issued '{\"cardId\":\"1\"}' --header acme-tenant=t-1\n\nExit status: 0 published; 1 the database refused it; 2 unusable arguments, or a payload that does not fit; 3 the database can't be reached."
)]
pub(crate) struct Args {
    /// The event's name, as in event_router.yaml: event_card_issued.
    event: String,

    /// The event's message as JSON, or - to read it from standard input.
    #[arg(default_value = "{}", value_name = "JSON|-", allow_hyphen_values = true)]
    payload: String,

    /// A header of the event. Repeat for several.
    #[arg(long = "header", value_name = "NAME=VALUE")]
    headers: Vec<Hidden>,

    /// The event's key, if its message marks no field with (outbox.key).
    #[arg(long, value_name = "KEY")]
    key: Option<String>,

    /// Which event runs which RPC: it shows whether the event has a subscriber.
    #[arg(long, default_value = "event_router.yaml", env = "OUTBOX_ROUTER", value_name = "FILE")]
    router: PathBuf,

    /// A directory of .proto files, or a descriptor set. Repeat for several directories.
    #[arg(long, default_value = "proto", env = "OUTBOX_PROTO", value_name = "PATH")]
    proto: Vec<PathBuf>,

    /// The database, instead of that of `outbox dev` or DATABASE_URL.
    #[arg(long, value_name = "URL")]
    database_url: Option<Hidden>,
}

/// An address may hold a password, and a header's value may be secret. Clap would repeat an invalid one.
#[derive(Clone)]
struct Hidden(String);

impl FromStr for Hidden {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden(…)")
    }
}

pub(crate) async fn run(args: &Args) -> Result<ExitCode, Stopped> {
    let contract = contract(args)?;
    let event = event(&args.event, &contract)?;
    let checked = payload::check(event, &text(&args.payload)?)?;
    let key = key(event, checked.key, args.key.as_deref())?;
    let headers = headers(&args.headers)?;
    let (source, place) = database(args.database_url.as_ref())?;
    let new = NewEvent {
        name: &event.name,
        key: key.as_deref(),
        payload: &checked.payload,
        headers: headers.as_deref(),
    };
    let id = outbox_postgres::publish(&source, new).await?;
    print(&format!("{id}\n  outbox why {id}{}", place.flag()))?;
    for note in notes(event, key.as_deref(), args) {
        say(&format!("note: {note}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn contract(args: &Args) -> Result<Contract, Stopped> {
    let sources = Sources { protos: args.proto.clone(), ..Sources::default() };
    sources.read().map_err(|error| match error {
        ReadError::Findings(report) => {
            say(&format!("{report}\n"));
            Stopped::unusable("proto has mistakes", "correct them; `outbox check` shows more")
        }
        error => Stopped::unusable(error.to_string(), "pass --proto DIR with your .proto files"),
    })
}

fn event<'c>(name: &str, contract: &'c Contract) -> Result<&'c EventType, Stopped> {
    if let Some(event) = contract.event(name) {
        return Ok(event);
    }
    let known: Vec<&str> = contract.events().map(|event| event.name.as_str()).collect();
    // The name of the enum's value, or of the message, is as clear.
    let meant = contract.events().find(|event| event.value.name() == name || event.message.name() == name);
    let meant = meant.map(|event| event.name.as_str()).or_else(|| closest(name, known.iter().copied()));
    let remedy = match meant {
        Some(meant) => format!("did you mean '{meant}'?"),
        None if contract.is_unpaired(name) => {
            "its value and its message do not belong together: `outbox check` shows the mistake".to_owned()
        }
        None if known.is_empty() => "proto has no event yet: `outbox check --help` says more".to_owned(),
        None => format!("proto has {}", known.join(", ")),
    };
    Err(Stopped::unusable(format!("there is no event '{}' in proto", line(name, NAME_CHARS_MAX)), remedy))
}

fn text(payload: &str) -> Result<String, Stopped> {
    if payload != "-" {
        return Ok(payload.to_owned());
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| {
        Stopped::unusable(format!("failed to read the payload: {error}"), "pipe JSON in, as UTF-8")
    })?;
    Ok(text)
}

fn key(event: &EventType, own: Option<String>, given: Option<&str>) -> Result<Option<String>, Stopped> {
    let key = match (&event.key, given) {
        (Some(field), Some(_)) => {
            return Err(Stopped::unusable(
                format!("{} has its key in the field '{}'", event.name, field.json_name()),
                "leave out --key, and set that field in the payload",
            ));
        }
        (Some(_), None) => own,
        (None, given) => given.map(str::to_owned),
    };
    match key.as_ref().map(String::len) {
        Some(bytes) if bytes > KEY_BYTES_MAX => Err(Stopped::unusable(
            format!("the key is {bytes} bytes; at most {KEY_BYTES_MAX} are allowed"),
            "use the id of what the event is about",
        )),
        _ => Ok(key),
    }
}

fn headers(given: &[Hidden]) -> Result<Option<String>, Stopped> {
    if given.is_empty() {
        return Ok(None);
    }
    let mut headers = BTreeMap::new();
    for Hidden(text) in given {
        let (name, value) = text.split_once('=').ok_or_else(|| {
            Stopped::unusable("a --header has no value", "write NAME=VALUE, for example acme-tenant=t-1")
        })?;
        if let Some(problem) = header_problem(name, value) {
            let name = line(name, NAME_CHARS_MAX);
            return Err(Stopped::unusable(
                format!("header `{name}` {problem}"),
                "choose a prefix of your own, for example acme-tenant",
            ));
        }
        headers.insert(name, value);
    }
    let text = serde_json::to_string(&headers).expect("texts serialize");
    if text.len() > HEADERS_BYTES_MAX {
        return Err(Stopped::unusable(
            format!("the headers are {} bytes; at most {HEADERS_BYTES_MAX} are allowed", text.len()),
            "data belongs in the payload",
        ));
    }
    Ok(Some(text))
}

/// Where the database was found.
enum Place {
    Given,
    /// Noted by `outbox dev`, while DATABASE_URL is another one.
    Noted {
        shown: Option<String>,
    },
    /// Where other commands look, too.
    Known,
}

impl Place {
    /// What `outbox why` needs to find it. An address with a password is not shown.
    fn flag(&self) -> String {
        match self {
            Self::Noted { shown: Some(address) } => format!(" --database-url {}", crate::safe::word(address)),
            Self::Given | Self::Noted { shown: None } => " --database-url \"$DATABASE_URL\"".to_owned(),
            Self::Known => String::new(),
        }
    }
}

fn database(given: Option<&Hidden>) -> Result<(Source, Place), Stopped> {
    let environment = std::env::var("DATABASE_URL").ok();
    let (address, place) = if let Some(Hidden(address)) = given {
        (address.clone(), Place::Given)
    } else if let Some(address) = dev_file::database() {
        let is_known = environment.is_none() || environment.as_ref() == Some(&address);
        let shown = (!has_password(&address)).then(|| address.clone());
        (address, if is_known { Place::Known } else { Place::Noted { shown } })
    } else if let Some(address) = environment {
        (address, Place::Known)
    } else {
        return Err(Stopped::unusable(
            "no `outbox dev` runs in this folder, and no database is given",
            "start `outbox dev`, or set DATABASE_URL",
        ));
    };
    let source = address.parse::<Source>().map_err(|error| {
        Stopped::unusable(
            format!("the address names no database: {error}"),
            "write postgres://USER:PASSWORD@HOST:PORT/DATABASE",
        )
    })?;
    Ok((source, place))
}

/// Whether the part before the host has a password.
pub(crate) fn has_password(address: &str) -> bool {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) || rest.contains("password=")
}

/// What may surprise after a success.
fn notes(event: &EventType, key: Option<&str>, args: &Args) -> Vec<String> {
    let mut notes = Vec::new();
    if let (Some(field), None) = (&event.key, key) {
        notes.push(format!(
            "it has no key, because '{}' is not set: nothing keeps it in order",
            field.json_name()
        ));
    }
    if let Ok(router) = Router::read(&args.router)
        && router.subscribers(&event.name).is_empty()
    {
        notes.push(format!("{} has no subscriber for it: no RPC runs", args.router.display()));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards SECURITY.md: an address is only shown if it holds no password.
    #[test]
    fn passwords_are_recognised() {
        for (address, expected) in [
            ("postgres://outbox@127.0.0.1:20000/postgres", false),
            ("postgres://127.0.0.1:20000/postgres", false),
            ("postgres://me:hunter2@127.0.0.1/cards", true),
            ("cards=postgres://me:hunter2@127.0.0.1/cards", true),
            ("postgres://me@127.0.0.1/cards?password=hunter2", true),
            ("postgres://me:p@ss@127.0.0.1/cards", true),
        ] {
            assert_eq!(has_password(address), expected, "{address}");
        }
    }

    /// Guards: a header is refused by its name, with the reason, and its value is never shown.
    #[test]
    fn headers_are_checked() {
        let of = |texts: &[&str]| {
            headers(&texts.iter().map(|text| Hidden((*text).to_owned())).collect::<Vec<_>>())
        };
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&["a=1", "b=2=3", "a=4"]).unwrap().as_deref(), Some(r#"{"a":"4","b":"2=3"}"#));
        for (text, expected) in [
            ("acme-tenant", "has no value"),
            ("Acme=secret-7", "header `Acme` is malformed"),
            ("authorization=secret-7", "header `authorization` is reserved"),
            ("acme=secret-7é", "not printable ASCII"),
        ] {
            let error = format!("{:?}", of(&[text]).unwrap_err());
            assert!(error.contains(expected) && !error.contains("secret"), "{error}");
        }
        assert!(of(&[&format!("acme={}", "x".repeat(9000))]).unwrap_err().problem.contains("at most 8192"));
    }
}
