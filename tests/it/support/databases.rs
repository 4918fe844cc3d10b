//! Databases of the one throwaway cluster.

use std::sync::OnceLock;

use testkit::cluster::Cluster;
use testkit::database;

/// One cluster for all tests. Its minder ends it with the process.
pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start().unwrap_or_else(|error| panic!("{error}")))
}

/// Two hundred databases of finished tests would fill the disk. A test may still hold a connection.
pub(crate) async fn drop_database(url: &str) {
    let (server, name) = url.rsplit_once('/').expect("a database's address");
    let _ = database::remove(&format!("{server}/postgres"), name).await;
}

/// Creates an empty database. Returns its address.
pub(crate) async fn new_database(cluster: &Cluster) -> String {
    database::create(&cluster.url("postgres"), &name()).await.unwrap()
}

/// Creates a database with the outbox's schema. Returns its address.
pub(crate) async fn migrated_database(cluster: &Cluster) -> String {
    database::migrated(&cluster.url("postgres"), &name()).await.unwrap()
}

fn name() -> String {
    format!("test_{:012x}", fastrand::u64(..1 << 48))
}
