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
        #[cfg(feature = "aws")]
        Transport::Aws => work.on(vec![aws(options).await?]).await,
        #[cfg(not(feature = "aws"))]
        Transport::Aws => Err(Stopped::without_aws()),
    }
}

#[cfg(feature = "aws")]
async fn aws(options: &Options) -> Result<AwsOperator, Stopped> {
    let router = options.router_needed("on the transport aws it names the queues")?;
    let rpcs = router.rpcs().map(|(rpc, _)| rpc.clone()).collect();
    Ok(AwsOperator::open(
        &options.queues.queue_prefix,
        &options.queues.dedup_table,
        rpcs,
        crate::terminal::say,
    )
    .await?)
}

/// For what is in the dedup table.
#[cfg(feature = "aws")]
pub(crate) async fn aws_without_queues(options: &Options) -> Result<AwsOperator, Stopped> {
    Ok(AwsOperator::open(
        &options.queues.queue_prefix,
        &options.queues.dedup_table,
        Vec::new(),
        crate::terminal::say,
    )
    .await?)
}
