//! Promise 8: anything stuck is visible in a metric, and explained by a command.

mod browser; // the console in a real browser
mod console; // pages over a real line
mod dlq; // dead letters listed, redriven and dropped
mod doctor; // broken configurations, found by doctor
pub(crate) mod drills; // incidents, from the first word to the repair
mod drills_more; // incidents on a line of processes, from the cause to the repair
mod foreign; // an outbox that was copied from another server
mod found; // dead letters summed up, and events found
mod goldens; // status and why, word for word, in every state
mod hands; // what is in queues: listed, tried again, given up
mod history; // failed attempts and repairs, after the event is gone
mod holds; // sessions that hold locks or slots
mod hostile; // hostile names and texts
mod lately; // five minutes of one RPC
mod many; // repairs of many things
mod metrics; // metrics as documented, and readiness
mod names; // names of events that nobody knows, and RPCs that always fail
mod ops; // rules, runbooks and dashboards, read by the tools that use them
mod paced; // repairs paused and slowed by others
mod parked; // events that the bus refused
mod questions; // mistyped filters, and questions before irreversible commands
mod renames; // queues get another name, or are removed
mod repairs; // what an operator's role may do, and its audit
mod replay; // past events, sent again
mod runbooks; // what runbooks and procedures show works as shown
mod running; // relays and workers that run, hang, wait or differ
mod services; // services that can't be called, found by doctor and check
mod states; // status and why, as data, in every state
mod status; // status with workers, pages, several databases, mistakes, and a full outbox
mod times; // times beyond the calendar
mod trace; // one trace from the change to the RPC
mod truth; // what status and why claim, and what they can't know
mod watch; // status, again and again
