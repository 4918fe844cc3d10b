//! Incidents on a running line, each named by `status`, explained by `why`, seen by an alert, and repaired by a command that was
//! printed. All of it with the role that is documented for operators.

pub(crate) mod desk; // the line, the operator, and the clock
