//! A company outside of the repository adopts Outbox. Its files are in `tests/company/`: proto, routes, and services in Rust,
//! TypeScript and Python. It runs the built programs and ordinary tools, in a folder of its own.

mod ci; // what its CI runs before a merge
mod folder; // its repository, and how its commands run
mod laptop; // `outbox dev` and `outbox send`
mod production; // relay, worker and several databases
mod program; // a running relay or worker
mod secrets; // certificates and tokens
mod services; // its services, built and started

use testkit::cluster::Cluster;

use super::versions;
use crate::world::shared_turn;
use folder::{Company, Tools};
use production::Production;

/// Guards the README: an outside company adopts Outbox on PostgreSQL 15.
#[tokio::test(flavor = "multi_thread")]
async fn a_company_adopts_it_on_postgres_15() {
    a_company_adopts_it_on(15).await;
}

/// Guards the README: an outside company adopts Outbox on PostgreSQL 18.
#[tokio::test(flavor = "multi_thread")]
async fn a_company_adopts_it_on_postgres_18() {
    a_company_adopts_it_on(18).await;
}

async fn a_company_adopts_it_on(version: u32) {
    let Some(server) = versions::server(version) else { return };
    let Some(tools) = Tools::installed() else { return };
    let _turn = tokio::task::spawn_blocking(shared_turn).await.unwrap();
    let company = Company::new(tools);

    ci::the_first_version_is_checked(&company).await;
    ci::a_second_version_of_a_service_is_checked(&company).await;
    services::build(&company).await;
    laptop::the_first_event_arrives(&company).await;

    let cluster = Cluster::of(&server, &[]).unwrap_or_else(|error| panic!("{error}"));
    let mut production = Production::new(&company, &cluster).await;
    production.a_wrong_token_is_refused_and_the_right_one_is_not().await;
    production.every_language_publishes().await;
    production.every_database_is_served().await;
    production.a_missing_service_holds_back_its_own_queue_alone().await;
    production.a_misspelt_event_is_told().await;
    production.version_2_takes_over_the_queue_of_version_1().await;
    production.strict_names_refuse_a_misspelt_event().await;
    production.stop().await;
}
