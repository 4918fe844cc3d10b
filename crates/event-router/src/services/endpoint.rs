//! Where a service is served, and in which encoding: by flags and the environment.

use std::str::FromStr;

use heck::ToKebabCase;
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
    pub fn named(name: &str) -> Option<Self> {
        [Self::Json, Self::Proto, Self::Grpc].into_iter().find(|known| known.as_str() == name)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::Json => "json",
            Encoding::Proto => "proto",
            Encoding::Grpc => "grpc",
        }
    }
}

/// The service of an endpoint that is for all others.
pub const ALL: &str = "*";

/// Several values in one argument or variable, separated by spaces, commas or line ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Many<T>(pub Vec<T>);

impl<T: FromStr> FromStr for Many<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
        words.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_pattern = text.contains("://") && text.contains('{');
        let (service, url) = match text.split_once('=') {
            Some((service, url)) => (service, url),
            None if is_pattern => (ALL, text),
            None => return Err(EndpointError::NoService),
        };
        if service.is_empty() || service.contains(['/', '{']) {
            return Err(EndpointError::NoService);
        }
        if !is_address(url) {
            return Err(EndpointError::Url { service: service.to_owned() });
        }
        Ok(Self { service: service.to_owned(), url: url.to_owned() })
    }
}

/// Whether a text is an address, perhaps with a placeholder for the service's name.
pub(crate) fn is_address(url: &str) -> bool {
    let is_rest = |rest: &str| {
        let rest = filled(rest, "a.Service");
        let uri = Uri::from_str(&format!("http://{rest}"));
        uri.is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()) && uri.query().is_none())
            // A password would be shown in arguments and logs, and no call would send it.
            && !rest.contains(['@', '#', '{', '}'])
    };
    ["http://", "https://", "h2c://"].iter().any(|scheme| url.strip_prefix(scheme).is_some_and(is_rest))
}

/// An address for a service: `{service}` is its name without the package, `{service-kebab}` the same as `notification-service`.
pub(crate) fn filled(url: &str, service: &str) -> String {
    let short = service.rsplit('.').next().unwrap_or(service);
    url.replace("{service}", short).replace("{service-kebab}", &short.to_kebab_case())
}

impl FromStr for ServiceEncoding {
    type Err = EncodingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (service, encoding) = text.split_once('=').ok_or(EncodingError)?;
        let encoding = Encoding::named(encoding).ok_or(EncodingError)?;
        if service.is_empty() || service.contains('/') {
            return Err(EncodingError);
        }
        Ok(Self { service: service.to_owned(), encoding })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error(
        "write SERVICE=URL, for example NotificationService=http://notification:8080, or a pattern for all others: http://{{service}}:8080"
    )]
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
            ("http://{svc}:8080", "is not http://"),
            ("{service}=http://a", "write SERVICE=URL"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("secret"), "{text}: {error}");
        }
    }

    /// Guards: a pattern gives each service an address, and a variable may have one endpoint on each line.
    #[test]
    fn patterns_and_lines_are_read() {
        let text = "A=http://a:1\n  B=h2c://b\n\nhttp://{service-kebab}.internal:8080 *=https://{service}";
        let Many(endpoints) = text.parse::<Many<Endpoint>>().unwrap();
        let services: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.service.as_str()).collect();
        assert_eq!(services, ["A", "B", ALL, ALL]);
        let service = "acme.v1.NotificationService";
        assert_eq!(filled(&endpoints[2].url, service), "http://notification-service.internal:8080");
        assert_eq!(filled(&endpoints[3].url, service), "https://NotificationService");
        assert_eq!("".parse::<Many<Endpoint>>().unwrap(), Many(Vec::new()));
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
