//! Which events a command is about, by what they say of themselves.

use outbox_transport::operate::About;

/// Every given condition must hold.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AboutArgs {
    /// Of events with this key.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,

    /// Of events of this name: event_hoge_updated.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Of events with this header: tenant=t-9.
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    header: Option<(String, String)>,
}

impl AboutArgs {
    pub(crate) fn with_reason(&self, reason: Option<&String>) -> About {
        let Self { key, name, header } = self.clone();
        About { key, name, header, reason: reason.cloned() }
    }
}

/// Names of headers are lower-case.
fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_ascii_lowercase(), value.to_owned())),
        _ => Err("write NAME=VALUE, as in tenant=t-9".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a header is a name and a value, which may have an equals sign.
    #[test]
    fn a_header_has_a_name_and_a_value() {
        let read = |text: &str| header(text).ok();
        let pair = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        for (text, expected) in [
            ("tenant=t-9", pair("tenant", "t-9")),
            ("Tenant=a=b", pair("tenant", "a=b")),
            ("tenant=", pair("tenant", "")),
            ("tenant", None),
            ("=x", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
