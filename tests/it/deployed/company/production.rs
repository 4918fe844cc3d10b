//! The company's relay and worker, with its databases on one server.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use testkit::cluster::Cluster;
use testkit::database;
use testkit::scrape;

use super::folder::Company;
use super::program::Program;
use super::secrets::TOKEN;
use super::services::{Services, payload, recorded};
use crate::world::until;

/// Where the files of a release are.
const FIRST: &str = "releases/1/";
const SECOND: &str = "";
/// The databases on one server. The first one is that of cards.
const DATABASES: usize = 25;
/// Of relay and worker together, with their default flags.
const SESSIONS_MAX: i64 = 40;

pub(super) struct Production<'a> {
    company: &'a Company,
    /// As the server's owner, to count sessions.
    server: String,
    /// As an ordinary role. The first one is that of cards.
    databases: Vec<String>,
    services: Services,
    relay: Program,
    /// `None` between two releases.
    worker: Option<Program>,
}

impl<'a> Production<'a> {
    /// Databases of an ordinary role, services that ask who calls, and relay and worker of the first release.
    pub(super) async fn new(company: &'a Company, cluster: &Cluster) -> Self {
        let server = cluster.url("postgres");
        let databases = databases(company, &server).await;
        let services = Services::in_production(company).await;
        company.edit("services.yaml", |text| {
            text.replace(
                "http://ledger.acme.internal:8080",
                &format!("http://127.0.0.1:{}", services.ledger.port),
            )
            .replace("https://notify.acme.internal", &format!("https://localhost:{}", services.notify.port))
        });
        let worker = Some(worker(company, &databases, FIRST).await);
        let relay = relay(company, &databases, FIRST).await;
        Self { company, server, databases, services, relay, worker }
    }

    /// Until the file with the token is right, every call is refused. Then it is used without a restart.
    pub(super) async fn a_wrong_token_is_refused_and_the_right_one_is_not(&mut self) {
        let cards = self.cards();
        self.done(&cards, "rust/acme-ledger issue card-rolled-back --roll-back").await;
        self.done(&cards, "rust/acme-ledger issue card-rust").await;
        self.services.ledger.prints("refused a caller").await;
        std::fs::write(self.company.file("secrets/ledger-token"), TOKEN).unwrap();
        self.services.get("card-rust", "v1").await;
    }

    /// From TypeScript with `pg`, from Python with psycopg and `jsonb`, and from SQL.
    pub(super) async fn every_language_publishes(&mut self) {
        let cards = self.cards();
        self.done(&cards, "node ts/dist/issue.js card-typescript").await;
        self.services.get("card-typescript", "v1").await;
        self.done(&cards, "python3 python/issue.py card-python").await;
        self.services.get("card-python", "v1").await;
        self.enqueue("event_card_issued", &format!("'{}'::jsonb, 'card-sql'", payload("card-sql"))).await;
        self.services.get("card-sql", "v1").await;
        assert!(!self.services.ledger.has_printed("card-rolled-back"), "a rolled back event was delivered");
    }

    /// One relay and one worker serve all databases, and leave the server's connections to others.
    pub(super) async fn every_database_is_served(&mut self) {
        for (n, database) in self.databases.clone().iter().enumerate() {
            self.done(database, &format!("rust/acme-ledger issue card-of-database-{n}")).await;
        }
        for n in 0..self.databases.len() {
            self.services.get(&format!("card-of-database-{n}"), "v1").await;
        }
        self.keeps_its_budget().await;
    }

