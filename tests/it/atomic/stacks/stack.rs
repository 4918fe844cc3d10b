//! Each stack: one transaction with a statement of the service and events, in the way that the stack's users write it.

use std::error::Error;

use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
use outbox::{EnqueueError, Entry, EventId};
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use sqlx::Connection as _;

use super::blocking::{with_diesel, with_diesel_without};
use super::work::{How, Outcomes, Undone, Work, ended, of_all};

#[derive(Debug, Clone, Copy)]
pub(super) enum Stack {
    Sqlx,
    TokioPostgres,
    Diesel,
    DieselAsync,
    SeaOrm,
    /// A driver that the library does not know: `INSERT` and the fields of a `Row`.
    Other,
}

impl Stack {
    pub(super) const ALL: [Self; 6] =
        [Self::Sqlx, Self::TokioPostgres, Self::Diesel, Self::DieselAsync, Self::SeaOrm, Self::Other];
    /// Whose type of a connection does not tell whether a transaction is open.
    pub(super) const WITHOUT_TYPE: [Self; 2] = [Self::Diesel, Self::DieselAsync];

    pub(super) async fn publish(self, url: &str, work: Work) -> Outcomes {
        match self {
            Self::Sqlx => with_sqlx(url, work).await,
            Self::TokioPostgres => with_tokio_postgres(url, work).await,
            Self::Diesel => {
                let url = url.to_owned();
                tokio::task::spawn_blocking(move || with_diesel(&url, work)).await.unwrap()
            }
            Self::DieselAsync => with_diesel_async(url, work).await,
            Self::SeaOrm => with_sea_orm(url, work).await,
            Self::Other => with_another(url, work).await,
        }
    }

    /// After a statement, and without a transaction of the stack.
    pub(super) async fn publish_without(
        self,
        url: &str,
        before: &'static str,
        entry: Entry,
        how: How,
    ) -> Result<(), EnqueueError> {
        match self {
            Self::Diesel => {
                let url = url.to_owned();
                tokio::task::spawn_blocking(move || with_diesel_without(&url, before, entry, how))
                    .await
                    .unwrap()
            }
            Self::DieselAsync => {
                let mut conn = AsyncPgConnection::establish(url).await.unwrap();
                conn.batch_execute(before).await.unwrap();
                match how {
                    How::Each => outbox::diesel_async::enqueue(&mut conn, entry).await.map(|_| ()),
                    How::All => outbox::diesel_async::enqueue_all(&mut conn, [entry]).await.map(|_| ()),
                }
            }
            other => panic!("{other:?} does not compile without a transaction"),
        }
    }

