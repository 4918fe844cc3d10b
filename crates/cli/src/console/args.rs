//! What `outbox console` takes.

use std::net::SocketAddr;
use std::path::PathBuf;

use outbox_console::{Network, Rule, is_base_path, is_colour};

use crate::options::Options;

/// Serves pages that show what stands still and why, and repair it with the commands of `outbox`.
///
/// Each page shows what a command answers, and which one. It listens on this machine, prints an address, and the browser that
/// opens it first may use it. Another address needs --auth-token-file, --auth-header or --auth-jwt. Repairs are in `outbox audit`
/// with the name of who sent the form. Only those that --allow names may drop or see a payload, only those who may repair search
/// by key, and values of headers are never shown. A database role that plays `viewer` makes a console that can't do more. Ctrl-C ends it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A look without a database: outbox console --demo\nBehind a proxy that has checked who it is: outbox console --addr 0.0.0.0:9466 --auth-header X-Forwarded-Email --trust 10.0.0.0/8 --host outbox.example.com --auth-groups-header X-Forwarded-Groups --allow repair=group:sre --allow destroy=ann@example.com --second-person destroy\nBehind Cloudflare Access: outbox console --addr 0.0.0.0:9466 --auth-jwt https://TEAM.cloudflareaccess.com/cdn-cgi/access/certs --audience AUD --host outbox.example.com\nOne that can only look: DATABASE_URL with a role after select outbox.grant_to('ROLE', 'viewer')\n\nExit status: 0 ended by Ctrl-C; 1 it failed; 2 unusable arguments, or an address that others reach and no --auth."
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

    /// A file with NAME ROLE TOKEN GROUP … on each line, where ROLE is viewer or operator. Groups may be left out. Browsers ask
    /// for the token as a password.
    #[arg(long, value_name = "FILE", conflicts_with = "auth_header")]
    pub(super) auth_token_file: Option<PathBuf>,

    /// The header in which a proxy says who asks, after it has checked it. It needs --trust.
    #[arg(long, value_name = "NAME", requires = "trust")]
    pub(super) auth_header: Option<String>,

    /// The header in which that proxy says the groups, with commas.
    ///
    /// A name with a comma is two groups: let the proxy pass on no such name.
    #[arg(long, value_name = "NAME", requires = "auth_header")]
    pub(super) auth_groups_header: Option<String>,

    /// The network of that proxy: 10.0.0.0/8. Repeat for several.
    #[arg(long, value_name = "CIDR", requires = "auth_header")]
    pub(super) trust: Vec<Network>,

    /// The public keys (JWKS) of an identity provider: who asks is in a token that it has signed. It needs
    /// --audience.
    ///
    /// Cloudflare Access has them at https://TEAM.cloudflareaccess.com/cdn-cgi/access/certs.
    #[cfg(feature = "jwt")]
    #[arg(long, value_name = "HTTPS_URL|FILE", requires = "audience", conflicts_with_all = ["auth_header", "auth_token_file"])]
    pub(super) auth_jwt: Option<String>,

    /// The audience that such a token must be for. Repeat for several.
    #[cfg(feature = "jwt")]
    #[arg(long, value_name = "TEXT", requires = "auth_jwt")]
    pub(super) audience: Vec<String>,

    /// The issuer that such a token must be of.
    #[cfg(feature = "jwt")]
    #[arg(long, value_name = "TEXT", requires = "auth_jwt", hide_short_help = true)]
    pub(super) issuer: Option<String>,

    /// The header that has such a token. [default: Cf-Access-Jwt-Assertion, or else Authorization: Bearer]
    #[cfg(feature = "jwt")]
    #[arg(long, value_name = "NAME", requires = "auth_jwt", hide_short_help = true)]
    pub(super) auth_jwt_header: Option<String>,

    /// The claim of such a token that names a viewer: an address that the provider has checked, or the subject.
    ///
    /// It is one claim for all, so that one person has one name. A token that does not say whether its address was checked counts
    /// only with --issuer, or with the keys of Cloudflare Access.
    #[cfg(feature = "jwt")]
    #[arg(
        long,
        value_name = "CLAIM",
        requires = "auth_jwt",
        default_value = "email",
        hide_short_help = true
    )]
    pub(super) auth_jwt_name: Name,

    /// Who may do what: repair=group:sre, destroy=ann@example.com, payload=local. Repeat for several.
    ///
    /// view: to look; without such a rule, all who are known. repair: what can be taken back, and searches by key. destroy: to drop. payload: to see one
    /// letter's payload. After it: a name, group:NAME, or local for the browser of the printed address, which may repair anyway.
    #[arg(long, value_name = "WHAT=WHOM")]
    pub(super) allow: Vec<Rule>,

    /// What can't be taken back needs another person, who opens a link within 10 minutes and confirms it.
    #[arg(long, value_name = "WHAT")]
    pub(super) second_person: Option<Irreversible>,

    /// A Prometheus that scrapes the workers, for seven days on the page of an RPC.
    ///
    /// For example http://prometheus:9090. It is asked for an RPC once in five minutes, however many look.
    #[cfg(feature = "prometheus")]
    #[arg(long, env = "OUTBOX_PROMETHEUS", hide_env_values = true, value_name = "URL")]
    pub(super) prometheus: Option<String>,

    /// The name by which browsers call it. Repeat for several. On this machine: localhost and its addresses.
    #[arg(long, value_name = "NAME")]
    pub(super) host: Vec<String>,

    #[command(flatten)]
    pub(super) options: Options,
}

#[cfg(feature = "jwt")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Name {
    Email,
    #[value(name = "sub")]
    Subject,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Irreversible {
    /// To drop.
    Destroy,
}

fn base_path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    match is_base_path(path) {
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
