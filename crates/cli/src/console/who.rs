//! Who may open the console. An address that others reach is refused without a check of who they are.

use std::path::Path;

use outbox_console::{Access, Once, Viewer};

use super::args::Args;
use crate::asked::Asked;
use crate::repair;
use crate::stopped::Stopped;

/// The names of this machine.
const HERE: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

pub(super) fn access(args: &Args) -> Result<Access, Stopped> {
    if let Some(file) = &args.auth_token_file {
        return tokens(file, args.read_only);
    }
    if let Some(header) = &args.auth_header {
        let refused =
            |_| Stopped::unusable(format!("{header} is no name of a header"), "correct --auth-header");
        let name = header.parse().map_err(refused)?;
        let may_repair = if args.read_only { Vec::new() } else { args.may_repair.clone() };
        return Ok(Access::Header { name, trust: args.trust.clone(), may_repair });
    }
    if !args.addr.ip().is_loopback() {
        return Err(Stopped::unusable(
            format!("others reach {}, and nothing checks who they are", args.addr),
            "pass --auth-token-file FILE, or --auth-header NAME with --trust CIDR; or listen on 127.0.0.1",
        ));
    }
    let viewer = Viewer { name: repair::who(&Asked::default()), may_repair: !args.read_only };
    let once = Once::new(viewer).map_err(|error| {
        Stopped::failed(format!("there is no random number: {error}"), "see whether /dev/urandom is there")
    })?;
    Ok(Access::Once(once))
}

fn tokens(file: &Path, read_only: bool) -> Result<Access, Stopped> {
    let refused = |why: String| {
        Stopped::unusable(format!("{}: {why}", file.display()), "correct the file of --auth-token-file")
    };
    let text =
        std::fs::read_to_string(file).map_err(|error| refused(format!("failed to read it: {error}")))?;
    let tokens: outbox_console::Tokens = text.parse().map_err(refused)?;
    Ok(Access::Tokens(if read_only { tokens.read_only() } else { tokens }))
}

/// The names that a browser may call it by. With none, any: then the check of who asks is the wall.
pub(super) fn hosts(args: &Args) -> Vec<String> {
    let mut hosts = args.host.clone();
    if args.addr.ip().is_loopback() {
        hosts.extend(HERE.map(str::to_owned));
    }
    hosts
}
