//! The role of a consumer in receiving from its queue. On AWS one worker watches a quiet queue, and others rest. `watch.rs`
//! decides about roles and sets them here. The receiver follows its role, and records here what the other workers need.

mod work;

use std::sync::Arc;
use std::time::Duration;

use metrics::Gauge;
use outbox_runtime::Guarded;
use tokio::sync::watch;
use tokio::time::Instant;

#[cfg(test)]
pub(crate) use work::FAILS_FOR;
pub(crate) use work::{Said, Work};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Receives nothing, because another worker watches the queue.
    Rest,
    /// Receives, because the queue is full.
    Help,
    /// Receives, because no better worker does.
    Watch,
}

/// Shared by the consumer and by the task that decides. Without such a task the role is always to watch.
#[derive(Clone)]
pub(crate) struct Duty {
    role: watch::Sender<Role>,
    work: Arc<Guarded<Work>>,
    gauge: Gauge,
}

impl Duty {
    pub(crate) fn new(gauge: Gauge) -> Self {
        let work = Arc::new(Guarded::new(Work::new(Instant::now())));
        let duty = Self { role: watch::Sender::new(Role::Watch), work, gauge };
        duty.set(Role::Watch);
        duty
    }

    pub(crate) fn set(&self, role: Role) {
        self.gauge.set(match role {
            Role::Rest => 0.0,
            Role::Help => 1.0,
            Role::Watch => 2.0,
        });
        self.role.send_if_modified(|now| std::mem::replace(now, role) != role);
    }

    pub(crate) fn role(&self) -> Role {
        *self.role.borrow()
    }

    /// Returns once the role is one of these.
    pub(crate) async fn until(&self, wanted: impl Fn(Role) -> bool) {
        // It can't fail, because `self` has the sender.
        let _ = self.role.subscribe().wait_for(|role| wanted(*role)).await;
    }

    /// Records a step of the receiver.
    pub(crate) fn notes(&self, change: impl FnOnce(&mut Work, Instant)) {
        change(&mut self.work.lock(), Instant::now());
    }

    /// The state of the queue for the roster.
    pub(crate) fn said(&self, now: Instant, every: Duration) -> Said {
        self.work.lock().said(now, every)
    }

    /// A guard of a running consumer. When it is dropped, also by a panic, the consumer counts as away.
    pub(crate) fn begins(&self) -> OnDuty {
        OnDuty(self.clone())
    }
}

pub(crate) struct OnDuty(Duty);

impl Drop for OnDuty {
    fn drop(&mut self) {
        self.0.notes(Work::is_away);
    }
}

impl std::fmt::Debug for Duty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Duty").field(&self.role()).finish()
    }
}
