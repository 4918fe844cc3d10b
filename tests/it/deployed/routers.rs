//! `tests/routers/` has files in folders named after their verdict. Binaries and Terraform must agree on it: `accepted`,
//! `refused`, and `beyond_aws`, which works on Postgres and is too large for one bus.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use outbox_event_router::Router;
use testkit::process::{copy_dir, root};
use testkit::terraform::Terraform;

use crate::world::{ROUTER, cluster, programs, shared_turn};

/// The most bytes that a file may have.
const BYTES_MAX: usize = 196_608;

/// Large files are made here, so that the repository stays small.
fn sizes() -> Vec<(&'static str, &'static str, String)> {
    let route = "event:\n  - name: event_a\n    subscriber:\n      - id: Test/One\n";
    let of_bytes = |n: usize| format!("#{}\n{route}", " ".repeat(n - route.len() - 2));
    let events: String = (0..1000).map(|n| format!("  - {{ name: event_n{n}, subscriber: [] }}\n")).collect();
    let deep: String = (1..400).map(|n| format!("{}-\n", " ".repeat(n))).collect();
    vec![
        ("accepted", "as_large_as_it_may_be", of_bytes(BYTES_MAX)),
        ("accepted", "1000_events", format!("event:\n{events}")),
        ("refused", "a_byte_too_large", of_bytes(BYTES_MAX + 1)),
        ("refused", "a_megabyte", of_bytes(1_000_000)),
        ("refused", "deep_in_blocks", format!("event:\n{deep}")),
    ]
}

struct Files {
    folder: PathBuf,
    /// The file's path below the folder, and its verdict.
    verdicts: BTreeMap<String, String>,
}

impl Files {
    fn lay_out(name: &str) -> Self {
        let folder = cluster().dir().join(name);
        copy_dir(&root().join("tests/routers"), &folder, &|_| true).unwrap();
        for (verdict, name, text) in sizes() {
            std::fs::write(folder.join(verdict).join(format!("{name}.yaml")), text).unwrap();
        }
        let mut verdicts = BTreeMap::new();
        for verdict in ["accepted", "refused", "beyond_aws"] {
            for entry in std::fs::read_dir(folder.join(verdict)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                verdicts.insert(format!("{verdict}/{name}"), verdict.to_owned());
            }
        }
        assert!(verdicts.len() > 300, "{}", verdicts.len());
        Self { folder, verdicts }
    }

    fn of(&self, verdicts: &[&str]) -> BTreeSet<String> {
        let is_one = |verdict: &str| verdicts.contains(&verdict);
        let found = self.verdicts.iter().filter(|(_, verdict)| is_one(verdict));
        found.map(|(name, _)| name.clone()).collect()
    }
}

/// Guards: relay and worker give each file its folder's verdict. A refusal names the place in the file and the remedy, and
/// nothing internal.
#[test]
fn the_binaries_give_each_file_its_verdict() {
    let _turn = shared_turn();
    let files = Files::lay_out("routers-read");
    let mut refused = BTreeSet::new();
    for name in files.verdicts.keys() {
        let Err(error) = Router::read(&files.folder.join(name)) else { continue };
        let said = error.to_string();
        assert!(said.starts_with("error: ") && said.contains(name), "{name}: {said}");
        assert!(said.contains("help: "), "{name}: {said}");
        for word in ["budget", "limit exceeded", "serde", "parser", "granit"] {
            assert!(!said.to_lowercase().contains(word), "{name}: {said}");
        }
        refused.insert(name.clone());
    }
    assert_eq!(refused, files.of(&["refused"]));
}

/// Guards: `outbox check` refuses files that relay, worker or AWS would refuse. It accepts the rest, given the proto.
#[test]
fn outbox_check_gives_each_file_its_verdict() {
    let _turn = shared_turn();
    let files = Files::lay_out("routers-checked");
    // It shares its reader with relay and worker: a sample of the refused files is enough.
    let some = files.of(&["refused"]).into_iter().step_by(8);
    let asked: BTreeSet<String> = files.of(&["accepted", "beyond_aws"]).into_iter().chain(some).collect();
    let mut refused = BTreeSet::new();
    for name in &asked {
        let file = files.folder.join(name);
        let proto = tempfile::tempdir().unwrap();
        // A file that can't be read has no events to declare.
        for (name, text) in Router::read(&file).map_or_else(|_| BTreeMap::new(), |it| declare(&it)) {
            std::fs::write(proto.path().join(name), text).unwrap();
        }
        let checked = check(&file, proto.path());
        if !checked.status.success() {
            refused.insert(name.clone());
        }
        if name.starts_with("accepted/") {
            assert!(checked.status.success(), "{name}: {}", String::from_utf8_lossy(&checked.stdout));
        }
    }
    let expected = files.of(&["refused", "beyond_aws"]);
    assert_eq!(refused, asked.intersection(&expected).cloned().collect());
}

