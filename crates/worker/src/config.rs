//! The options of `worker`; `worker --help` is the manual.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use outbox_runtime::Logs;
use outbox_transport::args::{QueueArgs, TransportArgs};

use crate::rpc::{Endpoint, HeaderPrefix, Many, ServiceEncoding};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Calls the RPCs that subscribed to events.
///
/// Receives from the queue of every RPC in event_router.yaml, asks whether the event was done before, calls the RPC over
/// Connect, and retries or dead-letters what fails. On the transport aws it needs no database. Start as many workers as you like: each delivery goes to one of
/// them.
#[derive(Debug, Parser)]
#[command(
    name = "worker",
    version = outbox_revision::VERSION,
    after_help = "SIGHUP reads event_router.yaml, services.yaml and --proto again. A file with a mistake changes nothing, and is told in the log, in /readyz and by `outbox status`. Calls under way are finished by the policy they began with.\n\nTraces are exported with OTLP if OTEL_EXPORTER_OTLP_ENDPOINT is set, as the standard OTEL_ environment says.\n\nExit status: 0 stopped as asked; 1 failed, or stopped before all calls under way were finished; 2 unusable arguments, event_router.yaml or services.yaml, or no service has an address; 3 no database can be used as it is: its schema is missing, older or too new, its PostgreSQL is older than 14, or a pooler answered. While one of several can be used, or is only down, the worker goes on: /readyz names the others."
)]
pub struct Cli {
    #[command(flatten)]
    pub transport: TransportArgs,

    #[command(flatten)]
    pub queues: QueueArgs,

    /// services.yaml: where services are, their encodings, and how a call shows who makes it: headers, a token, a client
    /// certificate, a signature. --endpoint and --encoding go before it. `outbox check --services FILE` finds its mistakes.
    #[arg(long, env = "OUTBOX_SERVICES", value_name = "FILE")]
    pub services: Option<PathBuf>,

    /// Where a service is served: NotificationService=http://notification:8080. https:// speaks HTTP/1.1 or 2, h2c://
    /// HTTP/2 in the clear. Without a service it is for all others, and {service} or {service-kebab} stands for the name:
    /// http://{service-kebab}:8080. Repeat for each service; in the environment, separate them by spaces or line ends. A
    /// service without an address holds back only its own queues.
    #[arg(long = "endpoint", env = "OUTBOX_ENDPOINTS", value_name = "SERVICE=URL")]
    pub endpoints: Vec<Many<Endpoint>>,

    /// Serves the queues of only these services, and leaves the others to other workers. Repeat for several, or separate
    /// them by commas.
    #[arg(long, env = "OUTBOX_ONLY", value_name = "SERVICE")]
    pub only: Vec<Many<String>>,

    /// What a service is sent: json (Connect, the payload as it was published), proto (Connect, binary) or grpc (HTTP/2).
    /// LedgerService=grpc. Repeat for each service that is not sent json; the others need --proto.
    #[arg(long = "encoding", env = "OUTBOX_ENCODINGS", value_name = "SERVICE=ENCODING")]
    pub encodings: Vec<Many<ServiceEncoding>>,

    /// The services' proto: a directory of .proto files, or a descriptor set. With it event_router.yaml may leave out
    /// packages, and the field that carries an event may have any name. Without it RPCs are called by the name they
    /// have there, with the event in a field `event`.
    #[arg(long, env = "OUTBOX_PROTO", value_name = "PATH")]
    pub proto: Vec<PathBuf>,

    /// Without --proto: the names without a package in event_router.yaml are complete, because those services have none.
    /// Otherwise the worker does not start with such names: no server would know them.
    #[arg(long, env = "OUTBOX_FULL_NAMES")]
    pub full_names: bool,

    /// A package of --proto whose `enum Event` has the events: acme.card.v1. Repeat for several; in the environment, separate
    /// them by spaces. Without it that of every package counts. It is for a tree in which another package has one of its own.
    #[arg(
        long = "events-package",
        env = "OUTBOX_EVENTS_PACKAGES",
        value_delimiter = ' ',
        value_name = "PACKAGE"
    )]
    pub events_packages: Vec<String>,

    /// Which headers of an event its RPCs get, besides traceparent, tracestate and baggage: those whose names begin so, as
    /// acme-tenant does with acme-. All others stay behind, are counted, and named in the log. Every publisher can set
    /// them, so a prefix is refused if servers or proxies read the caller or the route from such names (x-, authorization,
    /// forwarded, cookie …). Repeat for several; in the environment, separate them by spaces.
    #[arg(
        long = "header-prefix",
        env = "OUTBOX_HEADER_PREFIX",
        value_delimiter = ' ',
        value_name = "PREFIX"
    )]
    pub header_prefixes: Vec<HeaderPrefix>,

    /// How long a received message stays hidden from other workers. It is extended while its call runs. If a worker dies, its
    /// messages come back sooner with a lower value, which costs more extensions, and later with a higher one.
    #[arg(long, default_value = "30s", env = "OUTBOX_VISIBILITY", value_parser = outbox_runtime::duration(SECOND..=12 * HOUR), value_name = "TIME")]
    pub visibility: Duration,

    /// On the transport aws, how often this worker writes its entry to the roster, an item of the dedup table. Of the workers
    /// of the same queues, one receives from a quiet queue. If it is killed, another one takes its place within three times
    /// this. A lower value costs more writes to the table. Give all workers the same value: workers with different values
    /// share no roster, so each group receives from every queue.
    #[arg(long, default_value = "10s", env = "OUTBOX_ROSTER_EVERY", value_parser = outbox_runtime::duration(SECOND..=60 * SECOND), value_name = "TIME")]
    pub roster_every: Duration,

    /// How many connections to Postgres this worker has at most, to all databases together [default: 20 for up to 4 databases,
    /// one less for each more, and at least 10]. Half of them listen, one for a database. If there are more databases than
    /// that, those with traffic are listened to, and a quiet one is asked every 5 s: its next event may come that much later.
    /// With a lower value more statements wait for each other. Not on aws.
    #[arg(long, env = "OUTBOX_CONNECTIONS", value_parser = clap::value_parser!(u32).range(4..=1000), value_name = "N")]
    pub connections: Option<u32>,

    /// How long a stop (SIGTERM or SIGINT) may take [default: the longest `timeout` in event_router.yaml, and 2 s]. The worker
    /// receives nothing more, and finishes its calls under way. That
    /// takes no longer than the longest `timeout` of an RPC, and 8 s to record the outcomes: a higher value than that changes
    /// nothing. A lower one ends the process sooner, but cuts off longer calls. These may have had their effect, and are made
    /// again once their lease has ended. Unfinished deliveries are given back within 3 s more, or at once after a second
    /// signal. Systemd's TimeoutStopSec and Kubernetes' terminationGracePeriodSeconds (30 s) must be 5 s longer than this.
    #[arg(long, env = "OUTBOX_STOP_WITHIN", value_parser = outbox_runtime::duration(SECOND..=HOUR), value_name = "TIME")]
    pub stop_within: Option<Duration>,

    /// Where /metrics, /healthz (alive) and /readyz (makes progress, or why not) are served; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:9465", env = "OUTBOX_METRICS_ADDR", value_name = "ADDR")]
    pub metrics_addr: SocketAddr,

    #[command(flatten)]
    pub logs: Logs,
}
