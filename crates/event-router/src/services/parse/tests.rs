use super::*;

/// Guards: the example for users is read as it is meant.
#[test]
fn the_example_is_read() {
    let text = include_str!("../../../testdata/services.example.yaml");
    let services = Services::parse("services.example.yaml", text).unwrap_or_else(|report| panic!("{report}"));
    let default = services.default.unwrap();
    assert_eq!(default.address.as_deref(), Some("http://{service-kebab}.internal:8080"));
    let ledger = services.entries.iter().find(|entry| entry.name == "LedgerService").unwrap();
    assert_eq!((ledger.encoding, ledger.signature.len()), (Some(Encoding::Grpc), 1));
    assert_eq!(ledger.token, Some(PathBuf::from("/run/secrets/ledger-token")));
    let tls = ledger.tls.clone().unwrap();
    assert_eq!(tls.ca, Some(PathBuf::from("/etc/outbox/company-ca.pem")));
    assert!(tls.identity.is_some() && ledger.headers.len() == 2);
}

/// Guards: every mistake has its place, and says what to write. No text of the file that may be secret is shown.
#[test]
fn mistakes_have_a_place_and_a_remedy() {
    let cases = [
        ("", "1:1", "the file is empty", "begin with `service:`"),
        ("# token: s3cret\n", "1:1", "the file is empty", "begin with `service:`"),
        ("servce: {}\n", "1:1", "unknown key `servce` in the file", "did you mean `service`?"),
        ("service: [a]\n", "1:10", "`service` is a list, not a map", "write the name"),
        ("service:\n  'a b': {}\n", "2:3", "`…` does not name a service", "acme.card.v1.*"),
        ("service:\n  A: http://s3cret\n", "2:6", "`A` is a text, not a map", "write `address: …`"),
        (
            "service:\n  A: { adress: 'http://s3cret' }\n",
            "2:8",
            "unknown key `adress`",
            "did you mean `address`?",
        ),
        (
            "service:\n  A: { address: 'a:8080' }\n",
            "2:17",
            "`address` is not http://",
            "http://notification:8080",
        ),
        ("service:\n  A: { address: 'http://me:s3cret@a' }\n", "2:17", "a user or a password", "`token`"),
        ("service:\n  A: { address: 'http://{name}' }\n", "2:17", "`address` is not http://", "{service}"),
        ("service:\n  A: { encoding: gprc }\n", "2:18", "`encoding` is not json", "did you mean `grpc`?"),
        ("service:\n  A: { token: s3cret }\n", "2:15", "`token` does not name a file", "token: { file:"),
        ("service:\n  A: { token: { fil: s3cret } }\n", "2:17", "unknown key `fil`", "did you mean `file`?"),
        (
            "service:\n  A: { token: { file: s3cret, fil: a } }\n",
            "2:31",
            "unknown key `fil`",
            "did you mean `file`?",
        ),
        ("service:\n  A: { token: {} }\n", "2:15", "`file` is missing", "add file:"),
        (
            "service:\n  A: { headers: { x-key: s3cret, te: s3cret } }\n",
            "2:34",
            "sets the header `te` itself",
            "another",
        ),
        ("service:\n  A: { headers: { 'x key': s3cret } }\n", "2:19", "not a header's name", "letters"),
        (
            "service:\n  A: { headers: { x-key: \"s3cret\\n\" } }\n",
            "2:26",
            "not a text of printable ASCII",
            "quote it",
        ),
        ("service:\n  A: { headers: { Bearer s3cret } }\n", "2:19", "not a header's name", "letters"),
        ("service:\n  A: { Bearer s3cret }\n", "2:8", "unknown key `…` in `A`", "known here"),
        ("service:\n  A: { headers: { x-key: 7 } }\n", "2:26", "not a text of printable ASCII", "quote it"),
        ("service:\n  A: { tls: { cert: a.pem } }\n", "2:13", "`tls` has `cert`, and no `key`", "needs both"),
        ("service:\n  A: { tls: {} }\n", "2:13", "`tls` is empty", "remove it"),
        (
            "service:\n  A: { address: 'http://a', tls: { ca: a.pem } }\n",
            "2:29",
            "`tls` has no use here",
            "write https://",
        ),
        (
            "service:\n  A: { token: { file: t }, headers: { Authorization: s3cret } }\n",
            "2:8",
            "are the same header",
            "remove one",
        ),
        (
            "service:\n  A: { signature: s3cret }\n",
            "2:19",
            "`signature` does not name a file",
            "secret_file:",
        ),
        (
            "service:\n  A: { signature: { secret_file: [7] } }\n",
            "2:35",
            "`secret_file` is not a file's name",
            "write",
        ),
        ("# s3cret: old\nservice:\n  A: { token: 's3cret\n", "3:1", "not valid YAML", "quote names"),
        ("service:\n  A: { token: 's3cret\n", "3:1", "not valid YAML", "quote names"),
    ];
    for (text, place, message, hint) in cases {
        let report = Services::parse("services.yaml", text).unwrap_err();
        let [finding] = report.findings() else { panic!("{text}: {report}") };
        let found = format!("{}:{}", finding.place.line, finding.place.column);
        assert!(finding.message.contains(message), "{text}: {}", finding.message);
        assert!(finding.hint.contains(hint), "{text}: {}", finding.hint);
        if !message.contains("YAML") {
            assert_eq!(found, place, "{text}");
        }
        let shown = format!("{report} {report:?} {finding:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

/// Guards: a finding is shown as those of event_router.yaml are, and what follows on its line is hidden.
#[test]
fn a_finding_is_underlined_and_secrets_are_hidden() {
    let text = "service:\n  A:\n    headers: { x key: 's3cret' } # s3cret\n";
    let report = Services::parse("services.yaml", text).unwrap_err();
    let expected = "\
error: this is not a header's name
 --> services.yaml:3:16
  |
3 |     headers: { …
  |                ^
  |
  = help: use letters, digits and dashes, without -bin at the end";
    assert_eq!(report.to_string(), expected);
    let services =
        Services::parse("services.yaml", "service:\n  A: { headers: { x-key: s3cret } }\n").unwrap();
    assert!(!format!("{services:?}").contains("s3cret"));
}
