//! What publishing costs the publisher, while a relay is awake and drains. The service's transaction has the library's
//! statement or `outbox.enqueue`. Beside it runs the same transaction with a plain INSERT of the same row.

use std::time::Duration;

use tokio::process::Command;

use crate::database::{self, Database};
use crate::pairs::Pairs;
use crate::plan::Plan;
use crate::relaying::{Relaying, sink};
use crate::result::Result;
use crate::row::{Must, Row};

/// A publisher's last statement before its commit.
struct Variant {
    name: &'static str,
    sql: String,
}

pub(crate) async fn run(plan: &Plan) -> Result<Vec<Row>> {
    let database = Database::start().await?;
    let mut conn = database.connect().await?;
    // A service's own event table without an outbox: the same columns and indexes, and no reader.
    sqlx::raw_sql(
        "create table public.plain_event (like outbox.event including defaults);
         create index on public.plain_event (xid, seq);
         create index on public.plain_event (seq)",
    )
    .execute(&mut conn)
    .await?;
    // pgbench reads a colon before letters or digits as a variable.
    let payload = database::payload(0).replace(':', ": ");
    let row = |table: &str| {
        format!(
            "insert into {table} (id, name, payload, slot)
             values (gen_random_uuid(), 'event_bench', '{payload}', (select last_value from outbox.event_slot));"
        )
    };
    let library = library(&["gen_random_uuid()", "'event_bench'", "null", &format!("'{payload}'"), "null"]);
    // Each has its lowest accepted ratio to a plain INSERT.
    let ours = [
        (Variant { name: "library", sql: library + ";" }, 0.95),
        (Variant { name: "SQL", sql: format!("select outbox.enqueue('event_bench', '{payload}');") }, 0.85),
    ];
    let others = [
        Variant { name: "plain insert", sql: row("outbox.event") },
        Variant { name: "plain insert that nobody reads", sql: row("plain_event") },
        Variant { name: "insert and notify", sql: row("outbox.event") + "select pg_notify('bench', '');" },
    ];
    let relay = Relaying::start(&database.source, sink().0);
    // A plain INSERT does not wake the relay. It would sleep during most of that half of a pair, and use no CPU time there.
    let mut awake = database.connect().await?;
    sqlx::raw_sql("begin; select pg_advisory_xact_lock_shared(1869968994, 1)").execute(&mut awake).await?;
    let mut rows = Vec::new();
    for clients in [8, 32, 64] {
        let mut pairs: [[Pairs; 3]; 2] = Default::default();
        for _ in 0..plan.pairs() {
            for (other, at) in others.iter().zip(0..) {
                let time = plan.seconds(5, 1);
                let mut measured = Vec::with_capacity(ours.len());
                for (variant, _) in &ours {
                    measured.push(transactions_per_second(&database, variant, clients, time).await?);
                }
                let baseline = transactions_per_second(&database, other, clients, time).await?;
                pairs.iter_mut().zip(measured).for_each(|(pairs, ours)| pairs[at].push(ours, baseline));
            }
        }
        for ((variant, least), pairs) in ours.iter().zip(&pairs) {
            for (other, pairs) in others.iter().zip(pairs) {
                let row = Row::of_pairs("publish", "tx/s", pairs)
                    .with("through", variant.name)
                    .with("clients", clients)
                    .with("beside", other.name);
                let gated = other.name == "plain insert" && clients > 8;
                rows.push(if gated { row.must(Must::RatioAtLeast(*least)) } else { row });
            }
        }
    }
    sqlx::raw_sql("commit").execute(&mut awake).await?;
    relay.stop().await?;
    Ok(rows)
}

/// The library's statement with these values. A value may have parameters with lower numbers than its own.
pub(crate) fn library(values: &[&str; 5]) -> String {
    (1..).zip(values).fold(outbox::INSERT.to_owned(), |sql, (n, value)| sql.replace(&format!("${n}"), value))
}

async fn transactions_per_second(
    database: &Database,
    variant: &Variant,
    clients: usize,
    time: Duration,
) -> Result<f64> {
    let script = std::env::temp_dir().join(format!("outbox-pgbench-{}.sql", std::process::id()));
    let text = format!(
        "\\set account random(1, {})\nbegin;\nupdate account set balance = balance + 1 where id = :account;\n{}\ncommit;\n",
        database::ACCOUNTS,
        variant.sql.replace(';', ";\n"),
    );
    tokio::fs::write(&script, text).await?;
    let pgbench = testkit::tools::debian("pgbench", "postgresql-client")?;
    let output = Command::new(pgbench)
        .args(["-h", "127.0.0.1", "-p", &database.port().to_string(), "-U", "outbox", "-n", "-M", "prepared"])
        .args(["-c", &clients.to_string(), "-j", "2", "-T", &time.as_secs().to_string(), "-f"])
        .arg(&script)
        .arg("bench")
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stdout);
    let tps = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    let _ = tokio::fs::remove_file(script).await;
    tps.ok_or_else(|| {
        format!("pgbench says no tps: {said} {}", String::from_utf8_lossy(&output.stderr)).into()
    })
}
