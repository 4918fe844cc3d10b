//! The worker's client, and one call of it.

use std::time::Duration;

use outbox_contract::{Contract, Sources};
use outbox_event_router::{Router, Rpc};
use outbox_worker::rpc::{Call, CallError, Client, Endpoint, RpcClient, Services};
use testkit::answers::Sent;
use testkit::process::root;

/// No answer may take as long: a timeout is a failure of its own kind.
pub(super) const TIMEOUT: Duration = Duration::from_secs(20);

pub(super) fn contract() -> Contract {
    Sources { protos: vec![root().join("tests/proto")], includes: Vec::new(), ..Sources::default() }
        .read()
        .expect("protos")
}

/// One RPC's client, with connections that last.
pub(super) struct Caller {
    client: Client,
    rpc: Rpc,
}

impl Caller {
    pub(super) fn new(sent: Sent, url: String, contract: &Contract) -> Self {
        let (service, encoding) = match sent {
            Sent::Json => ("EveryJsonService", "json"),
            Sent::Proto => ("EveryProtoService", "proto"),
            Sent::Grpc => ("EveryGrpcService", "grpc"),
        };
        let rpc = Rpc::new(&format!("{service}/Take")).expect("an id");
        let yaml = format!("event:\n  - name: event_maybe_keyed\n    subscriber: [{{ id: {rpc} }}]\n");
        let router = Router::parse("test.yaml", &yaml).expect("a router");
        let services = Services {
            endpoints: &[Endpoint { service: service.to_owned(), url }],
            encodings: &[format!("{service}={encoding}").parse().expect("an encoding")],
            contract: Some(contract),
            header_prefixes: &[],
        };
        Self { client: Client::new(&router, &services).expect("a client"), rpc }
    }

    pub(super) async fn call(&self) -> Result<(), CallError> {
        self.call_within(TIMEOUT).await
    }

    pub(super) async fn call_within(&self, timeout: Duration) -> Result<(), CallError> {
        let body = format!(
            r#"{{"rpc":"{}","event":{{"id":"0198c7e2-0000-7000-8000-000000000001","name":"event_maybe_keyed","key":null,"occurred_at":"2026-11-22T03:04:05.678Z","headers":{{}},"payload":{{"id":1}}}}}}"#,
            self.rpc
        );
        let message = outbox_event::Message::decode(&body).expect("a message");
        self.client.call(&Call { rpc: &self.rpc, event: &message.event, attempt: 1, timeout }).await
    }
}
