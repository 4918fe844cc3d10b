//! Observes the database and the processes, during a run and at its end.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox::EventId;
use sqlx::postgres::PgPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::domain::{self, APPLICATION};
use crate::history::{At, Change, Put, Sample};
use crate::routes::{GARBLED, Rpc, subscribers};
use crate::run::Failure;
use crate::world::World;

const SAMPLED_EVERY: Duration = Duration::from_millis(200);
const HELD_EVERY: Duration = Duration::from_millis(100);
const ASKED_EVERY: Duration = Duration::from_secs(1);
const SAID_EVERY: Duration = Duration::from_secs(10);
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Observations during the run.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    cursor: Mutex<Vec<Sample>>,
    turns: AtomicUsize,
}

impl Witness {
    pub(crate) fn cursor(&self) -> Vec<Sample> {
        self.cursor.lock().expect("no panic while held").clone()
    }

    /// How often the outbox's ring turned.
    pub(crate) fn turns(&self) -> usize {
        self.turns.load(Ordering::Relaxed)
    }

    /// Observes until `stop`.
    pub(crate) async fn watch(&self, world: &World, stop: &CancellationToken) {
        let looking = async { tokio::join!(self.sample(world), ask(world)) };
        tokio::select! {
            _ = looking => {}
            () = stop.cancelled() => {}
        }
    }

