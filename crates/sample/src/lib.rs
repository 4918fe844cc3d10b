//! The sample domain: a card service that publishes events in its own transactions, and the Connect services that
//! subscribe to them. `proto/` defines both.

#![expect(refining_impl_trait, reason = "a handler names the type it returns, as connectrpc's guide has it")]

pub mod afterpay;
pub mod card;
pub mod journal;
pub mod notification;

/// The messages as `outbox-build` makes them: what is published.
pub mod proto {
    outbox::include_proto!();
}

/// The same messages as connectrpc makes them, with the services: what is served.
#[expect(
    clippy::allow_attributes,
    clippy::semicolon_if_nothing_returned,
    missing_debug_implementations,
    reason = "generated"
)]
pub mod connect {
    connectrpc::include_generated!("services.rs");
}
