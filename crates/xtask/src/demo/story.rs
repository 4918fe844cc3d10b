//! The demo's steps: what succeeds, and faults that are survived.

use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox::EventId;
use sample::proto::card::v1::CardTransactionSettledEvent;
use sample::proto::hoge::v1::HogeUpdatedEvent;
use serde::Deserialize;

use super::failure::Failure;
use super::services::Call;
use super::show::Show;
use super::world::World;

const SUBSCRIBERS_OF_SETTLED: usize = 2;
const STEADY: usize = 200;
const STEADY_GAP: Duration = Duration::from_millis(10);

/// The events of the demo, and the result that each must have.
#[derive(Default)]
pub(super) struct Told {
    pub(super) published: Vec<Published>,
    pub(super) rolled_back: Vec<EventId>,
    pub(super) duplicates: usize,
    pub(super) poison: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Published {
    pub(super) id: EventId,
    pub(super) committed: DateTime<Utc>,
    pub(super) subscribers: usize,
    /// Whether its time counts for the latency: not if its RPC was down.
    pub(super) timed: bool,
}

pub(super) async fn tell(world: &mut World, show: &Show) -> Result<Told, Failure> {
    let mut told = Told::default();
    fan_out(world, show, &mut told).await?;
    rollback(world, show, &mut told).await?;
    duplicate(world, show, &mut told).await?;
    outage(world, show, &mut told).await?;
    poison(world, show, &mut told).await?;
    Ok(told)
}

async fn fan_out(world: &World, show: &Show, told: &mut Told) -> Result<(), Failure> {
    show.scene("1  A change and its events commit together; each event runs its RPCs");
    for n in 1..=3 {
        let settled = settled(&format!("t-{n}"), 1200 * n);
        let published = publish(world, &settled).await?;
        let calls =
            world.calls.wait(published.id, |calls| succeeded(calls) == SUBSCRIBERS_OF_SETTLED).await?;
        show_way(world, show, &format!("card {} settled", settled.transaction_id), published, &calls).await?;
        told.published.push(published);
    }
    let mut tx = world.pool.begin().await?;
    let id = outbox::enqueue(&mut tx, &HogeUpdatedEvent { hoge_id: "hoge-1".into() }).await?;
    tx.commit().await?;
    let published = Published { id, committed: Utc::now(), subscribers: 1, timed: true };
    let calls = world.calls.wait(id, |calls| succeeded(calls) == 1).await?;
    show_way(world, show, "hoge hoge-1 updated", published, &calls).await?;
    told.published.push(published);
    Ok(())
}

async fn rollback(world: &World, show: &Show, told: &mut Told) -> Result<(), Failure> {
    show.scene("2  A transaction that rolls back publishes nothing");
    let mut tx = world.pool.begin().await?;
    let id = sample::card::settle(&mut tx, &settled("t-rolled-back", 500)).await?;
    tx.rollback().await?;
    // Events that are committed later and have arrived show that this one would have arrived, too.
    let published = publish(world, &settled("t-4", 4800)).await?;
    let calls = world.calls.wait(published.id, |calls| succeeded(calls) == SUBSCRIBERS_OF_SETTLED).await?;
    let rows: i64 = sqlx::query_scalar("select count(*) from outbox.event where id = $1")
        .bind(id.as_uuid())
        .fetch_one(&world.pool)
        .await?;
    show_way(world, show, "card t-4 settled", published, &calls).await?;
    if rows == 0 && world.calls.of(id).is_empty() {
        show.good("card t-rolled-back: no event in the outbox, no call");
    } else {
        show.bad("card t-rolled-back was published");
    }
    told.published.push(published);
    told.rolled_back.push(id);
    Ok(())
}

async fn duplicate(world: &World, show: &Show, told: &mut Told) -> Result<(), Failure> {
    show.scene("3  A message that arrives twice runs its RPC once");
    let event = told.published[0].id;
    let (calls, duplicates) = (world.calls.of(event).len(), world.duplicates().await?);
    let rpc = "AfterPayService/RecordCardTransaction";
    world.outbox(&["replay", "--event", &event.to_string(), "--rpc", rpc, "--run"]).await?;
    until("the second copy was received", || async { Ok(world.duplicates().await? > duplicates) }).await?;
    if world.calls.of(event).len() == calls {
        show.good("a second copy of card t-1 settled (outbox replay) was received, recognised and dropped: no second call");
        told.duplicates += 1;
    } else {
        show.bad("the RPC was called again");
    }
    Ok(())
}

async fn outage(world: &mut World, show: &Show, told: &mut Told) -> Result<(), Failure> {
    show.scene("4  An RPC's server dies; its deliveries wait, its neighbour's do not, and all arrive when it is back");
    world.kill_afterpay().await?;
    show.note("AfterPayService killed");
    let mut waiting = Vec::new();
    for n in 5..=7 {
        let published = publish(world, &settled(&format!("t-{n}"), 100 * n)).await?;
        world.calls.wait(published.id, |calls| succeeded(calls) == 1).await?;
        waiting.push((n, published));
    }
    show.good("NotificationService was called for all three meanwhile");
    until("every delivery to AfterPayService failed twice", || async {
        Ok(waiting.iter().all(|(_, published)| world.failed(published.id).len() >= 2))
    })
    .await?;
    for (_, published) in &waiting {
        let failed = world.failed(published.id);
        let code = failed.last().map_or("?", |failed| failed.code.as_str());
        show.note(&format!(
            "{} waits for its next attempt: {} failed so far ({code})",
            published.id,
            failed.len()
        ));
    }
    world.restart_afterpay().await?;
    show.note("AfterPayService is back");
    for (n, mut published) in waiting {
        let calls =
            world.calls.wait(published.id, |calls| succeeded(calls) == SUBSCRIBERS_OF_SETTLED).await?;
        show_way(world, show, &format!("card t-{n} settled"), published, &calls).await?;
        if let Some(call) = calls.iter().find(|call| call.attempt > 1) {
            show.good(&format!("delivered at attempt {}", call.attempt));
        }
        published.timed = false;
        told.published.push(published);
    }
    Ok(())
}

async fn poison(world: &World, show: &Show, told: &mut Told) -> Result<(), Failure> {
    show.scene(&format!(
        "5  A poison event ends in the dead-letter queue while {STEADY} others flow past it"
    ));
    let mut steady = Vec::new();
    for n in 0..STEADY {
        if n == STEADY / 2 {
            let poison = publish(world, &settled("t-poison", -1)).await?;
            told.published.push(Published { timed: false, ..poison });
            told.poison += 1;
        }
        steady.push(publish(world, &settled(&format!("s-{n}"), 100)).await?);
        tokio::time::sleep(STEADY_GAP).await;
    }
    for published in &steady {
        world.calls.wait(published.id, |calls| succeeded(calls) == SUBSCRIBERS_OF_SETTLED).await?;
    }
    told.published.extend(steady);
    until("the poison event is in the dead-letter queue", || async {
        Ok(!dead_letters(world).await?.is_empty())
    })
    .await?;
    for DeadLetter { rpc, attempts, code, reason, .. } in dead_letters(world).await? {
        let attempt = attempts.map_or_else(String::new, |attempts| format!(", attempt {attempts}"));
        show.good(&format!("dead-lettered: card t-poison settled → {rpc}{attempt}, {code}: {reason}"));
    }
    show.good(&format!("{STEADY} events before and after it were delivered meanwhile"));
    Ok(())
}

/// As `outbox dlq list` prints it.
#[derive(Deserialize)]
pub(super) struct DeadLetter {
    rpc: String,
    attempts: Option<i32>,
    code: String,
    reason: String,
}

pub(super) async fn dead_letters(world: &World) -> Result<Vec<DeadLetter>, Failure> {
    Ok(serde_json::from_value(world.outbox(&["dlq", "list"]).await?)?)
}

/// Publishes until it is stopped, and prints a line for each event.
pub(super) async fn keep_publishing(world: &World, show: &Show) -> Result<(), Failure> {
    show.scene("Publishing on: Ctrl-C stops it");
    for n in 1_u64.. {
        let settled = settled(&format!("n-{n}"), 100);
        let published = publish(world, &settled).await?;
        let calls =
            world.calls.wait(published.id, |calls| succeeded(calls) == SUBSCRIBERS_OF_SETTLED).await?;
        show_way(world, show, &format!("card {} settled", settled.transaction_id), published, &calls).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

fn settled(transaction: &str, amount_minor: i64) -> CardTransactionSettledEvent {
    CardTransactionSettledEvent {
        transaction_id: transaction.to_owned(),
        card_id: format!("card-{}", amount_minor.rem_euclid(7)),
        merchant: "Corner Bakery".to_owned(),
        amount_minor,
        currency: "JPY".to_owned(),
    }
}

/// The card service's transaction: its change and its event.
async fn publish(world: &World, settled: &CardTransactionSettledEvent) -> Result<Published, Failure> {
    let mut tx = world.pool.begin().await?;
    let id = sample::card::settle(&mut tx, settled).await?;
    tx.commit().await?;
    Ok(Published { id, committed: Utc::now(), subscribers: SUBSCRIBERS_OF_SETTLED, timed: true })
}

async fn show_way(
    world: &World,
    show: &Show,
    what: &str,
    published: Published,
    calls: &[Call],
) -> Result<(), Failure> {
    // The time at which the cursor advanced past it.
    let relayed: Option<DateTime<Utc>> = sqlx::query_scalar(
        "select min(c.at) from outbox.event as e
         join outbox.cursor as c on pg_visible_in_snapshot(e.xid, c.snapshot::pg_snapshot)
             or (c.page_seq >= e.seq and pg_visible_in_snapshot(e.xid, c.page_snapshot::pg_snapshot))
         where e.id = $1",
    )
    .bind(published.id.as_uuid())
    .fetch_one(&world.pool)
    .await?;
    let delivered: Vec<_> =
        calls.iter().filter(|call| call.refused.is_none()).map(|call| (call.rpc.clone(), call.at)).collect();
    show.way(what, published.committed, relayed, &delivered);
    Ok(())
}

fn succeeded(calls: &[Call]) -> usize {
    calls.iter().filter(|call| call.refused.is_none()).count()
}

/// Waits until a condition holds, at most a minute.
pub(super) async fn until<F: Future<Output = Result<bool, Failure>>>(
    what: &str,
    mut holds: impl FnMut() -> F,
) -> Result<(), Failure> {
    for _ in 0..1200 {
        if holds().await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(format!("waited a minute in vain until {what}").into())
}
