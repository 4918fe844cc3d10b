//! `outbox replay`: sends past events to their subscribers again.

mod breakers; // of the RPCs that get messages
mod meant;
mod plan; // what would be sent
mod send; // sends it

use std::process::ExitCode;

use outbox_transport::args::Transport;
use outbox_transport::operate::{Job, Kind, Operator};

use crate::ago;
use crate::dlq::FORGETS;
use crate::filter;
use crate::repair::{self, Rule, Running};
use crate::stopped::Stopped;
use crate::transport::{self, Work};
pub(crate) use meant::Args;
use meant::Replay;
use plan::Plan;

pub(crate) async fn run(args: &Args) -> Result<ExitCode, Stopped> {
    if args.stop_if_dead.is_some() && args.options.transport() == Transport::Aws {
        return Err(Stopped::unusable(
            "--stop-if-dead is not possible on SQS: what died of a replay can't be told from what died before",
            "leave it out, and look at `outbox status` meanwhile",
        ));
    }
    let router = args.options.router_needed("it says who subscribes to what")?;
    if let Some(rpc) = &args.rpc {
        filter::routed(&router, rpc)?;
    }
    let databases = args.options.outboxes().await?;
    let now = ago::now(&databases).await?;
    let since = args.since.map(|since| since.by(now));
    let until = args.until.map_or(now, |until| until.by(now));
    let replay = Replay { args, router, since, until, databases: &databases };
    transport::work(&args.options, &databases, replay).await
}

impl Work for Replay<'_> {
    async fn on<O: Operator>(self, transports: Vec<O>) -> Result<ExitCode, Stopped> {
        if self.since.is_some_and(|since| since >= self.until) {
            return Err(Stopped::unusable(
                "--since is not before --until",
                "swap them, or leave --until out",
            ));
        }
        let meant = self.meant().await?;
        let mut plan = Plan::of(&meant, &self).await?;
        plan.command = self.command();
        plan.rate = self.args.rate;
        plan.breakers = breakers::open(&transports, &plan.rpcs()).await;
        // An event without a subscriber need not be in the file.
        if let (Some(name), true) = (&self.args.event_name, plan.is_empty()) {
            filter::event(&self.router, name)?;
        }
        if !self.args.run {
            plan.ask_done(&meant, &transports, &self).await?;
            self.args.options.answer(&plan, || plan.text())?;
            return Ok(ExitCode::SUCCESS);
        }
        if self.args.force {
            let oldest = meant::oldest(&meant).await?;
            self.args
                .consent
                .ask(&format!("sends {}, with --force: {FORGETS}", plan.meant(oldest.as_ref())))?;
        }
        if !plan.breakers.is_empty() && !self.args.beside.also && !self.args.consent.is_given() {
            return Err(Stopped::failed(
                format!("{}; nothing was sent", plan.breakers.join("; ")),
                "wait until it answers again (`outbox status`), or pass --also to let the messages wait in its queue",
            ));
        }
        self.send(&transports, meant, &plan).await
    }
}

impl Replay<'_> {
    async fn send<O: Operator>(
        &self,
        transports: &[O],
        mut meant: Vec<meant::Meant>,
        plan: &Plan,
    ) -> Result<ExitCode, Stopped> {
        let options = &self.args.options;
        let before = repair::continued(transports, &self.args.beside, options).await?;
        let progress = || before.iter().flatten().filter_map(|kept| kept.progress.as_ref());
        meant::skip(&mut meant, &progress().filter_map(|of| of.place.clone()).collect::<Vec<_>>());
        let job = Job {
            kind: Kind::Replay,
            rpc: self.args.rpc.clone(),
            plan: progress().next().map_or_else(|| self.words(), |of| of.plan.clone()),
            rate: Some(self.args.rate),
            continues: None,
            bound: None,
            older_than: None,
            also: self.args.beside.also,
        };
        let rule = Rule { stop_if_dead: self.args.stop_if_dead, ..Rule::default() };
        let mut running = Running::start(transports, job, (!self.args.force, rule), &before, options).await?;
        let id = running.repair.id;
        let sent = match send::all(&mut running, &meant, transports, self, plan).await {
            Ok(sent) => sent,
            Err(stopped) => {
                running.end(transports, &stopped.problem).await;
                return Err(stopped);
            }
        };
        running.end(transports, &sent).await;
        options.answer(&sent, || sent.text(self, id))?;
        Ok(if sent.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
