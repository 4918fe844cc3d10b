use std::time::Duration;

use outbox_transport::{Brake, Braked, Brakes, BrakesError};

use crate::Connections;

/// What operators set for the RPCs of one database, as workers read it.
#[derive(Debug)]
pub struct BrakeTable {
    connections: Connections,
}

impl BrakeTable {
    pub fn new(connections: Connections) -> Self {
        Self { connections }
    }
}

impl Brakes for BrakeTable {
    /// The table has two rows per RPC at most.
    async fn brakes(&self) -> Result<Vec<Braked>, BrakesError> {
        type Row = (String, String, Option<i32>, Option<i32>, f64);
        let look = sqlx::query_as(
            "select rpc, kind, concurrency, rate_per_second,
                    extract(epoch from least(until - clock_timestamp(), interval '30 days'))::float8
             from outbox.brake where until > clock_timestamp() order by rpc, kind",
        );
        let rows: Vec<Row> =
            self.connections.run(async |conn| look.fetch_all(conn).await).await.map_err(BrakesError::new)?;
        let number = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
        let braked = rows.into_iter().filter_map(|(rpc, kind, concurrency, rate, left)| {
            let brake = Brake::parse(&kind, number(concurrency), number(rate))?;
            Some(Braked { rpc, brake, left: Duration::from_secs_f64(left.max(0.0)) })
        });
        Ok(braked.collect())
    }
}
