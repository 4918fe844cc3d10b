//! An [`Event`], its [`EventId`], and the [`Envelope`] that carries it.
//!
//! This crate does no IO and depends on no database, bus or RPC.

pub mod payload;
pub mod rules;
#[cfg(feature = "signature")]
pub mod signature;

mod envelope;
mod id;

pub use envelope::{Envelope, Headers, Message, MessageError};
pub use id::EventId;

use std::borrow::Cow;

/// A larger payload is refused when it is enqueued. 240 KiB leaves room for the envelope in a queue's message of 256 KiB.
pub const PAYLOAD_BYTES_MAX: usize = 240 * 1024;

/// Something that happened, as a service publishes it.
///
/// Serialized it must be the event's message as proto3 JSON: an object. The name is the one in
/// `event_router.yaml`, lower_snake_case and at most 128 characters.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "not an event",
    note = "to publish it, give it a value in `enum Event` of its package: `EVENT_HOGE_UPDATED` makes `HogeUpdatedEvent` an event"
)]
pub trait Event: serde::Serialize {
    /// The name by which events are routed to subscribers, for example `event_hoge_updated`.
    const NAME: &'static str;

    /// What the event is about. Events with one key reach the bus in the order in which their transactions wrote them.
    fn key(&self) -> Option<Cow<'_, str>> {
        None
    }
}

impl<E: Event + ?Sized> Event for &E {
    const NAME: &'static str = E::NAME;

    fn key(&self) -> Option<Cow<'_, str>> {
        (**self).key()
    }
}
