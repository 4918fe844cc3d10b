//! The options of `relay`; `relay --help` is the manual.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use outbox_runtime::Logs;
use outbox_transport::args::{BusArgs, TransportArgs};

/// How many events one read takes by default. More is not faster.
pub const PAGE_MAX: u32 = 1000;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Puts committed events on the bus.
///
/// Reads the outbox of one or several Postgres databases and puts each event on the bus: into the queues of its subscribers,
/// as event_router.yaml says, or on EventBridge (--transport aws), where Terraform has made rules of event_router.yaml. Start as many relays as you like: one leads per database, the others stand by.
#[derive(Debug, Parser)]
#[command(
    name = "relay",
    version = outbox_revision::VERSION,
    after_help = "SIGHUP reads event_router.yaml again, and the next batch is routed by it. A file with a mistake changes nothing, and is told in the log, in /readyz and by `outbox status`.\n\nTraces are exported with OTLP if OTEL_EXPORTER_OTLP_ENDPOINT is set, as the standard OTEL_ environment says.\n\nExit status: 0 stopped as asked; 1 failed; 2 unusable arguments or event_router.yaml; 3 the database can't be used as it is: its schema is missing, older or too new, its PostgreSQL is older than 14, or a pooler answered; or another product has a schema of that name (migrate)."
)]
pub struct Cli {
    #[command(flatten)]
    pub transport: TransportArgs,

    #[command(subcommand)]
    pub command: Option<Command>,

    #[command(flatten)]
    pub run: Run,

    #[command(flatten)]
    pub logs: Logs,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create or upgrade the `outbox` schema in every database, and exit. A second run changes nothing.
    Migrate(Migrate),
}

#[derive(Debug, Args)]
pub struct Migrate {
    /// Create or upgrade the inbox instead, in the database of a consumer. Its effect and the note that it was done then
    /// commit together. The database needs no outbox, and may have one.
    #[arg(long)]
    pub inbox: bool,

    /// Whether the database refuses to enqueue an event that the event_router.yaml of the leading relay does not list. Without
    /// this option it stays as it is; at first it is off. While it is on, deploy relays with a new name before its publishers.
    #[arg(long, value_enum, value_name = "WHETHER", conflicts_with = "inbox")]
    pub strict_names: Option<Strict>,

    /// Print the SQL that it would run, and change nothing. Each database's own version counts; without a database it is the
    /// whole schema. It is for administrators who run SQL themselves, as the schema's owner. With --inbox it is always the
    /// whole inbox, for a service whose own migrations create it, and needs no database.
    #[arg(long, conflicts_with = "strict_names")]
    pub print: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Strict {
    On,
    Off,
}

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub bus: BusArgs,

    /// How many requests to EventBridge run at a time, for each database. A higher value puts more events a second, until AWS
    /// throttles; then the relay slows down by itself. A lower one leaves more of the quota to others.
    #[arg(long, default_value_t = 8, env = "OUTBOX_PUT_CONCURRENCY", value_parser = clap::value_parser!(u32).range(1..=256), value_name = "N")]
    pub put_concurrency: u32,

    /// How long events stay in the outbox after they were put, for replay and for looking back. They leave in parts of a sixth
    /// of it. A longer time costs disk; a shorter one leaves less to replay.
    #[arg(long, default_value = "24h", env = "OUTBOX_RETENTION", value_parser = outbox_runtime::duration(SECOND..=365 * DAY), value_name = "TIME")]
    pub retention: Duration,

    /// How many events one read takes. A higher value costs memory, and more is put again after a crash. A lower one costs a
    /// transaction more often, and so speed.
    #[arg(long, default_value_t = PAGE_MAX, env = "OUTBOX_PAGE_MAX", value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N")]
    pub page_max: u32,

    /// How often a sleeping relay reads without being woken. Publishers wake it, so this delays only events that can't: those
    /// of a prepared transaction (PREPARE TRANSACTION), and those after a connection broke silently. A lower value costs idle
    /// polls; with a higher one those events come later.
    #[arg(long, default_value = "5s", env = "OUTBOX_FALLBACK", value_parser = outbox_runtime::duration(SECOND..=600 * SECOND), value_name = "TIME")]
    pub fallback: Duration,

    /// How many connections to Postgres this relay has at most, to all databases together, beside the one to each database in
    /// which it leads or stands by [default: 16 for up to 4 databases, one less for each more, and at least 3]. Retention and
    /// clean-up use them. With fewer of them than databases, they are opened and closed more often, and the metrics of a
    /// database are up to half a minute old.
    #[arg(long, env = "OUTBOX_RELAY_CONNECTIONS", value_parser = clap::value_parser!(u32).range(2..=1000), value_name = "N")]
    pub connections: Option<u32>,

    /// Where /metrics, /healthz (alive) and /readyz (makes progress, or why not) are served; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:9464", env = "OUTBOX_METRICS_ADDR", value_name = "ADDR")]
    pub metrics_addr: SocketAddr,
}
