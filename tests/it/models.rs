//! The protocols that the promises rest on, as models: every state that any order of their steps leads to is
//! looked at, and so are crashes between any two of them.
//!
//! Where the code does something for a reason that is easily lost, a model can leave it out, and a test holds that the
//! checker then finds that a promise breaks, and that the story told there is how. So the model can't be too tame to notice.
//!
//! "Eventually" is said as "at rest": once nothing can happen any more but another crash. (The checker's own `eventually`
//! overlooks paths that join, and loops.) That it comes to rest at all is seen from each model's steps: what can go round,
//! like a relay that reads while a publisher is at work, goes round until another can act, and that one always can.

mod batches; // claims of a log beside deliveries with a row of their own
mod dedup; // one RPC of one event: claim, call, complete, ack
mod doorbell; // how a sleeping relay is woken
mod receipts; // how an id is found while receipts are folded and ids forgotten
mod window; // what the relay reads, and how far its cursor goes

use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::world::shared_turn;

/// Looks at every state: each promise holds in it. A test asks what it has seen, for promises that hold because nothing
/// happens are worth nothing.
fn holds<M>(model: M) -> impl Checker<M>
where
    M: Model<State: Clone + Debug + Hash + PartialEq + Send + Sync, Action: Clone + Debug + PartialEq>
        + Send
        + Sync
        + 'static,
{
    let _turn = shared_turn();
    let checker = model.checker().spawn_bfs().join();
    let name = std::any::type_name::<M>();
    println!("{name}: {} states, {} steps deep", checker.unique_state_count(), checker.max_depth());
    for promise in checker.model().properties() {
        if promise.expectation != Expectation::Sometimes {
            checker.assert_no_discovery(promise.name);
        }
    }
    checker
}

/// The checker finds that the promise is broken, and the story told ends so, too.
fn breaks<M>(model: M, promise: &'static str, story: &[M::Action])
where
    M: Model<State: Clone + Debug + Hash + PartialEq + Send + Sync, Action: Clone + Debug + PartialEq>
        + Send
        + Sync
        + 'static,
{
    let found = HasDiscoveries::AnyOf([promise].into());
    let checker = model.checker().finish_when(found).spawn_bfs().join();
    checker.assert_discovery(promise, story.to_vec());
}
