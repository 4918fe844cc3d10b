use std::collections::BTreeMap;

use super::{ENDPOINTS, Role, is_wanted};

/// Begins nothing: this build can't export traces.
#[derive(Debug, Clone, Default)]
pub struct Tracer;

#[derive(Debug, Default)]
pub struct Span;

impl Tracer {
    pub(crate) fn from_env(_program: &'static str) -> Result<Self, String> {
        if is_wanted() {
            tracing::warn!("{} is set, and this build can't export traces", ENDPOINTS[0]);
        }
        Ok(Self)
    }

    pub fn is_on(&self) -> bool {
        false
    }

    pub fn start(
        &self,
        _name: String,
        _role: Role,
        _parent: &BTreeMap<String, String>,
        _attributes: [(&'static str, String); 3],
    ) -> Span {
        Span
    }

    pub(crate) fn flush(&self) {}
}

impl Span {
    pub fn continue_in(&self, _headers: &mut BTreeMap<String, String>) {}

    pub fn fail(&mut self, _code: &str, _message: &str) {}
}
