//! The whole line, against a real Postgres, with real processes where dying or hanging is the point.
//!
//! One binary, so that one throwaway cluster serves all tests; each has a database of its own in it.

mod server; // a Connect server for whatever methods a test thinks of
mod world; // a database, an RPC server, relays and workers: what every test starts with

mod answers; // what RPC servers answer, byte for byte, and what each answer means
mod aws; // the same line on EventBridge, SQS and DynamoDB
mod bad_input; // what must be refused, parked or dead-lettered, and by whom
mod contracts; // queue and dedup: one suite for every implementation
mod databases; // databases that other people set up
mod deliver; // verdicts, retries, leases, transports of the RPC call
mod dependencies; // what is built in, and under which licences
mod drill; // an outage, as operators live through it
mod encodings; // the same event as JSON, binary and gRPC
mod evidence; // what an answer says of an event, and what of its server
mod examples; // the publisher's library by example, each started as a program
mod faults; // processes killed, stopped and paused; databases gone
mod headers; // what an event may tell its RPC besides the payload
mod histories; // random transactions, against a list in memory
mod metrics; // what is scraped is what is documented, and readiness tells progress
mod models; // the protocols, in every order of their steps
mod newcomer; // a developer's three steps, in a copy of the repository
mod operate; // the operator's commands: what they say, and what they repair
mod ops; // rules, runbooks and dashboards, by the tools that use them
mod order; // keys, pages and windows under concurrent writers
mod own_trouble; // what is wrong with one database, lane or call concerns no other
mod payloads; // what is refused at enqueue, in SQL and in Rust alike
mod proto_json; // the payload, against another implementation
mod publish; // the publisher's API, in Rust and in SQL
mod quiet; // what must hold on a quiet machine: rates under an old snapshot, idle cost
mod retention; // rings turn, whoever is slow
mod roles; // least privileges, with real roles
mod routers; // one event_router.yaml, one verdict: the binaries' and Terraform's
mod schema; // migrations and versions
mod secrets; // what is never said
mod settling; // what can't be settled costs its neighbours nothing
mod stopping; // a planned stop: what is finished, and what is given back
mod trace; // one trace from the change to the RPC
mod versions; // each version of Postgres that is supported, and one that is not
mod wake; // the doorbell
