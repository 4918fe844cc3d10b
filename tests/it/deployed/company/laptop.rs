//! `outbox dev` and `outbox send` with the company's own services.

use std::io::Write;
use std::time::Instant;

use super::folder::Company;
use super::services::{Services, payload};

/// From `outbox dev` to the first event in the company's own RPCs. The time is printed, and nothing is asserted on it.
pub(super) async fn the_first_event_arrives(company: &Company) {
    let mut services = Services::on_a_laptop(company).await;
    let to = format!(
        "--to LedgerService=http://127.0.0.1:{} --encoding LedgerService=grpc --to NotifyService=http://127.0.0.1:{}",
        services.ledger.port, services.notify.port
    );
    let began = Instant::now();
    let mut dev = company.start(&[], &format!("outbox dev {to}"));
    dev.wait_for("outbox send").await.unwrap_or_else(|error| panic!("outbox dev: {error}"));
    let ran = company.run(&[], "outbox send event_card_issued '{\"cardIdd\":\"1\"}'").await;
    assert!(
        ran.code == 2 && ran.err.contains("did you mean 'cardId'?"),
        "a misspelt field is told at once: {ran:?}"
    );
    company.done(&[], &format!("outbox send event_card_issued '{}'", payload("card-laptop"))).await;
    services.get("card-laptop", "v2").await;
    let seconds = began.elapsed().as_secs_f64();
    let _ = writeln!(std::io::stderr(), "first event after {seconds:.1} s");

    let line = dev.wait_for("NotifyService/NotifyCardIssued ✓").await.unwrap();
    assert!(line.contains("event_card_issued card-laptop"), "the line has the key: {line}");
    dev.signal("INT").unwrap();
    assert!(dev.ended().await.unwrap().success(), "outbox dev ends well after Ctrl-C");
    services.stop().await;
}
