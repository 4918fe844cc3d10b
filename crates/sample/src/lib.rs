//! The sample domain: a card service that publishes events in its own transactions, and the Connect servers that
//! subscribe to them. `proto/` defines both.

pub mod card;
pub mod events;
pub mod server;
pub mod services;
