//! What the project is built from, and where it runs.

mod built; // the revision in --version and metrics
mod company; // a company outside of the repository adopts Outbox, on PostgreSQL 15 and 18
mod container; // Compose, in ops/container
mod dependencies; // dependencies and their licences
mod dist; // the files of a release, as `cargo xtask dist` makes them
mod editors; // JSON schemas of event_router.yaml and services.yaml
mod guide; // the guide in docs/guide, each command of it
mod kubernetes; // the manifests in ops/kubernetes
mod laptop; // `outbox dev` and `outbox send` in a folder outside of the repository
mod newcomer; // a developer's three steps, in a copy of the repository
mod oldest_rust; // the oldest Rust of the libraries
mod routers; // binaries and Terraform agree on each event_router.yaml
mod schema; // migrations and versions
mod versions; // each supported version of Postgres, and one that is refused
