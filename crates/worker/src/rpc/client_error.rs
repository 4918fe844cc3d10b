//! Why no call could work with these flags and files, and what to do.

use outbox_contract::{CarrierError, RpcError};
use outbox_event_router::Rpc;

use super::reread::FileError;
use super::tls::TlsError;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No service has one. If only some have none, their queues wait.
    #[error("event_router.yaml names services without an endpoint: {}", .services.join(", "))]
    NoEndpoint { services: Vec<String> },
    #[error("{flag} names {service}, and event_router.yaml has no RPC of it")]
    Stray { flag: &'static str, service: String, meant: Option<String> },
    #[error("'{service}' may be {one} or {other}")]
    Ambiguous { service: String, one: String, other: String },
    #[error("the endpoint of {service} is not a valid address")]
    Uri { service: String },
    #[error("the encoding {encoding} of {service} needs to know the service's proto")]
    NeedsProto { service: String, encoding: &'static str },
    #[error("event_router.yaml names '{rpc}', but {source}")]
    Rpc { rpc: Rpc, queue: Rpc, source: Box<RpcError> },
    #[error("'{rpc}' can't be sent its event: {source}")]
    Carrier { rpc: Rpc, source: CarrierError },
    #[error("'{rpc}' subscribes to '{event}', which proto does not have")]
    UnknownEvent { rpc: Rpc, event: String },
    #[error("{service}: {source}")]
    Tls { service: String, source: TlsError },
    #[error("{service}: {source}")]
    Credentials { service: String, source: FileError },
}

impl ClientError {
    pub fn remedy(&self) -> String {
        match self {
            Self::NoEndpoint { services } => {
                let flags = services.iter().map(|service| format!("--endpoint {service}=http://HOST:PORT"));
                let flags = flags.collect::<Vec<_>>().join(" ");
                format!("pass {flags}, or name them in services.yaml and pass --services services.yaml")
            }
            Self::Stray { meant: Some(meant), .. } => format!("did you mean {meant}?"),
            Self::Stray { meant: None, .. } => "correct the service's name, or remove the flag".to_owned(),
            Self::Ambiguous { .. } => {
                "name its package in flags and services.yaml, and in event_router.yaml or by --proto".to_owned()
            }
            Self::Uri { .. } => "see --endpoint in worker --help".to_owned(),
            Self::NeedsProto { .. } => "pass --proto DIR with its .proto files, or a descriptor set".to_owned(),
            Self::Rpc { source, queue, .. } => source.hint(queue.as_str()),
            Self::Carrier { source, .. } => source.hint(),
            Self::UnknownEvent { .. } => {
                "define it in proto, or give the worker the newer proto; `outbox check` finds every such mistake".to_owned()
            }
            Self::Tls { source: TlsError::NoRoots, .. } => {
                "install ca-certificates, or name the service's own authority as `tls.ca` in services.yaml".to_owned()
            }
            Self::Tls { source: TlsError::Setup(_), .. } => "see --endpoint in worker --help".to_owned(),
            Self::Tls { source: TlsError::File(_), .. } | Self::Credentials { .. } => {
                "correct the file, its rights, or its name in services.yaml".to_owned()
            }
        }
    }
}
