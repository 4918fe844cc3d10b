//! Forms about single messages: what waits in a queue, and what is parked. Each can be taken back.

use std::collections::BTreeMap;

use axum::extract::{Path, Query};
use axum::response::Response;

use crate::answers::Meant;
use crate::ask::{Refusal, words};
use crate::changes::done;
use crate::commands::{self, ALL, ENTERED};
use crate::frame::{Frame, rpc_path};
use crate::pages::hands::give_up_all;
use crate::sent::Sent;
use crate::visit::Visit;

/// Counts, and gives up nothing.
pub(crate) async fn count_retrying(
    visit: Visit,
    Path((service, method)): Path<(String, String)>,
    Query(pairs): Query<BTreeMap<String, String>>,
) -> Response {
    let rpc = format!("{service}/{method}");
    let code = pairs.get("code").map_or("", |code| code.trim());
    let mut words = commands::give_up(&rpc, "", code, "");
    words.push("--dry-run".to_owned());
    let page = |frame: &Frame, meant: &Meant| give_up_all(frame, &rpc, code, meant);
    visit.answer(("", "Give up"), words, page).await
}

/// One event, or all that were counted. They become dead letters, and a redrive takes that back.
pub(crate) async fn give_up(Path((service, method)): Path<(String, String)>, sent: Sent) -> Response {
    let rpc = format!("{service}/{method}");
    let (event, code) = (sent.field("event"), sent.field("code"));
    if event.is_empty() && sent.field("all") != ALL {
        let words = commands::give_up(&rpc, ENTERED, "", ENTERED);
        return sent.visit.refuse(("", "Give up"), &words, &none_named());
    }
    let words = commands::give_up(&rpc, event, code, sent.field("why"));
    done(&sent.visit, commands::agreed(words), &rpc_path(&rpc)).await
}

/// An empty field is no filter.
fn none_named() -> Refusal {
    Refusal {
        code: 2,
        problem: "no event was named: nothing was given up".to_owned(),
        remedy: "enter the id of an event, or count all first".to_owned(),
    }
}

pub(crate) async fn retry_parked(Path(id): Path<String>, sent: Sent) -> Response {
    // What is no id is refused by the command. It can't be taken for a flag.
    let id = if words::is_id(&id) { id.as_str() } else { "" };
    let words = commands::retry_parked(id, sent.field("why"));
    done(&sent.visit, commands::agreed(words), "/parked").await
}
