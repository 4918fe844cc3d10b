//! PgBouncer in transaction mode, before the throwaway Postgres.

use testkit::cluster::{self, Cluster};
use testkit::process::Process;
use testkit::tools;

use super::world::until;

pub(crate) struct PgBouncer {
    pub(crate) url: String,
    _process: Process,
}

impl PgBouncer {
    pub(crate) async fn start(cluster: &Cluster, database: &str) -> Self {
        let program = tools::debian("pgbouncer", "pgbouncer").unwrap_or_else(|error| panic!("{error}"));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "[databases]\n{database} = host=127.0.0.1 port={} user=outbox\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 100\n\
             ignore_startup_parameters = extra_float_digits,options\n",
            cluster.port()
        );
        let file = cluster.dir().join(format!("pgbouncer-{port}.ini"));
        std::fs::write(&file, config).unwrap();
        // PgBouncer refuses to run as root.
        let command = cluster::as_owner(&program.display().to_string());
        let args: Vec<_> = command.get_args().map(ToOwned::to_owned).chain([file.into_os_string()]).collect();
        let mut process = Process::start(&command.get_program().into(), args, &[]).unwrap();
        process.wait_for("process up").await.unwrap();
        let url = format!("postgres://outbox@127.0.0.1:{port}/{database}");
        until("pgbouncer answers", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        Self { url, _process: process }
    }
}
