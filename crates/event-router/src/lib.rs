//! `event_router.yaml`: which event runs which RPC, and with what delivery policy. Beside it `services.yaml`: where services
//! are, and how they are called.
//!
//! It is pure: a text gives a [`Router`] or every finding, each with its line and its remedy.

mod marks; // what tells two routers apart
pub mod names;
mod parse;
mod policy;
mod read;
mod rpc;
pub mod services;
mod spelling;
mod yaml;

pub use policy::{Backoff, Policy};
pub use read::{ReadError, decode};
pub use rpc::Rpc;

use std::collections::BTreeMap;

use outbox_finding::Place;

/// The routes of one `event_router.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Router {
    events: BTreeMap<String, Listed>,
    rpcs: BTreeMap<Rpc, (Policy, Place)>,
}

/// An event of the file; `places` has the place of each of `rpcs`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    place: Place,
    rpcs: Vec<Rpc>,
    places: Vec<Place>,
}

/// An event and one RPC that subscribes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route<'a> {
    pub event: &'a str,
    pub rpc: &'a Rpc,
    pub policy: &'a Policy,
    /// The RPC's place in the event's list.
    pub place: &'a Place,
}

impl Router {
    /// The RPCs that run when `event` is published, in the file's order; empty without subscribers.
    pub fn subscribers(&self, event: &str) -> &[Rpc] {
        self.events.get(event).map_or(&[], |listed| &listed.rpcs)
    }

    /// Whether the file has this event, with subscribers or without.
    pub fn lists(&self, event: &str) -> bool {
        self.events.contains_key(event)
    }

    /// Every RPC once, with its delivery policy, sorted by name.
    pub fn rpcs(&self) -> impl Iterator<Item = (&Rpc, &Policy)> {
        self.rpcs.iter().map(|(rpc, (policy, _))| (rpc, policy))
    }

    /// Every event with its place, sorted by name, including those without subscribers.
    pub fn events(&self) -> impl Iterator<Item = (&str, &Place)> {
        self.events.iter().map(|(name, listed)| (name.as_str(), &listed.place))
    }

    /// Every pair of event and RPC, sorted by the event's name.
    pub fn routes(&self) -> impl Iterator<Item = Route<'_>> {
        self.events.iter().flat_map(|(event, listed)| {
            listed.rpcs.iter().zip(&listed.places).map(|(rpc, place)| Route {
                event,
                rpc,
                policy: &self.rpcs[rpc].0,
                place,
            })
        })
    }
}
