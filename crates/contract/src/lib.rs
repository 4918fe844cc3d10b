//! The events and RPCs that proto files define.
//!
//! An event is a value of an `enum Event` and the message beside it: `EVENT_HOGE_UPDATED`, `HogeUpdatedEvent`, and in
//! `event_router.yaml` `event_hoge_updated`. No protoc is needed.

mod compile;
mod contract;
mod editions;
mod enums;
mod events;
mod files;
mod keys;
mod number; // of an option, if another one has it
mod option; // (outbox.key)
mod place;
mod rpcs;
mod selection;
mod sources;

pub use compile::{OPTIONS, OPTIONS_TEXT};
pub use contract::Contract;
pub use enums::is_googles;
pub use events::EventType;
pub use rpcs::{CarrierError, RpcError, carrier};
pub use selection::Selection;
pub use sources::{ReadError, Sources};
