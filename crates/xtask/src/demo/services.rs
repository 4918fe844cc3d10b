//! The sample services as processes, and their calls.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox::EventId;
use serde::Deserialize;
use tokio::sync::{Notify, mpsc};

use super::failure::Failure;
use testkit::process::Process;

/// The calls of the sample services, in the order of their output.
#[derive(Clone, Default)]
pub(crate) struct Calls {
    list: Arc<Mutex<Vec<Call>>>,
    came: Arc<Notify>,
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) rpc: String,
    pub(crate) event: EventId,
    pub(crate) attempt: u32,
    pub(crate) refused: Option<String>,
    pub(crate) at: DateTime<Utc>,
}

pub(crate) async fn serve(
    bin: &Path,
    service: &str,
    listen: &str,
    calls: &Calls,
) -> Result<(Process, String), Failure> {
    #[derive(Deserialize)]
    struct Listening {
        listening: String,
    }
    let mut server =
        Process::start(&bin.join("sample-server"), ["--service", service, "--listen", listen], &[])?;
    let line = server.wait_for("listening").await?;
    let Listening { listening } = serde_json::from_str(&line)?;
    calls.watch(server.take_lines());
    Ok((server, listening))
}

impl Calls {
    fn watch(&self, mut lines: mpsc::UnboundedReceiver<String>) {
        #[derive(Deserialize)]
        struct Line {
            rpc: String,
            event_id: EventId,
            attempt: String,
            refused: Option<String>,
        }
        let calls = self.clone();
        tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                let at = Utc::now();
                let Ok(Line { rpc, event_id, attempt, refused }) = serde_json::from_str(&line) else {
                    continue;
                };
                let attempt = attempt.parse().unwrap_or(0);
                calls.list.lock().expect("no panic while held").push(Call {
                    rpc,
                    event: event_id,
                    attempt,
                    refused,
                    at,
                });
                calls.came.notify_waiters();
            }
        });
    }

    pub(crate) fn all(&self) -> Vec<Call> {
        self.list.lock().expect("no panic while held").clone()
    }

    pub(crate) fn of(&self, event: EventId) -> Vec<Call> {
        self.all().into_iter().filter(|call| call.event == event).collect()
    }

    /// Waits until `enough` holds for the calls of an event.
    pub(crate) async fn wait(
        &self,
        event: EventId,
        enough: impl Fn(&[Call]) -> bool,
    ) -> Result<Vec<Call>, Failure> {
        let waiting = async {
            loop {
                let came = self.came.notified();
                let calls = self.of(event);
                if enough(&calls) {
                    return calls;
                }
                came.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting)
            .await
            .map_err(|_| format!("event {event} did not arrive within a minute: {:?}", self.of(event)).into())
    }
}
