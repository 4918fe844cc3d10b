//! Counts the dead letters that a redrive or a drop is about.

use std::pin::Pin;

use outbox_transport::operate::{DeadLetters, Filter, Letter, Operator};

use crate::counted::Counted;
use crate::repair::{Halt, Running};
use crate::stopped::Stopped;

/// The letters of one transport.
pub(super) async fn count_in<O: DeadLetters>(
    transport: &mut O,
    filter: &Filter,
    counted: &mut Counted,
) -> Result<(), Stopped> {
    let filter = Filter { without_bodies: true, ..filter.clone() };
    while page(transport, &filter, counted).await? {}
    Ok(())
}

/// The same for a repair that has begun. A count of many letters takes minutes, so it says meanwhile that it runs, and may be
/// stopped.
pub(super) async fn count_while_running<O: Operator>(
    transports: &mut [O],
    n: usize,
    (running, filter): (&mut Running, &Filter),
    mut interrupted: Pin<&mut impl Future<Output = ()>>,
) -> Result<Result<Counted, Halt>, Stopped> {
    let filter = &Filter { without_bodies: true, ..filter.clone() };
    let mut counted = Counted::default();
    let went = loop {
        if let Some(halt) = running.hear(transports).await {
            break Ok(Err(halt));
        }
        let more = tokio::select! {
            more = page(&mut transports[n], filter, &mut counted) => more,
            () = interrupted.as_mut() => break Ok(Err(Halt::Interrupted)),
        };
        match more {
            Ok(true) => {}
            Ok(false) => break Ok(Ok(counted)),
            Err(stopped) => break Err(stopped),
        }
    };
    transports[n].put_back().await;
    went
}

/// `false` at the end.
async fn page<O: DeadLetters>(
    transport: &mut O,
    filter: &Filter,
    counted: &mut Counted,
) -> Result<bool, Stopped> {
    let letters = transport.next(filter).await?;
    for Letter { id, rpc, event, code, reason, dead_at, .. } in &letters {
        counted.add(&format!("{rpc} with {code}"), *dead_at, || match event {
            Some(event) => format!("event {event} ({reason})"),
            None => format!("{id} ({reason})"),
        });
    }
    Ok(!letters.is_empty())
}
