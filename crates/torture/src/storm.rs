//! Injects the planned faults, and ends them.

mod database;
mod switched;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::faults::{Fault, Planned};
use crate::fleet::Member;
use crate::history::Spell;
use crate::publishers::Publisher;
use crate::run::Failure;
use crate::world::World;

/// Both ends give up a connection without traffic within this time.
const HALF_OPEN_FOR: Duration = Duration::from_secs(20);
const LEADS_WITHIN: Duration = Duration::from_secs(10);

/// Injects all faults at their times. Returns when all have ended. A fault that could not be injected is recorded as "not
/// done", and the judge ignores it.
pub(crate) async fn rage(world: &Arc<World>, publisher: &Publisher, plan: Vec<Planned>, spells: &Spells) {
    let mut under_way = JoinSet::new();
    for one in plan {
        tokio::time::sleep_until(world.clock.at(one.at)).await;
        let (world, publisher, spells) = (Arc::clone(world), publisher.clone(), spells.clone());
        under_way.spawn(async move {
            let at = world.clock.now();
            let number = spells.begin(Spell { fault: one.fault, whom: String::new(), at, until: at });
            match meet(&world, &publisher, one).await {
                Ok(whom) => spells.end(number, whom, world.clock.now()),
                Err(error) => spells.fail(number, &error.to_string(), world.clock.now()),
            }
        });
    }
    while under_way.join_next().await.is_some() {}
}

/// The faults so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spells(Arc<std::sync::Mutex<Vec<Spell>>>);

impl Spells {
    pub(crate) fn list(&self) -> Vec<Spell> {
        self.0.lock().expect("no panic while held").clone()
    }

    fn begin(&self, spell: Spell) -> usize {
        let mut spells = self.0.lock().expect("no panic while held");
        spells.push(spell);
        spells.len() - 1
    }

    fn end(&self, number: usize, whom: String, until: Duration) {
        let spell = &mut self.0.lock().expect("no panic while held")[number];
        spell.whom = whom;
        let lasting = matches!(spell.fault, Fault::RelayHalfOpen | Fault::WorkerHalfOpen);
        spell.until = if lasting { spell.at + HALF_OPEN_FOR } else { until };
    }

    fn fail(&self, number: usize, why: &str, until: Duration) {
        self.end(number, format!("not done: {why}"), until);
    }
}

/// Injects one fault. Returns its target.
async fn meet(
    world: &World,
    publisher: &Publisher,
    Planned { fault, lasts, whom, clock_off_ms, dice, .. }: Planned,
) -> Result<String, Failure> {
    let relay = &world.relays[whom % world.relays.len()];
    let worker = &world.workers[whom % world.workers.len()];
    let name = |member: &Member| Ok(member.name.clone());
    match fault {
        Fault::RelayKilled => {
            relay.look().await;
            relay.kill_and_restart().await?;
        }
        Fault::WorkerKilled => worker.kill_and_restart().await?,
        Fault::WorkerPaused => worker.pause(lasts).await?,
        Fault::LeaderPaused => {
            let leader = tokio::time::timeout(LEADS_WITHIN, leader(world)).await?;
            leader.pause(lasts).await?;
            return name(&leader);
        }
        Fault::PostgresCrashed => {
            database::crash(world, lasts, clock_off_ms).await?;
            return Ok("postgres".to_owned());
        }
        Fault::PublishersCut => {
            world.publishers.cut();
            return Ok("publishers".to_owned());
        }
        Fault::Lull => {
            world.lull.send_replace(true);
            tokio::time::sleep(lasts).await;
            world.lull.send_replace(false);
            return Ok("publishers".to_owned());
        }
        Fault::RelayCut => relay.proxy.cut(),
        Fault::RelayRefused => relay.proxy.refuse(lasts).await,
        Fault::RelayStalled => relay.proxy.stall(lasts).await,
        Fault::RelayHalfOpen => relay.proxy.half_open(),
        Fault::WorkerCut => worker.proxy.cut(),
        Fault::WorkerRefused => worker.proxy.refuse(lasts).await,
        Fault::WorkerStalled => worker.proxy.stall(lasts).await,
        Fault::WorkerHalfOpen => worker.proxy.half_open(),
        Fault::RpcDown => return Ok(world.rpcs.down(whom, lasts).await.to_owned()),
        Fault::RpcStalled => return Ok(world.rpcs.stall(whom, lasts).await.to_owned()),
        Fault::Duplicates => {
            match &world.cloud {
                Some(cloud) => cloud.duplicate(database::COPIES).await?,
                None => database::duplicate(world).await?,
            }
            return Ok("queues".to_owned());
        }
        Fault::ClockStepped => {
            let member = if whom < 3 { worker } else { relay };
            member.misdate(clock_off_ms, lasts).await?;
            return name(member);
        }
        Fault::SlowReader => {
            database::read_slowly(world, lasts).await?;
            return Ok("a reader".to_owned());
        }
        Fault::RetriesUnderSnapshot => {
            database::retry_under_snapshot(world, lasts).await?;
            return Ok("retries".to_owned());
        }
        Fault::BigTransaction => return publisher.publish_very_many(dice, lasts).await,
        Fault::Timeouts => return database::limit_sessions(world, dice, lasts).await,
        Fault::SchemaLost => return world.second.lose(&world.rpcs, &world.ledger, dice, lasts).await,
        Fault::LocksHeld => return database::hold_locks(world, dice, lasts).await,
        Fault::SequencesSetBack => return switched::set_back(world, dice, lasts).await,
        Fault::CloudThrottles
        | Fault::CloudFailsEntries
        | Fault::CloudLosesAnswers
        | Fault::CloudTruncates
        | Fault::CloudSlow
        | Fault::DynamoAway => {
            let Some(cloud) = &world.cloud else { return Err("this run has no emulator of AWS".into()) };
            cloud.inject(fault, lasts).await;
            return Ok("aws".to_owned());
        }
    }
    let of_a_relay = matches!(
        fault,
        Fault::RelayKilled
            | Fault::RelayCut
            | Fault::RelayRefused
            | Fault::RelayStalled
            | Fault::RelayHalfOpen
    );
    name(if of_a_relay { relay } else { worker })
}

/// Waits for a leader.
async fn leader(world: &World) -> Arc<Member> {
    loop {
        for relay in &world.relays {
            if relay.leads().await {
                return Arc::clone(relay);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
