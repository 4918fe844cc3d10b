use std::time::Instant;

use outbox::Entry;
use sqlx::{Connection, PgConnection};
use testkit::cluster::Cluster;
use testkit::scrape;

use super::line::Line;
use crate::operator::{ROUTER, Said, paste};
use crate::world::{One, World, until};

fn name(url: &str) -> &str {
    url.split(['/', '@']).nth(2).unwrap()
}

fn with_password(url: &str, password: &str) -> String {
    url.replacen('@', &format!(":{password}@"), 1)
}

/// From here on the server asks these roles for a password.
async fn demand_passwords(line: &Line, cluster: &Cluster, roles: &[String]) {
    let file = cluster.dir().join("data/pg_hba.conf");
    let trusted = std::fs::read_to_string(&file).unwrap();
    let rules: String =
        roles.iter().map(|url| format!("host all {} 127.0.0.1/32 scram-sha-256\n", name(url))).collect();
    std::fs::write(&file, format!("{rules}{trusted}")).unwrap();
    line.world.execute("select pg_reload_conf()").await;
    for url in roles {
        until("it asks for a password", async || PgConnection::connect(url).await.is_err()).await;
    }
}

async fn set_passwords(line: &Line, roles: &[String], password: &str) {
    for url in roles {
        line.world.execute(&format!("alter role {} password '{password}'", name(url))).await;
    }
}

/// The addresses that `outbox status` names for /readyz.
fn readyz(said: &Said) -> Vec<String> {
    let address = |rest: &str| -> String {
        rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect()
    };
    said.out.split("/readyz at http://").skip(1).map(address).collect()
}

/// Guards promise 8, drill 20: passwords are changed under a running relay and worker. `status` names both, and where each says
/// why. `doctor` tells the old address from the new one, and a restart with the new one delivers what waited.
#[tokio::test(flavor = "multi_thread")]
async fn changed_passwords_are_named() {
    let cluster = Cluster::start().unwrap();
    let mut line = Line::of(World::on(ROUTER, &cluster).await).await;
    let roles = [line.relay.clone(), line.worker.clone()];
    set_passwords(&line, &roles, "first").await;
    demand_passwords(&line, &cluster, &roles).await;
    (line.relay, line.worker) = (with_password(&roles[0], "first"), with_password(&roles[1], "first"));
    let old = line.relay.clone();
    let (relay, worker) = (line.relay().await, line.worker().await);
    let before = line.publish([Entry::new(One { n: 0 })]).await;
    line.world.rpcs.until_done("Test/One", &before).await;
    line.world.until("select count(*) = 2 from outbox.process where report like '{\"ready\":true,%'").await;

    set_passwords(&line, &roles, "second").await;
    for url in &roles {
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where usename";
        line.world.execute(&format!("{end} = '{}'", name(url))).await;
    }
    let incident = Instant::now();
    let waiting = line.publish([Entry::new(One { n: 1 })]).await;
    let words = ["1 relay of ", "1 worker of ", " is silent: ", "wrong password", "no relay leads"];
    let status = line.named("20", incident, &words).await;
    let places = readyz(&status);
    assert!(places.len() >= 2, "{status:?}");
    for place in places {
        until("it says why", async || {
            let ready = scrape::get(&place, "/readyz").await;
            ready.is_ok_and(|(code, why)| code == 503 && why.contains("password authentication failed"))
        })
        .await;
    }
    let why = line.outbox(&format!("why {}", waiting[0])).await;
    assert!(why.out.contains("not put   no relay leads"), "{why:?}");
    relay.shows(&format!("outbox_relay_leader{{source=\"{}\"}} 0", line.world.source.name())).await;

    (line.relay, line.worker) = (with_password(&roles[0], "second"), with_password(&roles[1], "second"));
    let router = line.router();
    let doctor =
        async |url: &str| paste(&[("DATABASE_URL", url), ("OUTBOX_ROUTER", &router)], "outbox doctor").await;
    let said = doctor(&old).await;
    assert!(said.code != 0 && said.out.contains("password authentication failed"), "{said:?}");
    let said = doctor(&line.relay).await;
    assert!(said.out.contains("may do what relay does"), "{said:?}");
    worker.stop().await;
    relay.stop().await;
    let (relay, worker) = (line.relay().await, line.worker().await);
    line.world.rpcs.until_done("Test/One", &waiting).await;
    until("a relay leads", async || !line.outbox("status").await.out.contains("no relay leads")).await;
    relay.shows(&format!("outbox_relay_leader{{source=\"{}\"}} 1", line.world.source.name())).await;
    worker.stop().await;
    relay.stop().await;
    line.world.finish().await;
}
