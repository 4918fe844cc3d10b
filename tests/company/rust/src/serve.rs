//! Records cards. With `ACME_TOKEN_FILE` it asks every caller for that token.

use std::error::Error;
use std::sync::Arc;

use connectrpc::{
    ConnectError, ConnectRpcService, RequestContext, Response, Router, Server, ServiceRequest, ServiceResult,
};
use tokio::net::TcpListener;

use crate::connect::acme::card::v1::__buffa::view::oneof::card_issued_event::Holder;
use crate::connect::acme::ledger::v1::{LedgerService, RecordCardRequest, RecordCardResponse};

struct Ledger {
    token_file: Option<String>,
}

impl Ledger {
    fn admit(&self, caller: &RequestContext) -> Result<(), ConnectError> {
        let Some(file) = &self.token_file else { return Ok(()) };
        let token =
            std::fs::read_to_string(file).map_err(|error| ConnectError::internal(error.to_string()))?;
        let shown = caller.header("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if shown == format!("Bearer {}", token.trim()) {
            return Ok(());
        }
        println!("refused a caller");
        Err(ConnectError::unauthenticated("who are you?"))
    }
}

impl LedgerService for Ledger {
    async fn record_card(
        &self,
        caller: RequestContext,
        request: ServiceRequest<'_, RecordCardRequest>,
    ) -> ServiceResult<RecordCardResponse> {
        self.admit(&caller)?;
        let card = &request.event;
        let holder = match &card.holder {
            Some(Holder::Person(name)) => format!("person:{name}"),
            Some(Holder::Company(name)) => format!("company:{name}"),
            None => "nobody".to_owned(),
        };
        let mut labels: Vec<String> =
            card.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        labels.sort();
        println!(
            "recorded {} {}.{} {} {holder} {} {}",
            card.card_id,
            card.issued_at.seconds,
            card.issued_at.nanos,
            card.kind,
            card.limit_minor,
            labels.join(",")
        );
        Response::ok(RecordCardResponse::default())
    }
}

pub async fn serve() -> Result<(), Box<dyn Error + Send + Sync>> {
    let ledger = Ledger { token_file: std::env::var("ACME_TOKEN_FILE").ok() };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening {}", listener.local_addr()?.port());
    let stopped = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    let service = ConnectRpcService::new(Router::new().add_service(Arc::new(ledger)));
    Server::from_listener(listener).serve_with_service_and_shutdown(service, stopped).await
}
