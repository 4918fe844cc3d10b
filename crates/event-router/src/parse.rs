mod words; // how names and durations are written

use std::ops::RangeInclusive;
use std::time::Duration;

use outbox_finding::{Finding, Place, closest};

use crate::yaml::{self, At, Key, Node, Placed};
use crate::{Backoff, Listed, Policy, Queue, Router, Rpc, spelling};
use words::{duration, is_event_name, is_package, snake};

/// EventBridge's limit for `DetailType`.
const EVENT_NAME_BYTES_MAX: usize = 128;

struct Map<'a> {
    entries: &'a [(Key, Placed)],
    known: &'static [&'static str],
    /// Where the map begins: the place that is shown for a missing key.
    at: At,
}

pub(crate) fn examine(file: &str, text: &str) -> (Router, Vec<Finding>) {
    let mut parser = Parser { file, router: Router::default(), findings: Vec::new() };
    match yaml::parse(spelling::without_mark(text)) {
        Ok(document) => parser.document(&document),
        Err(error) => parser.found(error.at, error.message, error.hint),
    }
    // A mistake in an entry is more specific than one in the text's spelling.
    if parser.findings.is_empty() {
        parser.findings = spelling::examine(file, text);
    }
    (parser.router, parser.findings)
}

/// Collects routes and findings side by side, so that one run reports every mistake.
struct Parser<'f> {
    file: &'f str,
    router: Router,
    findings: Vec<Finding>,
}

