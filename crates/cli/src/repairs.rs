//! `outbox repair`: redrives, drops and replays that run or ran.

mod args; // the command line
mod pace; // another rate, and a pause
mod told; // what is shown of them
mod undo; // takes back what has not begun

use std::process::ExitCode;

use outbox_transport::args::Transport;
use outbox_transport::operate::{Asked, Audit, Change, Kept, Operator, Repairs, Standing, thousands};
use uuid::Uuid;

pub(crate) use args::Args;

use crate::options::Options;
use crate::repair;
use crate::stopped::Stopped;
use crate::terminal::say;
use crate::transport::{self, Work, work_on_queues};
use args::{Command, List, One};

#[cfg(feature = "console")]
impl Args {
    pub(crate) fn options(&mut self) -> &mut Options {
        match &mut self.command {
            Command::List(args) => &mut args.options,
            Command::Show(args) | Command::Stop(args) | Command::Continue(args) => &mut args.options,
            Command::Pause(args) | Command::Resume(args) => &mut args.options,
            Command::Pace(args) => &mut args.options,
            Command::Undo(args) => &mut args.options,
        }
    }
}

/// So many times a repair is continued.
const CONTINUED_MAX: usize = 100;

/// What is left to do.
pub(crate) enum Next {
    Ended(ExitCode),
    /// The words of a command.
    Run(Vec<String>),
}

pub(crate) async fn run(args: &Args) -> Result<Next, Stopped> {
    Ok(Next::Ended(match &args.command {
        Command::List(args) => list(args).await?,
        Command::Show(One { id, options }) => {
            let found = found(*id, options).await?;
            options.answer(&told::Shown::of(&found), || told::shown(&found, options))?;
            ExitCode::SUCCESS
        }
        Command::Stop(args) => on_repairs(&args.options, Stopping(args)).await?,
        Command::Pace(args) => pace(args.id, Change::Rate(args.rate), &args.options).await?,
        Command::Pause(One { id, options }) => pace(*id, Change::Pause, options).await?,
        Command::Resume(One { id, options }) => pace(*id, Change::Resume, options).await?,
        Command::Continue(One { id, options }) => {
            let (id, found) = newest(*id, options).await?;
            let plan = found.iter().find_map(|kept| Some(&kept.progress.as_ref()?.plan));
            let Some(plan) = plan.filter(|plan| !plan.is_empty()) else {
                return Err(Stopped::failed(
                    format!("{id} is no redrive, drop or replay"),
                    "see `outbox audit`: its command can be run again",
                ));
            };
            if found.iter().all(|kept| kept.standing() == Standing::Ended) {
                return Err(Stopped::failed(
                    format!("repair {id} has ended: nothing is left of it"),
                    "what died since is not part of it: begin another one",
                ));
            }
            let words: Vec<String> = plan.iter().map(|word| crate::safe::word(word)).collect();
            let speeds = found.iter().filter_map(|kept| Some(&kept.progress.as_ref()?.speed));
            let rates = speeds.filter(|speed| speed.rate_by.is_some()).filter_map(|speed| speed.rate);
            let at = rates.min().map(|rate| format!(", at {} a second", thousands(rate.into())));
            say(&format!("goes on with: outbox {}{}", words.join(" "), at.unwrap_or_default()));
            return Ok(Next::Run(repair::again(plan, id)));
        }
        Command::Undo(args) => on_repairs(&args.options, undo::Undoing(args)).await?,
    }))
}

async fn pace(id: Uuid, change: Change, options: &Options) -> Result<ExitCode, Stopped> {
    on_repairs(options, pace::Pacing { id, change, options }).await
}

/// On AWS the dedup table has them all, so no queue is needed.
async fn on_repairs(options: &Options, work: impl Work) -> Result<ExitCode, Stopped> {
    match options.transport() {
        Transport::Postgres => work_on_queues(options, work).await,
        Transport::Aws => work.on(vec![transport::aws(options, false).await?]).await,
    }
}

async fn list(args: &List) -> Result<ExitCode, Stopped> {
    struct Listing<'a>(&'a List);
    impl Work for Listing<'_> {
        async fn on<O: Operator>(self, transports: Vec<O>) -> Result<ExitCode, Stopped> {
            let mut kept = Vec::new();
            for transport in &transports {
                kept.extend(transport.kept(told::READ_MAX).await?);
            }
            let listed = told::ordered(kept, self.0.limit as usize);
            let options = &self.0.options;
            options.answer(&listed.iter().map(told::Listed::of).collect::<Vec<_>>(), || {
                told::listed(&listed, options)
            })?;
            Ok(ExitCode::SUCCESS)
        }
    }
    on_repairs(&args.options, Listing(args)).await
}

/// The repair in each source that has it.
async fn found(id: Uuid, options: &Options) -> Result<Vec<Kept>, Stopped> {
    let mut found = Vec::new();
    match options.transport() {
        Transport::Postgres => {
            for database in options.databases().await? {
                found.extend(outbox_postgres::operate::PostgresOperator::new(database).find(id).await?);
            }
        }
        Transport::Aws => found.extend(transport::aws(options, false).await?.find(id).await?),
    }
    if found.is_empty() { Err(told::unknown(id, options)) } else { Ok(found) }
}

/// The repair that is to be continued: this one, or the newest of those that went on with it.
async fn newest(mut id: Uuid, options: &Options) -> Result<(Uuid, Vec<Kept>), Stopped> {
    let mut kept = found(id, options).await?;
    for _ in 0..CONTINUED_MAX {
        // In a database that has not ended it, nothing went on.
        let by: Option<Vec<Uuid>> = kept.iter().map(Kept::continued_by).collect();
        let Some(by) = by.and_then(|by| by.first().copied()) else { break };
        say(&format!("repair {id} was continued by {by}"));
        (id, kept) = (by, found(by, options).await?);
    }
    Ok((id, kept))
}

struct Stopping<'a>(&'a One);

impl Work for Stopping<'_> {
    async fn on<O: Operator>(self, transports: Vec<O>) -> Result<ExitCode, Stopped> {
        let One { id, options } = self.0;
        let who = repair::who(&options.asked);
        let mut answers = Vec::new();
        for transport in &transports {
            answers.push(Repairs::stop(transport, *id, &who).await?);
        }
        let said = if answers.contains(&Asked::Asked) {
            "asked to stop: its command ends within a few seconds"
        } else if answers.contains(&Asked::Ended) {
            "it was silent, and is ended now: nothing more is moved by it"
        } else if answers.contains(&Asked::Over) {
            "it had ended: there is nothing to stop"
        } else {
            return Err(told::unknown(*id, options));
        };
        options
            .answer(&serde_json::json!({"repair": id, "said": said}), || format!("repair {id}: {said}"))?;
        Ok(ExitCode::SUCCESS)
    }
}
