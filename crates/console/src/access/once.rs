use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::HeaderMap;
use axum::http::header::COOKIE;

use super::Viewer;
use crate::secret::Secret;

const COOKIE_NAME: &str = "outbox_console";
const HOURS: u32 = 12;

/// One browser: the one that opens the printed address first. A second one needs another console.
#[derive(Debug)]
pub struct Once {
    viewer: Viewer,
    token: Secret,
    session: Secret,
    is_used: AtomicBool,
}

impl Once {
    pub fn new(viewer: Viewer) -> std::io::Result<Self> {
        Ok(Self { viewer, token: Secret::new()?, session: Secret::new()?, is_used: AtomicBool::new(false) })
    }

    /// What the printed address ends with.
    pub fn token(&self) -> String {
        self.token.text()
    }

    /// The cookie for a token that is right and was not used.
    pub(crate) fn cookie(&self, token: &str, path: &str, secret: &Secret) -> Option<String> {
        if !secret.are_same(token, &self.token.text()) || self.is_used.swap(true, Ordering::Relaxed) {
            return None;
        }
        let (session, seconds) = (self.session.text(), HOURS * 60 * 60);
        Some(format!("{COOKIE_NAME}={session}; Path={path}/; Max-Age={seconds}; HttpOnly; SameSite=Strict"))
    }

    pub(super) fn viewer(&self, headers: &HeaderMap, secret: &Secret) -> Option<Viewer> {
        let session = self.session.text();
        let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let mut pairs =
            cookies.flat_map(|cookies| cookies.split(';')).filter_map(|one| one.trim().split_once('='));
        pairs
            .any(|(name, value)| name == COOKIE_NAME && secret.are_same(value, &session))
            .then(|| self.viewer.clone())
    }
}
