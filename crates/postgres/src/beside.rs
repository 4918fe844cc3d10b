//! The small regular statements of a process in one database: its heartbeat, its row, its looks. They run in the session that
//! listens there, if there is one, and so need no other session. They must not hold that session up: what would wait is
//! repeated over a connection of their own.

use std::sync::Arc;
use std::time::Duration;

use outbox_runtime::Guarded;
use sqlx::{Executor, PgConnection};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::listening::{Listening, WeakListening};
use crate::{Connections, SESSION, Source, within, within_time};

/// For the session, which a long statement may have.
const LENT_WITHIN: Duration = Duration::from_secs(1);
/// The server ends what waits or takes long, so the session stays of use.
const BRIEFLY: &str = "begin; set local lock_timeout = '100ms'; set local statement_timeout = '1s'";
/// How long the session is left alone after that.
const SLOW_FOR: Duration = Duration::from_secs(30);
/// Postgres: lock_not_available and query_canceled.
const WAITED: [&str; 2] = ["55P03", "57014"];

/// A statement or two. They may run twice: what the first run wrote was rolled back.
pub(crate) trait Statements: Sync {
    type Answer: Send;

    fn run(&self, conn: &mut PgConnection) -> impl Future<Output = Result<Self::Answer, sqlx::Error>> + Send;
}

#[derive(Debug, Clone)]
pub struct Beside(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    session: Guarded<Option<WeakListening>>,
    connections: Connections,
    slow_until: Guarded<Option<Instant>>,
    /// A connection was opened for a statement. What is nearly due should follow, before it is closed again.
    opened: Notify,
}

impl Source {
    /// For what a process does regularly in this database. Two connections, because one statement may wait; where they are
    /// scarce, one that the others reuse at once.
    pub fn beside(&self, application: &'static str) -> Beside {
        let size = if self.budget().is_scarce() { 1 } else { 2 };
        Beside::of(self.connections(application, &SESSION, size))
    }
}

impl Beside {
    /// Without a session, they run over these connections.
    pub fn of(connections: Connections) -> Self {
        Self(Arc::new(Shared {
            session: Guarded::default(),
            connections,
            slow_until: Guarded::default(),
            opened: Notify::new(),
        }))
    }

    /// From now on in this session, until it is closed.
    pub fn over(&self, session: &Listening) {
        *self.0.session.lock() = Some(session.weak());
        *self.0.slow_until.lock() = None;
    }

    fn session(&self) -> Option<Listening> {
        let is_slow = self.0.slow_until.lock().is_some_and(|until| Instant::now() < until);
        let session = self.0.session.lock();
        session
            .as_ref()
            .filter(|_| !is_slow)
            .and_then(WeakListening::get)
            .filter(|session| !session.has_unread())
    }

    /// `patience` is for a connection of their own.
    pub(crate) async fn run<S: Statements>(
        &self,
        patience: Duration,
        statements: &S,
    ) -> Result<S::Answer, sqlx::Error> {
        if let Some(session) = self.session()
            && let Some(done) = briefly(&session, statements).await
        {
            match done {
                Err(error) if has_waited(&error) => {
                    *self.0.slow_until.lock() = Some(Instant::now() + SLOW_FOR);
                }
                done => return done,
            }
        }
        let running = async {
            let mut loan = self.0.connections.lend().await?;
            let done = statements.run(loan.conn()).await?;
            loan.give_back();
            Ok(done)
        };
        let done = within_time(patience, running).await;
        if self.0.connections.are_scarce() {
            self.0.opened.notify_waiters();
        }
        done
    }

    /// Returns when another task has just opened a connection, and connections are scarce.
    pub async fn opened(&self) {
        self.0.opened.notified().await;
    }

    pub async fn close(&self) {
        self.0.connections.close().await;
    }
}

/// `None` if the session has no time for it.
async fn briefly<S: Statements>(
    session: &Listening,
    statements: &S,
) -> Option<Result<S::Answer, sqlx::Error>> {
    let mut lent = tokio::time::timeout(LENT_WITHIN, session.lend()).await.ok()?.ok()?;
    let running = async {
        let conn = lent.conn().await?;
        conn.execute(BRIEFLY).await?;
        let done = statements.run(&mut *conn).await;
        conn.execute(if done.is_ok() { "commit" } else { "rollback" }).await?;
        Ok::<_, sqlx::Error>(done)
    };
    match within(running).await {
        Ok(done) => {
            lent.give_back();
            Some(done)
        }
        Err(error) => Some(Err(error)),
    }
}

fn has_waited(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| WAITED.contains(&&*code))
}
