//! `cargo xtask dist`: the files of a release hold what they promise.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::bytes::Regex;
use serde_json::Value;
use tempfile::TempDir;
use testkit::process::root;
use testkit::tools;

use crate::release::{PROGRAMS, Release, cargo, run, unpack};
use crate::world::{programs, shared_turn};

/// Where this test unpacks a release.
struct Unpacked {
    dir: TempDir,
    release: &'static Release,
}

impl Unpacked {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, end: &str) -> PathBuf {
        self.release.file(end)
    }

    /// An archive, in a new directory.
    fn unpacked(&self, archive: &Path, into: &str) -> PathBuf {
        let into = self.path(into);
        unpack(archive, 0, &into);
        into
    }
}

fn version_of(program: &Path) -> String {
    run(Command::new(program).arg("--version"))
}

/// Guards the release: each file holds what it promises, on a machine that has only that file.
#[test]
fn a_release_is_whole() {
    let _turn = shared_turn();
    let release = Unpacked { dir: tempfile::tempdir().unwrap(), release: Release::get() };
    let out = &release.release.out;
    run(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(out));
    the_archive_has_the_programs(&release);
    the_debian_package_installs(&release);
    the_container_runs(&release);
    the_components_are_those_of_the_programs(&release);
    the_packages_know_their_revision(&release);
    the_action_checks_with_the_archive(&release);
    // Nothing depends on the time, or on names of temporary folders.
    let again = release.path("again");
    release.release.made(&again);
    let sums = |out: &Path| std::fs::read_to_string(out.join("SHA256SUMS")).unwrap();
    assert_eq!(sums(out), sums(&again));
}

fn the_archive_has_the_programs(release: &Unpacked) {
    let archive = release.file(".tar.gz");
    let folder = archive.file_name().unwrap().to_str().unwrap().trim_end_matches(".tar.gz").to_owned();
    let unpacked = release.unpacked(&archive, "archive").join(&folder);
    for program in PROGRAMS {
        assert_eq!(version_of(&unpacked.join(program)), version_of(&programs().join(program)));
    }
    for file in [
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "UPGRADING.md",
        "completions/bash/relay",
        "completions/fish/outbox.fish",
        "completions/zsh/_worker",
        "man/man1/outbox-check.1",
        "man/man1/relay.1",
        "man/man1/worker.1",
        "systemd/outbox-relay.service",
        "Cargo.lock",
        "clients/python/src/outbox_client/__init__.py",
        "docs/guide/1-first-event.md",
        "infra/versions.tf",
        "ops/prometheus/alerts.yml",
        // infra/example and compose.yaml read these.
        "event_router.yaml",
        "proto/hoge/v1/hoge_event.proto",
    ] {
        assert!(unpacked.join(file).is_file(), "{file}");
    }
    links_lead_somewhere(&unpacked);
    let notices = std::fs::read_to_string(unpacked.join("THIRD-PARTY.txt")).unwrap();
    for expected in ["\ntokio 1.", "\nsqlx 0.", "Copyright (c) Tokio Contributors"] {
        assert!(notices.contains(expected), "{expected}");
    }
    let listed =
        run(Command::new("tar").args(["--list", "--verbose", "--numeric-owner", "--file"]).arg(&archive));
    assert!(listed.lines().all(|line| line.contains(" 0/0 ") && line.contains(&folder)), "{listed}");
}

/// The documents of an archive name nothing that it lacks.
fn links_lead_somewhere(unpacked: &Path) {
    let link = Regex::new(r"\]\(([^)\s#:]+)[)#]").unwrap();
    let listed = run(Command::new("find").args(["-name", "*.md", "-printf", "%P\n"]).current_dir(unpacked));
    let (mut links, mut dead) = (0, Vec::new());
    for document in listed.lines() {
        let text = std::fs::read(unpacked.join(document)).unwrap();
        for found in link.captures_iter(&text) {
            let to = String::from_utf8(found[1].to_vec()).unwrap();
            let place = unpacked.join(document).parent().unwrap().join(&to);
            links += 1;
            if !place.exists() {
                dead.push(format!("{document}: {to}"));
            }
        }
    }
    assert!(links > 200 && dead.is_empty(), "{links} links, and these lead nowhere: {dead:#?}");
}