    /// Whether the driver's own error has the code of a write in a transaction that is read only.
    pub(super) fn is_read_only(self, error: &(dyn Error + Send + Sync + 'static)) -> bool {
        const READ_ONLY: &str = "25006";
        match self {
            Self::Sqlx => {
                let error = error.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
                error.and_then(|error| error.code()).as_deref() == Some(READ_ONLY)
            }
            Self::TokioPostgres | Self::Other => {
                let error = error.downcast_ref::<tokio_postgres::Error>();
                error.and_then(tokio_postgres::Error::code).is_some_and(|code| code.code() == READ_ONLY)
            }
            Self::Diesel | Self::DieselAsync => matches!(
                error.downcast_ref::<diesel::result::Error>(),
                Some(diesel::result::Error::DatabaseError(
                    diesel::result::DatabaseErrorKind::ReadOnlyTransaction,
                    _
                ))
            ),
            Self::SeaOrm => match error.downcast_ref::<sea_orm::DbErr>() {
                Some(sea_orm::DbErr::Exec(sea_orm::RuntimeErr::SqlxError(error))) => {
                    error.as_database_error().and_then(|error| error.code()).as_deref() == Some(READ_ONLY)
                }
                _ => false,
            },
        }
    }
}

async fn with_sqlx(url: &str, work: Work) -> Outcomes {
    let mut conn = sqlx::PgConnection::connect(url).await.unwrap();
    let mut tx = conn.begin().await.unwrap();
    sqlx::query(work.before).execute(&mut *tx).await.unwrap();
    let outcomes = match work.how {
        How::All => of_all(outbox::enqueue_all(&mut tx, work.entries).await),
        How::Each => {
            let mut outcomes = Vec::new();
            for entry in work.entries {
                outcomes.push(entry.enqueue(&mut tx).await);
            }
            outcomes
        }
    };
    if work.commits {
        tx.commit().await.unwrap();
    } else {
        tx.rollback().await.unwrap();
    }
    outcomes
}

async fn tokio_postgres_client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn with_tokio_postgres(url: &str, work: Work) -> Outcomes {
    let mut client = tokio_postgres_client(url).await;
    let tx = client.transaction().await.unwrap();
    tx.execute(work.before, &[]).await.unwrap();
    let outcomes = match work.how {
        How::All => of_all(outbox::tokio_postgres::enqueue_all(&tx, work.entries).await),
        How::Each => {
            let mut outcomes = Vec::new();
            for entry in work.entries {
                outcomes.push(outbox::tokio_postgres::enqueue(&tx, entry).await);
            }
            outcomes
        }
    };
    if work.commits {
        tx.commit().await.unwrap();
    } else {
        tx.rollback().await.unwrap();
    }
    outcomes
}

async fn with_diesel_async(url: &str, work: Work) -> Outcomes {
    let mut conn = AsyncPgConnection::establish(url).await.unwrap();
    let result = conn.transaction(async |conn| {
        conn.batch_execute(work.before).await?;
        let outcomes = match work.how {
            How::All => of_all(outbox::diesel_async::enqueue_all(conn, work.entries).await),
            How::Each => {
                let mut outcomes = Vec::new();
                for entry in work.entries {
                    outcomes.push(outbox::diesel_async::enqueue(conn, entry).await);
                }
                outcomes
            }
        };
        if work.commits { Ok(outcomes) } else { Err(Undone::RolledBack(outcomes)) }
    });
    ended(result.await)
}

async fn with_sea_orm(url: &str, work: Work) -> Outcomes {
    let db = sea_orm::Database::connect(url).await.unwrap();
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared(work.before).await.unwrap();
    let outcomes = match work.how {
        How::All => of_all(outbox::sea_orm::enqueue_all(&tx, work.entries).await),
        How::Each => {
            let mut outcomes = Vec::new();
            for entry in work.entries {
                outcomes.push(outbox::sea_orm::enqueue(&tx, entry).await);
            }
            outcomes
        }
    };
    if work.commits {
        tx.commit().await.unwrap();
    } else {
        tx.rollback().await.unwrap();
    }
    db.close().await.unwrap();
    outcomes
}

/// As docs/publish.md shows it for any driver.
async fn with_another(url: &str, work: Work) -> Outcomes {
    let mut client = tokio_postgres_client(url).await;
    let tx = client.transaction().await.unwrap();
    tx.execute(work.before, &[]).await.unwrap();
    let rows: Vec<Result<outbox::Row, EnqueueError>> =
        work.entries.into_iter().map(Entry::into_row).collect();
    let outcomes = match work.how {
        How::Each => {
            let mut outcomes = Vec::new();
            for row in rows {
                outcomes.push(match row {
                    Ok(row) => insert(&tx, row).await,
                    Err(error) => Err(error),
                });
            }
            outcomes
        }
        How::All => match rows.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(rows) => of_all(insert_all(&tx, rows).await),
            Err(error) => vec![Err(error)],
        },
    };
    if work.commits {
        tx.commit().await.unwrap();
    } else {
        tx.rollback().await.unwrap();
    }
    outcomes
}

async fn insert(tx: &tokio_postgres::Transaction<'_>, row: outbox::Row) -> Result<EventId, EnqueueError> {
    let id = row.id.as_uuid();
    tx.execute(outbox::INSERT, &[&id, &row.name, &row.key, &row.payload, &row.headers])
        .await
        .map_err(|error| EnqueueError::Insert(error.into()))?;
    Ok(row.id)
}

async fn insert_all(
    tx: &tokio_postgres::Transaction<'_>,
    rows: Vec<outbox::Row>,
) -> Result<Vec<EventId>, EnqueueError> {
    let ids: Vec<_> = rows.iter().map(|row| row.id.as_uuid()).collect();
    let names: Vec<_> = rows.iter().map(|row| row.name).collect();
    let keys: Vec<_> = rows.iter().map(|row| row.key.as_deref()).collect();
    let payloads: Vec<_> = rows.iter().map(|row| row.payload.as_str()).collect();
    let headers: Vec<_> = rows.iter().map(|row| row.headers.as_deref()).collect();
    tx.execute(outbox::INSERT_ALL, &[&ids, &names, &keys, &payloads, &headers])
        .await
        .map_err(|error| EnqueueError::Insert(error.into()))?;
    Ok(rows.iter().map(|row| row.id).collect())
}
