//! `outbox replay`: sends past events to their subscribers again.

mod meant;
mod plan; // what would be sent
mod send; // sends it

use std::process::ExitCode;

use chrono::Utc;
use outbox_transport::operate::Operator;

use crate::dlq::FORGETS;
use crate::filter;
use crate::repair;
use crate::stopped::Stopped;
use crate::transport::{self, Work};
pub(crate) use meant::Args;
use meant::Replay;
use plan::Plan;

pub(crate) async fn run(args: &Args) -> Result<ExitCode, Stopped> {
    let router = args.options.router_needed("it says who subscribes to what")?;
    if let Some(rpc) = &args.rpc {
        filter::routed(&router, rpc)?;
    }
    let databases = args.options.outboxes().await?;
    transport::work(&args.options, &databases, Replay { args, router, databases: &databases }).await
}

impl Work for Replay<'_> {
    async fn on<O: Operator>(self, transports: Vec<O>) -> Result<ExitCode, Stopped> {
        let until = self.args.until.unwrap_or_else(Utc::now);
        if self.args.since.is_some_and(|since| since >= until) {
            return Err(Stopped::unusable(
                "--since is not before --until",
                "swap them, or leave --until out",
            ));
        }
        let meant = self.meant(until).await?;
        let mut plan = Plan::of(&meant, &self).await?;
        plan.command = self.command(until);
        // An event without a subscriber need not be in the file.
        if let (Some(name), true) = (&self.args.event_name, plan.is_empty()) {
            filter::event(&self.router, name)?;
        }
        if !self.args.run {
            self.args.options.answer(&plan, || plan.text())?;
            return Ok(ExitCode::SUCCESS);
        }
        if self.args.force {
            let oldest = meant::oldest(&meant).await?;
            self.args
                .consent
                .ask(&format!("sends {}, with --force: {FORGETS}", plan.meant(oldest.as_ref())))?;
        }
        let repair = repair::begin(&transports, !self.args.force).await?;
        let sent = match send::all(&repair, &meant, &transports, &self, &plan).await {
            Ok(sent) => sent,
            Err(stopped) => {
                repair::end(repair, &transports, &stopped.problem).await;
                return Err(stopped);
            }
        };
        repair::end(repair, &transports, &sent).await;
        self.args.options.answer(&sent, || sent.text(&self, until))?;
        Ok(if sent.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
