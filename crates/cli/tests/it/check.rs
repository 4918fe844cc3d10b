//! Guards: every mistake that somebody can make in event_router.yaml and proto is told with its file, its line, what is
//! wrong and what to write instead.
//!
//! A file in `golden/` has the files that differ from `base.txt`, and what `outbox check` says of them. After a change of
//! wording: `BLESS=1 cargo test -p outbox-cli`, and read the difference.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Deserialize;
use tempfile::TempDir;

use super::said;

/// A descriptor set of one file.
const IN_AN_EDITION: &[u8] = b"\x0a\x13\x0a\x07a.proto\x62\x08editions";

struct Case {
    path: PathBuf,
    args: String,
    files: BTreeMap<String, String>,
    says: String,
}

#[test]
fn every_mistake_is_told_with_its_place_and_remedy() {
    let base = Case::read(&golden().join("base.txt"));
    let cases: Vec<Case> = text_files(&golden()).iter().map(|path| Case::read(path)).collect();
    assert!(cases.len() > 40, "only {} cases", cases.len());
    let mut wrong = String::new();
    for case in cases {
        let dir = case.lay_out(&base);
        let said = said(&outbox(dir.path(), &case.args));
        every_finding_has_a_line(&dir, &case);
        if std::env::var_os("BLESS").is_some() {
            case.write(&said);
        } else if said != case.says {
            let _ =
                write!(wrong, "\n{}\nexpected:\n{}\nbut it said:\n{said}\n", case.path.display(), case.says);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Guards: the sample domain is as it should be.
#[test]
fn the_sample_domain_is_without_a_finding() {
    assert_eq!(said(&outbox(&super::root(), "")), "ok: 2 events, 3 subscribers\nexit 0\n");
}

/// Guards: a bus has 300 rules, and it is the subscriber one too many that is pointed at.
#[test]
fn the_301st_subscriber_is_one_too_many() {
    let mut yaml = "event:\n  - name: 'event_hoge_updated'\n    subscriber:\n".to_owned();
    let mut methods = String::new();
    for n in 1..=301 {
        let _ = writeln!(yaml, "      - id: 'NotificationService/Notify{n}'");
        let _ =
            writeln!(methods, "  rpc Notify{n}(NotifyHogeUpdatedRequest) returns (google.protobuf.Empty);");
    }
    let mut base = Case::read(&golden().join("base.txt"));
    base.files.insert("event_router.yaml".to_owned(), yaml);
    let service = base.files.get_mut("proto/notification/v1/notification_service.proto").unwrap();
    *service = service
        .replace("service NotificationService {\n", &format!("service NotificationService {{\n{methods}"));
    let dir = base.lay_out(&base);
    let said = said(&outbox(dir.path(), ""));
    assert!(said.contains("error: 301 subscribers need as many rules"), "{said}");
    // Three lines above the first subscriber.
    assert!(said.contains("event_router.yaml:304:"), "{said}");
    assert!(said.ends_with("1 error\nexit 1\n"), "{said}");
}

/// Guards: what can't be used at all has exit code 2, and says what to pass.
#[test]
fn unusable_arguments_are_told_from_mistakes() {
    let base = Case::read(&golden().join("base.txt"));
    let cases = [
        ("--router nowhere.yaml", "failed to read nowhere.yaml", "pass --router FILE"),
        ("--proto nowhere", "failed to read nowhere", "pass --proto DIR"),
        ("--proto empty", "there is no .proto file below empty", "pass --proto DIR"),
        (
            "--proto event_router.yaml",
            "neither a directory of .proto files nor a descriptor set",
            "pass --proto DIR",
        ),
        ("--against no-such-revision", "git finds no such revision", "fetch-depth: 0"),
        ("--against empty", "git finds no such revision", "pass a directory of older .proto files"),
        ("--against broken", "the proto files of broken can't be read", "compare with a revision"),
        ("--proto proto --proto proto/hoge", "proto and proto/hoge overlap", "pass --proto DIR"),
        ("--proto proto --include nowhere", "failed to read nowhere", "pass --proto DIR"),
        ("--proto proto --proto event_router.yaml", "a descriptor set stands alone", "pass --proto DIR"),
        ("--format xml", "invalid value 'xml'", "[possible values: text, json, github]"),
        ("--agianst main", "unexpected argument '--agianst'", "--against"),
    ];
    for (args, problem, remedy) in cases {
        let dir = base.lay_out(&base);
        std::fs::create_dir(dir.path().join("empty")).unwrap();
        std::fs::create_dir(dir.path().join("broken")).unwrap();
        std::fs::write(dir.path().join("broken/a.proto"), "syntax").unwrap();
        let output = outbox(dir.path(), args);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args}: {told}");
        assert!(told.contains(problem) && told.contains(remedy), "{args}: {told}");
    }
}

/// Guards: a file in an edition within a descriptor set is passed over, and the rest of the set is checked.
#[test]
fn a_set_with_an_edition_is_usable() {
    let (dir, base) = (tempfile::tempdir().unwrap(), Case::read(&golden().join("base.txt")));
    let base = base.lay_out(&base);
    let set = dir.path().join("set.binpb");
    let config = outbox_build::Config::new(base.path().join("proto")).out_dir(dir.path());
    config.descriptor_set(&set).compile().unwrap();
    let mut bytes = std::fs::read(&set).unwrap();
    bytes.extend_from_slice(IN_AN_EDITION);
    std::fs::write(&set, bytes).unwrap();
    let told = said(&outbox(base.path(), &format!("--proto {}", set.display())));
    assert!(told.contains("warning: the file is written in an edition of protobuf"), "{told}");
    assert!(told.contains("a.proto") && told.ends_with("1 warning\nexit 0\n"), "{told}");

    std::fs::write(&set, IN_AN_EDITION).unwrap();
    let told = said(&outbox(base.path(), &format!("--proto {}", set.display())));
    assert!(
        told.starts_with("error: the file is written in an edition") && told.ends_with("exit 1\n"),
        "{told}"
    );
}

/// Guards: whatever bytes stand in the files, the answer has an exit code of ours and no panic.
#[test]
fn arbitrary_files_never_panic() {
    let base = Case::read(&golden().join("base.txt"));
    let (router, proto) = ("event_router.yaml", "proto/hoge/v1/hoge_event.proto");
    let bytes: [&[u8]; 6] = [
        b"\xff\xfe\x00",
        b"\0",
        b"\n\n\n",
        "\u{feff}event: []".as_bytes(),
        b"{{{{{{{{",
        b"syntax = \"proto3\"; message \xc3(",
    ];
    for content in bytes {
        for file in [router, proto] {
            let dir = base.lay_out(&base);
            std::fs::write(dir.path().join(file), content).unwrap();
            let output = outbox(dir.path(), "");
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(matches!(output.status.code(), Some(0..=2)), "{content:?} in {file}: {told}");
            assert!(!told.contains("panicked"), "{content:?} in {file}: {told}");
            if file == proto && output.status.code() == Some(1) {
                every_finding_has_a_line(&dir, &base);
            }
        }
    }
}

/// Guards: an older version may be a git revision, its event_router.yaml included; the way CI uses it.
#[test]
fn a_git_revision_is_an_older_version() {
    let base = Case::read(&golden().join("base.txt"));
    let dir = base.lay_out(&base);
    let git = |args: &str| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
        let output =
            Command::new("git").args(identity).args(args.split(' ')).current_dir(&dir).output().unwrap();
        assert!(output.status.success(), "git {args}: {}", String::from_utf8_lossy(&output.stderr));
    };
    git("init -q -b main");
    git("add -A");
    git("commit -q -m first");
    assert_eq!(said(&outbox(dir.path(), "--against main")), "ok: 1 event, 1 subscriber\nexit 0\n");

    std::fs::write(
        dir.path().join("event_router.yaml"),
        "event:\n  - name: 'event_hoge_updated'\n    subscriber: []\n",
    )
    .unwrap();
    let proto = dir.path().join("proto/hoge/v1/hoge_event.proto");
    let text = std::fs::read_to_string(&proto).unwrap();
    std::fs::write(&proto, text.replace("int32 version", "string version")).unwrap();
    let said = said(&outbox(dir.path(), "--against main"));
    assert!(said.contains("error: `version` was int32 and is string"), "{said}");
    assert!(
        said.contains("warning: 'NotificationService/NotifyHogeUpdated' no longer subscribes to anything"),
        "{said}"
    );
    assert!(said.ends_with("exit 1\n"), "{said}");
}

/// Guards: CI gets annotations that GitHub understands.
#[test]
fn findings_are_annotations() {
    let case = Case::read(&golden().join("wiring/unknown_event_misspelt.txt"));
    let dir = case.lay_out(&Case::read(&golden().join("base.txt")));
    let said = said(&outbox(dir.path(), "--format github"));
    assert_eq!(
        said,
        "::error file=event_router.yaml,line=2,col=11,title=outbox check::there is no event 'event_hoge_updatd' in proto\
         %0Adid you mean 'event_hoge_updated'?\n1 error\nexit 1\n"
    );
}

impl Case {
    /// `args: …`, then files, each after a line `-- name --`; the last is what is said.
    fn read(path: &Path) -> Self {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut case =
            Self { path: path.to_owned(), args: String::new(), files: BTreeMap::new(), says: String::new() };
        let mut name = None;
        for line in text.split_inclusive('\n') {
            if let Some(next) = line.trim_end().strip_prefix("-- ").and_then(|rest| rest.strip_suffix(" --"))
            {
                name = Some(next.to_owned());
                case.files.entry(next.to_owned()).or_default();
            } else if let Some(name) = &name {
                case.files.get_mut(name).unwrap().push_str(line);
            } else {
                case.args = line.trim_start_matches("args:").trim().to_owned();
            }
        }
        case.says = case.files.remove("says").unwrap_or_default();
        case
    }

    fn write(&self, said: &str) {
        let text = std::fs::read_to_string(&self.path).unwrap();
        let (input, _) = text.split_once("-- says --\n").expect("a case ends in what is said");
        std::fs::write(&self.path, format!("{input}-- says --\n{said}")).unwrap();
    }

    fn lay_out(&self, base: &Case) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in base.files.iter().chain(&self.files) {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }
}

#[derive(Deserialize)]
struct Json {
    findings: Vec<JsonFinding>,
}

#[derive(Deserialize)]
struct JsonFinding {
    file: String,
    line: usize,
    column: usize,
    message: String,
    hint: String,
}

fn every_finding_has_a_line(dir: &TempDir, case: &Case) {
    let output = outbox(dir.path(), &format!("{} --format json", case.args));
    let json: Json =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    for finding in json.findings {
        let shown = format!("{}: {}", case.path.display(), finding.message);
        let text = std::fs::read(dir.path().join(&finding.file))
            .unwrap_or_else(|error| panic!("{shown}: {}: {error}", finding.file));
        let lines = String::from_utf8_lossy(&text).lines().count().max(1);
        assert!(
            (1..=lines + 1).contains(&finding.line) && finding.column >= 1,
            "{shown}: line {}",
            finding.line
        );
        assert!(!finding.hint.is_empty(), "{shown}: no hint");
    }
}

fn outbox(dir: &Path, args: &str) -> Output {
    super::outbox(dir, &format!("check {args}"))
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn text_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for group in
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    {
        files.extend(std::fs::read_dir(group).unwrap().map(|entry| entry.unwrap().path()));
    }
    files.sort();
    files
}