fn check(router: &Path, proto: &Path) -> Output {
    Command::new(programs().join("outbox"))
        .arg("check")
        .arg("--router")
        .arg(router)
        .arg("--proto")
        .arg(proto)
        .output()
        .unwrap()
}

/// Proto with the events and RPCs of a router: files by name. What names no package is in one of the longest name.
fn declare(router: &Router) -> BTreeMap<String, String> {
    let called: BTreeSet<&str> = router.rpcs().map(|(rpc, _)| router.called(rpc).as_str()).collect();
    let package_of =
        |rpc: &str| rpc.rsplit_once('/')?.0.rsplit_once('.').map(|(package, _)| package.to_owned());
    let own = called.iter().find_map(|rpc| package_of(rpc)).unwrap_or_else(|| "test.v1".to_owned());
    let home = |event: &str| router.package(event).unwrap_or(&own).to_owned();

    // Without any event there is a file, too.
    let mut by_package: BTreeMap<String, Vec<&str>> = BTreeMap::from([(own.clone(), Vec::new())]);
    for (event, _) in router.events() {
        by_package.entry(home(event)).or_default().push(event);
    }
    let (mut files, mut imports) = (BTreeMap::new(), String::new());
    for (nth, (package, events)) in by_package.iter().enumerate() {
        let mut proto =
            format!("syntax = \"proto3\";\npackage {package};\nenum Event {{ EVENT_UNSPECIFIED = 0;\n");
        for (n, event) in events.iter().enumerate() {
            let _ = writeln!(proto, "{} = {};", event.to_uppercase(), n + 1);
        }
        proto.push_str("}\n");
        for event in events {
            let _ = writeln!(proto, "message {} {{ string id = 1; }}", message(event));
        }
        let _ = writeln!(imports, "import \"events{nth}.proto\";");
        files.insert(format!("events{nth}.proto"), proto);
    }
    let mut services: BTreeMap<(String, &str), String> = BTreeMap::new();
    let mut requests: BTreeMap<String, String> = BTreeMap::new();
    for rpc in called {
        let (service, method) = rpc.rsplit_once('/').unwrap();
        let (package, service) =
            (package_of(rpc).unwrap_or_else(|| own.clone()), service.rsplit('.').next().unwrap());
        let _ = writeln!(
            services.entry((package.clone(), service)).or_default(),
            "rpc {method}({service}{method}Request) returns (google.protobuf.Empty);"
        );
        let request = requests.entry(package).or_default();
        let _ = writeln!(request, "message {service}{method}Request {{");
        let routes = router.routes().filter(|route| route.called.as_str() == rpc);
        let events: BTreeSet<&str> = routes.map(|route| route.event).collect();
        for (n, event) in events.into_iter().enumerate() {
            let _ = writeln!(request, ".{}.{} e{n} = {};", home(event), message(event), n + 1);
        }
        request.push_str("}\n");
    }
    for (nth, (package, request)) in requests.into_iter().enumerate() {
        let mut proto = format!(
            "syntax = \"proto3\";\npackage {package};\nimport \"google/protobuf/empty.proto\";\n{imports}{request}"
        );
        for ((_, service), methods) in services.iter().filter(|((of, _), _)| *of == package) {
            let _ = writeln!(proto, "service {service} {{\n{methods}}}");
        }
        files.insert(format!("services{nth}.proto"), proto);
    }
    files
}

/// event_hoge_updated becomes HogeUpdatedEvent.
fn message(event: &str) -> String {
    let words = event.trim_start_matches("event_").split('_');
    let camel = words.map(|word| word[..1].to_uppercase() + &word[1..]);
    camel.collect::<String>() + "Event"
}

/// Guards what infra/README.md promises: `terraform plan` refuses files that AWS or the binaries would refuse, and no
/// others.
#[test]
fn terraform_gives_each_file_its_verdict() {
    if Command::new("terraform").arg("version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "in CI Terraform must be tested");
        eprintln!("\n!!! NOT TESTED: Terraform's verdicts on tests/routers, because terraform is missing\n");
        return;
    }
    // Terraform uses both cores for a while, which would disturb a test that measures.
    let _turn = shared_turn();
    let files = Files::lay_out("routers-planned");
    let terraform = Terraform::copy(&cluster().dir().join("terraform-each"), ROUTER).unwrap();
    let refusals = terraform.refusals(&files.folder).unwrap_or_else(|error| panic!("{error}"));
    let refused: BTreeSet<String> = refusals.keys().cloned().collect();
    assert_eq!(refused, files.of(&["refused", "beyond_aws"]));
}