fn the_debian_package_installs(release: &Unpacked) {
    let package = release.file(".deb");
    let fields = run(Command::new("dpkg-deb").arg("--field").arg(&package));
    for expected in [
        "Package: outbox\n",
        &format!("Version: {}\n", env!("CARGO_PKG_VERSION")),
        &format!("Architecture: {}", run(Command::new("dpkg").arg("--print-architecture"))),
        "Depends: libc6 (>= 2.",
    ] {
        assert!(fields.contains(expected), "{expected}: {fields}");
    }
    let contents = run(Command::new("dpkg-deb").arg("--contents").arg(&package));
    for expected in [
        "-rwxr-xr-x root/root",
        "./usr/bin/relay\n",
        "./usr/share/man/man1/outbox-check.1.gz\n",
        "./usr/share/bash-completion/completions/worker\n",
        "./usr/lib/sysusers.d/outbox.conf\n",
        "./usr/share/doc/outbox/copyright\n",
        "./usr/share/doc/outbox/THIRD-PARTY.txt.gz\n",
    ] {
        assert!(contents.contains(expected), "{expected}: {contents}");
    }
    // It has a password.
    let environment = contents.lines().find(|line| line.ends_with("./etc/outbox/outbox.env")).unwrap();
    assert!(environment.starts_with("-rw------- root/root"), "{environment}");
    let (files, scripts) = (release.path("installed"), release.path("scripts"));
    run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&files));
    run(Command::new("dpkg-deb").arg("--control").arg(&package).arg(&scripts));
    assert_eq!(std::fs::read_to_string(scripts.join("conffiles")).unwrap(), "/etc/outbox/outbox.env\n");
    run(Command::new("md5sum").args(["--check", "--quiet"]).arg(scripts.join("md5sums")).current_dir(&files));
    for script in ["postinst", "prerm", "postrm"] {
        run(Command::new("sh").arg("-n").arg(scripts.join(script)));
    }
    for program in PROGRAMS {
        assert_eq!(version_of(&files.join("usr/bin").join(program)), version_of(&programs().join(program)));
    }
    for unit in ["migrate", "relay", "worker"] {
        let text =
            std::fs::read_to_string(files.join(format!("usr/lib/systemd/system/outbox-{unit}.service")));
        let text = text.unwrap();
        assert!(text.contains("\nExecStart=/usr/bin/") && text.contains("\nUser=outbox\n"), "{text}");
        assert!(!text.contains("/usr/local") && !text.contains("DynamicUser"), "{text}");
    }
}

/// As root the programs run with nothing but the container's files.
fn the_container_runs(release: &Unpacked) {
    let files = release.unpacked(&release.file("-rootfs.tar.gz"), "container");
    for file in ["etc/passwd", "etc/ssl/certs/ca-certificates.crt", "usr/local/bin/relay"] {
        assert!(files.join(file).is_file(), "{file}");
    }
    if tools::is_root() {
        for program in PROGRAMS {
            let mut chroot = Command::new("chroot");
            chroot.args(["--userspec=65532:65532"]).arg(&files).arg(format!("/usr/local/bin/{program}"));
            assert_eq!(run(chroot.arg("--version")), version_of(&programs().join(program)));
        }
    }
}

