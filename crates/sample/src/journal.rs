//! Prints each call with its RPC and event as one line of JSON.

use std::fmt::Display;
use std::io::Write;

use connectrpc::ConnectError;
use connectrpc::interceptor::{Interceptor, Next, UnaryRequest, UnaryResponse, async_trait};
use serde_json::json;

#[derive(Debug)]
pub struct Journal;

#[async_trait]
impl Interceptor for Journal {
    async fn intercept_unary(
        &self,
        request: UnaryRequest,
        next: Next<'_>,
    ) -> Result<UnaryResponse, ConnectError> {
        let rpc = request.ctx.path().unwrap_or_default().trim_start_matches('/').to_owned();
        let header = |name: &str| {
            request.ctx.header(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let (event_id, attempt) = (header("outbox-event-id"), header("outbox-attempt"));
        let answer = next.run(request).await;
        let refused = answer.as_ref().err().map(|error| error.code.as_str());
        say(json!({ "rpc": rpc, "event_id": event_id, "attempt": attempt, "refused": refused }));
        answer
    }
}

pub fn say(line: impl Display) {
    let mut out = std::io::stdout().lock();
    // The reader of the output may be gone; the calls go on.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
