//! A person's word that what an RPC refuses is poison: then nothing of it is held any more.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_router::Rpc;
use outbox_transport::Poison;
use runtime::Chain;
use tokio::time::Instant;

use crate::breaker::Breaker;
use crate::meter::Meter;

/// While an RPC is held, and only then.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Asks again and again while the RPC is held, until it is dropped.
pub(crate) async fn watch<W: Poison>(rpc: &Rpc, meter: &Meter, breaker: &Arc<Mutex<Breaker>>, word: &W) {
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        let (is_held, is_poison) = {
            let breaker = breaker.lock().expect("no panic while held");
            (breaker.held().is_some(), breaker.is_poison(Instant::now()))
        };
        if !is_held && !is_poison {
            continue;
        }
        match word.poison_for().await {
            Ok(None) if is_held => {}
            Ok(left) => {
                let mut breaker = breaker.lock().expect("no panic while held");
                breaker.poison(Instant::now() + left.unwrap_or_default());
                meter.breaker(&breaker);
                drop(breaker);
                if is_held || left.is_none() {
                    let seconds = left.unwrap_or_default().as_secs_f64();
                    tracing::warn!(%rpc, seconds, "somebody said for how long what it refuses is poison: none of it is held until then");
                }
            }
            Err(error) => {
                tracing::warn!(%rpc, error = %Chain(&error), "failed to ask whether somebody has said that what it refuses is poison");
            }
        }
    }
}
