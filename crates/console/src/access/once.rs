use std::sync::OnceLock;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::{COOKIE, HOST};
use tokio::time::Instant;

use super::Viewer;
use crate::secret::Secret;

const COOKIE_NAME: &str = "outbox_console";
const KEPT: Duration = Duration::from_secs(12 * 60 * 60);

/// One browser: the one that opens the printed address first. A second one needs another console.
#[derive(Debug)]
pub struct Once {
    viewer: Viewer,
    token: Secret,
    session: Secret,
    opened: OnceLock<Instant>,
}

impl Once {
    pub fn new(viewer: Viewer) -> std::io::Result<Self> {
        Ok(Self { viewer, token: Secret::new()?, session: Secret::new()?, opened: OnceLock::new() })
    }

    /// What the printed address ends with.
    pub fn token(&self) -> String {
        self.token.text()
    }

    /// The cookie for a token that is right and was not used.
    pub(crate) fn cookie(
        &self,
        token: &str,
        headers: &HeaderMap,
        path: &str,
        secret: &Secret,
    ) -> Option<String> {
        if !secret.are_same(token, &self.token.text()) || self.opened.set(Instant::now()).is_err() {
            return None;
        }
        let (name, session, seconds) = (cookie_name(headers), self.session.text(), KEPT.as_secs());
        Some(format!("{name}={session}; Path={path}/; Max-Age={seconds}; HttpOnly; SameSite=Strict"))
    }

    /// A browser may keep a cookie for longer than it was asked to.
    pub(super) fn viewer(&self, headers: &HeaderMap, secret: &Secret) -> Option<Viewer> {
        if self.opened.get()?.elapsed() >= KEPT {
            return None;
        }
        let (wanted, session) = (cookie_name(headers), self.session.text());
        let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let mut pairs =
            cookies.flat_map(|cookies| cookies.split(';')).filter_map(|one| one.trim().split_once('='));
        pairs
            .any(|(name, value)| name == wanted && secret.are_same(value, &session))
            .then(|| self.viewer.clone())
    }
}

/// With the port that the browser called. Browsers send the cookies of all ports of a machine to each, so with one name the
/// cookie of a second console would replace that of the first.
fn cookie_name(headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    match host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()) {
        Some(port) => format!("{COOKIE_NAME}_{port}"),
        None => COOKIE_NAME.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: the printed address ends after twelve hours, also for a browser that keeps the cookie, and is never a second one.
    #[tokio::test(start_paused = true)]
    async fn a_session_ends() {
        let (once, secret) = (Once::new(Viewer::default()).unwrap(), Secret::new().unwrap());
        let mut headers = HeaderMap::from_iter([(HOST, "[::1]:9466".parse().unwrap())]);
        let cookie = once.cookie(&once.token(), &headers, "", &secret).unwrap();
        assert!(cookie.starts_with("outbox_console_9466="), "{cookie}");
        headers.insert(COOKIE, cookie.split(';').next().unwrap().parse().unwrap());
        tokio::time::advance(KEPT - Duration::from_secs(1)).await;
        assert!(once.viewer(&headers, &secret).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(once.viewer(&headers, &secret).is_none());
        assert!(once.cookie(&once.token(), &headers, "", &secret).is_none());
    }

    /// Guards: consoles on several ports of a machine have cookies of their own, and one that is started again replaces its own.
    #[test]
    fn a_cookie_is_of_one_port() {
        for (host, name) in [
            ("127.0.0.1:9466", "outbox_console_9466"),
            ("localhost:80", "outbox_console_80"),
            ("[::1]:9467", "outbox_console_9467"),
            ("[::1]", "outbox_console"),
            ("outbox.corp", "outbox_console"),
            ("outbox.corp:99999", "outbox_console"),
        ] {
            assert_eq!(cookie_name(&HeaderMap::from_iter([(HOST, host.parse().unwrap())])), name, "{host}");
        }
    }
}
