use std::path::{Path, PathBuf};

use outbox_finding::{Finding, Place, Report, closest};

use super::endpoint::{Encoding, is_address};
use super::file::{Entry, Services, TlsFiles, Value};
use super::masked::{masked, masked_unread, shown};
use crate::yaml::{self, At, Key, Node, Placed};
use crate::{Rpc, decode};

const ENTRY: &[&str] = &["address", "encoding", "headers", "token", "tls", "signature"];
const ADDRESS: &str = "address: 'http://notification:8080'";
/// Names and beginnings of names that a call needs for itself.
const OWN: [&str; 9] = [
    "content-",
    "connect-",
    "grpc-",
    "outbox-",
    "webhook-",
    "idempotency-key",
    "user-agent",
    "trace",
    "proxy-",
];
const OWN_WORDS: [&str; 8] =
    ["te", "host", "connection", "transfer-encoding", "upgrade", "trailer", "expect", "keep-alive"];

impl Services {
    /// Reads the text of a `services.yaml`; `file` is only for messages.
    ///
    /// # Errors
    ///
    /// Every mistake in the file. What may be a secret is not shown.
    pub fn parse(file: &str, text: &str) -> Result<Self, Report> {
        let (services, report) = Self::examine(file, text);
        if report.is_empty() { Ok(services) } else { Err(report) }
    }

    /// What could be read from a text, and every mistake in it.
    pub fn examine(file: &str, text: &str) -> (Self, Report) {
        let mut parser = Parser { file, services: Self::default(), findings: Vec::new() };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let visible = match yaml::parse(text) {
            Ok(document) => {
                parser.document(&document);
                masked(text, &document)
            }
            Err(error) => {
                parser.found(error.at, error.message, error.hint);
                masked_unread(text)
            }
        };
        let mut report = Report::default();
        report.add_text(file, visible);
        report.add(parser.findings);
        (parser.services, report)
    }

    /// Reads a `services.yaml` from disk, also if it has mistakes.
    ///
    /// # Errors
    ///
    /// The file can't be read.
    pub fn read(path: &Path) -> Result<(Self, Report), ReadError> {
        let file = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| ReadError { file: file.clone(), source })?;
        Ok(match decode(&file, bytes) {
            Ok(text) => Self::examine(&file, &text),
            Err(_) => {
                let mut report = Report::default();
                let hint = "save it as UTF-8; editors call it the encoding";
                report.add([Finding::error(Place::start_of(&file), "the file is not UTF-8", hint)]);
                (Self::default(), report)
            }
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("failed to read {file}: {source}")]
pub struct ReadError {
    file: String,
    source: std::io::Error,
}

type Entries = [(Key, Placed)];

struct Parser<'f> {
    file: &'f str,
    services: Services,
    findings: Vec<Finding>,
}

impl Parser<'_> {
    fn document(&mut self, document: &Placed) {
        if matches!(*document.node, Node::Null) {
            let hint = "begin with `service:` and the services below it, or with `default:`";
            return self.found(document.at, "the file is empty", hint);
        }
        let Some(map) = self.map(document, "the file", &["default", "service"]) else { return };
        if let Some((key, value)) = map.iter().find(|(key, _)| key.name == "default") {
            self.services.default = self.entry("default", key.at, value);
        }
        let Some(list) = get(map, "service") else { return };
        let Node::Map(services) = &*list.node else {
            let message = format!("`service` is {}, not a map", list.node.kind());
            return self.found(list.at, message, format!("write the name, and below it {ADDRESS}"));
        };
        for (key, value) in services {
            if !is_name(&key.name) {
                let message = format!("`{}` does not name a service", shown(&key.name));
                let hint = "write NotificationService, acme.card.v1.NotificationService or acme.card.v1.*";
                self.found(key.at, message, hint);
                continue;
            }
            let entry = self.entry(&key.name, key.at, value);
            self.services.entries.extend(entry);
        }
    }

