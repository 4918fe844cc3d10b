//! A switch-over to a server that logical replication filled, without sequences. Relays are down, the sequences are behind
//! their tables, and publishers and workers go on at once.

use std::time::Duration;

use super::database::end_sessions;
use crate::database::insist;
use crate::run::Failure;
use crate::world::World;

const SEQUENCES: [&str; 4] = ["event_seq", "delivery_seq", "claim_id", "cursor_id"];

/// Sets sequences back while no relay runs. Returns when a relay leads again: events until then may have lower seqs than
/// earlier ones.
pub(super) async fn set_back(world: &World, dice: u64, lasts: Duration) -> Result<String, Failure> {
    let mut random = fastrand::Rng::with_seed(dice);
    for relay in &world.relays {
        relay.look().await;
    }
    let mut down = Vec::new();
    for relay in &world.relays {
        down.push(relay.kill().await?);
    }
    let mut chosen: Vec<(&str, f64)> = SEQUENCES.map(|name| (name, random.f64() * 1.2 - 0.2)).into();
    random.shuffle(&mut chosen);
    chosen.truncate(random.usize(1..=SEQUENCES.len()));
    let switched = insist(|| switch(world, &chosen)).await;
    tokio::time::sleep(lasts).await;
    // Relays are started again, even after an error.
    for relay in down {
        relay.start()?;
    }
    let before = switched?;
    insist(|| has_moved(world, &before)).await?;
    let names: Vec<&str> = chosen.iter().map(|(name, _)| *name).collect();
    Ok(names.join(", "))
}

/// Sets each sequence to this share of its value, or to its beginning. No session of a relay is left by then, as on a new
/// server. Returns the newest cursor.
async fn switch(world: &World, sequences: &[(&str, f64)]) -> Result<(i64, String), Failure> {
    end_sessions(world, "outbox %").await?;
    let left: i64 = sqlx::query_scalar(
        "select count(*) from pg_stat_activity where application_name like 'outbox relay%'",
    )
    .fetch_one(&world.pool)
    .await?;
    if left > 0 {
        return Err("a relay's session is still there".into());
    }
    let before = newest_cursor(world).await?;
    for (name, share) in sequences {
        sqlx::query(
            "select setval(('outbox.' || name)::regclass, greatest(1, (last_value * $2)::bigint))
             from pg_sequences, lateral (select sequencename::text as name) as n
             where schemaname = 'outbox' and sequencename = $1 and last_value is not null",
        )
        .bind(name)
        .bind(share)
        .execute(&world.pool)
        .await?;
    }
    Ok(before)
}

async fn has_moved(world: &World, before: &(i64, String)) -> Result<(), Failure> {
    match newest_cursor(world).await? {
        now if now != *before => Ok(()),
        _ => Err("no relay leads yet".into()),
    }
}

async fn newest_cursor(world: &World) -> Result<(i64, String), Failure> {
    let newest = sqlx::query_as("select (c).id, (c).xid::text from (select outbox.cursor_now() as c) as n");
    Ok(newest.fetch_one(&world.pool).await?)
}
