//! Promise 6: nothing stops or slows anyone else's events.

mod bad_input; // what must be refused, parked or dead-lettered, and by which part
mod evidence; // what an answer says of an event, and what of its server
mod locks; // no lock of a role without privileges stops the line
mod own_trouble; // what is wrong with one database, lane or call concerns no other
mod quiet; // what must hold on a quiet machine: rates under an old snapshot, idle cost
mod rows; // one bad row is its own trouble
mod settling; // what can't be settled costs its neighbours nothing
mod sources; // one database's trouble is its own
mod walked; // what was left lying is not walked over
