//! AWS's errors: which of them pass, and which are refusals for good.

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use outbox_transport::{Kind, Unsettled};

use crate::config::on_one_line;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// AWS's code; or one of ours for a call without a readable answer: `Unreachable`, `Timeout`, `UnreadableAnswer`.
    pub code: String,
    pub message: String,
    /// AWS understood the request and will not accept it: an HTTP 4xx other than throttling or permissions.
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

/// Whether this code means that AWS accepts no request now: a passing failure, or credentials, which concern every request. Any
/// other code refuses this request, and will do so again.
pub fn is_away(code: &str) -> bool {
    matches!(
        code.rsplit('.').next().unwrap_or(code),
        // There is no answer that can be read.
        "Unreachable" | "Timeout" | "UnreadableAnswer" | "UnknownError"
        // Throttled.
        | "RequestThrottled" | "RequestThrottledException" | "Throttling" | "ThrottlingException" | "ThrottledException"
        | "ThrottlingError" | "TooManyRequestsException" | "RequestLimitExceeded" | "LimitExceededException" | "OverLimit" | "SlowDown"
        | "ProvisionedThroughputExceededException" | "ProvisionedThroughputExceeded" | "KmsThrottled" | "TransactionConflict"
        // Down.
        | "ServiceUnavailable" | "ServiceUnavailableException"
        | "InternalError" | "InternalFailure" | "InternalServerError"
        // Credentials.
        | "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "UnrecognizedClientException"
        | "InvalidClientTokenId" | "InvalidSignatureException" | "SignatureDoesNotMatch" | "MissingAuthenticationToken"
    )
}

/// The remedy for an operator, if AWS's text does not have it. Meanwhile the process waits and tries again.
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

impl Failure {
    /// SQS has two names for it, by the protocol.
    pub fn is_no_queue(&self) -> bool {
        ["QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"].contains(&self.code.as_str())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Unsettled {
    fn from(failure: Failure) -> Self {
        // SQS also has names of its older protocol.
        let code = failure.code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(&failure.code);
        Self::new(kind_of_aws(code), code, &failure.message)
    }
}

/// An unknown code counts as refused: that request is repeated, too, and does not block others.
pub(crate) fn kind_of_aws(code: &str) -> Kind {
    if is_away(code) { Kind::Away } else { Kind::Refused }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promises 3 and 6: a refused message is distinguished from a service that is away, on SQS and DynamoDB.
    #[test]
    fn each_code_of_aws_has_its_kind() {
        for code in [
            "InvalidParameterValue",
            "InvalidMessageContents",
            "InvalidAttributeValue",
            "AccessDenied",
            "AccessDeniedException",
            "QueueDoesNotExist",
            "AWS.SimpleQueueService.NonExistentQueue",
            "KmsDisabled",
            "KMS.DisabledException",
            "KmsAccessDenied",
            "KmsInvalidState",
            "KmsNotFound",
            "ResourceNotFoundException",
            "ValidationException",
            "SomethingNew",
        ] {
            assert_eq!(kind_of_aws(code), Kind::Refused, "{code}");
        }
        for code in [
            "Unreachable",
            "Timeout",
            "ThrottlingException",
            "RequestThrottled",
            "AWS.SimpleQueueService.OverLimit",
            "InternalError",
            "ExpiredToken",
            "ProvisionedThroughputExceededException",
        ] {
            assert_eq!(kind_of_aws(code), Kind::Away, "{code}");
        }
    }
}
