//! Region, credentials and endpoints, from AWS's standard environment, profiles and roles.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_types::error::display::DisplayErrorContext;

const CONNECT_WITHIN: Duration = Duration::from_secs(3);
const CREDENTIALS_WITHIN: Duration = Duration::from_secs(10);

/// Each attempt of a call ends after `attempt_timeout`; the SDK's default is no limit. The SDK does not retry, because it can't
/// retry single entries: each caller has its own loop and waits.
pub async fn config(attempt_timeout: Duration) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts(attempt_timeout))
        // Answers are small, and each attempt has its timeout.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .load()
        .await
}

/// The same credentials and connections, with another timeout.
pub fn with_attempt_timeout(config: &SdkConfig, attempt_timeout: Duration) -> SdkConfig {
    config.to_builder().timeout_config(timeouts(attempt_timeout)).build()
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_WITHIN).operation_attempt_timeout(attempt).build()
}

/// Logs at start what would make every call fail. The process goes on, because a role may come later.
pub async fn say_what_is_missing(config: &SdkConfig) {
    for Missing { what, problem, remedy } in missing(config).await {
        tracing::error!(problem, "{what}: {remedy}");
    }
}

/// A missing setting that would make every call fail, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub what: &'static str,
    /// The SDK's text; it may have several lines.
    pub problem: Option<String>,
    pub remedy: &'static str,
}

pub async fn missing(config: &SdkConfig) -> Vec<Missing> {
    let mut missing = Vec::new();
    if config.region().is_none() {
        missing.push(Missing {
            what: "no AWS region",
            problem: None,
            remedy: "set AWS_REGION, or a region in the profile that AWS_PROFILE names",
        });
    }
    let problem = match config.credentials_provider() {
        None => None,
        Some(provider) => {
            match tokio::time::timeout(CREDENTIALS_WITHIN, provider.provide_credentials()).await {
                Ok(Ok(_)) => return missing,
                Ok(Err(error)) => Some(on_one_line(&DisplayErrorContext(&error))),
                Err(_) => Some(format!("no answer within {} s", CREDENTIALS_WITHIN.as_secs())),
            }
        }
    };
    missing.push(Missing {
        what: "no AWS credentials yet",
        problem,
        remedy: "give the process a role (EKS, ECS, EC2), a profile (AWS_PROFILE), or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    });
    missing
}

/// An error's causes may be lists over several lines.
pub(crate) fn on_one_line(error: &impl std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
