//! What `outbox console` takes.

use std::net::SocketAddr;
use std::path::PathBuf;

use outbox_console::{Network, is_colour};

use crate::options::Options;

/// Serves pages that show what stands still and why, and repair it with the commands of `outbox`.
///
/// Each page shows what a command answers, and which one. It listens on this machine, prints an address, and the browser that
/// opens it first may use it. Another address needs --auth-token-file or --auth-header. Repairs are in `outbox audit` with the
/// name of who sent the form. Payloads and values of headers are never shown. Ctrl-C ends it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A look without a database: outbox console --demo\nBehind a proxy that has checked who it is: outbox console --addr 0.0.0.0:9466 --auth-header X-Forwarded-Email --trust 10.0.0.0/8 --host outbox.example.com --may-repair ann@example.com\n\nExit status: 0 ended by Ctrl-C; 1 it failed; 2 unusable arguments, or an address that others reach and no --auth."
)]
pub(crate) struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9466", env = "OUTBOX_CONSOLE_ADDR", value_name = "HOST:PORT")]
    pub(super) addr: SocketAddr,

    /// Show examples in place of an installation. Nothing is changed.
    #[arg(long)]
    pub(super) demo: bool,

    /// What each address begins with, behind a proxy that serves others, too: /outbox
    #[arg(long, default_value = "", hide_default_value = true, value_parser = base_path, value_name = "PATH")]
    pub(super) base_path: String,

    /// The title of each page: the environment's name.
    #[arg(long, default_value = "Outbox", value_name = "TEXT")]
    pub(super) title: String,

    /// The colour of each page's border, which tells production from other environments: '#b00020'
    #[arg(long, value_parser = colour, value_name = "COLOUR")]
    pub(super) accent: Option<String>,

    /// No forms, for any viewer.
    #[arg(long)]
    pub(super) read_only: bool,

    /// A file with NAME ROLE TOKEN on each line, where ROLE is viewer or operator. Browsers ask for it as a password.
    #[arg(long, value_name = "FILE", conflicts_with = "auth_header")]
    pub(super) auth_token_file: Option<PathBuf>,

    /// The header in which a proxy says who asks, after it has checked it. It needs --trust.
    #[arg(long, value_name = "NAME", requires = "trust")]
    pub(super) auth_header: Option<String>,

    /// The network of that proxy: 10.0.0.0/8. Repeat for several.
    #[arg(long, value_name = "CIDR", requires = "auth_header")]
    pub(super) trust: Vec<Network>,

    /// With --auth-header: who may repair. The others look. Repeat for several.
    #[arg(long, value_name = "NAME", requires = "auth_header")]
    pub(super) may_repair: Vec<String>,

    /// The name by which browsers call it. Repeat for several. On this machine: localhost and its addresses.
    #[arg(long, value_name = "NAME")]
    pub(super) host: Vec<String>,

    #[command(flatten)]
    pub(super) options: Options,
}

fn base_path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    let is_plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "/-_.".contains(c));
    match path.is_empty() || path.starts_with('/') && is_plain && !path.contains("//") {
        true => Ok(path.to_owned()),
        false => Err("write a path like /outbox".to_owned()),
    }
}

fn colour(text: &str) -> Result<String, String> {
    match is_colour(text) {
        true => Ok(text.to_owned()),
        false => Err("write #b00020, or a colour's name".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a path is what addresses can begin with.
    #[test]
    fn a_base_path_is_a_path() {
        assert_eq!(
            [base_path(""), base_path("/"), base_path("/a/b/")],
            ["", "", "/a/b"].map(|path| Ok(path.to_owned()))
        );
        assert!(["outbox", "//x", "/a b", "/{x}"].into_iter().all(|bad| base_path(bad).is_err()));
    }
}
