/// Why a question or a repair failed, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperateError {
    /// The server did not answer, or refused this caller. Otherwise the failure came half-way.
    pub unreachable: bool,
    pub problem: String,
    pub remedy: String,
}

impl OperateError {
    pub fn failed(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { unreachable: false, problem: problem.into(), remedy: remedy.into() }
    }

    pub fn unreachable(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { unreachable: true, problem: problem.into(), remedy: remedy.into() }
    }
}
