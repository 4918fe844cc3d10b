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
