//! One system under one load: when each event entered its handler.

use std::collections::HashMap;
use std::time::Duration;

use super::system::System;
use crate::pairs::quantile;
use crate::publisher::{Load, Sent, publish};
use crate::result::Result;

/// The first events include planning and growing files.
const WARM_UP: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Cell {
    /// The publisher's actual rate.
    pub(crate) per_second: f64,
    /// Milliseconds from COMMIT's return, of each copy of each event.
    pub(crate) after_commit: Vec<f64>,
    pub(crate) before_commit: Vec<f64>,
    /// Copies that did not arrive.
    pub(crate) lost: usize,
}

impl Cell {
    pub(crate) async fn of(system: &System, per_second: f64, lasts: Duration) -> Result<Self> {
        let connections = if per_second > 1000.0 { 32 } else { 16 };
        system.empty().await?;
        let mut running = system.warm().await?;
        let sent = publish(&system.url, &system.sql.enqueue, Load { per_second, connections, lasts }).await?;
        running.entered((sent.len() + 1) * system.copies).await?;
        let entered = running.stop().await?;
        // Otherwise the server would clean up after this system while the next one is measured.
        system.empty().await?;
        let (after_commit, before_commit) = (
            late(&sent, &entered, |sent| sent.after_commit),
            late(&sent, &entered, |sent| sent.before_commit),
        );
        let come = |sent: &Sent| entered.get(&sent.n).map_or(0, Vec::len);
        let lost = sent.iter().map(|sent| system.copies.saturating_sub(come(sent))).sum();
        Ok(Self { per_second: achieved(&sent), after_commit, before_commit, lost })
    }

    /// Whether the system sustains this rate.
    pub(crate) fn holds(&self, asked: f64) -> bool {
        self.lost == 0 && self.per_second >= 0.97 * asked && quantile(&self.after_commit, 0.99) < 100.0
    }
}

/// Not below zero: a handler may have an event before its publisher gets COMMIT's answer.
fn late(sent: &[Sent], entered: &HashMap<u64, Vec<i64>>, since: impl Fn(&Sent) -> i64) -> Vec<f64> {
    let warm = sent.iter().filter(|sent| sent.due >= WARM_UP);
    let late = warm.flat_map(|sent| {
        let since = since(sent);
        entered.get(&sent.n).into_iter().flatten().map(move |at| (at - since).max(0) as f64 / 1e6)
    });
    late.collect()
}

fn achieved(sent: &[Sent]) -> f64 {
    let began = sent.iter().map(|sent| sent.before_commit).min();
    let ended = sent.iter().map(|sent| sent.after_commit).max();
    let nanos = ended.zip(began).map_or(0, |(ended, began)| ended - began);
    sent.len() as f64 / (nanos as f64 / 1e9)
}
