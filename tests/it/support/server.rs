//! A Connect server for any unary method, without generated code.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use connectrpc::dispatcher::{Dispatcher, MethodDescriptor, StreamingResult, UnaryResult};
use connectrpc::{
    CodecFormat, ConnectError, ConnectRpcService, EncodedResponse, Payload, RequestContext, Server,
};
use http::HeaderMap;
use tokio::net::TcpListener;

/// The content of a call.
#[derive(Debug, Clone)]
pub(crate) struct Incoming {
    /// `NotificationService/NotifyHogeUpdated`
    pub(crate) rpc: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Incoming {
    /// A header's value, empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<(), ConnectError>> + Send>>;

/// Serves every method whose name `serves` accepts, until `shutdown`.
pub(crate) async fn serve(
    listener: TcpListener,
    serves: impl Fn(&str) -> bool + Send + Sync + 'static,
    handle: impl Fn(Incoming) -> Answer + Send + Sync + 'static,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let service = ConnectRpcService::new(Methods { serves: Arc::new(serves), handle: Arc::new(handle) });
    Server::from_listener(listener).serve_with_service_and_shutdown(service, shutdown).await
}

/// The same over TLS, for as long as the process lives.
pub(crate) async fn serve_tls(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    serves: impl Fn(&str) -> bool + Send + Sync + 'static,
    handle: impl Fn(Incoming) -> Answer + Send + Sync + 'static,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let service = ConnectRpcService::new(Methods { serves: Arc::new(serves), handle: Arc::new(handle) });
    Server::from_listener(listener).with_tls(tls).serve_with_service(service).await
}

struct Methods {
    serves: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    handle: Arc<dyn Fn(Incoming) -> Answer + Send + Sync>,
}

impl Dispatcher for Methods {
    fn lookup(&self, path: &str) -> Option<MethodDescriptor> {
        (self.serves)(path).then(|| MethodDescriptor::unary(false))
    }

    fn call_unary(
        &self,
        path: &str,
        ctx: RequestContext,
        request: Payload,
        format: CodecFormat,
    ) -> UnaryResult {
        let incoming = request.encoded().map(|body| Incoming {
            rpc: path.to_owned(),
            headers: ctx.headers().clone(),
            body,
        });
        let handle = Arc::clone(&self.handle);
        Box::pin(async move {
            handle(incoming?).await?;
            let empty: &[u8] = match format {
                CodecFormat::Json => b"{}",
                _ => b"",
            };
            Ok(EncodedResponse::new(Bytes::from_static(empty).into()))
        })
    }

    fn call_server_streaming(
        &self,
        path: &str,
        _: RequestContext,
        _: Bytes,
        _: CodecFormat,
    ) -> StreamingResult {
        connectrpc::dispatcher::unimplemented_streaming(path)
    }

    fn call_client_streaming(
        &self,
        path: &str,
        _: RequestContext,
        _: connectrpc::dispatcher::RequestStream,
        _: CodecFormat,
    ) -> UnaryResult {
        connectrpc::dispatcher::unimplemented_unary(path)
    }

    fn call_bidi_streaming(
        &self,
        path: &str,
        _: RequestContext,
        _: connectrpc::dispatcher::RequestStream,
        _: CodecFormat,
    ) -> StreamingResult {
        connectrpc::dispatcher::unimplemented_streaming(path)
    }
}
