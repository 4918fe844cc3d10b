use std::time::Duration;

use sqlx::PgConnection;

use outbox_transport::{Brake, Braked, Brakes, BrakesError};

use crate::Connections;
use crate::beside::{Beside, Statements};

const READ_WITHIN: Duration = Duration::from_secs(10);

/// What operators set for the RPCs of one database, as workers read it.
#[derive(Debug)]
pub struct BrakeTable {
    beside: Beside,
}

impl BrakeTable {
    pub fn new(connections: Connections) -> Self {
        Self::beside(Beside::of(connections))
    }

    pub fn beside(beside: Beside) -> Self {
        Self { beside }
    }
}

impl Brakes for BrakeTable {
    async fn convenient(&self) {
        self.beside.opened().await;
    }

    /// The table has two rows per RPC at most.
    async fn brakes(&self) -> Result<Vec<Braked>, BrakesError> {
        let rows = self.beside.run(READ_WITHIN, &Read).await.map_err(BrakesError::new)?;
        let number = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
        let braked = rows.into_iter().filter_map(|(rpc, kind, concurrency, rate, left)| {
            let brake = Brake::parse(&kind, number(concurrency), number(rate))?;
            Some(Braked { rpc, brake, left: Duration::from_secs_f64(left.max(0.0)) })
        });
        Ok(braked.collect())
    }
}

type Row = (String, String, Option<i32>, Option<i32>, f64);

struct Read;

impl Statements for Read {
    type Answer = Vec<Row>;

    async fn run(&self, conn: &mut PgConnection) -> Result<Vec<Row>, sqlx::Error> {
        sqlx::query_as(
            "select rpc, kind, concurrency, rate_per_second,
                    extract(epoch from least(until - clock_timestamp(), interval '30 days'))::float8
             from outbox.brake where until > clock_timestamp() order by rpc, kind",
        )
        .fetch_all(conn)
        .await
    }
}
