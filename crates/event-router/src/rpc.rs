use std::fmt;

/// The name of an RPC, `Service/Method`, the service with or without its package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rpc(String);

impl Rpc {
    /// `None` if `id` is not of the form `NotificationService/NotifyHogeUpdated` or
    /// `acme.v1.NotificationService/NotifyHogeUpdated`, or has more than 256 characters.
    pub fn new(id: &str) -> Option<Self> {
        let (service, method) = id.split_once('/')?;
        let valid = id.len() <= 256 && service.split('.').all(is_identifier) && is_identifier(method);
        valid.then(|| Self(id.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn service(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(service, _)| service)
    }
}

impl fmt::Display for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
