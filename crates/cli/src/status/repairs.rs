//! Pure: repairs of other operators that run at this moment, or whose command was killed.

use outbox_transport::operate::{Kept, Standing, thousands};

use super::answer::Problem;
use crate::options::Options;
use crate::safe::line;
use crate::show::{NAME_CHARS_MAX, moment_of, seconds_since};

/// So many of the newest entries of the audit are looked at.
pub(super) const READ_MAX: u32 = 20;
/// An older one is of no interest any more.
const AGE_SECONDS_MAX: f64 = 24.0 * 60.0 * 60.0;

pub(super) fn notices(kept: &[Kept], options: &Options) -> Vec<Problem> {
    kept.iter().filter_map(|one| notice(one, options)).collect()
}

fn notice(kept: &Kept, options: &Options) -> Option<Problem> {
    let progress = kept.progress.as_ref()?;
    let does = match kept.standing() {
        Standing::Running => "runs",
        Standing::Silent if kept.at.known().is_some_and(|at| seconds_since(at) < AGE_SECONDS_MAX) => {
            "is silent"
        }
        _ => return None,
    };
    let rpc = line(progress.rpc.as_deref().unwrap_or("every RPC"), NAME_CHARS_MAX);
    let total = progress.total.map(|total| format!(" of {}", thousands(total))).unwrap_or_default();
    let (who, since) = (line(&kept.who, NAME_CHARS_MAX), moment_of(kept.at));
    Some(Problem::command(
        format!(
            "a {} of {rpc} by {who} {does}: {}{total}, since {since}",
            progress.kind,
            thousands(progress.reached)
        ),
        options.command(["repair", "show", &kept.id.to_string()]),
    ))
}
