//! `cargo xtask upgrade`: from the build of another commit to this one, and back, while events flow.

mod builds; // both builds
mod line; // everything that runs, and its replacement
mod verdict; // what is lost, and what is called twice

use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::demo::failure::{Failure, failed};
use crate::demo::show::Show;
use builds::Build;
use line::Line;

#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(crate) struct Options {
    /// The commit that is upgraded: a hash, a branch, a tag, or HEAD~1. Its build takes minutes, and is kept in target/upgrade.
    #[arg(long, value_name = "REV", conflicts_with = "next", required_unless_present = "next")]
    pub(crate) from: Option<String>,
    /// Upgrades this source to itself with one migration more, as the next version would have it.
    #[arg(long)]
    pub(crate) next: bool,
    /// Upgrades to the relay, worker and outbox in this folder, for example of the archive that `cargo xtask dist` makes.
    #[arg(long, value_name = "DIR", conflicts_with = "next")]
    pub(crate) to: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> ExitCode {
    let show = Show::new();
    match upgrade(options, &show) {
        Ok(violations) if violations.is_empty() => {
            show.good("nothing is lost, and nothing was called twice");
            ExitCode::SUCCESS
        }
        Ok(violations) => {
            violations.iter().for_each(|violation| show.bad(violation));
            ExitCode::FAILURE
        }
        Err(error) => failed(&*error),
    }
}

fn upgrade(options: &Options, show: &Show) -> Result<Vec<String>, Failure> {
    let (before, after) = match &options.from {
        Some(revision) => {
            show.step(&format!("building {revision}"));
            let before = Build::of(revision)?;
            show.step("building this source");
            (before, options.to.as_deref().map_or_else(Build::here, Build::installed)?)
        }
        None => {
            show.step("building this source with one migration more");
            let after = Build::next()?;
            show.step("building this source");
            (Build::here()?, after)
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        // Everything that was started ends with the story.
        tokio::select! {
            told = tell(&before, &after, show) => told,
            _ = tokio::signal::ctrl_c() => Err("stopped".into()),
            _ = terminate.recv() => Err("stopped".into()),
        }
    })
}

/// The order is that of UPGRADING.md. After each step new events are published, and have arrived before the next one.
async fn tell(before: &Build, after: &Build, show: &Show) -> Result<Vec<String>, Failure> {
    show.scene(&format!("From {before} to {after}, and back"));
    let mut line = Line::start(before, show).await?;
    line.migrate(before).await?;
    line.start_relay(before).await?;
    line.start_worker(before).await?;
    line.publish_with(before);
    line.flows("relay, worker and publishers are of the build before").await?;

    line.migrate(after).await?;
    line.flows("the schema is new").await?;
    line.replace_relay(before).await?;
    line.replace_worker(before).await?;
    line.flows("relay and worker of the build before have started again on it").await?;
    line.replace_relay(after).await?;
    line.flows("the relay is new").await?;
    line.replace_worker(after).await?;
    line.flows("the worker is new").await?;
    line.publish_with(after);
    line.flows("publishers are of both builds").await?;
    line.is_well(before).await?;
    line.is_well(after).await?;

    show.scene("Back");
    line.replace_worker(before).await?;
    line.flows("the worker is of the build before").await?;
    line.replace_relay(before).await?;
    line.flows("the relay is of the build before").await?;
    line.migrate(before).await?;
    line.flows("its `relay migrate` has run again").await?;
    line.is_well(before).await?;
    line.finish().await
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    /// Guards docs/releasing.md: an upgrade to the programs of a release is tried as it is written there.
    #[test]
    fn an_upgrade_begins_somewhere() {
        for (words, is_one) in [
            ("--from HEAD~1", true),
            ("--from HEAD~1 --to target/dist", true),
            ("--next", true),
            ("", false),
            ("--to target/dist", false),
            ("--next --to target/dist", false),
            ("--from HEAD~1 --next", false),
        ] {
            let given = Cli::try_parse_from(std::iter::once("upgrade").chain(words.split_whitespace()));
            assert_eq!(given.is_ok(), is_one, "{words}: {given:?}");
        }
    }
}
