use serde::Serialize;

use super::at::At;
use crate::brake::Brake;

/// A brake as operators see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SetBrake {
    pub rpc: String,
    #[serde(flatten)]
    pub brake: Brake,
    pub since: At,
    pub until: At,
    pub who: String,
    pub why: String,
}
