//! What all requests share.

use std::sync::Arc;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::access::{Access, Allow};
use crate::ask::{Ask, Refusal};
use crate::asked::asked;
use crate::assets::Assets;
use crate::said::Said;
use crate::sampler::{For, Sample, Sampler};
use crate::secret::Secret;
use crate::shared::Seen;
use crate::wall::Wall;
use crate::week::Past;

/// How the console is served.
#[derive(Debug)]
pub struct Settings {
    /// Empty, or `/outbox`: what each address begins with. [`router`](crate::router) refuses another one.
    pub base_path: String,
    /// What tells one environment from another.
    pub title: String,
    /// A colour of CSS for that.
    pub accent: Option<String>,
    pub access: Access,
    /// What each may do. A service in which the console is mounted says it in the [`Viewer`](crate::Viewer) instead. There, too,
    /// a console that is read-only changes nothing.
    pub allow: Allow,
    /// What can't be taken back needs the consent of a second person.
    pub second_person: bool,
    /// The names by which browsers may call it. With none, any.
    pub hosts: Vec<String>,
    /// What has the past of an RPC.
    #[cfg(feature = "prometheus")]
    pub prometheus: Option<crate::Prometheus>,
    pub clock: fn() -> DateTime<Utc>,
}

#[derive(Debug)]
pub(crate) struct Console {
    pub(crate) ask: Arc<dyn Ask>,
    pub(crate) settings: Settings,
    pub(crate) secret: Secret,
    pub(crate) sampler: Sampler,
    pub(crate) assets: Assets,
    pub(crate) wall: Wall,
    /// Pages that change by themselves. Each holds one.
    pub(crate) open: Arc<Semaphore>,
    pub(crate) said: Said,
}

impl Console {
    /// Asks, and leaves out what must never be shown.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        who: &str,
        words: Vec<String>,
    ) -> Result<(T, Value), Refusal> {
        asked(&*self.ask, who, words).await
    }

    /// The same with its time. While the databases can't be reached, it is the last answer.
    pub(crate) async fn seen(&self, whose: (For, &str), words: Vec<String>) -> Result<Seen<Value>, Refusal> {
        self.sampler.answer(&self.ask, self.settings.clock, whose, words).await
    }

    /// Seven days of an RPC that exists, if a Prometheus was named.
    #[cfg(feature = "prometheus")]
    pub(crate) async fn week(&self, rpc: &str, exists: bool) -> Option<Past> {
        let prometheus = self.settings.prometheus.as_ref().filter(|_| exists)?;
        prometheus.week(rpc, self.now()).await
    }

    #[cfg(not(feature = "prometheus"))]
    pub(crate) async fn week(&self, _: &str, _: bool) -> Option<Past> {
        None
    }

    /// What all viewers see.
    pub(crate) async fn sample(&self) -> Result<Sample, Refusal> {
        self.sampler.look(&self.ask, self.settings.clock, false).await
    }

    /// The next one, for who has seen the last.
    pub(crate) async fn next_sample(&self) -> Result<Sample, Refusal> {
        self.sampler.look(&self.ask, self.settings.clock, true).await
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        (self.settings.clock)()
    }
}

/// A refusal as HTTP has it.
pub(crate) fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal.code {
        2 => StatusCode::BAD_REQUEST,
        Refusal::UNREACHED => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::CONFLICT,
    }
}
