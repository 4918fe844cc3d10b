//! The ledger: `acme-ledger serve` records cards, `acme-ledger issue CARD_ID` issues one.

#![expect(refining_impl_trait, reason = "a handler names the type it returns, as connectrpc's guide has it")]

mod issue;
mod serve;

use std::error::Error;

pub mod proto {
    outbox::include_proto!();
}

pub mod connect {
    connectrpc::include_generated!("services.rs");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => serve::serve().await,
        ["issue", card_id] => issue::issue(card_id, false).await,
        ["issue", card_id, "--roll-back"] => issue::issue(card_id, true).await,
        _ => Err("usage: acme-ledger serve | issue CARD_ID [--roll-back]".into()),
    }
}
