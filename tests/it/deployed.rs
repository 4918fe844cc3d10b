//! What it is built from, and where it runs.

mod dependencies; // what is built in, and under which licences
mod newcomer; // a developer's three steps, in a copy of the repository
mod routers; // one event_router.yaml, one verdict: the binaries' and Terraform's
mod schema; // migrations and versions
mod versions; // each version of Postgres that is supported, and one that is not
