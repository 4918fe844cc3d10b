//! Settles a batch with one statement. If that is refused as a whole, each message gets a statement of its own.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use outbox_transport::{Again, Budget, Note, Outcome, Unsettled};
use sqlx::postgres::types::PgInterval;
use tokio::time::Instant;

use super::{PostgresQueue, Receipt};
use crate::failed::unsettled;
use crate::{interval, within};

impl PostgresQueue {
    pub(super) async fn settle_each(&self, settled: &[(Receipt, Outcome)]) -> Vec<Result<(), Unsettled>> {
        let error = match self.write(settled).await {
            Ok(()) => return settled.iter().map(|_| Ok(())).collect(),
            Err(error) => error,
        };
        if !error.is_refused() || settled.is_empty() {
            return settled.iter().map(|_| Err(error.clone())).collect();
        }
        let (mut answers, mut away) = (Vec::with_capacity(settled.len()), None);
        for one in settled.chunks(1) {
            let answer = match &away {
                Some(error) => Err(Unsettled::clone(error)),
                None => self.settle_one(one).await,
            };
            if let Err(error) = &answer
                && !error.is_refused()
            {
                away = Some(error.clone());
            }
            answers.push(answer);
        }
        answers
    }

    async fn settle_one(&self, one: &[(Receipt, Outcome)]) -> Result<(), Unsettled> {
        let answer = self.write(one).await;
        let dead = matches!(one, [(_, outcome)] if outcome.dead().is_some());
        if answer.as_ref().is_err_and(Unsettled::is_refused) && !dead {
            // Without a count, its claim is not closed while this delivery is unsettled.
            self.open.forget(tokens(one));
        }
        answer
    }

    /// Writes all of it, or nothing.
    async fn write(&self, settled: &[(Receipt, Outcome)]) -> Result<(), Unsettled> {
        let (closed, closed_tokens) = self.closed_by(settled);
        let mut history = *self.history.lock();
        let rows = Rows::of(settled, &mut history);
        if !rows.seqs.is_empty() || !closed.is_empty() {
            let settle = sqlx::query_scalar(
                "select outbox.settle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
            )
            .bind(rows.queues)
            .bind(rows.seqs)
            .bind(rows.claims)
            .bind(rows.tokens)
            .bind(rows.outcomes)
            .bind(rows.waits)
            .bind(rows.counted)
            .bind(rows.codes)
            .bind(rows.texts)
            .bind(closed)
            .bind(closed_tokens)
            .bind(self.watched.claims_from())
            .bind(rows.notes)
            .bind(&self.worker);
            let mut loan = self.connections.lend().await.map_err(|error| unsettled(&error))?;
            let written: Result<Option<bool>, Unsettled> =
                within(settle.fetch_one(loan.conn())).await.map_err(|error| unsettled(&error));
            // A refusal leaves the connection usable.
            if written.as_ref().err().is_none_or(Unsettled::is_refused) {
                loan.give_back();
            }
            if let Some(is_kept) = written? {
                self.tell_history(is_kept);
            }
            // Only now, because a failed settlement is repeated.
            *self.history.lock() = history;
        }
        for (_, outcome) in settled {
            if let Outcome::Retry { after, .. } = outcome {
                self.remember_due(*after);
            }
        }
        self.open.settled(tokens(settled));
        Ok(())
    }

    /// Logs once when the history takes no entries, and once when it takes them again.
    fn tell_history(&self, is_kept: bool) {
        let was_kept = !self.history_fails.swap(!is_kept, Ordering::Relaxed);
        match (was_kept, is_kept) {
            (true, false) => tracing::warn!(
                rpc = %self.watched.rpc,
                "outbox.history is locked, or this role may not write to it: deliveries go on, and entries are left out. Remedy for the role: select outbox.grant_to('ROLE', 'worker')"
            ),
            (false, true) => tracing::info!(rpc = %self.watched.rpc, "outbox.history takes entries again"),
            _ => {}
        }
    }

    /// The claims without an open delivery after these settlements, and their tokens.
    fn closed_by(&self, settled: &[(Receipt, Outcome)]) -> (Vec<i64>, Vec<i64>) {
        let closed = self.open.closed_by(tokens(settled));
        let claims: HashMap<i64, i64> =
            settled.iter().filter_map(|(receipt, _)| Some((receipt.token, receipt.claim?))).collect();
        closed.into_iter().filter_map(|token| Some((*claims.get(&token)?, token))).unzip()
    }
}

/// Of the deliveries of claimed batches.
fn tokens(settled: &[(Receipt, Outcome)]) -> impl Iterator<Item = i64> {
    settled.iter().filter(|(receipt, _)| receipt.claim.is_some()).map(|(receipt, _)| receipt.token)
}

/// The arguments of `outbox.settle`: the deliveries that have or need a row of their own.
#[derive(Default)]
struct Rows {
    queues: Vec<i32>,
    seqs: Vec<i64>,
    claims: Vec<Option<i64>>,
    tokens: Vec<i64>,
    outcomes: Vec<&'static str>,
    waits: Vec<PgInterval>,
    counted: Vec<bool>,
    codes: Vec<&'static str>,
    texts: Vec<String>,
    notes: Vec<Option<&'static str>>,
}

impl Rows {
    fn of(settled: &[(Receipt, Outcome)], history: &mut Budget) -> Self {
        let (mut rows, now) = (Self::default(), Instant::now());
        for (receipt, outcome) in settled {
            let (name, wait, counted, code, why) = match outcome {
                // A batch's message that is done leaves a trace only in the dedup record.
                Outcome::Done | Outcome::Duplicate if receipt.claim.is_some() => continue,
                Outcome::Done | Outcome::Duplicate => ("done", None, true, "", ""),
                Outcome::Retry { again, after, code, error } => {
                    ("retry", Some(*after), *again == Again::Failed, *code, error.as_str())
                }
                Outcome::Dead { code, reason } | Outcome::SetAside { code, reason } => {
                    ("dead", None, true, *code, reason.as_str())
                }
            };
            rows.queues.push(receipt.queue);
            rows.seqs.push(receipt.seq);
            rows.claims.push(receipt.claim);
            rows.tokens.push(receipt.token);
            rows.outcomes.push(name);
            rows.waits.push(interval(wait.unwrap_or_default()));
            rows.counted.push(counted);
            rows.codes.push(code);
            rows.texts.push(text(why));
            let note = Note::of(outcome).filter(|note| history.allows(*note, now));
            rows.notes.push(note.map(Note::as_str));
        }
        rows
    }
}

/// A text of Postgres can't contain a NUL.
fn text(of: &str) -> String {
    of.replace('\0', "\u{fffd}")
}
