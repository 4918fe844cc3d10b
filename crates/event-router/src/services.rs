//! `services.yaml`: where services are, how they are called, and how a call shows who makes it.
//!
//! It is pure: it has the names of files with secrets, and never their contents.

mod called; // flags and file -> how a service is called
mod endpoint; // the flags
mod file; // what services.yaml says
mod masked; // its text without secrets
mod names; // a service's name, with and without its package
mod parse;

pub use called::{Ambiguous, Called, Said, Stray, similar};
pub use endpoint::{ALL, Encoding, EncodingError, Endpoint, EndpointError, Many, ServiceEncoding};
pub use file::{Entry, Services, TlsFiles, Value};
pub use names::Name;
pub use parse::ReadError;
