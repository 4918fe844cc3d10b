//! How the repository is kept: what is absent where, what has one owner, and what stays small enough to read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Not product: what proves it.
const PROOF: [&str; 4] = ["bench", "testkit", "torture", "xtask"];
/// A file is one idea. These have more lines, and why.
const LONG: [(&str, &str); 2] = [
    ("crates/worker/src/breaker/simulation.rs", "a simulation, which only tests compile"),
    ("crates/cli/src/status/problems.rs", "half of it is a table of tests"),
];
const LINES_MAX: usize = 350;

/// A file of a product crate: its crate, its path from the root, and its text without comments.
struct Source {
    package: String,
    path: String,
    text: String,
}

fn product() -> Vec<Source> {
    let mut sources = Vec::new();
    for package in fs::read_dir(Path::new(ROOT).join("crates")).unwrap() {
        let package = package.unwrap().file_name().into_string().unwrap();
        if PROOF.contains(&package.as_str()) {
            continue;
        }
        for file in files_of(&Path::new(ROOT).join("crates").join(&package).join("src"), "rs") {
            let path = file.strip_prefix(ROOT).unwrap().display().to_string();
            let text = without_comments(&fs::read_to_string(&file).unwrap());
            sources.push(Source { package: package.clone(), path, text });
        }
    }
    assert!(sources.len() > 150, "only {} files were found", sources.len());
    sources
}

