//! The whole line, against a real Postgres, with real processes where dying or hanging is the point.
//!
//! One binary, so that one throwaway cluster serves all tests; each has a database of its own in it. The folders are the
//! README's promises, and what the promises rest on: `tests/README.md` tells what belongs where.

mod support; // what tests start, and how they look at it

mod at_least_once; // promise 2
mod atomic; // promise 1
mod bounded; // promise 7
mod no_stall; // promise 6
mod no_tax; // promise 5
mod once; // promise 3
mod order; // promise 4
mod seen; // promise 8

mod aws; // the same line on EventBridge, SQS and DynamoDB
mod calls; // what reaches an RPC, and what its answer means
mod contracts; // promise 3 and others: bus, queue, dedup and the operator's half, one suite for every implementation
mod deployed; // what it is built from, and where it runs
mod guarded; // privileges, secrets, and names of others
mod models; // the protocols, in every order of their steps
mod tidy; // how the repository is kept

use support::{cloud, operator, pgbouncer, processes, role, server, stub, world};
