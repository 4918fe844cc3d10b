//! Promise 7: nothing grows without limit.

mod clean_up; // no part of the clean-up keeps another from running
mod connections; // the connections of relays and workers, to several databases
mod copies; // the size of what a page holds of an event
mod history; // the size and the age of failed attempts and repairs
mod open_transactions; // the cost of a statement beside other sessions' open transactions
mod retention; // rings turn, however slow one reader is
