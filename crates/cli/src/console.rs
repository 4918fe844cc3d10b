//! `outbox console`: what this command answers, as pages that stay open.

mod args;
mod asker; // questions of pages, as commands
#[cfg(feature = "dev")]
mod beside; // in the process of `outbox dev`
mod place; // which installation
mod queues; // in which a question waits
mod role; // what the database allows, and refused tries
mod who; // who may open it

use std::process::ExitCode;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use outbox_console::{Access, Allow, Ask, Demo, Settings, router, serve};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

pub(crate) use args::Args;
#[cfg(feature = "dev")]
pub(crate) use asker::Questions;
#[cfg(feature = "dev")]
pub(crate) use beside::{Beside, answered, listen};
#[cfg(feature = "dev")]
pub(crate) use place::Place;
pub(crate) use role::{RefusedArgs, RoleArgs, refused, role};

use crate::asked::Asked;
use crate::pace::interrupted;
use crate::stopped::Stopped;
use crate::terminal::say;

#[cfg(feature = "prometheus")]
fn prometheus(args: &Args) -> Result<Option<outbox_console::Prometheus>, Stopped> {
    let Some(url) = args.prometheus.as_deref().filter(|url| !url.is_empty()) else { return Ok(None) };
    // An address may have a password, so it is not repeated.
    let parsed = outbox_console::Prometheus::parse(url);
    parsed.map(Some).map_err(|why| {
        Stopped::unusable(format!("--prometheus: {why}"), "pass where it is: http://prometheus:9090")
    })
}

/// Answers questions until Ctrl-C. `answer` runs a command for a page.
pub(crate) async fn run<F>(args: &Args, answer: F) -> Result<ExitCode, Stopped>
where
    F: AsyncFn(Vec<String>, Asked) -> Result<ExitCode, Stopped> + Copy + 'static,
{
    let access = who::access(args)?;
    #[cfg(feature = "jwt")]
    if let Access::Jwt(jwt) = &access
        && let Err(why) = jwt.check().await
    {
        say(&format!("warning: {why}: until they can be read, nobody may look"));
    }
    let listener = TcpListener::bind(args.addr).await.map_err(|error| {
        Stopped::unusable(format!("failed to listen on {}: {error}", args.addr), "pass another --addr")
    })?;
    let at = listener.local_addr().unwrap_or(args.addr);
    let token = match &access {
        Access::Once(once) => format!("?token={}", once.token()),
        _ => String::new(),
    };
    let (asker, mut questions) = asker::new(&args.options);
    let ask: Arc<dyn Ask> = if args.demo { Arc::new(Demo) } else { Arc::new(asker) };
    let clock: fn() -> DateTime<Utc> = if args.demo { Demo::clock } else { Utc::now };
    let settings = Settings {
        base_path: args.base_path.clone(),
        title: args.title.clone(),
        accent: args.accent.clone(),
        access,
        allow: Allow::new(args.allow.clone(), args.read_only),
        second_person: args.second_person.is_some(),
        hosts: who::hosts(args),
        #[cfg(feature = "prometheus")]
        prometheus: prometheus(args)?,
        clock,
    };
    let failed =
        |error: std::io::Error| Stopped::failed(format!("failed to serve: {error}"), "start it again");
    let router = router(ask, settings).map_err(failed)?;
    say(&format!("the console is at http://{at}{}/{token}\nCtrl-C ends it", args.base_path));
    // Commands run on this thread, because what they ask with can't move to another.
    let local = LocalSet::new();
    local
        .run_until(async {
            tokio::select! {
                ended = serve(listener, router) => ended.map_err(failed)?,
                () = questions.answer(answer) => {}
                () = interrupted() => {}
            }
            questions.end().await;
            Ok::<(), Stopped>(())
        })
        .await?;
    Ok(ExitCode::SUCCESS)
}
