//! Promise 6: no event stops or slows another one.

mod bad_input; // what is refused, parked or dead-lettered, and by which part
mod brakes; // what an operator sets: pauses and limits
mod evidence; // failures of one event, and failures of its server
mod history; // what the history refuses, and what it tells
mod locks; // locks of a role without privileges
mod own_trouble; // trouble of one database, consumer or call
mod quiet; // tests that need a quiet machine: rates under an old snapshot, idle cost
mod reload; // event_router.yaml is read again
mod rows; // trouble of one row
mod settling; // deliveries that can't be settled
mod sources; // trouble of one source
mod walked; // rows that no statement may walk over
