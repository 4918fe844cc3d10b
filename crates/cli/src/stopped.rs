use outbox_transport::operate::OperateError;

use crate::safe::line;

/// The exit code for what no repetition makes better.
pub(crate) const UNUSABLE: u8 = 2;
/// A server's message may be much longer.
const PROBLEM_CHARS_MAX: usize = 2000;

/// Why a command can't do its work, and the remedy.
#[derive(Debug)]
pub(crate) struct Stopped {
    code: u8,
    /// On one line, whatever a server sent.
    pub(crate) problem: String,
    pub(crate) remedy: String,
}

impl Stopped {
    fn new(code: u8, problem: &str, remedy: impl Into<String>) -> Self {
        Self { code, problem: line(problem, PROBLEM_CHARS_MAX), remedy: remedy.into() }
    }

    pub(crate) fn failed(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(1, &problem.into(), remedy)
    }

    pub(crate) fn unusable(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(UNUSABLE, &problem.into(), remedy)
    }

    pub(crate) fn unreachable(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(3, &problem.into(), remedy)
    }

    /// What a page was given is no argument of its command.
    #[cfg(feature = "console")]
    pub(crate) fn entered(error: &clap::Error) -> Self {
        Self::unusable(without_usage(&error.render().to_string()), "correct what was entered")
    }

    #[cfg(not(feature = "aws"))]
    pub(crate) fn without_aws() -> Self {
        Self::unusable("this outbox was built without AWS", "build it with its default features")
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

impl From<OperateError> for Stopped {
    fn from(OperateError { unreachable, problem, remedy }: OperateError) -> Self {
        if unreachable { Self::unreachable(problem, remedy) } else { Self::failed(problem, remedy) }
    }
}

/// Pure: what only helps in a terminal is left out.
#[cfg(feature = "console")]
fn without_usage(text: &str) -> &str {
    let ends = ["\n\nUsage:", "\n\nFor more information", "\n\n  tip:"];
    let end = ends.iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
    text[..end].trim_start_matches("error: ").trim_end()
}

#[cfg(test)]
#[cfg(feature = "console")]
mod tests {
    use super::*;

    /// Guards promise 8: a page says what was entered, and not how a command is called.
    #[test]
    fn what_was_entered_is_said_without_usage() {
        let command = clap::Command::new("outbox")
            .arg(clap::Arg::new("rate").long("rate").value_parser(clap::value_parser!(u32).range(1..)));
        for (words, said) in [(&["outbox", "--rate=x"][..], "'x'"), (&["outbox", "--rat=1"], "'--rat'")] {
            let error = command.clone().try_get_matches_from(words).unwrap_err();
            let stopped = Stopped::entered(&error);
            assert_eq!((stopped.code(), stopped.remedy.as_str()), (UNUSABLE, "correct what was entered"));
            assert!(stopped.problem.contains(said), "{}", stopped.problem);
            for left_out in ["For more information", "Usage:", "tip:", "error:", "--help"] {
                assert!(!stopped.problem.contains(left_out), "{}", stopped.problem);
            }
        }
    }
}
