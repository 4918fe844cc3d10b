//! The worker's calls, each shown with what becomes of its event.

use std::sync::Arc;
use std::time::Duration;

use outbox_event_router::Router;
use outbox_transport::Outcome;
use outbox_worker::rpc::{By, Call, CallError, Client, Code, RpcClient};

use super::show::Show;
use super::to::Services;

#[derive(Debug, Clone)]
pub(super) struct Watched {
    pub(super) client: Client,
    pub(super) router: Arc<Router>,
    pub(super) services: Arc<Services>,
    pub(super) show: Arc<Show>,
}

impl Watched {
    /// The service that is called for a queue, and its address.
    fn service(&self, call: &Call<'_>) -> Option<(&str, Option<&str>)> {
        let (service, url) = self.services.get_key_value(self.router.called(call.rpc).service())?;
        Some((service, url.as_deref()))
    }
}

impl RpcClient for Watched {
    async fn call(&self, call: &Call<'_>) -> Result<(), CallError> {
        if self.service(call).and_then(|(_, url)| url).is_none() {
            let message = "the service has no address".to_owned();
            return Err(CallError { code: Code::Unavailable, message, retry_after: None, by: By::Nobody });
        }
        self.client.call(call).await
    }

    fn became(&self, call: &Call<'_>, outcome: &Outcome, took: Duration) {
        let (service, url) = self.service(call).unwrap_or((call.rpc.service(), None));
        self.show.called(call, outcome, took, (service, url));
    }
}