    fn entry(&mut self, name: &str, at: At, node: &Placed) -> Option<Entry> {
        let map = self.map(node, &format!("`{name}`"), ENTRY)?;
        let address = self.address(map);
        let entry = Entry {
            name: name.to_owned(),
            place: self.place(at),
            encoding: self.encoding(map),
            headers: self.headers(map),
            token: self.token(map),
            tls: self.tls(map),
            signature: self.signature(map),
            address,
        };
        let of = |key: &str| map.iter().find(|(found, _)| found.name == key).map_or(at, |(key, _)| key.at);
        if entry.tls.is_some() && entry.address.as_ref().is_some_and(|it| !it.starts_with("https://")) {
            self.found(
                of("tls"),
                "`tls` has no use here: the address is not https://",
                "write https://, or remove `tls`",
            );
        }
        if entry.token.is_some() && entry.headers.iter().any(|(name, _)| name == "authorization") {
            let message = "`token` and the header `authorization` are the same header";
            self.found(of("token"), message, "remove one of them");
        }
        Some(entry)
    }

    fn address(&mut self, map: &Entries) -> Option<String> {
        let value = get(map, "address")?;
        match &*value.node {
            Node::Text(url) if is_address(url) => return Some(url.clone()),
            Node::Text(url) if url.contains('@') => self.found(
                value.at,
                "`address` has a user or a password in it",
                "remove it: `token` and `headers` say who calls",
            ),
            _ => self.found(
                value.at,
                "`address` is not http://, https:// or h2c:// with a host, and perhaps a port and a path",
                format!("write {ADDRESS}, or a pattern: 'http://{{service}}.internal:8080'"),
            ),
        }
        None
    }

    fn encoding(&mut self, map: &Entries) -> Option<Encoding> {
        let value = get(map, "encoding")?;
        let (found, meant) = match &*value.node {
            Node::Text(text) => (Encoding::named(text), closest(text, ["json", "proto", "grpc"])),
            _ => (None, None),
        };
        if found.is_none() {
            let hint = meant.map_or_else(
                || "for example encoding: grpc".to_owned(),
                |it| format!("did you mean `{it}`?"),
            );
            self.found(value.at, "`encoding` is not json, proto or grpc", hint);
        }
        found
    }

    fn headers(&mut self, map: &Entries) -> Vec<(String, Value)> {
        let Some(node) = get(map, "headers") else { return Vec::new() };
        let Node::Map(headers) = &*node.node else {
            let message = format!("`headers` is {}, not a map", node.node.kind());
            self.found(node.at, message, "write name: 'value', or name: { file: /run/secrets/value }");
            return Vec::new();
        };
        let mut found: Vec<(String, Value)> = Vec::new();
        for (key, value) in headers {
            let name = key.name.to_ascii_lowercase();
            let is_token = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            if name.is_empty() || !name.chars().all(is_token) || name.ends_with("-bin") {
                self.found(
                    key.at,
                    "this is not a header's name",
                    "use letters, digits and dashes, without -bin at the end",
                );
            } else if OWN.iter().any(|own| name.starts_with(own)) || OWN_WORDS.contains(&name.as_str()) {
                self.found(key.at, format!("a call sets the header `{name}` itself"), "choose another name");
            } else if found.iter().any(|(known, _)| *known == name) {
                self.found(key.at, format!("the header `{name}` is written twice"), "keep one of them");
            } else {
                let value = self.value(value);
                found.extend(value.map(|value| (name, value)));
            }
        }
        found
    }

