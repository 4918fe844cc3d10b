//! How a service is called, by flags and file together. A flag goes before the file, and a name before a pattern.

use outbox_finding::{Finding, closest};

use super::endpoint::{ALL, Encoding, Endpoint, ServiceEncoding, filled};
use super::file::{Entry, Services};
use super::names::{Match, Name, short};

/// The flags, and the file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said<'a> {
    pub endpoints: &'a [Endpoint],
    pub encodings: &'a [ServiceEncoding],
    pub file: Option<&'a Services>,
}

/// How one service is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called<'a> {
    /// `None` if nothing says where it is.
    pub address: Option<String>,
    pub encoding: Encoding,
    pub entry: Option<&'a Entry>,
}

/// A service that may be one of two names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ambiguous {
    pub one: String,
    pub other: String,
}

/// A flag for a service that event_router.yaml does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    pub flag: &'static str,
    pub service: String,
    /// A service that may be meant: its name is similar, and no flag has it.
    pub meant: Option<String>,
}

impl<'a> Said<'a> {
    /// # Errors
    ///
    /// The service's name stands for two in flags or file.
    pub fn of(&self, name: &Name) -> Result<Called<'a>, Ambiguous> {
        let flag = find(name, self.endpoints, |it| &it.service)?;
        let encoding = find(name, self.encodings, |it| &it.service)?;
        let (entry, default) = match self.file {
            Some(file) => (entry(name, &file.entries)?, file.default.as_ref()),
            None => (None, None),
        };
        let pattern = self.endpoints.iter().rev().find(|it| it.service == ALL);
        let address = flag
            .map(|flag| &flag.url)
            .or_else(|| entry.and_then(|entry| entry.address.as_ref()))
            .or_else(|| pattern.map(|pattern| &pattern.url))
            .or_else(|| default.and_then(|default| default.address.as_ref()));
        let entry = entry.or(default);
        Ok(Called {
            address: address.map(|address| filled(address, name.known())),
            encoding: encoding
                .map(|it| it.encoding)
                .or_else(|| entry.and_then(|entry| entry.encoding))
                .unwrap_or_default(),
            entry,
        })
    }

    /// Flags for unknown services: a mistake of typing, or a service that is called no more.
    pub fn strays(&self, names: &[Name]) -> Vec<Stray> {
        let endpoints = self.endpoints.iter().map(|it| ("--endpoint", &it.service));
        let encodings = self.encodings.iter().map(|it| ("--encoding", &it.service));
        let flags = endpoints.chain(encodings).filter(|(_, service)| *service != ALL);
        let unknown = flags.filter(|(_, service)| !names.iter().any(|name| name.is(service)));
        let stray = |(flag, service): (&'static str, &String)| {
            let named =
                |name: &Name| flag == "--endpoint" && self.endpoints.iter().any(|it| name.is(&it.service));
            let others = names.iter().filter(|name| !named(name));
            Stray { flag, service: service.clone(), meant: similar(service, others) }
        };
        unknown.map(stray).collect()
    }
}

impl Services {
    /// Warns of entries for services that event_router.yaml does not have.
    pub fn unknown(&self, names: &[Name]) -> Vec<Finding> {
        let is_known =
            |entry: &Entry| names.iter().any(|name| name.is(&entry.name) || name.is_in(&entry.name));
        let finding = |entry: &Entry| {
            let hint = match similar(&entry.name, names) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "remove it, or correct the name to that of event_router.yaml".to_owned(),
            };
            let message = format!("no RPC in event_router.yaml is of `{}`", entry.name);
            Finding::warning(entry.place.clone(), message, hint)
        };
        self.entries.iter().filter(|entry| !is_known(entry)).map(finding).collect()
    }
}

/// A name that may be meant by an unknown one. The same name in another package was typed correctly.
pub fn similar<'n>(text: &str, names: impl IntoIterator<Item = &'n Name>) -> Option<String> {
    let others: Vec<&str> = names
        .into_iter()
        .map(|name| name.written.as_str())
        .filter(|written| short(written) != short(text))
        .collect();
    let whole = closest(text, others.iter().copied());
    let found = whole.or_else(|| {
        let meant = closest(short(text), others.iter().map(|other| short(other)))?;
        others.iter().find(|other| short(other) == meant).copied()
    });
    found.map(str::to_owned)
}

/// The last option for exactly this service. Otherwise the one for a name that differs only in its package, if that is not
/// ambiguous.
fn find<'t, T>(name: &Name, said: &'t [T], of: impl Fn(&T) -> &String) -> Result<Option<&'t T>, Ambiguous> {
    for exact in [Match::Full, Match::Written] {
        if let Some(found) = said.iter().rev().find(|one| name.matched(of(one)) == Some(exact)) {
            return Ok(Some(found));
        }
    }
    let mut found = said.iter().rev().filter(|one| name.is(of(one)));
    let Some(last) = found.next() else { return Ok(None) };
    match found.find(|one| of(one) != of(last)) {
        None => Ok(Some(last)),
        Some(other) => Err(Ambiguous { one: of(last).clone(), other: of(other).clone() }),
    }
}