impl Parser<'_> {
    fn document(&mut self, document: &Placed) {
        if matches!(*document.node, Node::Null) {
            self.found(document.at, "the file is empty", "begin with `event:` and a list of events below it");
            return;
        }
        let Some(map) = self.map(document, "the file", &["event"]) else { return };
        match get(&map, "event") {
            None => self.missing(
                &map,
                "event",
                "`event` is missing",
                "begin with `event:` and a list of events below it",
            ),
            Some(list) => {
                for event in self.list(list, "event", "- name: 'event_hoge_updated'") {
                    self.event(event);
                }
            }
        }
    }

    fn event(&mut self, node: &Placed) {
        let Some(map) = self.map(node, "an event", &["name", "package", "subscriber"]) else { return };
        let Some(name) = self.text(&map, "an event", "name", "name: 'event_hoge_updated'") else { return };
        let at = get(&map, "name").map_or(map.at, |value| value.at);
        if name.len() > EVENT_NAME_BYTES_MAX {
            let message = format!(
                "this event name has {} characters; at most {EVENT_NAME_BYTES_MAX} are allowed",
                name.len()
            );
            self.found(at, message, "shorten it, in proto and here: the bus takes no longer name");
            return;
        }
        if !is_event_name(name) {
            let hint = format!("write it in lower_snake_case, for example '{}'", snake(name));
            self.found(at, format!("event name '{name}' is not lower_snake_case"), hint);
            return;
        }
        if let Some(first) = self.router.events.get(name) {
            let message = format!("event '{name}' is listed twice, first on line {}", first.place.line);
            self.found(at, message, "put all its subscribers in one list");
            return;
        }
        let package = self.package(&map);
        let listed = Listed { place: self.place(at), package, rpcs: Vec::new(), places: Vec::new() };
        self.router.events.insert(name.to_owned(), listed);
        match get(&map, "subscriber") {
            None => self.missing(
                &map,
                "subscriber",
                format!("event '{name}' has no `subscriber`"),
                "list the RPCs that run: subscriber: [{ id: 'NotificationService/NotifyHogeUpdated' }], or [] for none yet",
            ),
            Some(list) => {
                for subscriber in self.list(list, "subscriber", "- id: 'NotificationService/NotifyHogeUpdated'") {
                    self.subscriber(name, subscriber);
                }
            }
        }
    }

    /// The package that tells an event from its namesakes.
    fn package(&mut self, map: &Map<'_>) -> Option<String> {
        let example = "package: 'acme.card.v1'";
        let at = get(map, "package")?.at;
        let package = self.text(map, "an event", "package", example)?;
        if !is_package(package) {
            let shown: String = package.chars().take(80).collect();
            self.found(at, format!("'{shown}' is not a package of proto"), format!("write {example}"));
            return None;
        }
        Some(package.to_owned())
    }

    fn subscriber(&mut self, event: &str, node: &Placed) {
        const KEYS: &[&str] =
            &["id", "queue", "timeout", "concurrency", "rate_per_second", "max_attempts", "backoff"];
        let Some(map) = self.map(node, "a subscriber", KEYS) else { return };
        let Some(called) = self.rpc(&map, "id") else { return };
        let rpc = match get(&map, "queue") {
            Some(_) => self.rpc(&map, "queue"),
            None => Some(called.clone()),
        };
        let (Some(rpc), Some(policy)) = (rpc, self.policy(&map)) else { return };
        let at = get(&map, "id").map_or(map.at, |value| value.at);
        if self.shares_a_queue(at, &rpc, &called) {
            return;
        }
        let place = self.place(at);
        let listed = self.router.events.get_mut(event).expect("an event is listed before its subscribers");
        if listed.rpcs.contains(&rpc) {
            self.found(at, format!("'{rpc}' subscribes to '{event}' twice"), "remove one of them");
            return;
        }
        listed.rpcs.push(rpc.clone());
        listed.places.push(place.clone());
        if let Some(first) = self.router.queues.get(&rpc).filter(|first| first.policy != policy) {
            let message = format!("'{rpc}' has another delivery policy on line {}", first.place.line);
            self.found(at, message, "an RPC has one queue and one policy: write the same in both places");
        }
        self.router.queues.entry(rpc).or_insert(Queue { policy, called, place });
    }

    /// The RPC to call (`id`), or the name that its queue keeps (`queue`).
    fn rpc(&mut self, map: &Map<'_>, key: &'static str) -> Option<Rpc> {
        let example = format!("{key}: 'NotificationService/NotifyHogeUpdated'");
        let text = self.text(map, "a subscriber", key, &example)?;
        let rpc = Rpc::new(text);
        if rpc.is_none() {
            let shown: String = text.chars().take(80).collect();
            let message = match key {
                "queue" => format!("'{shown}' does not name a queue"),
                _ => format!("'{shown}' does not name an RPC"),
            };
            let at = get(map, key).map_or(map.at, |value| value.at);
            let hint = "write Service/Method, for example 'NotificationService/NotifyHogeUpdated'";
            self.found(at, message, hint);
        }
        rpc
    }

    /// Whether one queue would call two RPCs, or one RPC would have two queues.
    fn shares_a_queue(&mut self, at: At, rpc: &Rpc, called: &Rpc) -> bool {
        let problem = self.router.queues.iter().find_map(|(other, first)| {
            let line = first.place.line;
            match (other == rpc, first.called == *called) {
                (true, false) => Some((
                    format!("the queue '{rpc}' is that of '{}' on line {line}", first.called),
                    "a queue calls one RPC: write the same `id` in both places, or another `queue`",
                )),
                (false, true) => Some((
                    format!("'{called}' has another queue on line {line}, '{other}'"),
                    "an RPC has one queue: write the same `queue` in both places",
                )),
                _ => None,
            }
        });
        let found = problem.is_some();
        if let Some((message, hint)) = problem {
            self.found(at, message, hint);
        }
        found
    }

    fn policy(&mut self, map: &Map<'_>) -> Option<Policy> {
        let before = self.findings.len();
        let default = Policy::default();
        let timeouts = Policy::TIMEOUT_MIN..=Policy::TIMEOUT_MAX;
        let policy = Policy {
            timeout: self.duration(map, "timeout", timeouts).unwrap_or(default.timeout),
            concurrency: self
                .number(map, "concurrency", 1..=Policy::CONCURRENCY_MAX as i64)
                .map_or(default.concurrency, |n| n as usize),
            rate_per_second: self
                .number(map, "rate_per_second", 1..=i64::from(Policy::RATE_PER_SECOND_MAX))
                .map(|n| n as u32),
            max_attempts: self
                .number(map, "max_attempts", 1..=i64::from(Policy::MAX_ATTEMPTS_MAX))
                .map_or(default.max_attempts, |n| n as u32),
            backoff: get(map, "backoff").map_or(default.backoff, |node| self.backoff(node)),
        };
        (self.findings.len() == before).then_some(policy)
    }

    fn backoff(&mut self, node: &Placed) -> Backoff {
        let default = Backoff::default();
        let Some(map) = self.map(node, "`backoff`", &["min", "max"]) else { return default };
        let range = Duration::from_millis(1)..=Policy::BACKOFF_MAX;
        let min = self.duration(&map, "min", range.clone()).unwrap_or(default.min);
        let max = self.duration(&map, "max", range).unwrap_or(default.max.max(min));
        if min > max {
            let message = format!(
                "backoff begins at {} and may not exceed {}",
                humantime::format_duration(min),
                humantime::format_duration(max)
            );
            self.found(map.at, message, "make min smaller than max");
        }
        Backoff { min, max }
    }

    fn map<'a>(&mut self, node: &'a Placed, what: &str, known: &'static [&'static str]) -> Option<Map<'a>> {
        let Node::Map(entries) = &*node.node else {
            let message = format!("{what} is {}, not a map", node.node.kind());
            self.found(node.at, message, format!("write `{}: …`", known[0]));
            return None;
        };
        for (key, _) in entries {
            if !known.contains(&key.name.as_str()) {
                let hint = match closest(&key.name, known.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("known here: {}", known.join(", ")),
                };
                self.found(key.at, format!("unknown key `{}` in {what}", key.name), hint);
            }
        }
        Some(Map { entries, known, at: node.at })
    }

    fn list<'a>(&mut self, node: &'a Placed, key: &str, example: &str) -> &'a [Placed] {
        match &*node.node {
            Node::List(items) => items,
            other => {
                let message = format!("`{key}` is {}, not a list", other.kind());
                self.found(node.at, message, format!("begin each entry with a dash: {example}"));
                &[]
            }
        }
    }

    fn text<'a>(&mut self, map: &Map<'a>, what: &str, key: &str, example: &str) -> Option<&'a str> {
        let Some(Placed { node, at }) = get(map, key) else {
            self.missing(map, key, format!("{what} has no `{key}`"), format!("add {example}"));
            return None;
        };
        let problem = match &**node {
            Node::Text(text) if !text.is_empty() => return Some(text),
            Node::Text(_) => "empty".to_owned(),
            other => format!("{}, not a text", other.kind()),
        };
        self.found(*at, format!("`{key}` of {what} is {problem}"), format!("write {example}"));
        None
    }

    fn number(&mut self, map: &Map<'_>, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let node = get(map, key)?;
        match *node.node {
            Node::Int(n) if range.contains(&n) => Some(n),
            _ => {
                let message =
                    format!("`{key}` is not a whole number from {} to {}", range.start(), range.end());
                self.found(
                    node.at,
                    message,
                    format!("for example {key}: {}", range.start().max(&8).min(range.end())),
                );
                None
            }
        }
    }

    fn duration(&mut self, map: &Map<'_>, key: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let node = get(map, key)?;
        let shown = |duration: &Duration| humantime::format_duration(*duration).to_string();
        let parsed = match &*node.node {
            Node::Text(text) => duration(text)
                // A unit that isn't allowed, such as days, can still be reported as too long.
                .or_else(|| humantime::parse_duration(text).ok().filter(|duration| duration > range.end())),
            _ => None,
        };
        match parsed {
            Some(duration) if range.contains(&duration) => return Some(duration),
            Some(duration) if duration > *range.end() => {
                let hint = match key {
                    "timeout" => {
                        "an RPC that takes longer answers at once and works on by itself: no queue hides the message of a call for ever"
                    }
                    _ => "a queue hides a message for at most 12h",
                };
                let message =
                    format!("`{key}` is {}; at most {} is allowed", shown(&duration), shown(range.end()));
                self.found(node.at, message, hint);
            }
            _ => {
                let message = format!(
                    "`{key}` is not a duration from {} to {}",
                    shown(range.start()),
                    shown(range.end())
                );
                let unit = if matches!(*node.node, Node::Int(_)) {
                    "add the unit"
                } else {
                    "write a number and its unit"
                };
                self.found(node.at, message, format!("{unit}, for example {key}: 10s"));
            }
        }
        None
    }

    /// Reports a missing key, unless a misspelt form of it was reported.
    fn missing(&mut self, map: &Map<'_>, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        let misspelt = |(name, _): &(Key, Placed)| {
            !map.known.contains(&name.name.as_str())
                && closest(&name.name, map.known.iter().copied()) == Some(key)
        };
        if !map.entries.iter().any(misspelt) {
            self.found(map.at, message, hint);
        }
    }

    fn found(&mut self, at: At, message: impl Into<String>, hint: impl Into<String>) {
        self.findings.push(Finding::error(self.place(at), message, hint));
    }

    fn place(&self, at: At) -> Place {
        Place { file: self.file.to_owned(), line: at.line, column: at.column, width: 0 }
    }
}

fn get<'a>(map: &Map<'a>, key: &str) -> Option<&'a Placed> {
    map.entries.iter().find(|(name, _)| name.name == key).map(|(_, value)| value)
}

#[cfg(test)]
mod tests;
