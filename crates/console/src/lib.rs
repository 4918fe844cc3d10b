//! The console: what the command `outbox` answers, as pages that stay open.
//!
//! A page asks a question, which is a command, and renders what that command prints as JSON. A form runs a command. So there is no
//! SQL here, and no transport: [`Ask`] answers, for the command `outbox` over an installation, and for the demo with examples.

mod access; // who may look, and who may change something
mod answers; // what commands answer
mod ask;
mod asked; // asks, and cleans the answer
mod assets; // style and scripts
mod beats; // what is sent while a page is open
mod changes; // forms
mod clean; // what must never be shown
mod commands; // that forms run
mod connections; // what serves pages
mod demo; // examples
mod drops; // what can't be taken back
#[cfg(any(feature = "jwt", feature = "prometheus"))]
mod fetch; // keys, and numbers of the past
mod frame; // what every page has
mod guard; // before every page
mod hands; // of single messages
mod history; // of the last minutes
mod late; // what stands over older numbers
mod live; // the part that changes by itself
mod look; // colours, times and keys
mod outcome; // of a form
mod pages;
mod parts; // that pages share
mod payloads; // one at a time
#[cfg(feature = "prometheus")]
mod prometheus; // numbers of the past
mod reads; // pages by their addresses
mod replays; // planned, and begun
mod said; // of a form, on the next page
mod sampler; // one look for all viewers
mod secret;
mod sent; // a form
mod serve; // addresses
mod shared; // one answer for all who ask the same
mod shown; // numbers, times and links
mod standing; // the state of an RPC
mod state;
mod visit; // one request
mod wall; // what the database role may do
mod week; // seven days of an RPC

pub use access::{Access, Allow, Network, Once, Rule, Tokens, Viewer};
#[cfg(feature = "jwt")]
pub use access::{Jwt, JwtName};
pub use ask::{Answer, Answering, Ask, Question, Refusal};
pub use assets::is_colour;
pub use connections::serve;
pub use demo::Demo;
pub use frame::{has_usable_port, rpc_path};
pub use pages::remedy::problem_path;
#[cfg(feature = "prometheus")]
pub use prometheus::Prometheus;
pub use serve::{is_base_path, router};
pub use state::Settings;
