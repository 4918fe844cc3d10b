//! Connections that end while they are used: which of these ends cost an attempt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outbox_worker::rpc::{CallError, Code};
use testkit::answers::{Answer, Frame, Reply, Sent, Server, Then, Turn, Wire, all};

use super::calling::{Caller, TIMEOUT, contract};

/// The answer of a row of the table.
fn reply(name: &str) -> Reply {
    let answer = row(name);
    Reply { wire: answer.wire, then: answer.then }
}

fn row(name: &str) -> Answer {
    all().into_iter().find(|answer| answer.name == name).unwrap_or_else(|| panic!("no row '{name}'"))
}

fn success(sent: Sent) -> Reply {
    match sent {
        Sent::Grpc => reply("status 0 in trailers"),
        Sent::Json | Sent::Proto => reply("a success"),
    }
}

/// No byte of an answer.
fn nothing(sent: Sent, then: Then) -> Reply {
    let wire = match sent {
        Sent::Grpc => Wire::Http2(Vec::new()),
        Sent::Json | Sent::Proto => Wire::Http1(Vec::new()),
    };
    Reply { wire, then }
}

fn frames(frames: Vec<Frame>) -> Reply {
    Reply { wire: Wire::Http2(frames), then: Then::KeepOpen }
}

/// `script` gets a successful answer.
async fn caller(
    sent: Sent,
    script: impl Fn(Turn, &Reply) -> Reply + Send + Sync + 'static,
) -> (Caller, Server) {
    let success = success(sent);
    let server = Server::scripted(move |turn| script(turn, &success)).await.unwrap();
    (Caller::new(sent, format!("http://{}", server.addr()), &contract()), server)
}

/// Guards promise 7: a server closes an idle connection exactly when a request arrives. That costs no attempt, by an end or
/// a reset, on HTTP/1.1 and HTTP/2.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_is_closed_as_a_request_comes_costs_no_attempt() {
    for sent in [Sent::Json, Sent::Grpc] {
        for then in [Then::Close, Then::Reset] {
            let (caller, server) = caller(sent, move |turn, success| match turn.request {
                0 => success.clone(),
                _ => nothing(sent, then),
            })
            .await;
            for call in 0..20 {
                caller.call().await.unwrap_or_else(|error| panic!("{sent:?} {then:?} {call}: {error}"));
            }
            // Each connection answers once and is used twice, unless it is not back in the pool when the next call begins.
            assert!((21..=39).contains(&server.calls()), "{sent:?} {then:?}: {} calls", server.calls());
        }
    }
}

/// Guards promise 2: a call is repeated at most once. It is not repeated over a connection that never worked, nor after a
/// part of an answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_repeated_only_for_a_reason() {
    for sent in [Sent::Json, Sent::Grpc] {
        // A connection that never worked.
        let (fresh, server) = caller(sent, move |_, _| nothing(sent, Then::Close)).await;
        assert_eq!(fresh.call().await.unwrap_err().code, Code::Unavailable);
        assert_eq!(server.calls(), 1, "{sent:?}");

        // A connection that worked, and fails from its second request on.
        let broken = AtomicBool::new(false);
        let (gone, server) = caller(sent, move |turn, success| {
            if turn.request > 0 {
                broken.store(true, Ordering::SeqCst);
            }
            if broken.load(Ordering::SeqCst) { nothing(sent, Then::Reset) } else { success.clone() }
        })
        .await;
        let (done, error) = until_failed(&gone, TIMEOUT).await;
        assert_eq!((error.code, server.calls()), (Code::Unavailable, done + 2), "{sent:?}");
    }

    // Half a head arrived.
    let half = reply("half a head");
    let (half, server) = caller(Sent::Json, move |turn, success| match turn.request {
        0 => success.clone(),
        _ => half.clone(),
    })
    .await;
    let (done, error) = until_failed(&half, TIMEOUT).await;
    assert_eq!((error.code, server.calls()), (Code::Unavailable, done + 1));

    // The server has begun its answer, and stops.
    let (silent, server) = caller(Sent::Json, |turn, success| match turn.request {
        0 => success.clone(),
        _ => nothing(Sent::Json, Then::KeepOpen),
    })
    .await;
    let (done, error) = until_failed(&silent, Duration::from_secs(2)).await;
    assert_eq!((error.code, server.calls()), (Code::DeadlineExceeded, done + 1));
}

/// Returns how many calls succeeded before one failed. A connection may not be back in the pool when the next call begins:
/// so the second request of one is not always the second call.
async fn until_failed(caller: &Caller, timeout: Duration) -> (u32, CallError) {
    for done in 0.. {
        if let Err(error) = caller.call_within(timeout).await {
            return (done, error);
        }
    }
    unreachable!("some call fails")
}

/// Guards promise 7: a request that the server declares as not begun costs no attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_the_server_has_not_begun_costs_no_attempt() {
    let refusals =
        [Frame::Reset(7), Frame::GoAway { begun: false, code: 0 }, Frame::GoAway { begun: false, code: 11 }];
    for refusal in refusals {
        // The second request of each connection is refused, so that calls use old and new connections.
        let refused = refusal.clone();
        let (caller, _server) = caller(Sent::Grpc, move |turn, success| match turn.request {
            1 => frames(vec![refused.clone()]),
            _ => success.clone(),
        })
        .await;
        for call in 0..10 {
            caller.call().await.unwrap_or_else(|error| panic!("{refusal:?} {call}: {error}"));
        }
    }
}

/// Guards promise 6: calls side by side over one HTTP/2 connection survive its end together, over one new connection.
#[tokio::test(flavor = "multi_thread")]
async fn calls_side_by_side_move_to_one_new_connection() {
    let (caller, server) = caller(Sent::Grpc, |turn, success| match (turn.connection, turn.request) {
        (0, 0) | (1.., _) => success.clone(),
        // The others wait until all of them have arrived.
        (0, 8) => nothing(Sent::Grpc, Then::Reset),
        (0, _) => nothing(Sent::Grpc, Then::KeepOpen),
    })
    .await;
    caller.call().await.unwrap();
    let caller = Arc::new(caller);
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let caller = Arc::clone(&caller);
            tokio::spawn(async move { caller.call().await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(server.calls(), 1 + 8 + 8);
}
