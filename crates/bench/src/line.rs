//! From the publisher's COMMIT to the handler on the postgres transport: latency, rate, and backlog. Peers are
//! graphile-worker and pg-boss, with the same payload, server and publisher, and their documented settings for performance.

pub(crate) mod calls; // a server behind a Connect call
mod cell; // one system under one load
mod drain; // the rate over a backlog
mod handler; // our worker's process, with a handler that returns at once
mod peers; // the peers from npm
mod rate; // the highest sustainable rate
mod rounds; // pairs of systems, measured in turn
mod running; // running processes and their reports
mod search; // the search for the highest rate
mod steady; // latency at fixed rates
mod system; // the systems that are measured in turn

pub(crate) use handler::run as handle;

use crate::database::Database;
use crate::plan::Plan;
use crate::result::Result;
use crate::row::Row;
use system::{Kind, System};

pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let database = Database::start().await?;
    let systems = systems(&database, plan).await?;
    let mut rows = steady::rows(plan, &systems).await?;
    rows.extend(rate::rows(plan, &systems).await?);
    rows.extend(drain::rows(plan, &systems).await?);
    Ok(rows)
}

/// The project, and the peers if they can be installed.
async fn systems(database: &Database, plan: &Plan) -> Result<Vec<System>> {
    let mut systems = Vec::new();
    for kind in [Kind::Ours, Kind::Connect, Kind::FanOut] {
        systems.push(System::ours(database, plan, kind)?);
    }
    match peers::installed().await {
        Ok(dir) => {
            for kind in [Kind::Graphile, Kind::Boss] {
                systems.push(System::peer(database, &dir, kind).await?);
            }
        }
        Err(error) => {
            eprintln!("!!! NOT MEASURED: line beside graphile-worker and pg-boss, because {error}");
        }
    }
    Ok(systems)
}
