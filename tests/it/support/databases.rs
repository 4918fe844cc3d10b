//! Databases of the one throwaway cluster.

use std::sync::OnceLock;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use testkit::cluster::Cluster;

/// One cluster for all tests. Its minder ends it with the process.
pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start().unwrap_or_else(|error| panic!("{error}")))
}

/// Two hundred databases of finished tests would fill the disk. A test may still hold a connection.
pub(crate) async fn drop_database(url: &str) {
    let (server, name) = url.rsplit_once('/').expect("a database's address");
    let Ok(mut admin) = PgConnection::connect(&format!("{server}/postgres")).await else { return };
    let drop = format!("drop database if exists {name} with (force)");
    let _ = sqlx::query(AssertSqlSafe(drop)).execute(&mut admin).await;
}

pub(crate) async fn new_database(cluster: &Cluster) -> String {
    let name = format!("test_{:012x}", fastrand::u64(..1 << 48));
    let mut admin = PgConnection::connect(&cluster.url("postgres")).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut admin).await.unwrap();
    cluster.url(&name)
}