/// The programs have the names of packages in their messages of panics: a list from another side.
fn the_components_are_those_of_the_programs(release: &Unpacked) {
    let text = std::fs::read_to_string(release.file(".cdx.json")).unwrap();
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&list["bomFormat"], &list["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    let each = || list["components"].as_array().unwrap().iter();
    let name = |component: &Value| {
        format!("{}-{}", component["name"].as_str().unwrap(), component["version"].as_str().unwrap())
    };
    let linked: BTreeSet<String> =
        each().filter(|component| component["scope"] == "required").map(name).collect();
    let path = Regex::new(r"/registry/src/[^/]+/([A-Za-z0-9_-]+-\d+\.\d+\.\d+[A-Za-z0-9.+-]*)/").unwrap();
    let mut found = BTreeSet::new();
    for program in PROGRAMS {
        let contents = std::fs::read(release.release.binaries.join(program)).unwrap();
        found.extend(path.captures_iter(&contents).map(|path| String::from_utf8(path[1].to_vec()).unwrap()));
    }
    assert!(found.len() > 50, "{found:?}");
    let absent: Vec<_> = found.difference(&linked).collect();
    assert!(absent.is_empty(), "{absent:?}");
    // The list has no more than Cargo.lock, with the same checksums.
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for component in each() {
        let field = |key: &str| component[key].as_str().unwrap();
        let package = format!("name = \"{}\"\nversion = \"{}\"\n", field("name"), field("version"));
        let (_, rest) = lock.split_once(&package).unwrap_or_else(|| panic!("{package}"));
        let entry = rest.split("\n\n").next().unwrap();
        match component["hashes"][0]["content"].as_str() {
            Some(hash) => assert!(entry.contains(hash), "{package}"),
            None => assert!(!entry.contains("checksum"), "{package}"),
        }
        assert!(component["licenses"][0]["expression"].as_str().is_some_and(|license| !license.is_empty()));
    }
    let references: BTreeSet<&str> = each().map(|component| component["bom-ref"].as_str().unwrap()).collect();
    for edge in list["dependencies"].as_array().unwrap() {
        let mut needed = edge["dependsOn"].as_array().unwrap().iter();
        assert!(needed.all(|to| references.contains(to.as_str().unwrap())), "{edge}");
    }
}

/// A program that is installed from crates.io says its commit, without git.
fn the_packages_know_their_revision(release: &Unpacked) {
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("outbox-revision-{version}");
    let package = release.release.out.join("crates").join(format!("{name}.crate"));
    let source = release.unpacked(&package, "package").join(&name);
    let Ok(info) = std::fs::read_to_string(source.join(".cargo_vcs_info.json")) else {
        assert!(!root().join(".git").exists(), "the package does not name its commit");
        return;
    };
    let info: Value = serde_json::from_str(&info).unwrap();
    let commit = &info["git"]["sha1"].as_str().unwrap()[..12];
    let program = release.path("say");
    std::fs::create_dir_all(program.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"say\"\nedition = \"2024\"\n[workspace]\n[dependencies]\noutbox-revision = {{ path = {source:?} }}\n"
    );
    std::fs::write(program.join("Cargo.toml"), manifest).unwrap();
    let text = "fn main() { println!(\"{}\", outbox_revision::VERSION); }\n";
    std::fs::write(program.join("src/main.rs"), text).unwrap();
    let mut cargo = cargo();
    cargo.env_remove("OUTBOX_REVISION").env("CARGO_TARGET_DIR", release.path("say-target"));
    let said = run(cargo.args(["run", "--quiet", "--offline"]).current_dir(&program));
    assert_eq!(said, format!("{version} ({commit})\n"));
}

/// The action downloads the archive, and refuses another one.
fn the_action_checks_with_the_archive(release: &Unpacked) {
    let version = env!("CARGO_PKG_VERSION");
    let releases = release.path("releases");
    std::fs::create_dir(&releases).unwrap();
    std::os::unix::fs::symlink(&release.release.out, releases.join(format!("v{version}"))).unwrap();
    let check = |version: &str| {
        let mut check = Command::new(root().join(".github/check"));
        check.env("OUTBOX_RELEASES", format!("file://{}", releases.display())).env("OUTBOX_VERSION", version);
        check.env("OUTBOX_ARGS", "--router event_router.yaml --proto proto").current_dir(root());
        let output = check.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = check(&format!("v{version}"));
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = check("main");
    assert!(code == Some(2) && said.contains("'main' is no version"), "{said}");
    let other = releases.join("v999.0.0");
    std::fs::create_dir(&other).unwrap();
    let name = release.file(".tar.gz").file_name().unwrap().to_str().unwrap().replace(version, "999.0.0");
    std::fs::write(other.join(&name), "not an archive").unwrap();
    std::fs::write(other.join("SHA256SUMS"), format!("{}  {name}\n", "0".repeat(64))).unwrap();
    let (code, said) = check("v999.0.0");
    assert!(code == Some(2) && said.contains("checksum differs"), "{said}");
}
