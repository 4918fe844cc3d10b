//! How a call shows who makes it: headers, a bearer token and a signature, from services.yaml.

use std::path::PathBuf;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use outbox_event::signature::{self, Secret};
use outbox_event_router::services::{Entry, Value};

use super::reread::{FileError, Named, Reread};

/// Those of one service. No value is shown by `Debug`.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    literal: HeaderMap,
    files: Vec<(HeaderName, Reread<HeaderValue>)>,
    secrets: Option<Reread<Vec<Secret>>>,
}

impl Credentials {
    pub(super) fn of(entry: &Entry) -> Result<Self, FileError> {
        let named = |key: &str, path: &PathBuf| Named::by(key, &entry.place, path.clone());
        let mut credentials = Self::default();
        for (name, value) in &entry.headers {
            let Ok(name) = HeaderName::try_from(name) else { continue };
            match value {
                Value::Literal(text) => {
                    if let Ok(value) = sensitive(text) {
                        credentials.literal.insert(name, value);
                    }
                }
                Value::File(file) => {
                    let file = named(&format!("headers.{name}"), file);
                    credentials.files.push((name, one_line(file, "")?));
                }
            }
        }
        if let Some(file) = &entry.token {
            credentials.files.push((header::AUTHORIZATION, one_line(named("token", file), "Bearer ")?));
        }
        if !entry.signature.is_empty() {
            let files = entry.signature.iter().map(|file| named("signature", file)).collect();
            credentials.secrets = Some(Reread::open(files, secrets)?);
        }
        Ok(credentials)
    }

    /// Adds them to a request. They replace what an event brought.
    pub(super) fn sign(&self, headers: &mut HeaderMap, id: &str, body: &[u8]) {
        headers.extend(self.literal.clone());
        for (name, value) in &self.files {
            headers.insert(name, HeaderValue::clone(&value.get()));
        }
        let Some(secrets) = &self.secrets else { return };
        let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let signature = signature::sign(&secrets.get(), id, seconds, body);
        headers.insert(signature::TIMESTAMP, HeaderValue::from(seconds));
        for (name, text) in [(signature::ID, id), (signature::SIGNATURE, &signature)] {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        }
    }
}

fn one_line(file: Named, before: &'static str) -> Result<Reread<HeaderValue>, FileError> {
    Reread::open(vec![file], move |read| {
        let text = read.first().and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default().trim();
        match text.is_empty() {
            true => Err("it is empty, or not UTF-8".to_owned()),
            false => sensitive(&format!("{before}{text}")),
        }
    })
}

fn sensitive(text: &str) -> Result<HeaderValue, String> {
    let is_printable = text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
    let value = HeaderValue::from_str(text).ok().filter(|_| is_printable);
    let mut value = value.ok_or("it is not one line of printable ASCII")?;
    value.set_sensitive(true);
    Ok(value)
}

fn secrets(read: &[Vec<u8>]) -> Result<Vec<Secret>, String> {
    let mut all = Vec::new();
    for bytes in read {
        let text = str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
        all.extend(signature::secrets(text).map_err(|error| error.to_string())?);
    }
    Ok(all)
}
