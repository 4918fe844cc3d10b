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
        Standing::Running => match &progress.speed.paused_by {
            Some(by) => format!("is paused by {}", line(by, NAME_CHARS_MAX)),
            None => "runs".to_owned(),
        },
        Standing::Silent if kept.at.known().is_some_and(|at| seconds_since(at) < AGE_SECONDS_MAX) => {
            "is silent".to_owned()
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

#[cfg(test)]
mod tests {
    use clap::Parser;
    use outbox_transport::operate::{Kind, Progress, Speed};
    use uuid::Uuid;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn kept(minutes_ago: i64, beat_seconds_ago: f64, ended: bool) -> Kept {
        let progress = Progress {
            kind: Kind::Redrive,
            rpc: Some("A/B".into()),
            plan: Vec::new(),
            bound: None,
            reached: 1234,
            total: Some(5000),
            place: None,
            beat_seconds_ago,
            stop_by: None,
            speed: Speed::default(),
            taken_back: 0,
        };
        Kept {
            source: "cards".into(),
            id: Uuid::nil(),
            at: (chrono::Utc::now() - chrono::TimeDelta::minutes(minutes_ago)).into(),
            who: "me@host".into(),
            role: None,
            command: "outbox dlq redrive".into(),
            result: ended.then(|| serde_json::json!({"moved": 1234})),
            ended,
            progress: Some(progress),
        }
    }

    /// Guards promise 8: every operator sees a redrive that runs or was killed, and none that ended or is old.
    #[test]
    fn only_open_repairs_are_shown() {
        let options = Cli::parse_from(["outbox", "--router", "event_router.yaml"]).options;
        let mut paused = kept(2, 1.0, false);
        if let Some(progress) = &mut paused.progress {
            progress.speed.paused_by = Some("you@host".to_owned());
        }
        for (kept, expected) in [
            (kept(2, 1.0, false), Some("a redrive of A/B by me@host runs: 1,234 of 5,000, since ")),
            (paused, Some("a redrive of A/B by me@host is paused by you@host: 1,234 of 5,000, since ")),
            (kept(2, 60.0, false), Some("a redrive of A/B by me@host is silent: 1,234 of 5,000, since ")),
            (kept(2000, 60.0, false), None),
            (kept(2, 1.0, true), None),
            (Kept { progress: None, ..kept(2, 1.0, false) }, None),
        ] {
            let shown = notices(&[kept], &options);
            assert_eq!(shown.len(), usize::from(expected.is_some()), "{shown:?}");
            if let (Some(shown), Some(expected)) = (shown.first(), expected) {
                let text = shown.to_string();
                let ends = text.ends_with(&format!(": outbox repair show {}", Uuid::nil()));
                assert!(text.starts_with(expected) && ends, "{text}");
            }
        }
    }
}
