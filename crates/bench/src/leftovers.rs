//! The cost of what other sessions left: open transactions, old snapshots, events after a window, many subscribers, and old
//! records.

mod dedup_cleanup; // records that leave while deliveries are made
mod fan_out; // large events with many subscribers
mod line; // relay and worker as processes
mod open_transaction; // millions of uncommitted events
mod pile; // millions of small events
mod retries; // retries under an old snapshot
mod ring; // the size of the outbox beside an open transaction
mod window_end; // events that were published since a window's end

use crate::plan::Plan;
use crate::result::Result;
use crate::row::Row;

/// Half an hour's work: each part is reported when it begins, and its rows are kept if a later one fails.
pub(crate) async fn run(plan: &Plan, rows: &mut Vec<Row>) -> Result<()> {
    let part = |name: &str| eprintln!("leftovers: {name}");
    part("an open transaction with millions of events");
    rows.extend(open_transaction::rows(plan).await?);
    part("retries under an old snapshot");
    rows.extend(retries::rows(plan).await?);
    part("the end of a window");
    rows.push(window_end::row(plan).await?);
    part("large events with many subscribers");
    rows.push(fan_out::row(plan).await?);
    part("a ring while a transaction is open");
    rows.push(ring::row(plan).await?);
    part("dedup records that leave");
    rows.extend(dedup_cleanup::rows(plan).await?);
    Ok(())
}
