//! Where a service is served, and in which encoding, by the environment.

use std::str::FromStr;

use http::Uri;

/// Where a service is served: `NotificationService=http://notification:8080`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub service: String,
    pub url: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// Connect with JSON: the payload as it was published.
    #[default]
    Json,
    /// Connect with protobuf's binary.
    Proto,
    Grpc,
}

/// A service's encoding: `LedgerService=grpc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEncoding {
    pub service: String,
    pub encoding: Encoding,
}

impl Encoding {
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::Json => "json",
            Encoding::Proto => "proto",
            Encoding::Grpc => "grpc",
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((service, url)) = text.split_once('=') else { return Err(EndpointError::NoService) };
        let is_address = |rest: &str| {
            let uri = Uri::from_str(&format!("http://{rest}"));
            uri.is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()) && uri.query().is_none())
                // A password would be shown in arguments and logs, and no call would send it.
                && !rest.contains(['@', '#'])
        };
        let valid = ["http://", "https://", "h2c://"]
            .iter()
            .any(|scheme| url.strip_prefix(scheme).is_some_and(is_address));
        if service.is_empty() || service.contains('/') {
            return Err(EndpointError::NoService);
        }
        if !valid {
            return Err(EndpointError::Url { service: service.to_owned() });
        }
        Ok(Self { service: service.to_owned(), url: url.to_owned() })
    }
}

impl FromStr for ServiceEncoding {
    type Err = EncodingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (service, encoding) = text.split_once('=').ok_or(EncodingError)?;
        let encoding = [Encoding::Json, Encoding::Proto, Encoding::Grpc]
            .into_iter()
            .find(|known| known.as_str() == encoding)
            .ok_or(EncodingError)?;
        if service.is_empty() || service.contains('/') {
            return Err(EncodingError);
        }
        Ok(Self { service: service.to_owned(), encoding })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("write SERVICE=URL, for example NotificationService=http://notification:8080")]
    NoService,
    #[error(
        "the address of {service} is not http://, https:// or h2c:// with a host, and perhaps a port and a path"
    )]
    Url { service: String },
}

#[derive(Debug, thiserror::Error)]
#[error("write SERVICE=json, SERVICE=proto or SERVICE=grpc, for example LedgerService=grpc")]
pub struct EncodingError;

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a wrong endpoint is refused at start, with the remedy.
    #[test]
    fn endpoints_parse() {
        let endpoint: Endpoint = "NotificationService=http://notification:8080".parse().unwrap();
        assert_eq!(
            (endpoint.service.as_str(), endpoint.url.as_str()),
            ("NotificationService", "http://notification:8080")
        );
        for (text, expected) in [
            ("http://notification:8080", "write SERVICE=URL"),
            ("NotificationService", "write SERVICE=URL"),
            ("NotificationService=notification:8080", "is not http://"),
            ("NotificationService=ftp://notification", "is not http://"),
            ("NotificationService=http://", "is not http://"),
            ("NotificationService=http://n:8080/?token=secret-7", "is not http://"),
            ("NotificationService=https://me:secret-7@n", "is not http://"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("secret"), "{text}: {error}");
        }
    }

    /// Guards: a wrong encoding is refused, too.
    #[test]
    fn encodings_parse() {
        let parsed: ServiceEncoding = "LedgerService=grpc".parse().unwrap();
        assert_eq!((parsed.service.as_str(), parsed.encoding), ("LedgerService", Encoding::Grpc));
        for text in ["grpc", "LedgerService", "LedgerService=xml", "=json", "Ledger/Add=json"] {
            assert!(text.parse::<ServiceEncoding>().is_err(), "{text}");
        }
    }
}