/// The entry of exactly this service, or of the longest pattern that covers it.
fn entry<'t>(name: &Name, entries: &'t [Entry]) -> Result<Option<&'t Entry>, Ambiguous> {
    let patterns = || entries.iter().filter(|entry| name.is_in(&entry.name));
    let own = find(name, entries, |entry| &entry.name)?;
    Ok(own.or_else(|| patterns().max_by_key(|entry| entry.name.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
default:
  address: http://{service-kebab}.internal:8080
  token: { file: all.token }
service:
  LedgerService: { address: 'h2c://ledger:1', encoding: grpc }
  acme.billing.*: { address: http://billing }
  acme.billing.v2.*: { encoding: proto }
";

    /// Guards: a flag goes before the file, a name before a pattern, and a longer pattern before a shorter.
    #[test]
    fn the_most_specific_word_counts() {
        let file = Services::parse("services.yaml", FILE).unwrap();
        let endpoints =
            |texts: &[&str]| -> Vec<Endpoint> { texts.iter().map(|t| t.parse().unwrap()).collect() };
        let full = |written: &str, full: &str| Name::new(written, Some(full.to_owned()));
        let cases = [
            (
                Name::new("CardService", None),
                &[][..],
                "http://card-service.internal:8080",
                Encoding::Json,
                "default",
            ),
            (
                Name::new("CardService", None),
                &["CardService=http://c"],
                "http://c",
                Encoding::Json,
                "default",
            ),
            (
                Name::new("CardService", None),
                &["*=http://{service}"],
                "http://CardService",
                Encoding::Json,
                "default",
            ),
            (
                full("LedgerService", "acme.v1.LedgerService"),
                &[],
                "h2c://ledger:1",
                Encoding::Grpc,
                "LedgerService",
            ),
            (
                Name::new("LedgerService", None),
                &["*=http://{service}"],
                "h2c://ledger:1",
                Encoding::Grpc,
                "LedgerService",
            ),
            (
                Name::new("LedgerService", None),
                &["a.LedgerService=http://l"],
                "http://l",
                Encoding::Grpc,
                "LedgerService",
            ),
            (
                full("PayService", "acme.billing.v1.PayService"),
                &[],
                "http://billing",
                Encoding::Json,
                "acme.billing.*",
            ),
            (
                full("PayService", "acme.billing.v2.PayService"),
                &[],
                "http://pay-service.internal:8080",
                Encoding::Proto,
                "acme.billing.v2.*",
            ),
        ];
        for (name, flags, address, encoding, entry) in cases {
            let endpoints = endpoints(flags);
            let said = Said { endpoints: &endpoints, encodings: &[], file: Some(&file) };
            let called = said.of(&name).unwrap();
            assert_eq!(called.address.as_deref(), Some(address), "{name:?}");
            assert_eq!(
                (called.encoding, called.entry.map(|it| it.name.as_str())),
                (encoding, Some(entry)),
                "{name:?}"
            );
        }
        let nothing = Said::default().of(&Name::new("CardService", None)).unwrap();
        assert_eq!(nothing, Called { address: None, encoding: Encoding::Json, entry: None });
    }

    /// Guards: a misspelt service is named with what may be meant. A retired one, or one in another package, is no such mistake.
    #[test]
    fn strays_name_what_may_be_meant() {
        let names = [Name::new("NotificationService", None), Name::new("LedgerService", None)];
        let cases = [
            (&["NotifcationService=http://n"][..], Some("NotificationService")),
            (&["NotifcationService=http://n", "NotificationService=http://n"], None),
            (&["CardService=http://n"], None),
        ];
        for (flags, meant) in cases {
            let endpoints: Vec<Endpoint> = flags.iter().map(|text| text.parse().unwrap()).collect();
            let said = Said { endpoints: &endpoints, ..Said::default() };
            let [stray] = &said.strays(&names)[..] else { panic!("one stray") };
            assert_eq!(stray.meant.as_deref(), meant, "{flags:?}");
        }
        let known = [Name::new("LedgerService", Some("a.v1.LedgerService".into()))];
        assert_eq!(similar("a.v2.LedgerService", &known), None);
        let all = ["http://{service}:1".parse().unwrap()];
        assert_eq!(Said { endpoints: &all, ..Said::default() }.strays(&names), []);
    }

    /// Guards: an entry for an unknown service is a warning with its place.
    #[test]
    fn unknown_entries_are_warnings() {
        let file = Services::parse("services.yaml", FILE).unwrap();
        let found =
            file.unknown(&[Name::new("LegderService", None), Name::new("acme.billing.v1.PayService", None)]);
        let found: Vec<_> = found.iter().map(|one| (one.place.line, one.hint.as_str())).collect();
        assert_eq!(
            found,
            [
                (5, "did you mean `LegderService`?"),
                (7, "remove it, or correct the name to that of event_router.yaml"),
            ]
        );
    }
}
