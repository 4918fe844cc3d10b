//! Promise 7: nothing grows without limit.

mod copies; // what is written of an event bounds a page
mod open_transactions; // no statement costs what somebody else left lying
mod retention; // rings turn, whatever is slow
