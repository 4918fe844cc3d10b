//! What the database's role may do, and tries that were refused. The console asks these; they are no commands of people.

use std::process::ExitCode;

use outbox_transport::args::Transport;
use outbox_transport::operate::Operator;
use serde::Serialize;

use crate::options::Options;
use crate::repair;
use crate::safe::line;
use crate::stopped::Stopped;
use crate::terminal::say;
use crate::transport::{Work, work_on_queues};

const TEXT_CHARS_MAX: usize = 300;

#[derive(Debug, clap::Args)]
pub(crate) struct RoleArgs {
    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RefusedArgs {
    #[arg(long)]
    path: String,

    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Debug, Serialize)]
struct May {
    roles: Vec<String>,
    repairs: bool,
    sees_payloads: bool,
}

/// Of all databases together. What AWS allows is not known before it is tried.
pub(crate) async fn role(args: &RoleArgs) -> Result<ExitCode, Stopped> {
    let mut may = May { roles: Vec::new(), repairs: true, sees_payloads: true };
    if args.options.transport() == Transport::Postgres {
        for database in args.options.databases().await? {
            let role = database.role().await?;
            may.repairs &= role.as_ref().is_some_and(|role| role.repairs);
            may.sees_payloads &= role.as_ref().is_some_and(|role| role.sees_payloads);
            may.roles.extend(role.map(|role| role.name));
        }
    }
    args.options.answer(&may, || may.roles.join(", "))?;
    Ok(ExitCode::SUCCESS)
}

struct Refusing<'a>(&'a RefusedArgs);

/// Into the audit, and into the log, because the role may not write there.
pub(crate) async fn refused(args: &RefusedArgs) -> Result<ExitCode, Stopped> {
    let who = repair::who(&args.options.asked);
    say(&format!("refused: {} tried {}", line(&who, TEXT_CHARS_MAX), line(&args.path, TEXT_CHARS_MAX)));
    work_on_queues(&args.options, Refusing(args)).await
}

impl Work for Refusing<'_> {
    async fn on<O: Operator>(self, transports: Vec<O>) -> Result<ExitCode, Stopped> {
        let options = &self.0.options;
        let result = serde_json::json!({"refused": true});
        let tried = repair::begin(&options.asked, &transports, true).await?;
        repair::end(tried, &transports, &result).await;
        options.answer(&result, String::new)?;
        Ok(ExitCode::SUCCESS)
    }
}
