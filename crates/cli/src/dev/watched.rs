//! The worker's calls, each shown with what becomes of its event.

use std::sync::Arc;
use std::time::Duration;

use outbox_transport::Outcome;
use outbox_worker::rpc::{By, Call, CallError, Client, Code, RpcClient};

use super::show::Show;
use super::to::Services;

#[derive(Debug, Clone)]
pub(super) struct Watched {
    pub(super) client: Client,
    pub(super) services: Arc<Services>,
    pub(super) show: Arc<Show>,
}

impl Watched {
    fn url(&self, service: &str) -> Option<&str> {
        self.services.get(service)?.as_deref()
    }
}

impl RpcClient for Watched {
    async fn call(&self, call: &Call<'_>) -> Result<(), CallError> {
        if self.url(call.rpc.service()).is_none() {
            let message = "the service has no address".to_owned();
            return Err(CallError { code: Code::Unavailable, message, retry_after: None, by: By::Nobody });
        }
        self.client.call(call).await
    }

    fn became(&self, call: &Call<'_>, outcome: &Outcome, took: Duration) {
        self.show.called(call, outcome, took, self.url(call.rpc.service()));
    }
}
