//! `event_router.yaml`: which event runs which RPC, and with what delivery policy.
//!
//! It is pure: a text gives a [`Router`] or every finding, each with its line and its remedy.

mod marks; // what tells two routers apart
pub mod names;
mod parse;
mod policy;
mod read;
mod rpc;
mod spelling;
mod yaml;

pub use policy::{Backoff, Policy};
pub use read::{ReadError, decode};
pub use rpc::Rpc;

use std::collections::BTreeMap;

use outbox_finding::{Place, closest};

/// The routes of one `event_router.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Router {
    events: BTreeMap<String, Listed>,
    queues: BTreeMap<Rpc, Queue>,
}

/// An event of the file; `places` has the place of each of `rpcs`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    place: Place,
    /// The proto package of the event, if the file names it.
    package: Option<String>,
    rpcs: Vec<Rpc>,
    places: Vec<Place>,
}

/// What the file says of one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Queue {
    policy: Policy,
    /// The RPC that is called, which may have moved since the queue got its name.
    called: Rpc,
    place: Place,
}

/// An event and one RPC that subscribes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route<'a> {
    pub event: &'a str,
    /// The name of its queue: everything that is stored, counted or shown of the RPC has this name.
    pub rpc: &'a Rpc,
    /// The name by which it is called. It differs only under a subscriber with `queue`.
    pub called: &'a Rpc,
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

    /// A listed event whose name is so similar that it may be meant.
    pub fn similar(&self, event: &str) -> Option<&str> {
        closest(event, self.events.keys().map(String::as_str))
    }

    /// Every RPC once, with its delivery policy, sorted by name.
    pub fn rpcs(&self) -> impl Iterator<Item = (&Rpc, &Policy)> {
        self.queues.iter().map(|(rpc, queue)| (rpc, &queue.policy))
    }

    /// The RPC that is called for the deliveries of a queue: the queue's own name, unless the file says otherwise.
    pub fn called<'a>(&'a self, rpc: &'a Rpc) -> &'a Rpc {
        self.queues.get(rpc).map_or(rpc, |queue| &queue.called)
    }

    /// The proto package that the file names for an event, which tells it from its namesakes.
    pub fn package(&self, event: &str) -> Option<&str> {
        self.events.get(event)?.package.as_deref()
    }

    /// Every event for which the file names a package, with that package.
    pub fn packages(&self) -> impl Iterator<Item = (&str, &str)> {
        self.events.iter().filter_map(|(name, listed)| Some((name.as_str(), listed.package.as_deref()?)))
    }

    /// Every event with its place, sorted by name, including those without subscribers.
    pub fn events(&self) -> impl Iterator<Item = (&str, &Place)> {
        self.events.iter().map(|(name, listed)| (name.as_str(), &listed.place))
    }

    /// Every pair of event and RPC, sorted by the event's name.
    pub fn routes(&self) -> impl Iterator<Item = Route<'_>> {
        self.events.iter().flat_map(|(event, listed)| {
            listed.rpcs.iter().zip(&listed.places).map(|(rpc, place)| {
                let Queue { policy, called, .. } = &self.queues[rpc];
                Route { event, rpc, called, policy, place }
            })
        })
    }
}