    fn value(&mut self, node: &Placed) -> Option<Value> {
        match &*node.node {
            Node::Text(text)
                if !text.is_empty() && text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) =>
            {
                Some(Value::Literal(text.clone()))
            }
            Node::Map(_) => {
                let map = self.map(node, "a header", &["file"])?;
                self.file_at(map, node.at, "file").map(Value::File)
            }
            _ => {
                self.found(
                    node.at,
                    "a header's value is not a text of printable ASCII",
                    "quote it: name: 'value', or write name: { file: /run/secrets/value }",
                );
                None
            }
        }
    }

    fn token(&mut self, map: &Entries) -> Option<PathBuf> {
        let node = get(map, "token")?;
        if !matches!(*node.node, Node::Map(_)) {
            let hint = "write token: { file: /run/secrets/token }: the file is read again when it changes";
            self.found(node.at, "`token` does not name a file", hint);
            return None;
        }
        let map = self.map(node, "`token`", &["file"])?;
        self.file_at(map, node.at, "file")
    }

    fn tls(&mut self, map: &Entries) -> Option<TlsFiles> {
        let node = get(map, "tls")?;
        let tls = self.map(node, "`tls`", &["ca", "cert", "key"])?;
        let before = self.findings.len();
        let [ca, cert, key] =
            ["ca", "cert", "key"].map(|name| get(tls, name).and_then(|it| self.file(it, name)));
        if self.findings.len() > before {
            return None;
        }
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (cert, _) => {
                let (one, other) = if cert.is_some() { ("cert", "key") } else { ("key", "cert") };
                let message = format!("`tls` has `{one}`, and no `{other}`");
                self.found(node.at, message, "a client certificate needs both: cert: FILE, key: FILE");
                return None;
            }
        };
        if ca.is_none() && identity.is_none() {
            self.found(node.at, "`tls` is empty", "write tls: { ca: FILE }, or remove it");
        }
        Some(TlsFiles { ca, identity })
    }

    fn signature(&mut self, map: &Entries) -> Vec<PathBuf> {
        let Some(node) = get(map, "signature") else { return Vec::new() };
        let hint = "write signature: { secret_file: /run/secrets/signing }";
        if !matches!(*node.node, Node::Map(_)) {
            self.found(node.at, "`signature` does not name a file", hint);
            return Vec::new();
        }
        let Some(map) = self.map(node, "`signature`", &["secret_file"]) else { return Vec::new() };
        match get(map, "secret_file").map(|value| (&*value.node, value)) {
            Some((Node::List(files), _)) if !files.is_empty() => {
                files.iter().filter_map(|file| self.file(file, "secret_file")).collect()
            }
            Some((_, value)) => self.file(value, "secret_file").into_iter().collect(),
            None => self.file_at(map, node.at, "secret_file").into_iter().collect(),
        }
    }

    /// The file of a key that a map must have.
    fn file_at(&mut self, map: &Entries, at: At, key: &'static str) -> Option<PathBuf> {
        if let Some(value) = get(map, key) {
            return self.file(value, key);
        }
        if map.is_empty() || map.iter().all(|(found, _)| closest(&found.name, [key]).is_none()) {
            self.found(at, format!("`{key}` is missing"), format!("add {key}: /run/secrets/NAME"));
        }
        None
    }

    fn file(&mut self, node: &Placed, key: &str) -> Option<PathBuf> {
        match &*node.node {
            Node::Text(path) if !path.is_empty() && !path.contains(['\n', '\0']) => Some(PathBuf::from(path)),
            _ => {
                self.found(
                    node.at,
                    format!("`{key}` is not a file's name"),
                    format!("write {key}: /run/secrets/NAME"),
                );
                None
            }
        }
    }

    fn map<'a>(&mut self, node: &'a Placed, what: &str, known: &[&str]) -> Option<&'a Entries> {
        let Node::Map(entries) = &*node.node else {
            let message = format!("{what} is {}, not a map", node.node.kind());
            self.found(node.at, message, format!("write `{}: …`", known[0]));
            return None;
        };
        for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.name.as_str())) {
            let hint = match closest(&key.name, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            self.found(key.at, format!("unknown key `{}` in {what}", shown(&key.name)), hint);
        }
        Some(entries)
    }

    fn found(&mut self, at: At, message: impl Into<String>, hint: impl Into<String>) {
        self.findings.push(Finding::error(self.place(at), message, hint));
    }

    fn place(&self, at: At) -> Place {
        Place { file: self.file.to_owned(), line: at.line, column: at.column, width: 0 }
    }
}

fn get<'a>(map: &'a Entries, key: &str) -> Option<&'a Placed> {
    map.iter().find(|(name, _)| name.name == key).map(|(_, value)| value)
}

fn is_name(name: &str) -> bool {
    let name = name.strip_suffix(".*").unwrap_or(name);
    Rpc::new(&format!("{name}/X")).is_some()
}

#[cfg(test)]
mod tests;
