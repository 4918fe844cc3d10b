/// Why a question or a repair was not answered, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperateError {
    /// What is asked does not answer, or not this caller. Otherwise something went wrong half-way.
    pub unreachable: bool,
    pub problem: String,
    pub remedy: String,
}

impl OperateError {
    /// Something went wrong half-way.
    pub fn failed(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { unreachable: false, problem: problem.into(), remedy: remedy.into() }
    }

    /// What it needs does not answer, or not this caller.
    pub fn unreachable(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { unreachable: true, problem: problem.into(), remedy: remedy.into() }
    }
}
