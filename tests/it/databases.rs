//! The promises in databases that were set up by other people.

mod bounded; // no statement costs what somebody else left lying
mod copies; // what is written of an event bounds a page
mod identity; // whose transaction ids these are
mod locks; // no lock of a role without privileges stops the line
mod names; // no function or operator of another schema runs
mod rows; // one bad row is its own trouble
mod settings; // whatever the database's settings are
mod sources; // one database's trouble is its own
mod twice; // numbers that were dealt twice
mod two_phase; // transactions that end in PREPARE TRANSACTION
mod values; // no value in an error
mod walked; // what was left lying is not walked over