fn files_of(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // What Terraform and builds leave is not ours.
        if path.is_dir() && !path.ends_with("target") && !path.ends_with(".terraform") {
            files.extend(files_of(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn without_comments(text: &str) -> String {
    text.lines()
        .map(|line| if line.trim_start().starts_with("//") { "" } else { line })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every place where one of these words stands, by the crate.
fn named(sources: &[Source], words: &Regex) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources {
        for word in words.captures_iter(&source.text) {
            found.entry(source.package.clone()).or_default().insert(format!("{}: {}", source.path, &word[1]));
        }
    }
    found
}

/// Guards ARCHITECTURE: each table of the schema is named in one crate. Its migrations aside, a new column is a change there.
#[test]
fn each_table_has_one_owner() {
    let mut tables = BTreeSet::new();
    let create = Regex::new(r"create (?:unlogged )?table outbox\.([a-z_]+?)_?(?-u:\b)").unwrap();
    for migration in fs::read_dir(Path::new(ROOT).join("migrations")).unwrap() {
        let sql = fs::read_to_string(migration.unwrap().path()).unwrap();
        tables.extend(create.captures_iter(&sql).map(|table| table[1].to_owned()));
    }
    assert!(tables.len() >= 14 && tables.contains("delivery"), "{tables:?}");
    // A method of a variable `outbox` is no table.
    let words = tables.iter().map(String::as_str).collect::<Vec<_>>().join("|");
    let mut found =
        named(&product(), &Regex::new(&format!(r"(?-u:\b)outbox\.({words})(?-u:\b)[^(]")).unwrap());
    assert!(found.remove("postgres").is_some_and(|places| places.len() >= 20), "{found:?}");
    // A service writes its events, and its tests read them. Both depend on no transport.
    let library = found.remove("outbox").unwrap_or_default();
    let expected = ["crates/outbox/src/entry.rs: event", "crates/outbox/src/testing.rs: event"];
    assert!(library.iter().all(|place| expected.contains(&place.as_str())), "{library:?}");
    // The worker's span has an attribute of this name.
    found.remove("worker").into_iter().flatten().for_each(|place| {
        assert_eq!(place, "crates/worker/src/deliver.rs: event");
    });
    assert_eq!(found, BTreeMap::new());
}

/// Guards ARCHITECTURE: each attribute of an item on DynamoDB, and of a message on SQS, is named in one crate.
#[test]
fn each_attribute_on_aws_has_one_owner() {
    let attributes = [
        "leased_until_ms",
        "not_before_ms",
        "expires_at",
        "at_ms",
        "until_ms",
        "outbox-code",
        "outbox-reason",
    ];
    let mut found =
        named(&product(), &Regex::new(&format!(r#"["' #:]({})(?-u:\b)"#, attributes.join("|"))).unwrap());
    let owner = found.remove("aws").unwrap_or_default();
    for attribute in attributes {
        assert!(owner.iter().any(|place| place.ends_with(attribute)), "{attribute} is named nowhere");
    }
    assert_eq!(found, BTreeMap::new());
}

/// Guards ARCHITECTURE: AWS's SDK is imported where AWS is wired or looked at, and nowhere else.
#[test]
fn the_sdk_of_aws_stays_at_the_edge() {
    let allowed =
        ["crates/aws/", "crates/cli/src/doctor/aws", "crates/relay/src/main.rs", "crates/worker/src/aws.rs"];
    let sdk = Regex::new(r"(?-u:\b)(aws_(?:sdk|config|smithy|credential)[a-z_]*)::").unwrap();
    for place in named(&product(), &sdk).into_values().flatten() {
        assert!(allowed.iter().any(|allowed| place.starts_with(allowed)), "{place}");
    }
}

/// Guards the house rules: nothing is shared by a static, and a file is one idea.
#[test]
fn there_are_no_statics_and_files_are_short() {
    let of_static = Regex::new(r"(?m)^\s*(?:pub(?:\([a-z]+\))? )?static (?:mut )?([A-Z_]+):").unwrap();
    let sources = product();
    let mut statics = named(&sources, &of_static);
    // Generated code has one descriptor pool.
    statics.remove("outbox-build");
    assert_eq!(statics, BTreeMap::new());
    for Source { path, text, .. } in sources {
        let lines = text.lines().count();
        let is_known = LONG.iter().any(|(known, _)| *known == path);
        assert_eq!(lines > LINES_MAX, is_known, "{path} has {lines} lines");
    }
}

/// Guards CONTRIBUTING: words that make a sentence a riddle are used nowhere.
#[test]
fn no_sentence_is_a_riddle() {
    // Put together here, so that this file has none of them.
    let banned = [concat!("who", "ever"), concat!("where", "upon"), concat!("there", "of")];
    let words = Regex::new(&format!(r"(?i)(?-u:\b)({})(?-u:\b)", banned.join("|"))).unwrap();
    let mut files = vec![
        PathBuf::from("ARCHITECTURE.md"),
        "CONTRIBUTING.md".into(),
        "README.md".into(),
        "SECURITY.md".into(),
    ];
    for (folder, extension) in [
        ("crates", "rs"),
        ("tests/it", "rs"),
        ("migrations", "sql"),
        ("docs", "md"),
        ("ops", "md"),
        ("infra", "tf"),
    ] {
        files.extend(files_of(&Path::new(ROOT).join(folder), extension));
    }
    assert!(files.len() > 400, "only {} files were found", files.len());
    for file in files {
        let text = fs::read_to_string(Path::new(ROOT).join(&file)).unwrap();
        for (at, line) in text.lines().enumerate() {
            assert!(!words.is_match(line), "{}:{}: {line}", file.display(), at + 1);
        }
    }
}

/// Guards ARCHITECTURE: the way of one event is at most 25 stops on each transport, and each stop is where it says.
#[test]
fn the_way_of_one_event_is_as_it_is_told() {
    let root = Path::new(ROOT);
    let architecture = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    assert!(architecture.lines().count() <= 100, "ARCHITECTURE.md is a map");
    let way = architecture.split("## One event's way").nth(1).unwrap().split("\n## ").next().unwrap();
    let stop = Regex::new("`([a-z]+)/([a-z0-9_/.]+) ([a-z_]+)`").unwrap();
    for (column, transport) in [(2, "Postgres"), (3, "AWS")] {
        let cells = way.lines().filter_map(|line| line.split('|').nth(column));
        let stops: Vec<_> = cells.flat_map(|cell| stop.captures_iter(cell)).collect();
        assert!((20..=25).contains(&stops.len()), "{transport}: {} stops", stops.len());
        assert!(
            way.contains(&format!("on {transport} {}", stops.len()))
                || way.contains(&format!("On {transport} there are {}", stops.len()))
        );
        for stop in stops {
            let (folder, file, name) = (&stop[1], &stop[2], &stop[3]);
            let path = match folder {
                "infra" | "migrations" => format!("{folder}/{file}"),
                package => format!("crates/{package}/src/{file}"),
            };
            let text = fs::read_to_string(root.join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            let defined =
                format!(r#"fn {name}[(<]|create function outbox\.{name}\(|resource "[a-z_]+" "{name}""#);
            assert!(Regex::new(&defined).unwrap().is_match(&text), "{transport}: {path} has no {name}");
        }
    }
}
