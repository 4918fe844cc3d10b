//! Rules of the repository: what is absent where, what has one owner, and which files stay small.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

mod circles;
mod packages; // what is published
mod workflows; // what runs on GitHub

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The proof, as opposed to the product.
const PROOF: [&str; 4] = ["bench", "testkit", "torture", "xtask"];
/// A file has one idea. These have more lines, with a reason.
const LONG: [(&str, &str); 1] =
    [("crates/worker/src/breaker/simulation.rs", "a simulation, which only tests compile")];
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
        // Terraform and builds leave files that are not in the repository.
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

/// Every place of these words, by crate.
fn named(sources: &[Source], words: &Regex) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources {
        for word in words.captures_iter(&source.text) {
            found.entry(source.package.clone()).or_default().insert(format!("{}: {}", source.path, &word[1]));
        }
    }
    found
}

/// Guards ARCHITECTURE: each table of the schema is named in one crate. So a new column changes that crate and the
/// migrations alone.
#[test]
fn each_table_has_one_owner() {
    let mut tables = BTreeSet::new();
    let create = Regex::new(r"create (?:unlogged )?table outbox\.([a-z_]+?)_?(?-u:\b)").unwrap();
    for migration in fs::read_dir(Path::new(ROOT).join("migrations")).unwrap() {
        let sql = fs::read_to_string(migration.unwrap().path()).unwrap();
        tables.extend(create.captures_iter(&sql).map(|table| table[1].to_owned()));
    }
    assert!(tables.len() >= 14 && tables.contains("delivery"), "{tables:?}");
    // A method of a variable `outbox` is not a table.
    let words = tables.iter().map(String::as_str).collect::<Vec<_>>().join("|");
    let mut found =
        named(&product(), &Regex::new(&format!(r"(?-u:\b)outbox\.({words})(?-u:\b)[^(]")).unwrap());
    assert!(found.remove("postgres").is_some_and(|places| places.len() >= 20), "{found:?}");
    // A service writes its events, and its tests read them. Neither depends on a transport.
    let library = found.remove("outbox").unwrap_or_default();
    let expected = ["crates/outbox/src/row.rs: event", "crates/outbox/src/testing.rs: event"];
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

/// Guards ARCHITECTURE: AWS's SDK is imported only by the wiring, by `crates/aws`, and by `doctor`.
#[test]
fn the_sdk_of_aws_stays_at_the_edge() {
    let allowed =
        ["crates/aws/", "crates/cli/src/doctor/aws", "crates/relay/src/main.rs", "crates/worker/src/aws.rs"];
    let sdk = Regex::new(r"(?-u:\b)(aws_(?:sdk|config|smithy|credential)[a-z_]*)::").unwrap();
    for place in named(&product(), &sdk).into_values().flatten() {
        assert!(allowed.iter().any(|allowed| place.starts_with(allowed)), "{place}");
    }
}

/// Guards promise 5: a worker reads a message once, however it got its lease, and hands on what it read.
#[test]
fn a_worker_reads_a_message_in_one_place() {
    let decodes = Regex::new(r"(?-u:\b)(Message::decode)(?-u:\b)").unwrap();
    let worker = product().into_iter().filter(|source| source.package == "worker");
    let places: Vec<String> = worker
        .flat_map(|source| vec![source.path.clone(); decodes.find_iter(&source.text).count()])
        .collect();
    assert_eq!(places, ["crates/worker/src/lease.rs"]);
}

/// Guards ARCHITECTURE: the console asks commands, and no store.
#[test]
fn the_console_has_no_store() {
    let manifest = fs::read_to_string(Path::new(ROOT).join("crates/console/Cargo.toml")).unwrap();
    for store in ["sqlx", "outbox-postgres", "outbox-aws", "outbox-transport", "aws-sdk"] {
        assert!(!manifest.contains(store), "{store}");
    }
}

/// Guards the house rules: no state is shared by a static, and a file has one idea.
#[test]
fn there_are_no_statics_and_files_are_short() {
    let of_static = Regex::new(r"(?m)^\s*(?:pub(?:\([a-z]+\))? )?static (?:mut )?([A-Z_]+):").unwrap();
    let sources = product();
    let mut statics = named(&sources, &of_static);
    // Generated code has one descriptor pool.
    statics.remove("build");
    assert_eq!(statics, BTreeMap::new());
    for Source { path, text, .. } in sources {
        let lines = text.lines().count();
        let is_known = LONG.iter().any(|(known, _)| *known == path);
        assert_eq!(lines > LINES_MAX, is_known, "{path} has {lines} lines");
    }
}

/// Guards the house rules: the files of a crate stand on floors. None imports one that imports it.
#[test]
fn no_file_imports_in_a_circle() {
    let mut found = Vec::new();
    for package in fs::read_dir(Path::new(ROOT).join("crates")).unwrap() {
        let package = package.unwrap().path();
        let circles = circles::circles(&package.join("src"));
        found.extend(circles.into_iter().map(|circle| format!("{}: {circle}", package.display())));
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Guards CONTRIBUTING: no file has a word that makes a sentence a riddle.
#[test]
fn no_sentence_is_a_riddle() {
    // Put together here, so that this file has none of them.
    let banned = [
        concat!("who", "ever"),
        concat!("where", "upon"),
        concat!("there", "of"),
        concat!("do", "ze"),
        concat!("drow", "se"),
        concat!("hu", "sh"),
        concat!("kno", "ck"),
    ];
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

/// Guards CONTRIBUTING: no comment of the product makes a person of a process, or leaves open which process it is about.
#[test]
fn no_process_is_a_person() {
    let banned = [
        "anybody",
        "believed",
        "everybody",
        "goodbye",
        "hears",
        "mended",
        "nobody",
        "somebody",
        "someone",
        "told",
        "wants",
        "whom",
    ];
    let words = Regex::new(&format!(r"(?i)//.*(?-u:\b)({})(?-u:\b)", banned.join("|"))).unwrap();
    for Source { path, .. } in product() {
        let text = fs::read_to_string(Path::new(ROOT).join(&path)).unwrap();
        for (at, line) in text.lines().enumerate() {
            assert!(!words.is_match(line), "{path}:{}: {line}", at + 1);
        }
    }
}

/// Guards ARCHITECTURE: the way of one event has at most 25 stops on each transport, and each stop is in its file.
#[test]
fn the_way_of_one_event_is_as_documented() {
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
