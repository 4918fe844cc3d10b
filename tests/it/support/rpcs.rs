//! The RPCs' server, which remembers its calls.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use outbox::EventId;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::server::{self, Answer, Incoming};
use super::waiting::PATIENCE;

/// A Connect server that answers as the test defines, and remembers its calls.
#[derive(Clone)]
pub(crate) struct Rpcs {
    pub(crate) addr: String,
    state: Arc<State>,
}

type Behaviour = Arc<dyn Fn(&Called) -> Answer + Send + Sync>;

#[derive(Default)]
struct State {
    calls: Mutex<Vec<Called>>,
    succeeded: Mutex<Vec<(String, EventId)>>,
    behaviours: Mutex<HashMap<String, Behaviour>>,
    came: Notify,
}

#[derive(Debug, Clone)]
pub(crate) struct Called {
    pub(crate) rpc: String,
    pub(crate) event: EventId,
    pub(crate) attempt: u32,
    pub(crate) incoming: Incoming,
    pub(crate) at: std::time::Instant,
}

impl Rpcs {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State::default());
        let rpcs = Self { addr, state };
        let handler = rpcs.clone();
        tokio::spawn(async move {
            // `outbox doctor` asks for a method that no service has.
            let serves = |rpc: &str| {
                (rpc.starts_with("Test/") || rpc.starts_with("Other/")) && !rpc.ends_with("/OutboxDoctor")
            };
            let _ = server::serve(listener, serves, move |call| handler.handle(call), std::future::pending())
                .await;
        });
        rpcs
    }

    pub(crate) fn handle(&self, incoming: Incoming) -> Answer {
        let called = Called {
            rpc: incoming.rpc.clone(),
            event: incoming.header("outbox-event-id").parse().expect("an event id"),
            attempt: incoming.header("outbox-attempt").parse().expect("an attempt"),
            incoming,
            at: std::time::Instant::now(),
        };
        self.state.calls.lock().unwrap().push(called.clone());
        let behaviour = self.state.behaviours.lock().unwrap().get(&called.rpc).cloned();
        let state = Arc::clone(&self.state);
        state.came.notify_waiters();
        Box::pin(async move {
            if let Some(behaviour) = behaviour {
                behaviour(&called).await?;
            }
            state.succeeded.lock().unwrap().push((called.rpc, called.event));
            state.came.notify_waiters();
            Ok(())
        })
    }

    /// Sets the answer of this RPC from here on.
    pub(crate) fn on(&self, rpc: &str, behaviour: impl Fn(&Called) -> Answer + Send + Sync + 'static) {
        self.state.behaviours.lock().unwrap().insert(rpc.to_owned(), Arc::new(behaviour));
    }

    pub(crate) fn calls(&self) -> Vec<Called> {
        self.state.calls.lock().unwrap().clone()
    }

    /// The calls for an event, in order.
    pub(crate) fn calls_of(&self, event: EventId) -> Vec<Called> {
        self.calls().into_iter().filter(|call| call.event == event).collect()
    }

    /// Every (RPC, event) that succeeded, in the order of success.
    pub(crate) fn succeeded(&self) -> Vec<(String, EventId)> {
        self.state.succeeded.lock().unwrap().clone()
    }

    /// Forgets successes, where a test bypassed the dedup record on purpose.
    pub(crate) fn forget(&self) {
        self.state.succeeded.lock().unwrap().clear();
    }

    pub(crate) fn called_again_after_success(&self) -> Vec<(String, EventId)> {
        let mut times = HashMap::new();
        for success in self.succeeded() {
            *times.entry(success).or_insert(0) += 1;
        }
        times.into_iter().filter(|&(_, times)| times > 1).map(|(success, _)| success).collect()
    }

    /// Waits until a condition on the calls and successes holds.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            loop {
                let came = self.state.came.notified();
                tokio::pin!(came);
                came.as_mut().enable();
                if holds(self) {
                    return;
                }
                came.await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| {
            panic!(
                "waited in vain until {what}: {} calls, {} succeeded",
                self.calls().len(),
                self.succeeded().len()
            )
        });
    }

    /// Waits until each of these events has succeeded at this RPC.
    pub(crate) async fn until_done(&self, rpc: &str, events: &[EventId]) {
        // Reads each success once: thousands of them must not slow the test down.
        let missing = RefCell::new((events.iter().copied().collect::<HashSet<EventId>>(), 0));
        self.until(&format!("{} events are done at {rpc}", events.len()), |rpcs| {
            let (missing, seen) = &mut *missing.borrow_mut();
            let succeeded = rpcs.state.succeeded.lock().unwrap();
            for (name, event) in &succeeded[*seen..] {
                if name == rpc {
                    missing.remove(event);
                }
            }
            *seen = succeeded.len();
            missing.is_empty()
        })
        .await;
    }
}
