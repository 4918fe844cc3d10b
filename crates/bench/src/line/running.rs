//! The processes of a system, and their reports of entered events.

use std::collections::HashMap;
use std::time::Duration;

use testkit::process::Process;
use tokio::time::{Instant, timeout_at};

use super::calls::Calls;
use crate::result::Result;

/// Longer than the backlog of a sustainable rate needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The source of the times at which events entered a handler.
#[derive(Debug)]
pub(crate) enum Entered {
    /// The handler's process: the count until it ends, and then the times.
    Told(Process),
    /// The server that our worker calls.
    Called(Process, Calls),
}

impl Entered {
    pub(crate) async fn told(mut process: Process) -> Result<Self> {
        process.wait_for("ready").await?;
        Ok(Self::Told(process))
    }
}

#[derive(Debug)]
pub(crate) struct Running {
    relay: Option<Process>,
    entered: Entered,
    count: usize,
}

impl Running {
    pub(crate) fn new(relay: Option<Process>, entered: Entered) -> Self {
        Self { relay, entered, count: 0 }
    }

    /// Waits until so many have entered. `false` if they did not.
    pub(crate) async fn entered(&mut self, count: usize) -> Result<bool> {
        let deadline = Instant::now() + PATIENCE;
        while self.count < count {
            match &mut self.entered {
                Entered::Called(_, calls) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    self.count = calls.count();
                }
                Entered::Told(process) => match timeout_at(deadline, process.line()).await {
                    Ok(Some(line)) => match line.strip_prefix("count ") {
                        Some(told) => self.count = told.parse()?,
                        None => eprintln!("handler: {line}"),
                    },
                    Ok(None) => return Err("the handler's process has ended".into()),
                    Err(_) => {}
                },
            }
            if Instant::now() > deadline {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Stops everything. Returns when each event's copies entered the handler.
    pub(crate) async fn stop(self) -> Result<HashMap<u64, Vec<i64>>> {
        let entered = match self.entered {
            Entered::Called(worker, calls) => {
                worker.stop().await?;
                calls.entered()
            }
            Entered::Told(process) => times(process).await?,
        };
        if let Some(relay) = self.relay {
            relay.stop().await?;
        }
        Ok(entered)
    }
}

/// The final report of the handler's process.
async fn times(mut process: Process) -> Result<HashMap<u64, Vec<i64>>> {
    process.signal("TERM")?;
    let mut entered: HashMap<u64, Vec<i64>> = HashMap::new();
    while let Some(line) = tokio::time::timeout(PATIENCE, process.line()).await? {
        let Some((n, at)) = line.strip_prefix("at ").and_then(|line| line.split_once(' ')) else { continue };
        entered.entry(n.parse()?).or_default().push(at.parse()?);
    }
    process.ended().await?;
    Ok(entered)
}
