use outbox_aws::Failure;
use outbox_transport::operate::OperateError;

use crate::doctor::diagnosis::Diagnosis;

/// Requests at a time: the control planes allow some tens a second.
pub(super) const TOGETHER: usize = 8;

/// A failed check: this role lacks a permission, or AWS does not answer.
pub(super) fn unseen(place: &str, failure: &Failure, action: &str) -> Diagnosis {
    if failure.code.contains("AccessDenied") || failure.code.contains("NotAuthorized") {
        return Diagnosis::skipped(
            place,
            "this role may not look at it",
            format!("allow it {action}, to have it checked"),
        );
    }
    // Every other command names the same remedy.
    let OperateError { remedy, .. } = outbox_aws::operate::trouble("AWS", failure);
    Diagnosis::error(place, format!("AWS does not say: {failure}"), remedy)
}
