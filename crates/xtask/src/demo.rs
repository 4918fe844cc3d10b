//! `cargo xtask demo`: all parts at work, step by step.

mod cloud; // the emulator of AWS
pub(crate) mod failure; // why the demo could not run
pub(crate) mod services; // the sample services, and their calls
pub(crate) mod show; // the demo's output
mod story; // the steps
mod summary; // the result of every event
mod world; // everything that the demo starts

use std::process::ExitCode;

use testkit::process;
use tokio::signal::unix::{SignalKind, signal};

use failure::{Failure, failed};
use show::Show;
use world::World;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Through EventBridge, SQS and DynamoDB: what Terraform makes of event_router.yaml, on a local emulator.
    #[arg(long)]
    pub(crate) aws: bool,

    /// End after the story; exit 0 only if every count is correct. Without it a console shows the same in a browser, and events
    /// are published until Ctrl-C.
    #[arg(long)]
    pub(crate) once: bool,

    /// Print the summary as one JSON object on the last line.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(options: &Options) -> ExitCode {
    let show = Show::new();
    show.step("building relay, worker and the sample services");
    let bin = match process::build(options.aws) {
        Ok(bin) => bin,
        Err(error) => return failed(&error),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let told = runtime.map_err(Failure::from).and_then(|runtime| {
        runtime.block_on(async {
            // Everything that was started ends with `world`, on every way out of here, Ctrl-C included.
            let story = async {
                let mut world = World::start(&bin, options.aws, &show).await?;
                let told = tell(&mut world, &show, options).await;
                world.stop().await;
                told
            };
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::select! {
                told = story => return told,
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            show.step("stopped");
            Ok(true)
        })
    });
    match told {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&*error),
    }
}

async fn tell(world: &mut World, show: &Show, options: &Options) -> Result<bool, Failure> {
    if !options.once {
        world.open_console(show).await?;
    }
    let told = story::tell(world, show).await?;
    let summary = summary::summarize(world, &told).await?;
    summary.show(show);
    if options.json {
        println!("{}", serde_json::to_string(&summary)?);
    }
    if !options.once {
        story::keep_publishing(world, show).await?;
    }
    Ok(summary.ok)
}
