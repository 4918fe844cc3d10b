use crate::Unusable;

/// Why a command can't do its work, and what to do about it.
#[derive(Debug)]
pub(crate) struct Stopped {
    code: u8,
    pub(crate) problem: String,
    pub(crate) remedy: String,
}

impl Stopped {
    /// Something went wrong half-way.
    pub(crate) fn failed(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: 1, problem: problem.into(), remedy: remedy.into() }
    }

    /// These arguments mean nothing.
    pub(crate) fn unusable(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: 2, problem: problem.into(), remedy: remedy.into() }
    }

    /// What it needs does not answer, or not us.
    pub(crate) fn unreachable(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: 3, problem: problem.into(), remedy: remedy.into() }
    }

    #[cfg(not(feature = "aws"))]
    pub(crate) fn without_aws() -> Self {
        Self::unusable("this outbox was built without AWS", "build it with its default features")
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

impl From<Unusable> for Stopped {
    fn from(Unusable { problem, remedy }: Unusable) -> Self {
        Self::unusable(problem, remedy)
    }
}
