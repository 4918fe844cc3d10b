//! The Debian package, by `dpkg-deb`. It starts nothing: `/etc/outbox/outbox.env` is to be filled in first.

mod glibc; // the oldest C library that the programs run with
mod scripts; // what runs when it is installed and removed

use std::path::Path;
use std::process::Command;

use testkit::process::root;

use super::programs::Programs;
use super::release::Release;
use super::{shared, steps};

const UNITS: [&str; 3] = ["outbox-migrate.service", "outbox-relay.service", "outbox-worker.service"];
const USER: &str = "u outbox - \"Outbox relay and worker\" /etc/outbox /usr/sbin/nologin\n";

/// `outbox_VERSION_ARCHITECTURE.deb`
pub(super) fn package(
    release: &Release,
    programs: &Programs,
    notices: &str,
    maintainer: &str,
) -> Result<(), String> {
    steps::began("Debian package: dpkg-deb");
    let folder = release.work.path().join("debian");
    programs.copy_to(&folder.join("usr/bin"))?;
    let manual = folder.join("usr/share/man/man1");
    shared::manual(programs, &manual)?;
    shared::completions(programs, |shell, program| {
        let dir = match shell {
            "fish" => "usr/share/fish/vendor_completions.d",
            "zsh" => "usr/share/zsh/vendor-completions",
            _ => "usr/share/bash-completion/completions",
        };
        folder.join(dir).join(shared::file(shell, program))
    })?;
    let documents = folder.join("usr/share/doc/outbox");
    shared::documents(&documents)?;
    licences(&documents, notices)?;
    compress(&manual, "1")?;
    compress(&documents, "txt")?;
    system(&folder)?;
    control(release, programs, maintainer, &folder)?;
    // Places for files may not keep a `~`.
    let name = format!("outbox_{}_{}.deb", release.version, architecture(&release.triple)?);
    let mut build = Command::new("dpkg-deb");
    build.env("SOURCE_DATE_EPOCH", release.epoch.to_string());
    build.args(["--root-owner-group", "-Zxz", &format!("-z{}", &release.compression[1..]), "--build"]);
    build.arg(&folder).arg(release.out.join(&name));
    steps::output(&mut build)?;
    release.wrote(&name);
    Ok(())
}

/// Debian looks for the licence of a package in the file `copyright`.
fn licences(dir: &Path, notices: &str) -> Result<(), String> {
    let mit = steps::read(&root().join("LICENSE-MIT"))?;
    let apache = "Apache 2.0: /usr/share/common-licenses/Apache-2.0";
    let text = format!(
        "Outbox is licensed under MIT or Apache 2.0, at your choice. It contains the packages of others that\nTHIRD-PARTY.txt.gz lists, with their licences.\n\n{apache}\n\n{mit}"
    );
    steps::write(&dir.join("copyright"), text, 0o644)?;
    steps::write(&dir.join("THIRD-PARTY.txt"), notices, 0o644)
}

/// Compresses the files with this extension.
fn compress(dir: &Path, extension: &str) -> Result<(), String> {
    let names = steps::files(dir)?.into_iter().filter(|name| name.ends_with(&format!(".{extension}")));
    steps::succeeds(Command::new("gzip").args(["-9", "-n"]).args(names.map(|name| dir.join(name))))
}

/// Units, user and configuration.
fn system(folder: &Path) -> Result<(), String> {
    let units = root().join("ops/systemd");
    for unit in UNITS {
        let text = steps::read(&units.join(unit))?;
        // The user of the package owns nothing, and files of credentials can be given to it.
        let text = text.replace("/usr/local/bin/", "/usr/bin/").replace("DynamicUser=yes", "User=outbox");
        steps::write(&folder.join("usr/lib/systemd/system").join(unit), text, 0o644)?;
    }
    steps::write(&folder.join("usr/lib/sysusers.d/outbox.conf"), USER, 0o644)?;
    let example = steps::read(&units.join("outbox.env.example"))?;
    // It has a password, and systemd reads it as root.
    steps::write(&folder.join("etc/outbox/outbox.env"), environment(&example), 0o600)
}

/// The example without the steps that the package has done.
fn environment(example: &str) -> String {
    let steps = |line: &&str| !line.starts_with("#   ");
    let mut lines: Vec<&str> = example.lines().filter(steps).collect();
    lines.dedup_by(|line, before| *line == "#" && *before == "#");
    lines.join("\n") + "\n"
}

fn control(release: &Release, programs: &Programs, maintainer: &str, folder: &Path) -> Result<(), String> {
    let installed: u64 = steps::files(folder)?
        .iter()
        .filter_map(|name| std::fs::metadata(folder.join(name)).ok())
        .map(|file| file.len().div_ceil(1024))
        .sum();
    let glibc = glibc::needed(programs)?;
    let fields = format!(
        "Package: outbox
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Section: database
Priority: optional
Installed-Size: {installed}
Depends: libc6 (>= {glibc}), libgcc-s1, passwd
Recommends: ca-certificates, systemd
Description: events in a Postgres transaction, and the RPCs that they run
 A service writes an event in the same transaction as its change. The relay
 puts committed events into queues, and the worker calls the RPC of each
 subscriber. The command outbox checks routes, shows what is stuck, and repairs.
",
        version = version(release.version),
        architecture = architecture(&release.triple)?,
    );
    let debian = folder.join("DEBIAN");
    steps::write(&debian.join("control"), fields, 0o644)?;
    steps::write(&debian.join("conffiles"), "/etc/outbox/outbox.env\n", 0o644)?;
    for (name, script) in scripts::SCRIPTS {
        steps::write(&debian.join(name), script, 0o755)?;
    }
    let listed = steps::files(folder)?.into_iter().filter(|name| !name.starts_with("DEBIAN/"));
    let sums = steps::output(Command::new("md5sum").current_dir(folder).arg("--").args(listed))?;
    steps::write(&debian.join("md5sums"), sums, 0o644)
}

/// In Debian's order `0.2.0~rc.1` is before `0.2.0`.
fn version(version: &str) -> String {
    version.replacen('-', "~", 1)
}

fn architecture(triple: &str) -> Result<&'static str, String> {
    match triple.split('-').next() {
        Some("x86_64") => Ok("amd64"),
        Some("aarch64") => Ok("arm64"),
        _ => Err(format!("no Debian package is made for {triple}: pass --only archive,rootfs,sbom,crates")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the Debian package: its configuration is the example, without the steps that the package has done.
    #[test]
    fn the_environment_is_the_example() {
        let example = steps::read(&root().join("ops/systemd/outbox.env.example")).unwrap();
        let made = environment(&example);
        assert!(made.starts_with("# /etc/outbox/outbox.env: "), "{made}");
        assert!(made.contains("\nDATABASE_URL=postgres://") && !made.contains("install -m"), "{made}");
        let kept = example.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        assert!(kept.clone().count() > 3 && kept.into_iter().all(|line| made.contains(line)), "{made}");
    }

    /// Guards the Debian package: an earlier version is earlier in Debian's order, too.
    #[test]
    fn versions_are_debians() {
        assert_eq!((version("0.2.0-rc.1"), version("0.2.0")), ("0.2.0~rc.1".to_owned(), "0.2.0".to_owned()));
    }
}
