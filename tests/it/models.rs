//! Models of the protocols on which the promises depend. The checker visits every state that any order of steps leads to,
//! with crashes between any two of them.
//!
//! Some reasons in the code are easily lost. For these a model can leave the code's step out, and a test holds that the
//! checker then finds the broken promise. It also holds that the given steps break it. So the model is strict enough to
//! notice.
//!
//! "Eventually" is written as "at rest": nothing can happen any more except another crash. (The checker's own `eventually`
//! overlooks joining paths and loops.) Each model's steps show that it comes to rest: a loop, like a relay that reads while
//! a publisher works, continues until another process acts, and that one always can.

mod batches; // claims of a log beside deliveries with a row of their own
mod dedup; // one RPC of one event: lease, call, complete, ack
mod doorbell; // how a sleeping relay is woken
mod receipts; // how an id is found while receipts are folded and ids forgotten
mod window; // what the relay reads, and how far its cursor advances

use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::world::shared_turn;

/// Visits every state: each promise holds in it. The test then checks what was visited, because a promise that holds in an
/// idle model proves nothing.
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

/// The checker finds that the promise is broken, and these steps break it, too.
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
