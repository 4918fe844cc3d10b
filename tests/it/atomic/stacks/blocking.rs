//! diesel without async. A file of its own, because diesel-async has methods of the same names for the same connection.

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use outbox::diesel::{enqueue, enqueue_all};
use outbox::{EnqueueError, Entry};

use super::work::{How, Outcomes, Undone, Work, ended, of_all};

/// diesel's connection. `PgConnection` needs libpq, so this is another one behind the same trait.
type Connection = AsyncConnectionWrapper<AsyncPgConnection>;

pub(super) fn with_diesel(url: &str, work: Work) -> Outcomes {
    let mut conn = Connection::establish(url).unwrap();
    ended(conn.transaction(|conn| {
        conn.batch_execute(work.before)?;
        let outcomes = match work.how {
            How::All => of_all(enqueue_all(conn, work.entries)),
            How::Each => work.entries.into_iter().map(|entry| enqueue(conn, entry)).collect(),
        };
        if work.commits { Ok(outcomes) } else { Err(Undone::RolledBack(outcomes)) }
    }))
}

/// After a statement, and without a transaction of diesel's.
pub(super) fn with_diesel_without(
    url: &str,
    before: &str,
    entry: Entry,
    how: How,
) -> Result<(), EnqueueError> {
    let mut conn = Connection::establish(url).unwrap();
    conn.batch_execute(before).unwrap();
    match how {
        How::Each => enqueue(&mut conn, entry).map(|_| ()),
        How::All => enqueue_all(&mut conn, [entry]).map(|_| ()),
    }
}
