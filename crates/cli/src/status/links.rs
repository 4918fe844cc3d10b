//! The pages of the console that `outbox status --links` shows. Pure.

use outbox_console::{has_usable_port, problem_path, rpc_path};

use super::answer::{Problem, Status};
use crate::stopped::Stopped;

/// Where `outbox console` listens, if nothing else is said.
const DEFAULT: &str = "http://127.0.0.1:9466";
const PAGES: &str = "Pages of the console:";
const DEFAULT_PAGES: &str =
    "Pages of the console at its default address (--console-url or OUTBOX_CONSOLE_URL names another):";

#[derive(Debug, clap::Args)]
pub(super) struct LinkArgs {
    /// Show the console's page for each problem and each RPC.
    #[arg(long)]
    links: bool,

    /// Where browsers find the console, for --links: https://outbox.example.com. It is http://127.0.0.1:9466 by default.
    #[arg(long, env = "OUTBOX_CONSOLE_URL", value_name = "URL")]
    console_url: Option<String>,
}

impl LinkArgs {
    pub(super) fn links(&self) -> Result<Option<Links>, Stopped> {
        if !self.links {
            return Ok(None);
        }
        let given = self.console_url.as_deref().filter(|url| !url.is_empty());
        // Not repeated, because it may have a password.
        let unusable = || {
            Stopped::unusable(
                "--console-url (OUTBOX_CONSOLE_URL) does not say where the console is",
                "write https://HOST, http://HOST:PORT or https://HOST/PATH, without a user, a password and a token",
            )
        };
        let base = base(given.unwrap_or(DEFAULT)).ok_or_else(unusable)?.to_owned();
        Ok(Some(Links { base, is_default: given.is_none() }))
    }
}

/// What the addresses of all pages begin with.
#[derive(Debug)]
pub(super) struct Links {
    base: String,
    is_default: bool,
}

impl Links {
    pub(super) fn add_to(&self, status: &mut Status) {
        let rpcs: Vec<String> = status.rpcs.iter().map(|rpc| rpc.depth.rpc.clone()).collect();
        for problem in status.problems.iter_mut().chain(&mut status.notices) {
            problem.console_url = Some(self.of_problem(problem, &rpcs));
        }
        for rpc in &mut status.rpcs {
            rpc.console_url = Some(format!("{}{}", self.base, rpc_path(&rpc.depth.rpc)));
        }
        status.console = Some((self.base.clone(), if self.is_default { DEFAULT_PAGES } else { PAGES }));
    }

    fn of_problem(&self, problem: &Problem, rpcs: &[String]) -> String {
        let rpcs = rpcs.iter().map(String::as_str);
        let path = problem_path(&problem.problem, problem.command.as_deref(), rpcs);
        format!("{}{path}", self.base)
    }
}

/// Without `/` at its end. A user, a query or a fragment is none of it.
fn base(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let is_plain = rest.chars().all(|c| c.is_ascii_alphanumeric() || "-._~:/[]%".contains(c));
    let host = rest.split('/').next().filter(|host| !host.is_empty())?;
    (is_plain && has_usable_port(host)).then(|| url.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(url: Option<&str>) -> Result<Option<Links>, Stopped> {
        LinkArgs { links: true, console_url: url.map(ToOwned::to_owned) }.links()
    }

    /// Guards promise 8: a problem has the page on which it is repaired, at the console that was named or at the default one.
    #[test]
    fn a_problem_has_its_page() {
        let rpcs = ["A/B".to_owned()];
        let dead =
            Problem::command("3 dead letters of A/B".to_owned(), "outbox dlq list --rpc A/B".to_owned());
        let away = Problem::remedy("the server of A/B is away".to_owned(), "see its logs");
        for (url, expected) in [
            (None, "http://127.0.0.1:9466"),
            (Some(""), "http://127.0.0.1:9466"),
            (Some("https://outbox.example.com/"), "https://outbox.example.com"),
            (Some("http://[::1]:9466"), "http://[::1]:9466"),
            (Some("https://ops.example.com/outbox"), "https://ops.example.com/outbox"),
            (Some("http://[::1]/outbox:1"), "http://[::1]/outbox:1"),
        ] {
            let links = links(url).unwrap().unwrap();
            assert_eq!(links.of_problem(&dead, &rpcs), format!("{expected}/dead?rpc=A%2FB"), "{url:?}");
            assert_eq!(links.of_problem(&away, &rpcs), format!("{expected}/rpc/A/B"), "{url:?}");
            assert_eq!(links.is_default, url.is_none_or(str::is_empty));
        }
    }

    /// Guards: an address at which no console can be is refused, and is not repeated.
    #[test]
    fn an_address_is_of_a_console() {
        for url in [
            "127.0.0.1:9466",
            "https://",
            "https:///rpc",
            "http://outbox.example.com:99999",
            "http://outbox.example.com:/rpc",
            "ftp://outbox.example.com",
            "https://ann:hunter2@outbox.example.com",
            "http://127.0.0.1:9466/?token=hunter2",
            "https://outbox.example.com/#hunter2",
            "https://outbox.example.com/ hunter2",
        ] {
            let stopped = links(Some(url)).unwrap_err();
            assert!(!format!("{stopped:?}").contains("hunter2"), "{url}");
        }
        let not_asked = LinkArgs { links: false, console_url: Some("nowhere".to_owned()) };
        assert!(not_asked.links().unwrap().is_none(), "without --links it is not read");
    }
}
