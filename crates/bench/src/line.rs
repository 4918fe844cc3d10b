//! The whole line on the postgres transport, from the publisher's COMMIT to the handler: how late, how much, and how fast a
//! backlog goes. Beside graphile-worker and pg-boss with the same payload, server and publisher, and with the settings that
//! their documentation gives for performance.

pub(crate) mod calls; // a server behind a Connect call
mod cell; // one system under one load
mod drain; // how fast a backlog goes
mod handler; // our worker's process, with nothing behind the seam
mod peers; // what npm installs
mod rate; // the highest rate that holds
mod rounds; // what is set beside what
mod running; // processes, and what they say
mod search; // for the highest rate
mod steady; // how late
mod system; // what is measured in turn

pub(crate) use handler::run as handle;

use crate::database::Database;
use crate::plan::Plan;
use crate::report::Row;
use crate::result::Result;
use system::{Kind, System};

pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let database = Database::start().await?;
    let systems = systems(&database, plan).await?;
    let mut rows = steady::rows(plan, &systems).await?;
    rows.extend(rate::rows(plan, &systems).await?);
    rows.extend(drain::rows(plan, &systems).await?);
    Ok(rows)
}

/// Ours, and the peers if they can be had.
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
