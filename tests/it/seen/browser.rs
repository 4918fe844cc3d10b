//! The console in a real browser. Journeys by mouse, by keys alone, and without scripts: a person clicks only what is shown, and
//! solves a drill. `tests/console/` has what the browser does, and these tests make what happens.

mod drills; // incidents, solved in the browser
mod journey; // the browser's process, and how both sides take turns
mod load; // fifty viewers, a full outbox, and a database that ends
mod pages; // barriers, secrets, and requests to others
