/// The host and port behind a service's URL.
pub(super) fn host_and_port(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let port = match scheme {
        "http" | "h2c" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority =
        rest.split('/').next().filter(|authority| !authority.is_empty() && !authority.contains('@'))?;
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    let is_host = !authority.contains(':') || authority.ends_with(']');
    match (has_port, is_host) {
        (true, _) => Some(authority.to_owned()),
        (false, true) => Some(format!("{authority}:{port}")),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: an address is read as the worker reads it.
    #[test]
    fn addresses_have_a_host_and_a_port() {
        for (url, expected) in [
            ("http://a:8080", Some("a:8080")),
            ("https://a.internal/base", Some("a.internal:443")),
            ("h2c://[::1]:50051", Some("[::1]:50051")),
            ("http://[::1]", Some("[::1]:80")),
            ("http://a", Some("a:80")),
            ("a:8080", None),
            ("http://me:secret@a:1", None),
            ("http://", None),
            ("http://a:port", None),
        ] {
            assert_eq!(host_and_port(url).as_deref(), expected, "{url}");
        }
    }
}
