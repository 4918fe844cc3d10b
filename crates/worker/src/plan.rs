//! What a worker does: the routes and policies of `event_router.yaml`, and the client that makes the calls, by `services.yaml`
//! and proto. A SIGHUP may replace both.

use std::sync::Arc;

use outbox_event_router::Router;
use outbox_runtime::{Guarded, Started};
use tokio::sync::watch;

#[derive(Debug, Clone)]
pub struct Plan<C> {
    pub router: Arc<Router>,
    pub client: C,
}

/// The newest plan. Without its sender, it stays.
pub type Plans<C> = watch::Receiver<Plan<C>>;

impl<C> Plan<C> {
    pub fn new(router: Router, client: C) -> Self {
        Self { router: Arc::new(router), client }
    }

    /// A plan that stays.
    pub fn fixed(router: &Router, client: C) -> Plans<C> {
        watch::channel(Self::new(router.clone(), client)).1
    }
}

/// Reads the plan again after each SIGHUP, and hands it over.
pub async fn follow<C: Send + Sync + 'static>(
    started: Started,
    read: impl Fn() -> Result<Plan<C>, String> + Clone + Send + 'static,
    newest: watch::Sender<Plan<C>>,
) {
    outbox_runtime::shows_router("worker", None, &newest.borrow().router.digest());
    outbox_runtime::reload(started, read, |plan| {
        let before = newest.send_replace(plan).router.digest();
        let now = newest.borrow().router.digest();
        if before == now {
            return "its routes and policies are the same; services.yaml and proto were read, too".to_owned();
        }
        outbox_runtime::shows_router("worker", Some(&before), &now);
        format!("{now} instead of {before}")
    })
    .await;
}

/// A value that a new plan may replace while others use it.
#[derive(Debug, Clone)]
pub(crate) struct Current<T>(Arc<Guarded<T>>);

impl<T: Clone> Current<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Guarded::new(value)))
    }

    pub(crate) fn get(&self) -> T {
        self.0.lock().clone()
    }

    pub(crate) fn set(&self, value: T) {
        *self.0.lock() = value;
    }
}