    async fn sample(&self, world: &World) {
        let mut slot = 0_i64;
        loop {
            tokio::time::sleep(SAMPLED_EVERY).await;
            let look = sqlx::query_as(
                "select (outbox.cursor_now()).last_seq, last_value,
                        exists (select from pg_locks
                                where locktype = 'advisory' and classid = 1869968994 and objid = 1 and mode = 'ExclusiveLock'
                                  and granted and database = (select oid from pg_database where datname = current_database()))
                 from outbox.event_slot",
            )
            .fetch_one(&world.pool);
            let look = tokio::time::timeout(ANSWERS_WITHIN, look).await;
            let Ok(Ok((last_seq, now, asleep))) = look else { continue };
            let at = world.clock.now();
            self.cursor.lock().expect("no panic while held").push(Sample { at, last_seq, asleep });
            if std::mem::replace(&mut slot, now) != now {
                self.turns.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Holds publishers in a lull, and while too many deliveries are open: the machine's speed must not matter.
    pub(crate) async fn hold(world: &World, held: &watch::Sender<bool>, open_max: usize) {
        loop {
            let open = world.ledger.due().saturating_sub(world.rpcs.arrived());
            let hold = *world.lull.borrow() || open > open_max;
            held.send_if_modified(|held| std::mem::replace(held, hold) != hold);
            tokio::time::sleep(HELD_EVERY).await;
        }
    }
}

async fn ask(world: &World) {
    loop {
        tokio::time::sleep(ASKED_EVERY).await;
        for relay in &world.relays {
            relay.look().await;
        }
    }
}

/// Waits until every publisher's transaction has ended: one whose connection died may still be committing.
pub(crate) async fn publishers_have_ended(pool: &PgPool) -> Result<(), Failure> {
    loop {
        let open: bool =
            sqlx::query_scalar("select exists (select from pg_stat_activity where application_name = $1)")
                .bind(APPLICATION)
                .fetch_one(pool)
                .await?;
        if !open {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Everything that was committed, in either database.
pub(crate) async fn committed(world: &World) -> Result<Vec<Change>, Failure> {
    let first = domain::committed(&world.pool).await?;
    Ok([first, domain::committed(&world.second.pool).await?].concat())
}

/// Waits until nothing is open, for `patience` at most. An error names what is still open.
pub(crate) async fn quiet(world: &World, committed: &[Change], patience: Duration) -> Result<(), String> {
    let mut open = String::new();
    let mut said = tokio::time::Instant::now();
    let waiting = async {
        loop {
            open = match still_open(world, committed).await {
                Ok(nothing) if nothing.is_empty() => return,
                Ok(open) => open.join("; "),
                Err(error) => error.to_string(),
            };
            if said.elapsed() >= SAID_EVERY {
                said = tokio::time::Instant::now();
                println!("  {:>4} s  still open: {open}", world.clock.now().as_secs());
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    let quiet = tokio::time::timeout(patience, waiting).await;
    quiet.map_err(|_| format!("after {} s there is still open: {open}", patience.as_secs()))
}

async fn still_open(world: &World, committed: &[Change]) -> Result<Vec<String>, Failure> {
    let mut open = Vec::new();
    let dead = dead(world).await?;
    let parked = parked(world).await?;
    let (mut waiting, mut unparked) = (0, 0);
    for change in committed {
        if change.name == GARBLED {
            unparked += usize::from(!parked.contains_key(&change.event));
        } else if !parked.contains_key(&change.event) {
            let rpcs = subscribers(&change.name);
            let is_open = |rpc: Rpc| {
                let refused = change.refuse && !dead.contains(&(change.event, rpc));
                refused || !world.rpcs.has_arrived(change.event, rpc)
            };
            waiting += rpcs.iter().filter(|rpc| is_open(**rpc)).count();
        }
    }
    if waiting > 0 {
        open.push(format!("{waiting} deliveries"));
    }
    if unparked > 0 {
        open.push(format!("{unparked} events to be parked"));
    }
    let tables: [(&str, &str); 3] = [
        ("retries", "select count(*) from outbox.retry"),
        ("claims", "select count(*) from outbox.claim where until is not null"),
        (
            "deliveries that were not received",
            "select count(*) from outbox.delivery as d where d.seq >
                 (select h.seq from outbox.queue_head as h where h.queue = d.queue)",
        ),
    ];
    for pool in [&world.pool, &world.second.pool] {
        for (what, count) in tables {
            let count: i64 = sqlx::query_scalar(count).fetch_one(pool).await?;
            if count > 0 {
                open.push(format!("{count} {what}"));
            }
        }
    }
    if let Some(cloud) = &world.cloud {
        let messages = cloud.open().await?;
        if messages > 0 {
            open.push(format!("{messages} messages"));
        }
    }
    Ok(open)
}

pub(crate) async fn dead(world: &World) -> Result<HashSet<(EventId, Rpc)>, Failure> {
    if let Some(cloud) = &world.cloud {
        return cloud.dead().await;
    }
    let mut dead = HashSet::new();
    for pool in [&world.pool, &world.second.pool] {
        let rows = sqlx::query_as(
            "select l.event_id, q.rpc from outbox.dead_letter as l join outbox.queue as q on q.id = l.queue",
        );
        dead.extend(pairs(rows.fetch_all(pool).await?));
    }
    Ok(dead)
}

/// The codes of each parked event, one for every time that it was parked.
pub(crate) async fn parked(world: &World) -> Result<HashMap<EventId, Vec<String>>, Failure> {
    let mut parked: HashMap<EventId, Vec<String>> = HashMap::new();
    for pool in [&world.pool, &world.second.pool] {
        let rows: Vec<(Uuid, String)> =
            sqlx::query_as("select id, code from outbox.parked").fetch_all(pool).await?;
        for (event, code) in rows {
            parked.entry(event.into()).or_default().push(code);
        }
    }
    Ok(parked)
}

/// The done records, each with its time.
pub(crate) async fn recorded(world: &World) -> Result<HashMap<(EventId, Rpc), At>, Failure> {
    let records = match &world.cloud {
        Some(cloud) => cloud.recorded().await?,
        None => {
            const DONE: &str = "select event_id, rpc, max(done_at) from outbox.done group by event_id, rpc";
            const KEPT: &str = "select event_id, rpc, done_at from torture.recorded";
            let mut rows: Vec<(Uuid, String, DateTime<Utc>)> = Vec::new();
            for (pool, query) in [(&world.pool, DONE), (&world.second.pool, DONE), (&world.second.pool, KEPT)]
            {
                rows.extend(sqlx::query_as(query).fetch_all(pool).await?);
            }
            rows.into_iter().filter_map(|(event, rpc, at)| Some((event.into(), Rpc::of(&rpc)?, at))).collect()
        }
    };
    Ok(records.into_iter().map(|(event, rpc, at)| ((event, rpc), world.clock.of(at))).collect())
}

/// The order in which events took effect on the bus.
pub(crate) async fn puts(world: &World) -> Result<Vec<Put>, Failure> {
    if let Some(cloud) = &world.cloud {
        return Ok(cloud.puts());
    }
    let mut rows: Vec<(i64, Uuid, String)> = Vec::new();
    for pool in [&world.pool, &world.second.pool] {
        rows.extend(sqlx::query_as("select seq, event_id, rpc from torture.put").fetch_all(pool).await?);
    }
    let put = |(seq, event, rpc): (i64, Uuid, String)| Put {
        event: event.into(),
        rpc: Rpc::of(&rpc),
        begun: seq,
        done: seq,
    };
    Ok(rows.into_iter().map(put).collect())
}

/// Sessions, locks and rows that are left in the database after every relay and worker has stopped.
pub(crate) async fn left_behind(world: &World) -> Result<Vec<String>, Failure> {
    let mut left: Vec<String> = sqlx::query_scalar(
        "select format('a session of %s, %s for %s', application_name, state, clock_timestamp() - state_change)
         from pg_stat_activity where application_name like 'outbox %'
         union all
         select format('advisory lock (%s, %s), held by pid %s', classid, objid, pid) from pg_locks
         where locktype = 'advisory'
         union all
         select format('a prepared transaction %s', gid) from pg_prepared_xacts
         union all
         select format('a setting of the database or the role: %s', setconfig) from pg_db_role_setting",
    )
    .fetch_all(&world.pool)
    .await?;
    for pool in [&world.pool, &world.second.pool] {
        let rows: Vec<String> = sqlx::query_scalar(
            "select format('an open claim of %s on queue %s', worker, queue) from outbox.claim where until is not null
             union all
             select format('a retry of %s: %s', event_id, last_error) from outbox.retry",
        )
        .fetch_all(pool)
        .await?;
        left.extend(rows);
    }
    if let Some(cloud) = &world.cloud {
        let undeliverable = cloud.undeliverable().await?;
        if undeliverable > 0 {
            left.push(format!("{undeliverable} events that EventBridge could not deliver"));
        }
    }
    Ok(left)
}

fn pairs(rows: Vec<(Uuid, String)>) -> impl Iterator<Item = (EventId, Rpc)> {
    rows.into_iter().filter_map(|(event, rpc)| Some((event.into(), Rpc::of(&rpc)?)))
}
