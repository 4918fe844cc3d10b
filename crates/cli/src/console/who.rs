//! Who may open the console. An address that others reach is refused without a check of who they are.

use std::path::Path;
use std::str::FromStr;

use outbox_console::{Access, Once, Viewer};
#[cfg(feature = "jwt")]
use outbox_console::{Jwt, JwtName};

use super::args::Args;
#[cfg(feature = "jwt")]
use super::args::Name;
use crate::asked::Asked;
use crate::repair;
use crate::stopped::Stopped;

/// The names of this machine.
pub(super) const HERE: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

pub(super) fn access(args: &Args) -> Result<Access, Stopped> {
    if let Some(file) = &args.auth_token_file {
        return tokens(file);
    }
    #[cfg(feature = "jwt")]
    if let Some(place) = &args.auth_jwt {
        let header = args.auth_jwt_header.as_deref().map(header).transpose()?;
        let name = match args.auth_jwt_name {
            Name::Email => JwtName::Email,
            Name::Subject => JwtName::Subject,
        };
        let jwt = Jwt::new(place, args.audience.clone(), args.issuer.clone(), header, name);
        return jwt.map(Access::Jwt).map_err(|why| Stopped::unusable(why, "correct --auth-jwt"));
    }
    if let Some(name) = &args.auth_header {
        let groups = args.auth_groups_header.as_deref().map(header).transpose()?;
        return Ok(Access::Header { name: header(name)?, groups, trust: args.trust.clone() });
    }
    if !args.addr.ip().is_loopback() {
        return Err(Stopped::unusable(
            format!("others reach {}, and nothing checks who they are", args.addr),
            "pass --auth-token-file FILE, --auth-header NAME with --trust CIDR, or --auth-jwt URL; or listen on 127.0.0.1",
        ));
    }
    if args.second_person.is_some() {
        return Err(Stopped::unusable(
            "--second-person needs a second person, and the printed address is for one browser",
            "pass --auth-token-file FILE, --auth-header NAME with --trust CIDR, or --auth-jwt URL",
        ));
    }
    let viewer = Viewer { name: repair::who(&Asked::default()), may_repair: true, ..Viewer::default() };
    let once = Once::new(viewer).map_err(|error| {
        Stopped::failed(format!("there is no random number: {error}"), "see whether /dev/urandom is there")
    })?;
    Ok(Access::Once(once))
}

fn header<T: FromStr>(name: &str) -> Result<T, Stopped> {
    name.parse().map_err(|_| {
        Stopped::unusable(format!("a header can't be called {name}"), "correct the name of the header")
    })
}

fn tokens(file: &Path) -> Result<Access, Stopped> {
    let refused = |why: String| {
        Stopped::unusable(format!("{}: {why}", file.display()), "correct the file of --auth-token-file")
    };
    let text =
        std::fs::read_to_string(file).map_err(|error| refused(format!("failed to read it: {error}")))?;
    let tokens: outbox_console::Tokens = text.parse().map_err(refused)?;
    Ok(Access::Tokens(tokens))
}

/// The names that a browser may call it by. With none, any: then the check of who asks is the wall.
pub(super) fn hosts(args: &Args) -> Vec<String> {
    let mut hosts = args.host.clone();
    if args.addr.ip().is_loopback() {
        hosts.extend(HERE.map(str::to_owned));
    }
    hosts
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Of {
        #[command(flatten)]
        args: Args,
    }

    fn access_of(words: &str) -> Result<Access, Stopped> {
        let of = Of::try_parse_from(std::iter::once("console").chain(words.split_whitespace())).unwrap();
        access(&of.args)
    }

    /// Guards: an address that others reach is refused, unless something checks who they are.
    #[test]
    fn an_open_address_needs_a_check() {
        for open in ["0.0.0.0:9466", "[::]:9466", "10.1.2.3:9466"] {
            let refused = access_of(&format!("--addr {open}")).unwrap_err();
            assert!(refused.code() == 2 && refused.remedy.contains("--auth-token-file"), "{open}");
            let proxied = access_of(&format!("--addr {open} --auth-header X-Email --trust 10.0.0.0/8"));
            assert!(matches!(proxied, Ok(Access::Header { .. })), "{open}");
        }
        for here in ["127.0.0.1:9466", "[::1]:9466"] {
            assert!(matches!(access_of(&format!("--addr {here}")), Ok(Access::Once(_))), "{here}");
        }
        assert_eq!(access_of("--auth-token-file /no/such/file").unwrap_err().code(), 2);
        assert!(Of::try_parse_from(["console", "--auth-header", "X-Email"]).is_err(), "without --trust");
        let alone = access_of("--second-person destroy").unwrap_err();
        assert!(alone.code() == 2 && alone.remedy.contains("--auth-jwt"), "{alone:?}");
    }

    /// Guards: a signed token needs an audience, and keys that can't be changed on the way.
    #[cfg(feature = "jwt")]
    #[test]
    fn a_signed_token_needs_its_audience() {
        let good = access_of("--addr 0.0.0.0:9466 --auth-jwt https://idp.example/keys --audience a");
        assert!(matches!(good, Ok(Access::Jwt(_))));
        assert_eq!(access_of("--auth-jwt http://idp.example/keys --audience a").unwrap_err().code(), 2);
        for bad in
            [&["console", "--auth-jwt", "https://idp.example/keys"][..], &["console", "--audience", "a"]]
        {
            assert!(Of::try_parse_from(bad).is_err(), "{bad:?}");
        }
    }
}
