//! All parts against a real Postgres, with real processes where a test kills or stops them.
//!
//! One binary, so that one throwaway cluster serves all tests; each test has its own database in it. The folders are the
//! README's promises and their foundations, listed in `tests/README.md`.

mod support; // what tests start, and how they observe it

mod at_least_once; // promise 2
mod atomic; // promise 1
mod bounded; // promise 7
mod no_stall; // promise 6
mod no_tax; // promise 5
mod once; // promise 3
mod order; // promise 4
mod seen; // promise 8

mod aws; // the transport on EventBridge, SQS and DynamoDB
mod calls; // what reaches an RPC, and what its answers mean
mod contracts; // promise 3 and others: bus, queue, dedup and the operator's half, one suite for every implementation
mod deployed; // what the project is built from, and where it runs
mod guarded; // privileges, secrets, and names of other schemas
mod models; // models of the protocols, in every order of their steps
mod tidy; // the rules of the repository

use support::{browser, cloud, operator, pgbouncer, processes, release, role, server, stub, tls, world};
