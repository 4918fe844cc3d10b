//! Which transport a command works on.

use std::process::ExitCode;

#[cfg(feature = "aws")]
use outbox_aws::operate::AwsOperator;
use outbox_postgres::operate::{Database, PostgresOperator};
use outbox_transport::args::Transport;
use outbox_transport::operate::Operator;

use crate::options::Options;
use crate::stopped::Stopped;

/// The work of a command, on any transport.
pub(crate) trait Work {
    async fn on<O: Operator>(self, transports: Vec<O>) -> Result<ExitCode, Stopped>;
}

/// Opens the transport and does the work on it: on each database, or once on AWS.
pub(crate) async fn work(
    options: &Options,
    databases: &[Database],
    work: impl Work,
) -> Result<ExitCode, Stopped> {
    match options.transport() {
        Transport::Postgres => work.on(databases.iter().cloned().map(PostgresOperator::new).collect()).await,
        Transport::Aws => work.on(vec![aws(options, true).await?]).await,
    }
}

/// For work that needs no database on AWS: one that is down must not block access to dead letters.
pub(crate) async fn work_on_queues(options: &Options, work_on: impl Work) -> Result<ExitCode, Stopped> {
    let databases = match options.transport() {
        Transport::Postgres => options.databases().await?,
        Transport::Aws => Vec::new(),
    };
    work(options, &databases, work_on).await
}

/// Without queues, for what is in the dedup table.
#[cfg(feature = "aws")]
pub(crate) async fn aws(options: &Options, with_queues: bool) -> Result<AwsOperator, Stopped> {
    let mut rpcs = Vec::new();
    if with_queues {
        let router = options.router_needed("on the transport aws it names the queues")?;
        rpcs.extend(router.rpcs().map(|(rpc, _)| rpc.clone()));
    }
    let queues = &options.queues;
    Ok(AwsOperator::open(&queues.queue_prefix, &queues.dedup_table, rpcs, crate::terminal::say).await?)
}

#[cfg(not(feature = "aws"))]
pub(crate) async fn aws(_: &Options, _: bool) -> Result<PostgresOperator, Stopped> {
    Err(Stopped::without_aws())
}