    /// ArchiveService is not in services.yaml: its queue waits, status says so, and the others go on.
    pub(super) async fn a_missing_service_holds_back_its_own_queue_alone(&mut self) {
        self.enqueue("event_card_blocked", r#"'{"cardId":"card-sql"}'"#).await;
        let waits = "1 message for ArchiveService/KeepBlockedCard wait";
        self.status_says(&["no worker has an address for ArchiveService", waits]).await;
        self.done(&self.cards(), "rust/acme-ledger issue card-beside").await;
        self.services.get("card-beside", "v1").await;
    }

    /// From any language it is accepted, and then told by status, by why and by a metric.
    pub(super) async fn a_misspelt_event_is_told(&mut self) {
        let cards = self.cards();
        let said = self.done(&cards, "python3 python/issue.py card-misspelt event_card_isued").await;
        let id = said.trim_start_matches("published ").to_owned();
        self.status_says(&["did you mean 'event_card_issued'?"]).await;
        let said = self.company.run(&[("DATABASE_URL", &cards)], &format!("outbox why {id}")).await;
        assert!(said.out.contains("nobody subscribes to 'event_card_isued'"), "{said:?}");
        let (_, metrics) = scrape::get(&self.relay.metrics, "/metrics").await.unwrap();
        let counted = metrics.lines().any(|line| {
            line.starts_with("outbox_relay_unknown_events_total{") && line.contains("event_card_isued")
        });
        assert!(counted, "no metric has the misspelt event:\n{metrics}");
    }

    /// What waits in the queue under the first release is received by the worker of the second one, which calls version 2.
    pub(super) async fn version_2_takes_over_the_queue_of_version_1(&mut self) {
        let cards = self.cards();
        self.stop_worker().await;
        let said = self.done(&cards, "rust/acme-ledger issue card-between").await;
        let id = said.trim_start_matches("published ").to_owned();
        until("the relay of the first release has put it", async || {
            let said = self.company.run(&[("DATABASE_URL", &cards)], &format!("outbox why {id}")).await;
            let queue = said.out.split_once("NotifyService/NotifyCardIssued");
            queue.is_some_and(|(_, state)| state.trim_start().starts_with("queued"))
        })
        .await;
        self.worker = Some(worker(self.company, &self.databases, SECOND).await);
        self.services.get("card-between", "v2").await;
        let relay = relay(self.company, &self.databases, SECOND).await;
        std::mem::replace(&mut self.relay, relay).stop().await;
        self.done(&cards, "rust/acme-ledger issue card-second").await;
        self.services.get("card-second", "v2").await;
        let said = self.company.run(&[("DATABASE_URL", &cards)], "outbox status").await;
        assert!(said.out.contains("NotifyService/NotifyCardIssued"), "{said:?}");
        assert!(!said.out.contains("acme.notify.v2"), "version 2 has a queue of its own: {said:?}");
    }

    /// With strict names the publisher is told at once, and its change is not made.
    pub(super) async fn strict_names_refuse_a_misspelt_event(&mut self) {
        let cards = self.cards();
        self.done(&cards, "relay migrate --strict-names on").await;
        let line = "python3 python/issue.py card-refused event_card_isued";
        let ran = self.company.run(&[("DATABASE_URL", &cards)], line).await;
        assert!(ran.code == 1 && ran.err.contains("nobody knows the event 'event_card_isued'"), "{ran:?}");
        let mut conn = PgConnection::connect(&cards).await.unwrap();
        let is_there = "select exists (select from card where id = 'card-refused')";
        assert!(!sqlx::query_scalar::<_, bool>(is_there).fetch_one(&mut conn).await.unwrap());
        self.done(&cards, "python3 python/issue.py card-strict").await;
        self.services.ledger.prints(&recorded("card-strict")).await;
    }

    pub(super) async fn stop(mut self) {
        self.keeps_its_budget().await;
        self.stop_worker().await;
        self.relay.stop().await;
        self.services.stop().await;
    }

    async fn stop_worker(&mut self) {
        self.worker.take().expect("a worker runs").stop().await;
    }

    fn cards(&self) -> String {
        self.databases[0].clone()
    }

    async fn done(&self, database: &str, line: &str) -> String {
        self.company.done(&[("DATABASE_URL", database)], line).await
    }

    async fn enqueue(&self, name: &str, rest: &str) {
        execute(&self.cards(), &format!("select outbox.enqueue('{name}', {rest})")).await;
    }

    /// Waits until `outbox status` says all of it.
    async fn status_says(&self, expected: &[&str]) {
        let cards = self.cards();
        until(&format!("`outbox status` says {expected:?}"), async || {
            let said = self.company.run(&[("DATABASE_URL", &cards)], "outbox status").await;
            expected.iter().all(|text| said.out.contains(text))
        })
        .await;
    }

    async fn keeps_its_budget(&self) {
        let mut conn = PgConnection::connect(&self.server).await.unwrap();
        let count = "select count(*) filter (where application_name like 'outbox relay%'),
                            count(*) filter (where application_name like 'outbox worker%')
                     from pg_stat_activity";
        let (relay, worker): (i64, i64) = sqlx::query_as(count).fetch_one(&mut conn).await.unwrap();
        assert!(relay > 0 && worker > 0, "sessions: {relay} of the relay, {worker} of the worker");
        assert!(relay + worker <= SESSIONS_MAX, "sessions: {relay} of the relay, {worker} of the worker");
    }
}

/// Makes the databases with the schema, and the company's own table in each.
async fn databases(company: &Company, server: &str) -> Vec<String> {
    execute(server, "create role acme login").await;
    let mut urls = Vec::new();
    for n in 0..DATABASES {
        let name = if n == 0 { "cards".to_owned() } else { format!("team_{n}") };
        let url = database::create(server, &name).await.unwrap();
        execute(server, &format!("alter database {name} owner to acme")).await;
        urls.push(url.replace("//outbox@", "//acme@"));
    }
    let said = company.done(&[], &format!("relay migrate {}", sources(&urls))).await;
    assert_eq!(said.matches("migrated the outbox schema").count(), DATABASES, "{said}");
    let schema = std::fs::read_to_string(company.file("schema.sql")).unwrap();
    for url in &urls {
        execute(url, &schema).await;
    }
    urls
}

async fn execute(url: &str, statement: &str) {
    let mut conn = PgConnection::connect(url).await.unwrap();
    let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut conn).await;
    done.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

fn sources(urls: &[String]) -> String {
    urls.iter().map(|url| format!("--source {url}")).collect::<Vec<_>>().join(" ")
}

async fn worker(company: &Company, databases: &[String], release: &str) -> Program {
    let line = format!(
        "worker --router {release}event_router.yaml --proto {release}proto --services services.yaml \
         --visibility 2s --metrics-addr 127.0.0.1:0 {}",
        sources(databases)
    );
    Program::start(company, "worker", &line).await
}

async fn relay(company: &Company, databases: &[String], release: &str) -> Program {
    let sources = sources(databases);
    let line = format!("relay --router {release}event_router.yaml --metrics-addr 127.0.0.1:0 {sources}");
    Program::start(company, "relay", &line).await
}
