//! Promise 4: events with one key are put in the order of their transactions.

mod windows; // keys, pages and windows under concurrent writers
