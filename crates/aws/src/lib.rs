//! AWS as its users know it: the standard environment, profiles and roles decide region, credentials and endpoints.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

const CONNECT_WITHIN: Duration = Duration::from_secs(3);
const CREDENTIALS_WITHIN: Duration = Duration::from_secs(10);

/// Region, credentials and endpoints from the environment. Each attempt of a call ends after `attempt_timeout`: the SDK
/// by itself waits for ever. It is not repeated by the SDK, which knows nothing of single entries: whoever calls has a loop
/// with a wait of its own.
pub async fn config(attempt_timeout: Duration) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts(attempt_timeout))
        // Small answers, and an attempt has its timeout.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .load()
        .await
}

/// The same credentials and connections, for calls that may take another time.
pub fn with_attempt_timeout(config: &SdkConfig, attempt_timeout: Duration) -> SdkConfig {
    config.to_builder().timeout_config(timeouts(attempt_timeout)).build()
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_WITHIN).operation_attempt_timeout(attempt).build()
}

/// Says at start what would make every call fail, and goes on: a role that comes a little later is waited for.
pub async fn say_what_is_missing(config: &SdkConfig) {
    for Missing { what, problem, remedy } in missing(config).await {
        tracing::error!(problem, "{what}: {remedy}");
    }
}

/// What would make every call fail, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub what: &'static str,
    /// What the SDK says of it; it may have several lines.
    pub problem: Option<String>,
    pub remedy: &'static str,
}

/// Whether there are a region and credentials.
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

/// With its causes, which may be lists.
fn on_one_line(error: &impl std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What went wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// AWS's code; or what kept a call from being one: `Unreachable`, `Timeout`, `UnreadableAnswer`.
    pub code: String,
    pub message: String,
    /// AWS understood the request and will not take it: an HTTP 4xx that is no throttling and no matter of permissions.
    pub refused: bool,
}

impl Failure {
    pub fn of<E, R>(error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let unavailable = |code: &str| Self {
            code: code.to_owned(),
            message: on_one_line(&DisplayErrorContext(error)),
            refused: false,
        };
        match error {
            SdkError::ServiceError(answer) => {
                let error = answer.err();
                let code = error.code().unwrap_or("UnknownError").to_owned();
                let refused = [
                    "ValidationException",
                    "ValidationError",
                    "InvalidParameterValue",
                    "SerializationException",
                ]
                .contains(&code.as_str());
                let message = error.message().unwrap_or_default();
                let message = match remedy(&code) {
                    Some(remedy) => format!("{message} ({remedy})"),
                    None => message.to_owned(),
                };
                Self { message, refused, code }
            }
            SdkError::TimeoutError(_) => unavailable("Timeout"),
            SdkError::ResponseError(_) => unavailable("UnreadableAnswer"),
            _ => unavailable("Unreachable"),
        }
    }
}

/// Whether AWS, by this code, takes nobody's requests now: what passes by itself, and credentials, which concern all. What
/// else is refused is refused for what it is, and will be again.
pub fn is_away(code: &str) -> bool {
    const AWAY: [&str; 29] = [
        "Unreachable",
        "Timeout",
        "UnreadableAnswer",
        "UnknownError",
        "RequestThrottled",
        "RequestThrottledException",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "OverLimit",
        "SlowDown",
        "KmsThrottled",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "MissingAuthenticationToken",
    ];
    AWAY.contains(&code.rsplit('.').next().unwrap_or(code))
}

/// What somebody must mend, where AWS's own words don't say it. Meanwhile the process waits and asks again.
fn remedy(code: &str) -> Option<&'static str> {
    match code {
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => {
            Some("the credentials have expired: renew them, or give the process a role that does")
        }
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch" => {
            Some("these are no credentials of this account: see AWS_PROFILE and AWS_ACCESS_KEY_ID")
        }
        "AccessDenied" | "AccessDeniedException" => {
            Some("attach the policy that Terraform made for it: the output policy_arns")
        }
        _ => None,
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Failure {}
