//! Takes back what a repair put into queues, as far as no worker has begun it.

use std::process::ExitCode;

use outbox_transport::operate::{Kind, Operator, Standing, thousands};
use serde::Serialize;
use uuid::Uuid;

use super::args::Undo;
use super::told::unknown;
use crate::repair;
use crate::show::counted;
use crate::stopped::Stopped;
use crate::transport::Work;

/// The result; the names are stable.
#[derive(Debug, Serialize)]
struct Undone {
    of: Uuid,
    taken_back: i64,
    /// Of what it moved: it can't be taken back.
    begun: i64,
}

pub(super) struct Undoing<'a>(pub(super) &'a Undo);

impl Work for Undoing<'_> {
    async fn on<O: Operator>(self, transports: Vec<O>) -> Result<ExitCode, Stopped> {
        let Undo { id, options } = self.0;
        let mut kind = None;
        for transport in &transports {
            let Some(kept) = transport.find(*id).await? else { continue };
            match kept.standing() {
                Standing::Running => {
                    return Err(Stopped::failed(
                        format!("repair {id} still runs"),
                        format!("stop it first: {}", options.command(["repair", "stop", &id.to_string()])),
                    ));
                }
                // If its command still lives, it must not move more.
                Standing::Silent => {
                    repair::end_silent(transport, *id, &repair::who(&options.asked)).await?;
                }
                _ => {}
            }
            kind = kind.or(kept.progress.map(|progress| progress.kind)).or(Some(Kind::Drop));
        }
        match kind {
            None => return Err(unknown(*id, options)),
            Some(Kind::Drop) => {
                return Err(Stopped::failed(
                    format!("repair {id} put nothing into a queue"),
                    "only redrives and replays can be undone; what was dropped is in the outbox until retention: see `outbox replay`",
                ));
            }
            Some(_) => {}
        }
        let repair = repair::begin(&options.asked, &transports, true).await?;
        match take(&transports, &repair, *id).await {
            Ok(undone) => {
                repair::end(repair, &transports, &undone).await;
                options.answer(&undone, || text(&undone))?;
                Ok(ExitCode::SUCCESS)
            }
            Err(stopped) => {
                repair::end(repair, &transports, &stopped.problem).await;
                Err(stopped)
            }
        }
    }
}

async fn take<O: Operator>(
    transports: &[O],
    repair: &outbox_transport::operate::Repair,
    of: Uuid,
) -> Result<Undone, Stopped> {
    let mut undone = Undone { of, taken_back: 0, begun: 0 };
    for transport in transports {
        loop {
            let Some(taken) = transport.take_back(repair, of).await? else {
                return Err(Stopped::failed(
                    "on SQS nothing can be taken back: a message in a queue can't be found again",
                    "pause the RPC (`outbox pause`) or stop its server: then its messages wait, and none is called",
                ));
            };
            undone.taken_back += taken;
            if taken == 0 {
                break;
            }
        }
        if let Some(kept) = transport.find(of).await? {
            let before = kept.progress.as_ref().map_or(0, |progress| progress.taken_back);
            undone.begun += (kept.changed().unwrap_or(0) - before).max(0);
        }
    }
    Ok(undone)
}

fn text(undone: &Undone) -> String {
    let mut text = format!("taken back: {}", counted(thousands(undone.taken_back), "message"));
    if undone.begun > 0 {
        text.push_str(&format!(
            "\n  {} had begun or are done, and can't be taken back",
            thousands(undone.begun)
        ));
    }
    text
}
