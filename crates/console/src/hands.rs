//! Forms about single messages: what waits in a queue, and what is parked. Each can be taken back.

use axum::extract::Path;
use axum::response::Response;

use crate::ask::words;
use crate::changes::done;
use crate::commands;
use crate::frame::rpc_path;
use crate::visit::Sent;

/// One event, or all that wait for another attempt. They become dead letters, and a redrive takes that back.
pub(crate) async fn give_up(Path((service, method)): Path<(String, String)>, sent: Sent) -> Response {
    let rpc = format!("{service}/{method}");
    let (event, code) = (sent.field("event"), sent.field("code"));
    let words = commands::give_up(&rpc, event, code, sent.field("why"));
    done(&sent.visit, commands::agreed(words), &rpc_path(&rpc)).await
}

pub(crate) async fn retry_parked(Path(id): Path<String>, sent: Sent) -> Response {
    // What is no id is refused by the command. It can't be taken for a flag.
    let id = if words::is_id(&id) { id.as_str() } else { "" };
    let words = commands::retry_parked(id, sent.field("why"));
    done(&sent.visit, commands::agreed(words), "/parked").await
}
